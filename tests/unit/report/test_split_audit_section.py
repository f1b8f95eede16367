"""What the audit says of a split follows from its numbers."""

import pytest

from braindiffuser.report.split_audit_section import audit_sentences


def doubles(count, more=False):
    near = {"count": count, "share": count / 100, "ci95": [0.0, 0.04], "training_share": 0.02}
    return near | {"training_ci95": [0.01, 0.03], "more_than_training": more}


def facts(verdict="alike", copies=(), slopes=()):
    quantiles = {"0.05": 0.4, "0.25": 0.5, "0.5": 0.6, "0.75": 0.7, "0.95": 0.8}
    thirds = [{"value": value, "ci95": [value - 0.1, value + 0.1]} for value in (0.6, 0.7, 0.9)]
    scores = {
        f"score{number}": {
            "label": f"Score {number}",
            "higher_is_better": True,
            "chance": 0.5,
            "thirds": thirds,
            "slope": {"value": value, "ci95": [value - 0.1, value + 0.1], "p": p, "r": 0.3},
        }
        for number, (value, p) in enumerate(slopes)
    }
    own = {
        "n": 100,
        "similarity": {"quantiles": quantiles},
        "beside_training": {"value": 0.5, "ci95": [0.45, 0.55]},
        "verdict": verdict,
        "near_duplicates": doubles(len(copies)),
        "pixel_duplicates": doubles(len(copies)),
        "near_copies": list(copies),
        "look_alikes": [],
        "thirds": [0.4, 0.6, 0.8],
        "scores": scores,
    }
    return {"threshold": 0.95, "pixel_threshold": 0.98, "training": {"quantiles": quantiles}, "sets": {"test": own}}


@pytest.mark.parametrize(
    ("verdict", "begins"),
    [
        ("alike", "Warning: the test pictures lie inside the training set's neighbourhood"),
        ("nearer", "Leak: the test pictures lie nearer to the training pictures"),
        ("farther", "The test pictures lie farther from the training pictures"),
        ("open", "Too few pictures tell whether the test pictures lie"),
    ],
)
def test_where_the_test_set_lies_is_said(verdict, begins):
    said = audit_sentences(facts(verdict))
    assert said[0].startswith("No copy across the split was found among the test pictures. By features, 0 of 100 have")
    assert said[1].startswith(begins)
    assert "nearer in 50 % of pairs, 95 % interval: 45 – 55 %" in said[1]


def test_many_copies_are_counted_and_the_first_are_named():
    copies = [
        {
            "number": number,
            "stimulus_id": 90 + number,
            "name": "dog.png" * (number == 1),
            "train_id": 50 + number,
            "train_name": "cat.png" * (number == 0),
        }
        for number in range(7)
    ]
    said = audit_sentences(facts(copies=copies))[0]
    assert said.startswith(
        "Leak: of 100 test pictures, 7 are near-copies of training pictures (pixels correlate by 0.98"
    )
    assert (
        "stimulus 90 (number 0) as training stimulus 50 (cat.png), dog.png (number 1) as training stimulus 51" in said
    )
    assert (
        "stimulus 94 (number 4) as training stimulus 54 and 2 more. Take them out of either side. By features, 7 of 100 have"
        in said
    )


def test_near_duplicates_by_features_are_a_leak_as_the_verdict_says():
    known = facts()
    known["sets"]["test"]["near_duplicates"] = doubles(20, more=True)
    said = audit_sentences(known)
    assert said[0].startswith("Leak by features: 20 of 100 have a training picture with a similarity of 0.95 or more")
    assert "No copy" not in said[0]
    assert "scores tell nothing of others" in said[1]


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        (False, "not shown to be more than among training pictures (2.0 %)."),
        (True, "more than among training pictures (2.0 %)."),
    ],
)
def test_doubles_stand_beside_those_of_training_pictures(more, ends):
    known = facts()
    known["sets"]["test"]["near_duplicates"] = doubles(1 if more else 3, more)
    said = audit_sentences(known)[0]
    begins = "1 of 100 has" if more else "3 of 100 have"
    assert said.startswith(f"No copy across the split was found among the test pictures. By features, {begins}")
    assert said.endswith(f"of 0.95 or more ({1 if more else 3}.0 %, 95 % interval: 0.0 – 4.0 %), {ends}")


def test_pictures_that_pixels_cannot_tell_from_copies_are_named_and_not_cleared():
    known = facts()
    pair = {"number": 7, "stimulus_id": 3, "name": "", "train_id": 33, "train_name": "", "pixel_correlation": 0.99}
    known["sets"]["test"] |= {
        "pixel_duplicates": doubles(4),
        "look_alikes": [pair | {"number": n} for n in (7, 8, 9, 11)],
    }
    said = audit_sentences(known)[0]
    assert said.startswith(
        "Whether test pictures are copies cannot be told from pixels: of 100 test pictures, 4 have pixels that correlate with a "
        "training picture's by 0.98 or more (not shown to be more than among training pictures (2.0 %); contrasts may differ): "
        "stimulus 3 (number 7) as training stimulus 33,"
    )
    assert "No copy" not in said


def test_scores_are_named_if_their_slope_holds_when_all_are_tested():
    both = audit_sentences(facts(slopes=[(0.5, 0.001), (-0.4, 0.02), (0.3, 0.2)]))[2:]
    assert both == [
        "Of the test pictures, those near to a training picture score better by Score 0 (1 of 3 scores; Score 0: 90.0 % in the "
        "nearest third, 60.0 % in the farthest).",
        "Of the test pictures, those near to a training picture score worse by Score 1 (1 of 3 scores; Score 1: 90.0 % in the "
        "nearest third, 60.0 % in the farthest).",
    ]
    (none,) = audit_sentences(facts(slopes=[(0.5, 0.03), (0.4, 0.04)]))[2:]
    assert none.startswith("None of 2 scores of the test pictures is shown to depend on the distance")
