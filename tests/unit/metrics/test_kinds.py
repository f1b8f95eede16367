"""What is true of every kind of metric, as a part of an experiment."""

import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.correlation_distance import CorrelationDistance, correlation_distance
from braindiffuser.metrics.lpips import LPIPS, squared_distance
from braindiffuser.metrics.many_way_identification import ManyWayIdentification, many_way_matches
from braindiffuser.metrics.metric import FeatureMetric, Metric, PixelMetric
from braindiffuser.metrics.pixcorr import PixCorr, pixcorr
from braindiffuser.metrics.ssim import SSIM, ssim
from braindiffuser.metrics.ssim_column_mean import SSIMColumnMean, ssim_column_mean
from braindiffuser.metrics.two_way_identification import TwoWayIdentification, two_way_identification
from braindiffuser.part import as_part, known_kinds

LAYER = {"network": "alexnet", "layer": "2", "label": "AlexNet(2)", "description": "Of the second convolution."}
KINDS: dict[str, Metric] = {
    "pixcorr": PixCorr(),
    "ssim": SSIM(),
    "ssim_column_mean": SSIMColumnMean(),
    "two_way_identification": TwoWayIdentification(**LAYER),
    "many_way_identification": ManyWayIdentification(**LAYER, n=3),
    "correlation_distance": CorrelationDistance(**LAYER),
    "lpips": LPIPS(label="LPIPS", description="Of AlexNet."),
}
EACH = pytest.mark.parametrize("kind", KINDS)


class Constant(PixelMetric):
    label: str = "Constant"
    description: str = "Zero."
    citation: str = "none"
    bounds: ClassVar = (0.0, 0.0)

    def compare(self, seen, made):
        return np.zeros(len(seen))


def test_every_file_is_one_kind():
    assert known_kinds(Metric) == tuple(sorted(KINDS))


@EACH
def test_a_metric_is_what_its_mapping_says(kind):
    metric = KINDS[kind]
    assert metric.kind == kind
    assert as_part(Metric, metric.model_dump(mode="json")) == metric
    assert type(as_part(Metric, metric.model_dump())) is type(metric)


@EACH
def test_every_entry_is_described(kind):
    assert all(field.description for field in type(KINDS[kind]).model_fields.values())


@EACH
def test_facts_are_whole(kind):
    metric = KINDS[kind]
    low, high = metric.bounds
    assert low < high
    assert metric.chance is None or low < metric.chance < high
    assert metric.label
    assert metric.description.endswith(".")
    assert metric.citation


def test_every_kind_is_its_function():
    rng = np.random.default_rng(0)
    pictures, features = rng.random((2, 5, 3, 16, 20), dtype=np.float32), rng.normal(size=(2, 5, 9))
    expected = {
        "pixcorr": pixcorr(*pictures),
        "ssim": ssim(*pictures),
        "ssim_column_mean": ssim_column_mean(*pictures),
        "two_way_identification": two_way_identification(*features),
        "many_way_identification": np.diagonal(many_way_matches(correlation_matrix(*features), 3)),
        "correlation_distance": correlation_distance(*features),
        "lpips": squared_distance(*features / 9),
    }
    for kind, metric in KINDS.items():
        compared = features / 9 if kind == "lpips" else features if isinstance(metric, FeatureMetric) else pictures
        np.testing.assert_array_equal(metric.compare(*compared), expected[kind])
    other = TwoWayIdentification(**LAYER, direction="per_stimulus")
    np.testing.assert_array_equal(other.compare(*features), two_way_identification(*features, "per_stimulus"))


def test_an_unknown_kind_is_answered_with_those_there_are():
    known = (
        "correlation_distance, lpips, many_way_identification, pixcorr, ssim, ssim_column_mean, two_way_identification"
    )
    with pytest.raises(ValueError, match=f"there is no kind psnr; known kinds: {known}, or module:Class"):
        as_part(Metric, {"kind": "psnr"})


def test_an_unknown_entry_is_answered_with_those_there_are():
    with pytest.raises(ValidationError, match="known entries: label, description, citation, network, layer, direction"):
        as_part(Metric, {"kind": "two_way_identification", **LAYER, "directions": "per_stimulus"})


def test_what_a_metric_of_features_cannot_do_without_is_asked_for():
    with pytest.raises(ValidationError) as caught:
        as_part(Metric, {"kind": "correlation_distance"})
    assert {fault["loc"][0] for fault in caught.value.errors()} == {"label", "description", "network", "layer"}


def test_a_class_of_another_module_is_named_by_it():
    assert Constant().kind == f"{__name__}:Constant"
    assert as_part(Metric, {"kind": f"{__name__}:Constant"}) == Constant()


def test_kinds_are_light_to_import():
    heavy = "{'torch', 'torchvision', 'timm', 'skimage', 'scipy', 'sklearn', 'matplotlib', 'pandas'}"
    program = (
        "import sys\n"
        "from braindiffuser.metrics.profiles import Profile, profile_names\n"
        "assert all(Profile.load(name).metrics for name in profile_names())\n"
        "from braindiffuser.metrics import ssim_column_mean\n"
        f"found = {heavy} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
