from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.normalisation import Normalisation
from braindiffuser.datasets.plausibility import compare_sessions, doubts, unit_doubts
from braindiffuser.datasets.responses import ResponseAccumulator
from braindiffuser.datasets.session_facts import (
    Distances,
    as_arrays,
    by_chance,
    describe,
    from_arrays,
    shares_of_one_value,
)
from braindiffuser.errors import RecordingError

N_TRIALS, N_VOXELS, SESSIONS = 40, 60, (1, 2, 3)


def recorded(seed=0, n_trials=N_TRIALS):
    """Three sessions of betas in percent signal change, each trial another stimulus; voxels differ in spread by up to 30."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(-1.7, 1.7, N_VOXELS))
    return {session: (rng.normal(size=(n_trials, N_VOXELS)) * scale).astype(np.float32) for session in SESSIONS}


def told(betas):
    """Facts of a session in which each trial shows another stimulus."""
    return describe(betas, np.arange(len(betas)))


def accumulate(betas, normalisation="session", stimulus_ids=None):
    n = {session: len(own) for session, own in betas.items()}
    trials = pd.DataFrame({"session": np.repeat(list(n), list(n.values()))})
    trials["stimulus_id"] = np.arange(len(trials)) if stimulus_ids is None else stimulus_ids
    trials["run"] = 1
    trials["split"] = np.where(trials["stimulus_id"] % 5 == 0, "test", "train")
    accumulator = ResponseAccumulator(trials, next(iter(betas.values())).shape[1], normalisation)
    for session, own in betas.items():
        accumulator.add(session, own)
    return accumulator.finish()


def refuse(betas, words, normalisation="session", **options):
    with pytest.raises(RecordingError, match=words):
        accumulate(betas, normalisation, **options)


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5, 12, 40]))
@settings(deadline=None, max_examples=40)
def test_ordinary_sessions_pass(seed, n_trials):
    sessions = accumulate(recorded(seed, n_trials), "training").sessions
    assert list(sessions) == list(SESSIONS)
    assert not any(facts.constant.any() for facts in sessions.values())
    if n_trials >= 12:
        assert doubts(sessions) == []


LIMITS = pytest.mark.parametrize("beyond", [False, True])


@LIMITS
@pytest.mark.parametrize(("limit", "factor"), [(2.5, 1.1), (30.0, 1.1)])
def test_the_limits_of_spread(beyond, limit, factor):
    """The ratio itself varies by chance, so each side is a few per cent away."""
    betas = recorded(n_trials=400)
    for own in betas.values():
        own /= np.median(own.std(axis=0, ddof=1))
    betas[3] *= np.float32(limit * factor if beyond else limit / factor)
    if limit > 10 and beyond:
        refuse(betas, "not in the same unit")
    else:
        said = doubts(accumulate(betas).sessions)
        assert any("times as much as in the other sessions" in sentence for sentence in said) == (beyond or limit > 10)


@LIMITS
@pytest.mark.parametrize("limit", [0.02, 0.5])
def test_the_limits_of_voxels_without_data(beyond, limit):
    betas = recorded()
    wide = {session: np.tile(own, 2)[:, :100] for session, own in betas.items()}
    for own in wide.values():
        own += np.random.default_rng(1).normal(size=own.shape).astype(np.float32)
    wide[3][:, : round(100 * limit) + beyond] = 0
    if limit == 0.5 and beyond:
        refuse(wide, "51% of the voxels")
    else:
        assert bool(doubts(accumulate(wide).sessions)) == (beyond or limit == 0.5)


@LIMITS
def test_the_limit_of_outliers_that_are_said(beyond):
    betas = recorded()
    voxel = betas[2][:, 4]
    rest = np.delete(voxel, 7)
    usual = np.quantile(np.abs(rest - np.median(rest)), 0.75)
    voxel[7] = np.median(rest) + 60 * usual * (1.2 if beyond else 0.8)
    assert bool(doubts(accumulate(betas).sessions)) == beyond


@LIMITS
@pytest.mark.parametrize(("n_trials", "limit"), [(40, 500), (9, 1e6), (3, 1e6)])
@pytest.mark.parametrize("where", [np.s_[1, 4], np.s_[1, :]])
def test_the_limits_of_the_gap_of_outliers(beyond, n_trials, limit, where):
    """One beta, or a whole trial, that lies this many times as far from medians as the furthest of all others."""
    betas = recorded(n_trials=n_trials)
    distances = Distances.of(np.delete(betas[2], 1, axis=0) if n_trials > 9 else betas[2])
    factor = 1.3 if n_trials > 9 else 10  # what few trials tell varies by so much
    far = limit * distances.ratios().max() * distances.scale() * (factor if beyond else 1 / factor)
    betas[2][where] = (np.median(betas[2], axis=0) + far)[where[1]]
    if beyond:
        refuse(betas, "trial 1, counted from 0, is .*, and there is a gap", "training")
    elif where == np.s_[1, 4] and n_trials == 9:
        refuse(betas, "1 of 9 trials .first: trial 1, .* vary", "training")
    elif where == np.s_[1, 4]:
        assert any("Single betas" in sentence for sentence in doubts(accumulate(betas, "training").sessions))
    else:
        assert told(betas[2]).outlier_gap < limit


@LIMITS
def test_the_limit_of_units_of_trials(beyond):
    betas = recorded()
    betas[1] = np.random.default_rng(3).normal(size=betas[1].shape).astype(np.float32)
    betas[1][5] *= np.float32(90 if beyond else 25)
    if beyond:
        refuse(betas, r"1 of 40 trials \(first: trial 5, counted from 0\) vary 81\.6 times as much as all others")
    else:
        accumulate(betas)


@pytest.mark.parametrize("n_voxels", [1, 3, 7, 8])
@pytest.mark.parametrize("n_trials", [2, 40])
def test_equal_trials_are_refused_unless_chance_makes_them(n_voxels, n_trials):
    betas = {1: recorded(n_trials=40)[1][:n_trials, :n_voxels].copy(), 2: recorded(3)[2][:, :n_voxels]}
    betas[1][-1] = betas[1][0] if n_trials > 2 else betas[1][-1]
    if n_trials > 2 and n_voxels > 5:
        refuse(betas, "have equal betas", "training")
    else:
        accumulate(betas, "training")


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(deadline=None, max_examples=25)
def test_what_is_told_does_not_depend_on_unit_and_offset(seed, unit, offset):
    betas = recorded(seed)[1].astype(np.float64)
    facts, other = told(betas.astype(np.float32)), told((betas * unit + offset * unit).astype(np.float32))
    assert other.spread == pytest.approx(facts.spread * unit, rel=1e-3)
    assert other.outlier == pytest.approx(facts.outlier, rel=1e-2)
    assert other.n_outliers == facts.n_outliers


@given(st.integers(0, 1000), st.integers(0, N_VOXELS - 1), st.sampled_from([2, 3, 9, 10, 40]))
@settings(deadline=None, max_examples=25)
def test_the_outlier_is_the_ratio_of_distances_from_the_median(seed, voxel, n_trials):
    betas = recorded(seed, n_trials)[1]
    betas[1, voxel] += 500 * betas.std()
    betas[: n_trials // 4, 3] = 0
    expected, weak = [], []
    for own in betas.T.astype(np.float64):
        distance = np.sort(np.abs(own - np.median(own)))
        others = distance[distance > 0]
        weak.append(len(others) < 10)
        usual = distance[n_trials // 2] if weak[-1] else np.quantile(others, 0.75, method="lower")
        expected.append((usual, distance[-1]))
    usual, furthest = np.transpose(expected)
    typical = np.median(usual[~np.array(weak)]) if not all(weak) else np.median(usual)
    ratios = Distances.of(betas).ratios()
    np.testing.assert_allclose(ratios, furthest / np.maximum(usual, typical * np.where(weak, 1, 0.01)))
    facts = told(betas)
    assert facts.outlier == ratios.max()
    assert facts.n_outliers == (np.count_nonzero(ratios > 60) if n_trials >= 10 else 0)


def ordinary(kind, rng, n_trials, n_voxels):
    betas = rng.normal(size=(n_trials, n_voxels)) * np.exp(np.linspace(-1.5, 1.5, n_voxels))
    shared = rng.normal(size=(n_trials, 1))
    smooth = 0.7 * rng.normal(size=betas.shape) + 0.7 * shared
    residue = betas * np.where(
        np.arange(n_voxels) % 30 == 0, np.where(np.arange(n_trials) % 8 == 7, 1, 1e-4)[:, None], 1
    )
    return {
        "normal": lambda: betas,
        "common to all voxels": lambda: betas + 2 * rng.normal(size=(n_trials, 1)),
        "heavy tails": lambda: rng.standard_t(3, betas.shape),
        "half are 0": lambda: betas * (rng.random(betas.shape) < rng.uniform(0.44, 0.54)),
        "most are 0": lambda: betas * (rng.random(betas.shape) < 0.2),
        "nearly all are 0": lambda: betas * (rng.random(betas.shape) < 0.05),
        "coarse": lambda: np.rint(rng.normal(size=betas.shape) + np.linspace(-3, 3, n_voxels)),
        "coarse, beside 0": lambda: np.rint(rng.normal(size=betas.shape) * 0.5 + 1),
        "counts": lambda: rng.poisson(0.5, betas.shape),
        "whole numbers": lambda: np.rint(betas * 300),
        "thresholded": lambda: np.where(np.abs(smooth) > 1.5, smooth, 0),
        "rectified": lambda: np.maximum(smooth, 0),
        "counts of a common rate": lambda: rng.poisson(np.exp(shared - 0.5), betas.shape),
        "next to nothing in some voxels": lambda: residue,
        "a common tail": lambda: betas + 2 * rng.standard_t(2, (n_trials, 1)),
    }[kind]().astype(np.float32)


@pytest.mark.parametrize("n_voxels", [3, 20, 60, 300])
@pytest.mark.parametrize("n_trials", [(2, 2), (2, 40), (3, 3, 3), (40, 3, 40, 2), (40, 40, 40), (200,)])
@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "common to all voxels",
        "heavy tails",
        "half are 0",
        "most are 0",
        "nearly all are 0",
        "coarse",
        "coarse, beside 0",
        "counts",
        "whole numbers",
        "thresholded",
        "rectified",
        "counts of a common rate",
        "next to nothing in some voxels",
        "a common tail",
    ],
)
def test_nothing_usual_is_refused(kind, n_trials, n_voxels):
    """Whatever the distribution; only a session in which nothing varies is, as few trials of few sparse voxels are by chance."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        betas = {k: ordinary(kind, rng, n, n_voxels) for k, n in enumerate(n_trials)}
        if all(own.std(axis=0).any() for own in betas.values()):
            accumulate(betas, "training")


