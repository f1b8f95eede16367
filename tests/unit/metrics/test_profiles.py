import json
from typing import ClassVar

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from braindiffuser.errors import RunError
from braindiffuser.metrics.metric import Metric, PixelMetric
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.profile_comparison import computed
from braindiffuser.metrics.profiles import Profile, profile_names
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.metrics.two_way_identification import TwoWayIdentification

NAMES = ("brain-diffuser-2023", "demo", "mindeye-2023", "mindeye2-2024", "pixels", "recommended", "takagi-2023")
EACH = pytest.mark.parametrize("name", NAMES)
LAYER = {"network": "alexnet", "layer": "2", "label": "AlexNet(2)", "description": "Of the second convolution."}
SHARE, DISTANCE, CORRELATION = (True, 0.5, [0.0, 1.0]), (False, None, [0.0, 2.0]), (True, None, [-1.0, 1.0])
AMONG_50 = (True, 0.02, [0.0, 1.0])
PAPER, MINDEYE, TAKAGI, MANY = (
    "Ozcelik & VanRullen 2023",
    "MindEye: Scotti",
    "Takagi & Nishimoto 2023",
    "n-way identification: Kay",
)
LITE0 = "EfficientNet: Tan & Le 2019"
MINDEYES = {
    "pixcorr_256": ("PixCorr (256)", MINDEYE, CORRELATION),
    "ssim_256": ("SSIM (256)", MINDEYE, CORRELATION),
    "alexnet_2_256": ("AlexNet(2) at 256", MINDEYE, SHARE),
    "alexnet_5_256": ("AlexNet(5) at 256", MINDEYE, SHARE),
    "inception_256": ("InceptionV3 at 342", MINDEYE, SHARE),
    "clip_256": ("CLIP by 256", MINDEYE, SHARE),
    "effnet_v2_256": ("EffNet-B (V2)", MINDEYE, DISTANCE),
    "swav_256": ("SwAV by 256", MINDEYE, DISTANCE),
}
# Key: label, what its citation begins with, (higher is better, chance, bounds).
FACTS = {
    "demo": {
        "pixcorr": ("PixCorr", PAPER, CORRELATION),
        "ssim": ("SSIM", "Wang et al. 2004", CORRELATION),
        "efficientnet_lite0_early": ("EffNet-Lite0 early", "EfficientNet: Tan & Le 2019", SHARE),
        "efficientnet_lite0_middle": ("EffNet-Lite0 middle", "EfficientNet: Tan & Le 2019", SHARE),
        "efficientnet_lite0_last": ("EffNet-Lite0 last", "EfficientNet: Tan & Le 2019", SHARE),
        "clip_demo": ("CLIP (demo)", "CLIP: Radford et al. 2021", SHARE),
    },
    "pixels": {
        "pixcorr": ("PixCorr", PAPER, CORRELATION),
        "ssim": ("SSIM", "Wang et al. 2004", CORRELATION),
    },
    "brain-diffuser-2023": {
        "pixcorr": ("PixCorr", PAPER, CORRELATION),
        "ssim_column_mean": ("SSIM (1-D, 2023)", PAPER, CORRELATION),
        "ssim": ("SSIM (2-D)", "Wang et al. 2004", CORRELATION),
        "alexnet_2": ("AlexNet(2)", PAPER, SHARE),
        "alexnet_5": ("AlexNet(5)", PAPER, SHARE),
        "inception": ("InceptionV3", PAPER, SHARE),
        "clip": ("CLIP", PAPER, SHARE),
        "effnet": ("EffNet-B", PAPER, DISTANCE),
        "swav": ("SwAV", PAPER, DISTANCE),
    },
    "mindeye-2023": MINDEYES,
    "mindeye2-2024": MINDEYES,
    "takagi-2023": {
        "alexnet_pool2_per_stimulus": ("AlexNet(2), per stimulus", TAKAGI, SHARE),
        "alexnet_pool5_per_stimulus": ("AlexNet(5), per stimulus", TAKAGI, SHARE),
        "alexnet_7_per_stimulus": ("AlexNet(7), per stimulus", TAKAGI, SHARE),
        "inception_299_per_stimulus": ("InceptionV3, per stimulus", TAKAGI, SHARE),
        "clip_bicubic_per_stimulus": ("CLIP, per stimulus", TAKAGI, SHARE),
    },
    "recommended": {
        "pixcorr": ("PixCorr", PAPER, CORRELATION),
        "ssim": ("SSIM", "Wang et al. 2004", CORRELATION),
        "ssim_column_mean": ("SSIM (1-D, 2023)", PAPER, CORRELATION),
        "lpips": ("LPIPS", "LPIPS: Zhang et al. 2018", (False, None, [0.0, 8.05])),
        "clip": ("CLIP", PAPER, SHARE),
        "clip_among_50": ("CLIP among 50", MANY, AMONG_50),
        "clip_among_50_per_stimulus": ("CLIP among 50, per stimulus", MANY, AMONG_50),
        "inception_among_50": ("InceptionV3 among 50", MANY, AMONG_50),
        "inception_among_50_per_stimulus": ("InceptionV3 among 50, per stimulus", MANY, AMONG_50),
        "alexnet_5_among_50": ("AlexNet(5) among 50", MANY, AMONG_50),
        "efficientnet_lite0_last": ("EffNet-Lite0 last", LITE0, SHARE),
        "efficientnet_lite0_among_50": ("EffNet-Lite0 among 50", MANY, AMONG_50),
        "efficientnet_lite0_among_50_per_stimulus": ("EffNet-Lite0 among 50, per stimulus", MANY, AMONG_50),
        "effnet": ("EffNet-B", PAPER, DISTANCE),
        "swav": ("SwAV", PAPER, DISTANCE),
    },
}


