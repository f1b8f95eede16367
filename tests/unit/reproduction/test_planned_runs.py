"""Every run makes the comparison of weights that Figure 8 is, whatever else an experiment asks for."""

import pytest

from braindiffuser.experiment import Experiment
from braindiffuser.reproduction.planned_runs import WEIGHTS, label_of_weights, plan

OWN = {"kind": "voxel_weights", "name": "mine"}


@pytest.mark.parametrize(
    ("analyses", "label"),
    [
        ([], "voxel_weights"),
        ([{"kind": "voxel_weights"}], "voxel_weights"),
        ([OWN], "mine"),
        ([OWN | {"reference": "latents"}], "mine"),
        ([OWN | {"reference": "vision"}], WEIGHTS),
        ([OWN | {"regions": ["V1|V2"]}], WEIGHTS),
        ([OWN | {"regions": ["V1|V2"]}, {"kind": "voxel_weights"}], "voxel_weights"),
    ],
)
def test_figure_8_is_of_its_own_regions_and_reference(analyses, label):
    experiment = Experiment.load("demo").changed({"analyses": analyses})
    (planned,) = plan([experiment], ["1"])
    assert label_of_weights(planned.experiment) == label
    kept = planned.experiment.model_dump()["analyses"]
    assert [entry for entry in kept if entry.get("name") == "mine"] == [
        entry for entry in experiment.model_dump()["analyses"] if entry.get("name") == "mine"
    ]