# What cannot be

NORMALISATIONS = pytest.mark.parametrize("normalisation", ["session", "training"])


@NORMALISATIONS
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_session_without_data_is_refused(normalisation, value):
    betas = recorded()
    betas[2][:] = value
    refuse(betas, "no analysed voxel varies over its trials", normalisation)


@NORMALISATIONS
@pytest.mark.parametrize("n_trials", [1, 10, 20, 21, 38])
def test_trials_without_data_are_refused_with_their_number(normalisation, n_trials):
    betas = recorded()
    betas[3][N_TRIALS - n_trials :] = 0
    words = rf"{n_trials} trials have the same beta in every voxel \(trial {N_TRIALS - n_trials}, counted"
    refuse(betas, words, normalisation)


@pytest.mark.parametrize("value", [1e30, -1e30, 3e38, 1e6])
@pytest.mark.parametrize("where", [np.s_[17, 5], np.s_[17, :], np.s_[17, ::7], np.s_[[17, 23], 5], np.s_[10:19, ::7]])
@NORMALISATIONS
def test_betas_that_outweigh_all_others_are_refused(normalisation, where, value):
    """One or several, in one voxel or in all: several do not hide each other."""
    betas = recorded()
    betas[1][where] = value * np.linspace(1, 0.9, betas[1][where].size).reshape(np.shape(betas[1][where]))
    refuse(betas, "trial (17|23|1[0-8]), counted from 0, is", normalisation)


@pytest.mark.parametrize("n_broken", [1, 13, 20, 27, 39])
def test_trials_in_another_unit_are_refused(n_broken):
    betas = recorded()
    betas[2][:n_broken] *= 300
    refuse(betas, "in another unit|times as far away as usual|not in the same unit")


