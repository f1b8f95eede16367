"""What the page says of decoders follows from their numbers."""

import pytest

from braindiffuser.report.accuracy_section import accuracy_sentences, no_accuracy_section


def facts(
    *,
    r2=0.2,
    ci=(0.15, 0.25),
    p=0.001,
    cv=0.2,
    best=0.21,
    growth=((100, 0.1), (200, 0.2)),
    at_edge=False,
    as_many=None,
    n_train=200,
    n=999,
):
    mean = {"value": r2, "ci95": list(ci), "null95": [-1.0, -0.5], "p": p}
    points = [{"n_stimuli": n, "r2": {"value": value, "ci95": [value - 0.05, value + 0.05]}} for n, value in growth]
    own = {"r2": mean, "correlation": {**mean, "value": 0.45}, "best_scaled_r2": best}
    group = {
        "sets": {"test": own},
        "growth": points,
        "cross_validated": None if cv is None else {"r2": cv, "as_many": as_many and fewer(as_many)},
        "alpha_at_edge_of_grid": at_edge,
    }
    return {"n_train": n_train, "n_permutations": n, "test_sets": {"test": 50}, "groups": {"text": group}}


def fewer(value):
    return {"n_stimuli": 160, "r2": {"value": value, "ci95": [value - 0.05, value + 0.05]}}


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        ({}, "as in cross-validation (0.200); still growing with training pictures (R² 0.100 with 100)", "scale"),
        ({"p": 0.2}, "text: not decoded beyond chance, correlation 0.450, R² 0.200 (p = 0.200).", "cross-validation"),
        (
            {"p": 1 / 19, "n": 18},
            "text: whether it is decoded beyond chance is not said: 18 exchanges of test pictures, 19 are needed, correlation",
            "text: decoded",
        ),
        ({"p": 1 / 20, "n": 19}, "text: decoded beyond chance", "not said"),
        ({"cv": 0.3}, "below cross-validation (0.300): test pictures or responses differ", "as in"),
        ({"cv": 0.1}, "above cross-validation (0.100): its folds fit fewer pictures, test responses are", "as in"),
        (
            {"cv": 0.1, "as_many": 0.14},
            "as in cross-validation (0.100; test R² 0.140 with 160 training pictures, as folds have)",
            "above",
        ),
        (
            {"cv": 0.1, "as_many": 0.19},
            "as folds have): test responses are cleaner, or test pictures easier, than those of training, or chance of which "
            "pictures trained;",
            "fewer",
        ),
        ({"cv": 0.3}, "differ from those of training, or chance of which pictures trained;", "above"),
        ({"cv": 0.1}, "easier than those of training, or chance of which pictures trained;", "below"),
        ({"cv": 0.21, "as_many": 0.14}, "below cross-validation (0.210", "as in"),
        ({"cv": 0.145}, "as in cross-validation (0.145)", "above"),  # half of ±.05, by √(1 + 50/200)
        ({"cv": 0.255}, "as in cross-validation (0.255)", "below"),
        ({"cv": 0.1, "n_train": 12}, "as in cross-validation (0.100)", "above"),  # as unsure itself
        ({"cv": None}, "still growing", "cross-validation"),
        ({"best": 0.4}, "R² could be 0.400 with another scale and offset", "at the edge"),
        (
            {"growth": ((100, 0.19), (200, 0.2))},
            "not shown to be better than with 100 training pictures (R² 0.190, 95 % 0.14",
            "growing",
        ),
        ({"growth": ((200, 0.2),)}, "cross-validation", "training pictures"),
        ({"at_edge": True}, "alpha lies at the edge of its grid", "scale"),
        ({"r2": -0.1, "ci": (-0.2, 0.0), "cv": -0.1}, "R² −0.100", "below"),
    ],
)
def test_sentences_follow_from_the_numbers(changes, words, absent):
    (sentence,) = accuracy_sentences(facts(**changes))
    assert words in sentence
    assert absent not in sentence


def test_why_there_is_no_accuracy_is_one_sentence():
    (text,) = no_accuracy_section("x", "There are two test pictures").blocks
    assert text.text == "There are two test pictures, so there is no accuracy to show."
