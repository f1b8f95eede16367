"""Laws of what is found in several runs: means over the runs of a subject, and no more said than they can bear."""

import pytest

from braindiffuser.report.finding_scores import position_sentences
from braindiffuser.report.finding_sections import finding_sections
from braindiffuser.reproduction.found import findings


def metric(value):
    low, high = value - 0.001, value + 0.001
    ablations = {"low_level_only": value - 0.1}
    facts = {
        "label": "PixCorr",
        "is_low_level": True,
        "higher_is_better": True,
        "chance": None,
        "value": value,
        "ci95": [low, high],
    }
    return {**facts, "ablations": ablations, "ceiling": None}


def weights(difference, regions=("V1", "faces"), **others):
    own = {"differences": {"vision": difference}, "p": {"vision": 0.1}, "p_contiguous": {"vision": 0.3}}
    patterns = {"differences": {"vision": 2 * difference}, "p": {"vision": 0.2}, "p_contiguous": None}
    region = {"n_voxels": 30, **own, "patterns": patterns}
    return {
        "groups": ["latents", "vision"],
        "reference": "latents",
        "regions": {name: {**region, **others} for name in regions},
    }


def run(subject, split, value, own_weights, n_ablated=5):
    counts = dict.fromkeys(("voxels", "training pictures", "test pictures", "sessions"), 30)
    said = {
        "dataset": "laion_fmri",
        "simulated": False,
        "page": f"{subject}/{split}/index.html",
        "uid": "u",
        "warnings": [],
        "missing": [],
        "notes": {},
        "without": [],
        "labels": {"low_level_only": "Low level only"},
    }
    given = {"accuracy": {}, "regions": {}, "groups": {}, "trained_on": {}, "weights": own_weights}
    return {
        **{"subject": subject, "split": split, "averaged_as": "cluster_k5", "counts": counts, "n_ablated": n_ablated},
        **{"metrics": {"pixcorr": metric(value)}},
        **said,
        **given,
    }


@pytest.fixture
def found():
    """One subject with two runs of the split, and one with one."""
    runs = [
        run("a", "c0", 0.24, weights(0.5)),
        run("a", "c1", 0.26, weights(-0.9, ("V1",), n_voxels=34), n_ablated=7),
        run("b", "c0", 0.3, weights(0.2)),
    ]
    return findings(runs)


def words_of(found):
    sections = finding_sections({**found, "studies": {}}, {}, dict.fromkeys(found["subjects"], ()))
    return {section.name: [getattr(block, "text", "") for block in section.blocks] for section in sections}


def test_differences_of_weights_are_means_over_the_runs_of_a_subject(found):
    facts = found["weights"]
    for what, times in (("weights", 1), ("patterns", 2)):
        of_v1 = facts[what]["vision"]["V1"]
        assert of_v1["subjects"] == pytest.approx({"a": times * -0.2, "b": times * 0.2})
        assert of_v1["p"].keys() == {"b"}
        assert of_v1["p_contiguous"] == ({"b": 0.3} if what == "weights" else {})
        assert facts[what]["vision"]["faces"]["subjects"] == pytest.approx({"a": times * 0.5, "b": times * 0.2})
    assert facts["n_voxels"]["V1"] == {"a": 32, "b": 30}
    assert facts["n_runs"] == {"a": 2, "b": 1}
    assert any("means over several runs" in text and "a (2 runs)" in text for text in words_of(found)["finding-4"])


def test_a_mean_over_runs_is_above_or_below_without_an_interval(found):
    said = position_sentences(found["scores"])
    for row, sentence in zip(found["scores"]["pixcorr"]["original"], said, strict=True):
        value = found["scores"]["pixcorr"]["original"][row]
        assert "1 above" in sentence
        assert f"1 {'above' if value < 0.25 else 'below' if value > 0.25 else 'equal'} without an interval" in sentence
    alone = findings([run("b", "c0", 0.3, None)])
    assert all("without an interval" not in sentence for sentence in position_sentences(alone["scores"]))


def test_the_runs_behind_pictures_and_ablations_are_said(found):
    words = words_of(found)
    assert found["ablations"]["n_images"] == {"a": [5, 7], "b": 5}
    assert any("5 + 7 (a), 5 (b)" in text for text in words["finding-3"])
    assert "Shown is the first run of a subject: a c0, of 2 runs." in words["finding-1"]
    alone = words_of(findings([run("b", "c0", 0.3, weights(0.2))]))
    assert not any("first run" in text or "over several runs" in text for name in alone for text in alone[name])