def test_a_single_beta_in_a_voxel_without_data_is_refused_too():
    betas = recorded()
    betas[1][:, 5] = 0
    betas[1][17, 5] = 1e6
    refuse(betas, r"trial 17, counted from 0, is 1e\+06 in voxel 5 of the analysed ones .C order., whose median is 0")


@NORMALISATIONS
@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("unit", [300, 1 / 300, 100])
def test_a_session_in_another_unit_is_refused(normalisation, session, unit):
    betas = recorded()
    betas[session] *= np.float32(unit)
    refuse(betas, r"times as much as those of other sessions .*: it or they are not in the same unit", normalisation)


def test_a_session_of_which_most_was_never_written_is_refused():
    betas = recorded()
    betas[2][:, 20:] = 0
    refuse(betas, "67% of the voxels that vary in other sessions do not vary in it")


@pytest.mark.parametrize("n_trials", [N_TRIALS, 2])
def test_a_copy_of_another_session_is_refused(n_trials):
    betas = recorded(n_trials=n_trials)
    betas[3] = betas[1][::-1].copy()
    refuse(betas, "its betas are those of session 1, perhaps in another order", "training")


def test_equal_betas_of_different_stimuli_are_refused_and_of_one_stimulus_are_not():
    betas = recorded()
    betas[2][9] = betas[2][4]
    refuse(betas, "trials 4 and 9, counted from 0, have equal betas")
    ids = np.arange(3 * N_TRIALS)
    ids[N_TRIALS + 9] = N_TRIALS + 4
    accumulate(betas, stimulus_ids=ids)


# What is unusual


def test_what_is_unusual_is_said_of_its_session_alone():
    betas = recorded()
    betas[1] *= np.float32(4)
    betas[2][:, :6] = 0
    betas[3][11, 9] = 200 * betas[3][:, 9].std()
    said = doubts(accumulate(betas).sessions)
    assert len(said) == 3
    assert said[0].startswith("Betas of session 1 vary ")
    assert said[1].startswith("In session 2, 10% of the voxels do not vary")
    assert said[2].endswith("as far from their voxel's median as usual: session 3 (1 voxels).")


def test_voxels_without_data_in_every_session_are_not_lost():
    betas = recorded()
    for own in betas.values():
        own[:, :30] = 0
    sessions = accumulate(betas).sessions
    assert {found.lost for found in compare_sessions(sessions).values()} == {0.0}
    assert doubts(sessions) == [
        "50% of the analysed voxels do not vary in any session: are they outside of what was recorded, as by the mask of another?"
    ]


def test_facts_are_stored_and_read_back():
    sessions = accumulate(recorded()).sessions
    again = from_arrays(as_arrays(sessions))
    assert list(again) == list(sessions)
    for number, facts in sessions.items():
        np.testing.assert_array_equal(again[number].mean, facts.mean)
        np.testing.assert_array_equal(again[number].std, facts.std)
        for own, stored in zip(facts.trials, again[number].trials, strict=True):
            np.testing.assert_array_equal(own, stored)
        assert again[number]._replace(mean=0, std=0, trials=0) == facts._replace(mean=0, std=0, trials=0)
    assert from_arrays(as_arrays({})) == {}
    assert doubts({}) == []


# Sessions beside each other


@pytest.mark.parametrize("normalisation", get_args(Normalisation))
@pytest.mark.parametrize(("offset", "outcome"), [(0.7, ""), (1.4, "said"), (25.0, "said"), (40.0, "refused")])
def test_a_session_that_something_was_added_to_is_told(normalisation, offset, outcome):
    """It is refused only where z-scoring does not take it out."""
    betas = recorded(n_trials=200)
    betas[3] += np.float32(offset) * betas[3].std(axis=0)
    if outcome == "refused" and normalisation in ("training", "none"):
        refuse(betas, "standard deviations away from those of other sessions", normalisation)
    else:
        said = doubts(accumulate(betas, normalisation).sessions)
        lies = [sentence for sentence in said if "Betas of session 3 lie" in sentence]
        assert len(lies) == (outcome != "")


@pytest.mark.parametrize(
    ("n_voxels", "outcome"), [(1, ""), (3, "said"), (11, "said"), (24, "refused"), (40, "refused")]
)
def test_voxels_in_another_unit_are_told(n_voxels, outcome):
    betas = recorded()
    betas[2][:, :n_voxels] *= 300
    if outcome == "refused":
        refuse(betas, "is more than 30 times that in other sessions|vary 2.. times as much as those of other sessions")
    else:
        said = doubts(accumulate(betas).sessions)
        assert ["In session 2" in sentence for sentence in said] == [True] * (outcome == "said")


def test_of_two_sessions_each_is_compared_with_the_other():
    betas = {session: recorded(n_trials=200)[session] for session in (1, 2)}
    betas[2] = 4 * betas[2] + 6 * betas[2].std(axis=0)
    sessions = accumulate(betas, "training").sessions
    one, other = compare_sessions(sessions).values()
    assert one.spread == pytest.approx(1 / 4, rel=0.05)
    assert other.spread == pytest.approx(4, rel=0.05)
    assert one.offset == other.offset == pytest.approx(6 / 2.5, rel=0.05)
    said = doubts(sessions)
    assert len(said) == 2
    assert said[0].startswith("Betas of session 1 vary 0.25 times as much as in session 2")
    assert said[1].startswith("Betas of session 1 lie 2.")


@pytest.mark.parametrize("session", SESSIONS)
def test_an_unusual_session_is_compared_with_the_median_of_all(session):
    betas = recorded(n_trials=200)
    betas[session] *= 20
    found = compare_sessions(accumulate(betas).sessions)
    assert found[session].spread == pytest.approx(20, rel=0.1)
    assert all(other.spread == pytest.approx(1, rel=0.1) for key, other in found.items() if key != session)


@pytest.mark.parametrize(
    ("factor", "n_trials", "said"), [(3, 10, False), (20, 10, True), (1 / 20, 10, True), (20, 30, True)]
)
def test_trials_that_vary_more_than_most_are_said(factor, n_trials, said):
    """Whether they are most of the session or a few."""
    betas = recorded()
    betas[2][:n_trials] *= np.float32(factor)
    found = doubts(accumulate(betas).sessions)
    assert any("Some trials of session 2 vary" in sentence for sentence in found) == said