class Sparse(PixelMetric):
    """A metric that lacks its bounds."""

    label: str = "Sparse"
    description: str = "Zero."
    citation: str = "none"

    def compare(self, seen, made):
        return np.zeros(len(seen))


class Bounded(Sparse):
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)


def test_all_profiles_are_known():
    assert profile_names() == list(NAMES)


@EACH
def test_facts_of_every_metric_are_printed(name):
    profile = Profile.load(name)
    scores = ScoreSets({key: np.full(3, 0.5) for key in profile.metrics})
    summary = summarise(profile, scores, np.random.default_rng(0), n_resamples=2)
    assert summary["profile"] == name
    entries = json.loads(json.dumps(summary["metrics"]))
    assert list(entries) == list(FACTS[name])
    for key, entry in entries.items():
        label, citation, numbers = FACTS[name][key]
        assert entry["label"] == label
        assert entry["citation"].startswith(citation)
        assert (entry["higher_is_better"], entry["chance"], entry["bounds"]) == numbers
        assert entry["description"].endswith(".")
        assert "\n" not in entry["description"]


@EACH
def test_a_profile_survives_yaml(name):
    profile = Profile.load(name)
    again = Profile.model_validate(yaml.safe_load(yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False)))
    assert again == profile
    assert list(again.metrics) == list(profile.metrics)
    assert [metric.kind for metric in again.metrics.values()] == [metric.kind for metric in profile.metrics.values()]


def test_one_key_is_one_number_in_every_profile():
    """What is computed and its key determine each other, within profiles and across them."""
    found = {
        (name, key): computed(metric) for name in profile_names() for key, metric in Profile.load(name).metrics.items()
    }
    keys, numbers = {key for _, key in found}, set(found.values())
    assert len({(key, number) for (_, key), number in found.items()}) == len(keys) == len(numbers)
    assert len(set(found)) > len(keys)  # some are shared


def test_demo_declares_that_it_stands_in():
    for metric in Profile.load("demo").metrics.values():
        if isinstance(metric, TwoWayIdentification):
            assert "Stand-in for" in metric.description
            assert metric.direction == "per_reconstruction"


def test_each_layer_is_listed_once():
    again = TwoWayIdentification(**LAYER, direction="per_stimulus")
    profile = Profile(name="two", metrics={"pixcorr": PixCorr(), "one": TwoWayIdentification(**LAYER), "again": again})
    assert profile.layers == {"alexnet": ("2",)}
    assert Profile.load("demo").layers == {
        "efficientnet_lite0": ("early", "middle", "last"),
        "clip_demo": ("embedding",),
    }
    assert Profile.load("brain-diffuser-2023").layers["alexnet"] == ("2", "5")


def test_without_a_network_its_metrics_are_gone_and_the_rest_keeps_its_order():
    demo = Profile.load("demo")
    assert list(demo.without({"efficientnet_lite0"}).metrics) == ["pixcorr", "ssim", "clip_demo"]
    assert demo.without({}) == demo
    assert demo.without(demo.layers).layers == {}


def test_further_metrics_come_last_and_take_no_key():
    demo = Profile.load("demo")
    more = demo.with_metrics({"mine": Bounded()})
    assert list(more.metrics) == [*demo.metrics, "mine"]
    assert more.name == "demo"
    assert "mine" not in demo.metrics
    with pytest.raises(RunError, match="the profile demo has metrics ssim already: give yours other keys"):
        demo.with_metrics({"ssim": SSIM(), "mine": Bounded()})


