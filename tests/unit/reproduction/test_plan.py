"""Every run makes the analyses behind the paper's figures, whatever else an experiment asks for."""

import pytest

from braindiffuser.experiment import Experiment
from braindiffuser.reproduction.plan import UNIONS, WEIGHTS, label_of_weights, plan

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


DRAWN = {"kind": "roi_maximisation", "name": "drawn"}
AS_PUBLISHED = {**DRAWN, "lengths": "as-published"}


@pytest.mark.parametrize(
    ("analyses", "labels"),
    [
        ([], ["roi_maximisation"]),
        ([{"kind": "roi_maximisation"}], ["roi_maximisation"]),
        ([DRAWN | {"n_samples": 2}], ["drawn"]),
        ([DRAWN | {"regions": ["V1"]}], ["drawn", UNIONS]),
        ([AS_PUBLISHED], ["drawn", UNIONS]),
        ([AS_PUBLISHED, {"kind": "roi_maximisation", "regions": ["V1"]}], ["drawn", "roi_maximisation", UNIONS]),
        ([AS_PUBLISHED, {"kind": "roi_maximisation"}], ["drawn", "roi_maximisation"]),
        ([DRAWN | {"regions": ["V1"], "name": UNIONS}], [UNIONS, f"{UNIONS}-2"]),
    ],
)
def test_the_papers_regions_and_their_unions_are_drawn_whatever_else_is(analyses, labels):
    experiment = Experiment.load("demo").changed({"analyses": analyses})
    (planned,) = plan([experiment], ["1"])
    drawn = [analysis for analysis in planned.experiment.analyses if analysis.kind == "roi_maximisation"]
    assert [analysis.label for analysis in drawn] == labels
    assert any((own.regions, own.lengths) == (None, "from-training") for own in drawn)


def test_a_name_that_the_experiment_uses_is_not_given_again():
    own = {"kind": "voxel_weights", "name": WEIGHTS, "regions": ["V1|V2"]}
    (planned,) = plan([Experiment.load("demo").changed({"analyses": [own]})], ["1"])
    assert label_of_weights(planned.experiment) == f"{WEIGHTS}-2"