@pytest.mark.parametrize(("share", "said"), [(0.0, False), (0.05, True), (0.25, True)])
@pytest.mark.parametrize("value", [0, -1 / 300])
def test_trials_that_lack_some_voxels_are_said(share, said, value):
    betas = {k: np.random.default_rng(k).normal(size=(N_TRIALS, 2000)).astype(np.float32) for k in SESSIONS}
    betas[2][30:, : round(share * 2000)] = value
    found = doubts(accumulate(betas).sessions)
    assert any("Some trials of session 2 have one value in " in sentence for sentence in found) == said


@pytest.mark.parametrize("session", SESSIONS)
def test_an_incomplete_session_is_refused_wherever_it_stands(session):
    betas = recorded()
    betas[session][:, 20:] = 0
    refuse(betas, "do not vary in it: the file is incomplete")


@pytest.mark.parametrize("value", [0, -1 / 300])
@pytest.mark.parametrize("n_trials", [1, 15, 39])
@pytest.mark.parametrize(("share", "refused"), [(0.25, False), (0.4, True), (0.9, True)])
def test_trials_that_are_incomplete_are_refused(share, refused, n_trials, value):
    """Whatever stands where nothing was written."""
    betas = {session: np.tile(own, 3) for session, own in recorded().items()}
    for own in betas.values():
        own += np.random.default_rng(1).normal(size=own.shape).astype(np.float32)
    betas[1][N_TRIALS - n_trials :, : round(share * 3 * N_VOXELS)] = value
    if refused:
        refuse(
            betas, r"have one value in (40|90)% of the voxels, those of trial \d+ in 1%, and these voxels lie in a row"
        )
    else:
        accumulate(betas)


@pytest.mark.parametrize("n_voxels", [8, 20, 60])
def test_counts_of_few_voxels_pass(n_voxels):
    rng = np.random.default_rng(4)
    accumulate({1: rng.poisson(0.3, (N_TRIALS, n_voxels)).astype(np.float32)})


def test_sparse_betas_are_not_incomplete():
    """As where a model sets most of them to 0."""
    rng = np.random.default_rng(2)
    accumulate({k: (own * (rng.random(own.shape) < 0.2)).astype(np.float32) for k, own in recorded().items()})


def test_a_session_of_one_trial_is_refused_by_number():
    betas = recorded()
    betas[2] = betas[2][:1]
    refuse(betas, "session 2 has a single trial", "training")


# Limits, both sides of each


def wide(n_trials=400, n_voxels=200, n_sessions=3):
    rng = np.random.default_rng(8)
    scale = np.exp(rng.uniform(-1, 1, n_voxels))
    return {k: (rng.normal(size=(n_trials, n_voxels)) * scale).astype(np.float32) for k in range(1, n_sessions + 1)}


@pytest.mark.parametrize(
    ("offset", "outcome"), [(0.93, ""), (1.07, "said"), (28.5, "said"), (31.5, "standard deviations away from those")]
)
def test_the_limits_of_offsets(offset, outcome):
    betas = wide()
    betas[3] += np.float32(offset) * betas[3].std(axis=0)
    if outcome.startswith("standard"):
        refuse(betas, outcome, "training")
    else:
        assert bool(doubts(accumulate(betas).sessions)) == (outcome == "said")


@pytest.mark.parametrize(("n_voxels", "outcome"), [(4, ""), (5, "said"), (40, "said"), (41, "refused")])
def test_the_limits_of_voxels_in_another_unit(n_voxels, outcome):
    betas = wide()
    betas[3][:, :n_voxels] *= 300
    if outcome == "refused":
        refuse(betas, "is more than 30 times that in other sessions")
    else:
        assert bool(doubts(accumulate(betas).sessions)) == (outcome == "said")


@pytest.mark.parametrize(("factor", "outcome"), [(4.5, ""), (6.5, "said"), (50, "said"), (65, "refused")])
def test_the_limits_of_trials_in_another_unit(factor, outcome):
    betas = wide(n_voxels=2000)
    betas[3][7] *= np.float32(factor)
    if outcome == "refused":
        refuse(betas, "as much as all others")
    else:
        said = doubts(accumulate(betas).sessions)
        assert any("Some trials of session 3 vary" in sentence for sentence in said) == (outcome == "said")


@pytest.mark.parametrize(("n_voxels", "said"), [(2, False), (3, True)])
def test_the_limit_of_single_betas(n_voxels, said):
    betas = wide(n_voxels=2000)
    betas[3][7, :n_voxels] = 100 * betas[3][:, :n_voxels].std(axis=0)
    assert any("Single betas" in sentence for sentence in doubts(accumulate(betas).sessions)) == said


@pytest.mark.parametrize(("value", "refused"), [(9e11, False), (1.1e12, True)])
def test_no_beta_is_larger_than_any_unit_makes_it(value, refused):
    """Also where it hides: in all trials of a voxel, or a third of them."""
    for rows in (np.s_[:], np.s_[:14]):
        betas = recorded()
        betas[2][rows, 5] = value
        if refused:
            refuse(betas, "is 1.1e.12 in voxel 5|times as far away")
        elif rows == np.s_[:]:
            accumulate(betas)


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("order", [np.s_[::-1], np.r_[30:60, :30]])
def test_voxels_in_another_order_are_said(session, order):
    betas = recorded(n_trials=100)
    betas[session] = betas[session][:, order]
    said = doubts(accumulate(betas).sessions)
    assert [f"Voxels of session {session} vary otherwise" in sentence for sentence in said] == [True]


@pytest.mark.parametrize(("n_trials", "n_voxels"), [(9, 30), (3, 8), (2, 60)])
@pytest.mark.parametrize(("unit", "offset"), [(300, 0), (1 / 300, 0), (1, 1000)])
def test_few_trials_of_a_few_voxels_tell_another_unit(n_trials, n_voxels, unit, offset):
    betas = {k: own[:, :n_voxels] for k, own in recorded(n_trials=n_trials).items()}
    betas[2] = betas[2] * np.float32(unit) + np.float32(offset)
    refuse(betas, "not in the same unit|standard deviations away", "training")


