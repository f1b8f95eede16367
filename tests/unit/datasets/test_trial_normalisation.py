import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.trial_normalisation import (
    check_normalisation,
    normalisation_doubts,
    normalise_trials,
    spread_doubts,
)
from braindiffuser.errors import RecordingError
from braindiffuser.regression.estimators import Ridge

NAMES = ("session", "training", "run", "session-all-trials", "none")


def table(*runs):
    """A table of trials from (session, run, training trials, test trials, trials of neither)."""
    rows = [
        (session, run, split)
        for session, run, *counts in runs
        for split, n in zip(("train", "test", "out"), counts, strict=False)
        for _ in range(n)
    ]
    return pd.DataFrame(rows, columns=["session", "run", "split"])


def takes(trials):
    """Names of the normalisations that take a table."""
    taken = []
    for name in NAMES:
        try:
            check_normalisation(trials, name)
        except RecordingError:
            continue
        taken.append(name)
    return taken


@pytest.mark.parametrize(
    ("trials", "refused_by"),
    [
        (table((1, 1, 2, 1), (1, 2, 2, 0)), set()),
        (table((1, 1, 2, 1), (1, 2, 1, 3)), {"run"}),
        (table((1, 1, 2, 1), (1, 2, 0, 3)), {"run"}),
        (table((1, 1, 2, 1), (2, 1, 0, 3)), {"session", "run"}),
        (table((1, 1, 2, 1), (2, 1, 1, 3)), {"session", "run", "session-all-trials"}),
        (table((1, 1, 1, 1), (1, 2, 1, 1)), {"run"}),
        (table((1, 1, 2, 1), (1, 2, 0, 0, 1), (2, 1, 0, 0, 4)), set()),
    ],
)
def test_sessions_and_runs_need_training_trials_of_their_own(trials, refused_by):
    assert set(NAMES) - set(takes(trials)) == refused_by


@pytest.mark.parametrize(
    "trials", [table((1, 1, 2), (1, 2, 1)), table((1, 1, 2), (2, 1, 0, 3)), table((1, 1, 1), (2, 1, 9))]
)
@pytest.mark.parametrize("asked", NAMES)
def test_a_refusal_offers_what_works(trials, asked):
    if asked in takes(trials):
        return
    with pytest.raises(RecordingError) as error:
        check_normalisation(trials, asked)
    said = str(error.value).partition("choose ")[2]
    offered = {name for name in NAMES if re.search(rf"(?<![\w-]){name}(,| or)", said)}
    assert offered >= {"training", "none"}
    assert offered <= set(takes(trials))
    assert "session-all-trials" not in offered or "learns from test responses" in said


def test_a_refusal_names_session_and_run():
    trials = table((1, 1, 4, 1), (3, 1, 4), (3, 2, 1, 2), (4, 1, 0, 2))
    with pytest.raises(
        RecordingError, match=r"run 2 of session 3 has 1 training trial \(1 more run too few as well\), and"
    ):
        check_normalisation(trials, "run")
    with pytest.raises(RecordingError, match="session 4 has 0 training trials, and"):
        check_normalisation(trials, "session")


@pytest.mark.parametrize("name", NAMES)
def test_trials_of_neither_split_do_not_count(name):
    trials = table((1, 1, 5, 2, 3), (1, 2, 5, 2, 0))
    betas = np.random.default_rng(0).normal(size=(len(trials), 4)).astype(np.float32)
    is_out = (trials["split"] == "out").to_numpy()
    before = normalise_trials(betas, trials, name)[~is_out]
    betas[is_out] += 9
    np.testing.assert_array_equal(normalise_trials(betas, trials, name)[~is_out], before)


def test_test_responses_that_enter_are_said():
    trials = table((1, 1, 20, 5), (2, 1, 0, 5), (3, 1, 0, 5), (5, 1, 0, 0, 7))
    (said,) = normalisation_doubts(trials, "session-all-trials")
    assert said.startswith("Test responses entered the normalisation: sessions 2–3 have no training trials")
    assert normalisation_doubts(table((1, 1, 20, 5)), "session-all-trials") == []
    for name in ("training", "none"):
        assert normalisation_doubts(trials, name) == []


def test_runs_that_tell_little_are_said():
    assert normalisation_doubts(table((1, 1, 20, 5), (1, 2, 10)), "run") == []
    (said,) = normalisation_doubts(table((1, 1, 20, 5), (2, 1, 10), (2, 2, 9)), "run")
    assert "as few as 9 training trials (run 2 of session 2)" in said
    (said,) = normalisation_doubts(table((1, 1, 20, 5), (2, 1, 10)), "run")
    assert "one run in each session" in said


@pytest.mark.parametrize(("spread", "is_said"), [(0.01, True), (0.7, False), (1.0, False), (2.0, False), (300.0, True)])
def test_alpha_in_another_unit_is_said(spread, is_said):
    train = (spread * np.random.default_rng(0).normal(size=(200, 30)) + 5).astype(np.float32)
    train[:, :5] = 0
    said = spread_doubts(train)
    assert bool(said) == is_said
    if said:
        square = float(re.search(r"alpha / (\S+) does", said[0])[1])
        assert square == pytest.approx(spread**2, rel=0.2)
    assert spread_doubts(np.zeros((3, 2), np.float32)) == []


@given(scale=st.floats(0.01, 300), offset=st.floats(-1, 1), alpha=st.floats(0.1, 1e3))
@settings(deadline=None, max_examples=20)
def test_alpha_acts_as_the_page_says(scale, offset, alpha):
    rng = np.random.default_rng(0)
    z, targets, new = rng.normal(size=(30, 12)), rng.normal(size=(30, 3)), rng.normal(size=(5, 12))
    in_unit = Ridge(alpha=alpha).fit(scale * (z + offset), targets).predict(scale * (new + offset))
    z_scored = Ridge(alpha=alpha / scale**2).fit(z, targets).predict(new)
    np.testing.assert_allclose(in_unit, z_scored, rtol=1e-6, atol=1e-8)