def test_unknown_profiles_are_answered_with_those_there_are():
    with pytest.raises(RunError, match="there is no profile mine, choose one of brain-diffuser-2023, demo"):
        Profile.load("mine")


def test_unknown_kinds_and_entries_are_answered_with_those_there_are():
    wrong = {"one": {"kind": "psnr"}, "two": {"kind": "ssim", "sigma": 2}, "three": {}}
    with pytest.raises(ValidationError) as caught:
        Profile(name="wrong", metrics=wrong)
    faults = {".".join(map(str, fault["loc"])): fault["msg"] for fault in caught.value.errors()}
    known = (
        "correlation_distance, lpips, many_way_identification, pixcorr, ssim, ssim_column_mean, two_way_identification"
    )
    assert faults == {
        "metrics.one": f"there is no kind psnr; known kinds: {known}, or module:Class of your own",
        "metrics.two.sigma": "there is no such entry; known entries: label, description, citation, sizes",
        "metrics.three": f"kind is missing; known kinds: {known}",
    }
    with pytest.raises(ValidationError, match="there is no such entry; known entries: name, metrics"):
        Profile(name="wrong", metrics={}, metric={})


def test_metrics_that_could_not_be_computed_or_printed_are_refused():
    with pytest.raises(ValidationError, match=r"metric bare .* derives from neither PixelMetric nor FeatureMetric"):
        Profile(name="wrong", metrics={"bare": Metric(label="Bare", description="None.", citation="none")})
    with pytest.raises(ValidationError, match=r"metric sparse .* has no bounds: declare them, for example"):
        Profile(name="wrong", metrics={"sparse": Sparse()})


def test_low_level_metrics_are_those_that_the_paper_calls_so_and_their_stand_ins():
    low = {name: [key for key, metric in Profile.load(name).metrics.items() if metric.is_low_level] for name in NAMES}
    assert low == {
        "brain-diffuser-2023": ["pixcorr", "ssim_column_mean", "ssim", "alexnet_2", "alexnet_5"],
        "demo": ["pixcorr", "ssim", "efficientnet_lite0_early", "efficientnet_lite0_middle"],
        "mindeye-2023": ["pixcorr_256", "ssim_256", "alexnet_2_256", "alexnet_5_256"],
        "mindeye2-2024": ["pixcorr_256", "ssim_256", "alexnet_2_256", "alexnet_5_256"],
        "pixels": ["pixcorr", "ssim"],
        "recommended": ["pixcorr", "ssim", "ssim_column_mean", "lpips", "alexnet_5_among_50"],
        "takagi-2023": ["alexnet_pool2_per_stimulus", "alexnet_pool5_per_stimulus"],
    }


def test_papers_print_eight_numbers_under_the_same_names():
    names = ["PixCorr", "SSIM", "AlexNet(2)", "AlexNet(5)", "InceptionV3", "CLIP", "EffNet-B", "SwAV"]
    for name in ("brain-diffuser-2023", "mindeye-2023", "mindeye2-2024"):
        assert list(Profile.load(name).prints) == names
    assert list(Profile.load("takagi-2023").prints) == [name for name in names if name[0] in "AIC"]
    assert Profile.load("brain-diffuser-2023").printed["SSIM"] == "ssim_column_mean"
    assert Profile.load("pixels").printed == {"PixCorr": "pixcorr", "SSIM": "ssim"}
    limited = Profile.load("brain-diffuser-2023").limited_to(["ssim", "pixcorr"])
    assert limited.printed == {"PixCorr": "pixcorr", "SSIM (2-D)": "ssim"}
    with pytest.raises(ValidationError, match="prints: there is no metric psnr; there are ssim"):
        Profile(name="wrong", metrics={"ssim": SSIM()}, prints={"PSNR": "psnr"})


def test_mindeye2_is_mindeye_of_a_blend():
    first, second = Profile.load("mindeye-2023"), Profile.load("mindeye2-2024")
    assert first.metrics == second.metrics
    assert first.blend is None
    assert (second.blend.blurry_share, second.blend.size) == (0.25, 256)
    assert "0.75" in second.notes["Blend"]


def test_sizes_change_the_identity_of_a_metric_only_where_they_are_given():
    assert "sizes" not in SSIM().influences("cpu")
    assert SSIM(sizes=(256, 425)).influences("cpu")["sizes"] == [256, 425]