@pytest.mark.parametrize(("n_trials", "passes"), [(12, True), (40, False)])
def test_most_voxels_of_a_short_sparse_session_may_not_vary(n_trials, passes):
    """In 12 trials of which 3 % hold something, most voxels are 0 throughout; in a full session, they are not."""
    rng = np.random.default_rng(5)
    betas = {k: (own * (rng.random(own.shape) < 0.2)).astype(np.float32) for k, own in recorded(n_trials=200).items()}
    short = rng.normal(size=(n_trials, N_VOXELS)).astype(np.float32)
    betas[2] = short * (rng.random(short.shape) < 0.03) if passes else short
    betas[2][:, 0 if passes else 20 :] *= passes
    if passes:
        assert 0.5 < compare_sessions(accumulate(betas, "training").sessions)[2].lost < 1
    else:
        refuse(betas, "67% of the voxels that vary in other sessions do not vary in it", "training")


@pytest.mark.parametrize(("n_voxels", "refused"), [(3, False), (5, True)])
def test_a_trial_of_zeros_may_be_chance_among_few_voxels(n_voxels, refused):
    betas = {k: own[:, :n_voxels].copy() for k, own in recorded().items()}
    betas[2][7] = 0
    if refused:
        refuse(betas, "1 trials have the same beta in every voxel .trial 7", "training")
    else:
        accumulate(betas, "training")


@pytest.mark.parametrize(("n_voxels", "refused"), [(5, False), (6, True)])
def test_equal_trials_are_copies_where_enough_voxels_say_so(n_voxels, refused):
    betas = {k: own[:, :n_voxels].copy() for k, own in recorded(n_trials=100).items()}
    betas[2][7] = betas[2][3]
    if refused:
        refuse(betas, "trials 3 and 7, counted from 0, have equal betas", "training")
    else:
        accumulate(betas, "training")


@pytest.mark.parametrize(("n_trials", "said"), [(9, False), (10, True)])
def test_few_trials_do_not_make_a_unit_doubtful(n_trials, said):
    betas = recorded(n_trials=n_trials)
    betas[2] *= np.float32(5)
    found = doubts(accumulate(betas, "training").sessions)
    assert any("times as much as in the other sessions" in sentence for sentence in found) == said


@pytest.mark.parametrize(("share", "tells"), [(0.03, True), (0.1, True), (0.8, True), (0.9, False)])
def test_few_betas_that_are_not_0_do_not_tell_how_far_a_trial_lies_from_the_medians(share, tells):
    rng = np.random.default_rng(6)
    betas = wide(n_sessions=1)[1]
    betas[7] *= 20
    betas[rng.random(betas.shape) < share] = 0
    assert (told(betas).trial_spread_gap > 5) == tells


@pytest.mark.parametrize(("n_voxels", "tells"), [(49, False), (50, True)])
def test_shares_of_one_value_tell_nothing_of_few_voxels(n_voxels, tells):
    betas = wide(n_voxels=n_voxels, n_sessions=1)[1]
    betas[7, : n_voxels * 9 // 10] = 0
    assert (told(betas).one_value_gap > 0.02) == tells


# Heavy tails, artefacts, order


def heavy(kind, rng, n_trials, n_voxels):
    normal = rng.normal(size=(n_trials, n_voxels))
    return {
        "log-normal": lambda: np.exp(2 * normal),
        "probabilities": lambda: np.exp(2 * normal) / np.exp(2 * normal).sum(axis=1, keepdims=True),
        "beta": lambda: rng.beta(0.3, 3, normal.shape),
        "gamma": lambda: rng.gamma(0.3, size=normal.shape),
        "fourth power": lambda: normal**4,
        "t of two": lambda: rng.standard_t(2, normal.shape),
    }[kind]().astype(np.float32)


@pytest.mark.parametrize("n_voxels", [20, 300, 2000])
@pytest.mark.parametrize("kind", ["log-normal", "probabilities", "beta", "gamma", "fourth power", "t of two"])
def test_heavy_tails_are_said_at_most(kind, n_voxels):
    """As of band power: the furthest beta is thousands of times as far away as usual, but others lie between."""
    rng = np.random.default_rng(11)
    for _ in range(3):
        accumulate({k: heavy(kind, rng, 40, n_voxels) for k in SESSIONS}, "training")


@pytest.mark.parametrize("value", [1e30, 1e6])
@pytest.mark.parametrize("kind", ["log-normal", "probabilities", "fourth power"])
def test_damaged_betas_stand_apart_of_heavy_tails_too(kind, value):
    betas = {k: heavy(kind, np.random.default_rng(k), 40, 60) for k in SESSIONS}
    betas[2][7, 9] = value * betas[2].std()
    refuse(betas, "trial 7, counted from 0, is .* in voxel 9", "training")


def test_trials_with_an_artefact_are_refused_without_blaming_the_unit_alone():
    """As the first trial of each run, before the field is steady."""
    betas = recorded()
    betas[2][::10] += 200 * betas[2].std(axis=0)
    refuse(
        betas, r"4 of 40 trials \(first: trial 0, .* they hold an artefact, or are in another unit; mark them is_catch"
    )


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=10)
def test_facts_do_not_depend_on_the_order_of_voxels_and_trials(seed):
    rng = np.random.default_rng(seed)
    betas = rng.normal(size=(40, 3000)).astype(np.float32)
    betas[:, 1024:2048] *= np.float32(1e-3)
    betas[7, 1024:1100] *= 1e4
    betas[:, ::9] *= rng.random((40, 334)) < 0.1
    voxels, trials = rng.permutation(3000), rng.permutation(40)
    facts, other = told(betas), told(betas[:, voxels][trials])
    np.testing.assert_allclose(other.std, facts.std[voxels], rtol=1e-6)
    for name in ("tied", "outlier", "outlier_gap", "n_outliers", "largest", "one_value_gap", "trial_spread_gap"):
        assert getattr(other, name) == pytest.approx(getattr(facts, name), rel=1e-6), name
    assert told(betas[trials]).trials.digests.tolist() == facts.trials.digests[trials].tolist()
    assert other.trials.telling.tolist() == facts.trials.telling[trials].tolist()


@pytest.mark.parametrize(
    ("n_voxels", "n_counted"), [(3999, 3999), (4000, 4000), (7999, 7999), (8000, 4000), (9001, 4501)]
)
def test_shares_of_one_value_are_judged_by_the_voxels_they_are_counted_in(n_voxels, n_counted):
    betas = np.random.default_rng(0).normal(size=(20, n_voxels)).astype(np.float32)
    shares = shares_of_one_value(betas)
    assert shares.n_voxels == n_counted
    assert by_chance(shares) == pytest.approx(8 * np.sqrt((1 - 1 / n_counted) / n_counted**2))


