"""What is found of runs that differ: means are of what all have, and what is left out is said."""

from copy import deepcopy

import pytest

from braindiffuser.reproduction.found import findings

METRIC = {
    "label": "PixCorr",
    "is_low_level": True,
    "higher_is_better": True,
    "chance": None,
    "value": 0.2,
    "ci95": [0.1, 0.3],
    "ablations": {},
}


def run(subject, weights=None, **changes):
    return {
        "subject": subject,
        "split": "layout",
        "averaged_as": "layout",
        "dataset": "nsd",
        "simulated": False,
        "counts": {},
        "n_ablated": 3,
        "metrics": {"pixcorr": METRIC},
        "missing": [],
        "notes": {},
        "without": [],
        "labels": {},
        "weights": weights,
        "accuracy": {},
        "groups": {},
        **changes,
    }


def weights(groups, reference="latents"):
    of_region = {
        "n_voxels": 3,
        "differences": dict.fromkeys(groups, 0.1),
        "p": dict.fromkeys(groups, 0.1),
        "p_contiguous": None,
    }
    regions = {name: {**deepcopy(of_region), "patterns": deepcopy(of_region)} for name in ("V1", "faces")}
    return {"groups": [reference, *groups], "reference": reference, "regions": regions}


def test_weights_are_compared_of_the_groups_that_all_subjects_have():
    found = findings([run("a", weights(["vision", "text"])), run("b", weights(["vision"]))])
    assert found["weights"]["groups"] == ["vision"]
    assert found["weights"]["weights"]["vision"]["V1"]["subjects"] == {"a": 0.1, "b": 0.1}
    assert found["unexpected"] == ["Weights of text are left out, since b did not predict it."]


def test_weights_against_other_references_are_not_compared():
    found = findings([run("a", weights(["vision"])), run("b", weights(["latents"], "vision"))])
    assert found["weights"] == {}
    assert found["unexpected"] == [
        "Weights of regions are not compared, since subjects have other groups as the reference: latents (a), vision (b)."
    ]


def test_subjects_without_weights_are_said():
    found = findings([run("a", weights(["vision"])), run("b")])
    assert found["unexpected"] == ["Weights of regions are those of a alone, without b."]
    assert findings([run("a"), run("b")])["unexpected"] == []


@pytest.mark.parametrize("first", [0, 1])
def test_a_metric_that_a_run_lacks_is_left_out_and_said(first):
    runs = [run("a", metrics={"pixcorr": METRIC, "clip": {**METRIC, "label": "CLIP"}}), run("b")]
    found = findings([runs[first], runs[1 - first]])
    assert list(found["scores"]) == ["pixcorr"]
    assert found["unexpected"] == ["CLIP (clip) is left out, since it was not scored in b/layout."]