@pytest.mark.parametrize(("share", "said"), [(0.02, False), (0.055, True)])
def test_a_small_gap_between_shares_may_be_chance(share, said):
    """Of 300 voxels, single trials may have one value in a few more."""
    betas = {1: np.random.default_rng(7).normal(size=(N_TRIALS, 300)).astype(np.float32)}
    betas[1][9, : round(share * 300)] = 0
    assert (told(betas[1]).one_value_gap > 0) == said


@pytest.mark.parametrize(("n_alike", "said"), [(9, True), (1, False)])
def test_voxels_in_another_order_are_said_only_where_sessions_are_alike_otherwise(n_alike, said):
    """Where spreads differ between all sessions, one more difference tells nothing."""
    rng = np.random.default_rng(3)
    scale = np.exp(rng.uniform(-1.7, 1.7, N_VOXELS))
    order = [np.arange(N_VOXELS) if k < n_alike else rng.permutation(N_VOXELS) for k in range(10)]
    betas = {k: (rng.normal(size=(100, N_VOXELS)) * scale[own]).astype(np.float32) for k, own in enumerate(order)}
    sessions = accumulate(betas).sessions
    assert min(found.alike for found in compare_sessions(sessions).values()) < 0.3
    found = [sentence for sentence in doubts(sessions) if "vary otherwise" in sentence]
    assert [sentence.startswith("Voxels of session 9 ") for sentence in found] == [True] * said


def test_short_sessions_do_not_judge_long_ones():
    """Their spread is too noisy: two sessions of three trials do not make a session of 200 unusual."""
    betas = {1: recorded(n_trials=200)[1], 2: 6 * recorded()[2][:3], 3: 6 * recorded()[3][:3], 4: recorded(9, 200)[1]}
    compared = compare_sessions(accumulate(betas, "training").sessions)
    alone = compare_sessions(accumulate({k: betas[k] for k in (1, 4)}, "training").sessions)
    assert compared[1]._replace(lost=0) == alone[1]._replace(lost=0)


def test_few_trials_of_sparse_betas_tell_no_outliers():
    """The usual distance is 0 in most voxels, and next to nothing in others."""
    rng = np.random.default_rng(2)
    betas = np.where(rng.random((9, 60)) < 0.4, 1e-9, 0.0).astype(np.float32)
    betas[4, :9] = 5
    assert told(betas).outlier == told(betas).outlier_gap == 1
    dense = rng.normal(size=(9, 60)).astype(np.float32)
    assert told(dense).outlier > 1


@pytest.mark.parametrize(("unit", "outcome"), [(50, "passes"), (300, "refused")])
def test_the_spread_of_few_trials_is_judged_by_a_wider_limit(unit, outcome):
    betas = {1: recorded()[1], 2: recorded(n_trials=4)[1] * np.float32(unit)}
    betas[2] += np.random.default_rng(1).normal(size=betas[2].shape).astype(np.float32)
    if outcome == "refused":
        refuse(betas, "not in the same unit", "training")
    else:
        accumulate(betas, "training")


# Equal trials


def repeated(n_sessions=3, n_stimuli=30, seed=0):
    """Every session shows the same stimuli, in another order."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(n_stimuli) for _ in range(n_sessions)])


def test_trials_without_noise_are_said_and_not_refused():
    """Equal betas of one stimulus are no copies of another's."""
    ids = repeated()
    responses = np.random.default_rng(1).normal(size=(30, N_VOXELS)).astype(np.float32)
    betas = {k: responses[own] for k, own in zip(SESSIONS, np.split(ids, 3), strict=True)}
    (said,) = doubts(accumulate(betas, stimulus_ids=ids).sessions)
    assert said.startswith(
        "Some trials have the betas of trials of the same stimulus (session 2: 30 of 30, session 3: 30 of 30; first: trial 0 of "
        f"session 2 and trial {ids[:30].tolist().index(ids[30])} of session 1, counted from 0): was one copied"
    )


@pytest.mark.parametrize("n_classes", [2, 5, 10])
@pytest.mark.parametrize("n_sessions", [1, 3])
def test_responses_to_classes_are_said_and_not_refused(n_classes, n_sessions):
    """A model may give one beta pattern for each class, whatever picture stood for it."""
    rng = np.random.default_rng(n_classes)
    patterns = rng.normal(size=(n_classes, N_VOXELS)).astype(np.float32)
    betas = {k: patterns[rng.integers(0, n_classes, N_TRIALS)] for k in range(1, n_sessions + 1)}
    said = doubts(accumulate(betas, "training").sessions)
    assert any(sentence.startswith("Some trials have the betas of trials of other stimuli") for sentence in said)


@pytest.mark.parametrize(("n_members", "refused"), [(2, True), (3, False)])
@pytest.mark.parametrize("n_patterns", [1, 2])
def test_the_rule_for_classes(n_members, refused, n_patterns):
    """Two patterns or more, of three stimuli or more each, in more than a tenth of the trials; else equal betas are copies."""
    betas = recorded()
    for pattern in range(n_patterns):
        betas[2][10 * pattern : 10 * pattern + n_members] = betas[2][10 * pattern]
    if refused or n_patterns == 1:
        refuse(betas, "trials 0 and 1, counted from 0, have equal betas in every voxel")
    else:
        accumulate(betas)
    wider = wide(n_trials=70)
    for pattern in range(n_patterns):
        wider[2][10 * pattern : 10 * pattern + n_members] = wider[2][10 * pattern]
    refuse(wider, "have equal betas in every voxel")


@NORMALISATIONS
@pytest.mark.parametrize(("n_copied", "order"), [(1, 1), (10, 1), (10, -1), (39, 1)])
@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (2, 3)])
def test_trials_copied_from_another_session_are_refused(normalisation, n_copied, order, pair):
    """As a run that was written into another session too: both sessions and the trials are named."""
    betas = recorded()
    source, target = pair
    betas[target][-n_copied:] = betas[source][:n_copied][::order]
    first = 0 if order == 1 else n_copied - 1
    words = (
        rf"{n_copied} of 40 trials have the betas of trials of session {source} that show other stimuli \(first: trial "
        rf"{40 - n_copied}, counted from 0, and trial {first} of session {source}\)"
    )
    refuse(betas, words, normalisation)


@pytest.mark.parametrize("resumed", [False, True])
def test_copies_are_found_after_sums_were_stored(resumed):
    betas = recorded()
    betas[3][5] = betas[1][2]
    trials = pd.DataFrame({"session": np.repeat(SESSIONS, N_TRIALS), "stimulus_id": np.arange(3 * N_TRIALS)})
    trials["split"] = np.where(trials["stimulus_id"] % 5 == 0, "test", "train")
    accumulator = ResponseAccumulator(trials, N_VOXELS)
    accumulator.add(1, betas[1])
    accumulator.add(2, betas[2])
    if resumed:
        accumulator = ResponseAccumulator.from_state(trials, accumulator.state())
    with pytest.raises(RecordingError, match="1 of 40 trials have the betas of trials of session 1"):
        accumulator.add(3, betas[3])


@pytest.mark.parametrize("n_trials", [(40, 3), (3, 3), (40, 40)])
def test_silent_trials_of_two_sessions_are_no_copies(n_trials):
    rng = np.random.default_rng(4)
    betas = {k: np.maximum(rng.normal(size=(n, N_VOXELS)), 0).astype(np.float32) for k, n in enumerate(n_trials)}
    for own in betas.values():
        own *= (rng.random(own.shape) < 0.5).astype(np.float32)
    for own in betas.values():
        own[1] = 0
        own[1, :5] = 1
    accumulate(betas, "training")
    assert not any("have the betas" in sentence for sentence in doubts(accumulate(betas, "training").sessions))


# Losses against thresholds, few trials, declared units


@pytest.mark.parametrize("shape", [(100, 300), (40, 60)])
@pytest.mark.parametrize(("high", "low", "share"), [(2, 0, 0.3), (2.5, -1, 0.5)])
def test_rectified_betas_are_not_incomplete(shape, high, low, share):
    """Their zeros lie anywhere, however many more some trials have."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rates = {k: np.where(rng.random((shape[0], 1)) < share, high, low) for k in SESSIONS}
        betas = {k: np.maximum(rng.normal(size=shape) + own, 0).astype(np.float32) for k, own in rates.items()}
        said = doubts(accumulate(betas).sessions)
        assert any("are they complete, or were betas set to it" in sentence for sentence in said)


def normal(n_trials=100, n_voxels=300, sessions=SESSIONS):
    rng = np.random.default_rng(21)
    return {k: rng.normal(size=(n_trials, n_voxels)).astype(np.float32) for k in sessions}


def halves(own):
    """Half of the trials lack two thirds of the voxels, the others lack 20 others."""
    own[50:, :200] = 0
    own[:50, 200:220] = 0


def staircase(own):
    own[np.arange(300) < 2.8 * np.arange(100)[:, None]] = 0


def scattered(own):
    """The same voxels of several trials, which do not lie in a row."""
    own[60:, ::2] = 0


@pytest.mark.parametrize("damage", [halves, staircase, scattered])
@pytest.mark.parametrize("sessions", [SESSIONS, (2,)])
def test_losses_are_refused_whatever_the_fullest_trial_lacks(damage, sessions):
    betas = normal(sessions=sessions)
    damage(betas[2])
    refuse(betas, "some trials are incomplete")


@pytest.mark.parametrize(("row", "refused"), [(0.95, True), (0.8, False)])
def test_the_limit_of_voxels_in_a_row(row, refused):
    """Of 100 voxels that one trial lacks, this share lies in a row."""
    betas = normal()
    n = round(100 * row)
    betas[2][7, :n] = betas[2][7, 300 - 2 * (100 - n) :: 2] = 0
    if refused:
        refuse(betas, "betas of trial 7, counted from 0, have one value in 33%")
    else:
        accumulate(betas)


@pytest.mark.parametrize(("n_moved", "refused"), [(4, True), (8, False)])
def test_the_limit_of_the_same_voxels(n_moved, refused):
    """Two trials lack every other voxel, up to this many: |A ∩ B| / |A ∪ B| is 0.95 or 0.9 - 0.001."""
    betas = normal()
    lost = np.arange(300) % 2 == 0
    betas[2][7, lost] = 0
    betas[2][9, np.roll(lost, 0) & (np.arange(300) >= 2 * n_moved) | (np.arange(300) < 2 * n_moved) & ~lost] = 0
    if refused:
        refuse(betas, "some trials are incomplete")
    else:
        accumulate(betas)


@pytest.mark.parametrize(("n_voxels", "n_lost", "refused"), [(40, 30, True), (40, 31, False), (39, 29, False)])
def test_few_voxels_that_are_lost_or_kept_tell_nothing(n_voxels, n_lost, refused):
    betas = normal(n_voxels=n_voxels, sessions=(1,))
    betas[1][50:, :n_lost] = 0
    if refused:
        refuse(betas, "some trials are incomplete")
    else:
        accumulate(betas)


@pytest.mark.parametrize(("share", "said"), [(0.08, False), (0.3, True), (0.5, True)])
@pytest.mark.parametrize("value", [0, -1 / 300])
@pytest.mark.parametrize("sessions", [SESSIONS, (1, 2)])
def test_a_session_with_one_value_more_often_than_others_is_said(share, said, value, sessions):
    betas = normal(sessions=sessions)
    betas[2][np.random.default_rng(0).random(betas[2].shape) < share] = value
    found = [sentence for sentence in doubts(accumulate(betas).sessions) if sentence.startswith("Trials of session")]
    assert len(found) == said
    if said:
        assert found[0].startswith(f"Trials of session {2 if len(sessions) > 2 else 1} have one value in ")


@pytest.mark.parametrize("spoil", [lambda own: own, lambda own: np.rint(2 * own)])
@pytest.mark.parametrize(
    ("n_trials", "n_voxels", "refused"), [(100, 300, True), (100, 40, True), (9, 300, True), (4, 300, False)]
)
def test_half_of_the_trials_in_another_unit_are_refused_in_a_lone_session(spoil, n_trials, n_voxels, refused):
    """Also of coarse and of sparse betas, and of few trials."""
    for sparse in (0, 0.06, 0.3)[: 3 if n_voxels > 40 else 1]:
        own = spoil(normal(n_trials, n_voxels, (1,))[1])
        own[np.random.default_rng(0).random(own.shape) < sparse] = 0
        own[: n_trials // 2] *= 300
        if refused:
            refuse({1: own}, "as much as all others", "training")
        else:
            assert told(own).trial_spread_gap == 1


@pytest.mark.parametrize(
    ("factor", "outcome"),
    [(50, ""), (75, "said"), (90, "said"), (400, "as much as all others, expected less than 100")],
)
def test_the_limits_of_units_of_few_trials(factor, outcome):
    betas = normal(9, 300)
    betas[2][3] *= np.float32(factor)
    if outcome.startswith("as much"):
        refuse(betas, outcome, "training")
    else:
        said = doubts(accumulate(betas, "training").sessions)
        assert any("Some trials of session 2 vary" in sentence for sentence in said) == (outcome == "said")


@pytest.mark.parametrize(("n_trials", "n_voxels", "tells"), [(5, 50, True), (4, 50, False), (5, 49, False)])
@pytest.mark.parametrize(("factor", "offset"), [(20, 0), (1, 20), (11, 0), (1, 6)])
def test_few_trials_of_many_voxels_make_a_unit_doubtful(factor, offset, n_trials, n_voxels, tells):
    betas = {1: normal(100, n_voxels)[1], 2: normal(100, n_voxels)[2], 3: normal(n_trials, n_voxels)[3]}
    betas[3] = betas[3] * np.float32(factor) + np.float32(offset)
    said = doubts(accumulate(betas, "training").sessions)
    expected = tells and (factor == 20 or offset == 20)
    assert any(sentence.startswith("Betas of session 3 ") for sentence in said) == expected


@pytest.mark.parametrize(
    ("unit", "factor", "offset", "said"),
    [
        ("percent", 300, 0, 1),
        ("percent", 45, 1000, 0),
        ("percent", 55, 0, 1),
        ("z", 300, 0, 1),
        ("z", 11, 0, 1),
        ("z", 9, 0, 0),
        ("z", 0.11, 0, 0),
        ("z", 0.09, 0, 1),
        ("z", 1, 2.9, 0),
        ("z", 1, -3.1, 1),
        ("raw", 1e4, 1e5, 0),
    ],
)
def test_a_unit_that_the_betas_cannot_be_in_is_said(unit, factor, offset, said):
    betas = {k: own * np.float32(factor) + np.float32(offset) for k, own in normal().items()}
    found = unit_doubts(accumulate(betas).sessions, unit)
    assert len(found) == said
    assert all(f"is said to be {unit}, but " in sentence for sentence in found)
    assert unit_doubts({}, unit) == []


@pytest.mark.parametrize("everywhere", [False, True])
def test_rounding_is_named_where_it_hides_what_varies(everywhere):
    betas = {k: own * np.exp(np.linspace(-1, 1, 300, dtype=np.float32)) for k, own in normal().items()}
    betas[2] = (betas[2] + np.float32(1e7 if everywhere else 1e6)).astype(np.float32)
    refuse(betas, "float32 rounds away")


# Each comparison of sessions has an effect


def test_a_trial_without_data_counts_as_a_gap_only_beside_fuller_trials():
    """COARSE: where each trial has one value in 5 % of the voxels or more, trials may differ by any share."""
    rng = np.random.default_rng(4)
    for usual, said in ((0.03, True), (0.1, False)):
        betas = normal(40, 2000, (1,))
        betas[1][rng.random(betas[1].shape) < usual] = 0
        betas[1][9, rng.random(2000) < 0.4] = 0
        found = doubts(accumulate(betas).sessions)
        assert any("Some trials of session 1 have one value" in sentence for sentence in found) == said


def test_the_usual_distance_is_at_least_a_hundredth_of_that_of_most_voxels():
    """FLOOR: a voxel with 1/30 of the spread of others is measured by its own, one with 1/1000 is not."""
    betas = normal(40, 60, (1,))[1]
    betas[:, 0] /= 30
    betas[:, 1] /= 1000
    distances = Distances.of(betas)
    typical = np.median(distances.usual)
    assert distances.scale()[0] == distances.usual[0]
    assert distances.scale()[1] == 0.01 * typical


@pytest.mark.parametrize(("n_empty", "said"), [(5, False), (8, True)])
def test_the_limit_of_voxels_without_data_in_any_session(n_empty, said):
    betas = normal()
    for own in betas.values():
        own[:, :n_empty] = 0
    assert any("do not vary in any session" in sentence for sentence in doubts(accumulate(betas).sessions)) == said


def test_one_sparse_session_makes_single_voxels_tell_nothing():
    """The spread of few betas that are not 0 varies by chance: `differing` and `alike` are not compared."""
    betas = normal(40, 60)
    betas[2][np.random.default_rng(1).random(betas[2].shape) < 0.97] = 0
    sessions = {k: told(own) for k, own in betas.items()}
    assert {found.differing for found in compare_sessions(sessions).values()} == {0.0}
    assert {found.alike for found in compare_sessions(sessions).values()} == {1.0}


def test_one_short_session_makes_a_comparison_one_of_few():
    sessions = {1: told(normal()[1]), 2: told(normal()[2]), 3: told(normal(5)[3])}
    compared = compare_sessions(sessions)
    assert [compared[k].few for k in SESSIONS] == [False, False, True]


@pytest.mark.parametrize("n_voxels", [30, 70])
def test_voxels_that_vary_by_a_fraction_are_told_too(n_voxels):
    betas = wide()
    betas[3][:, :n_voxels] /= 300
    if n_voxels > 40:
        refuse(betas, "is more than 30 times that in other sessions, or less than a fraction like it")
    else:
        assert compare_sessions(accumulate(betas).sessions)[3].differing == n_voxels / 200


def test_two_sessions_do_not_tell_which_has_its_voxels_in_another_order():
    betas = {k: recorded(n_trials=100)[k] for k in (1, 2)}
    sessions = accumulate(betas).sessions
    compared = {
        k: found._replace(alike=alike)
        for (k, found), alike in zip(compare_sessions(sessions).items(), (1.0, 0.29), strict=True)
    }
    assert doubts(sessions, compared) == []
