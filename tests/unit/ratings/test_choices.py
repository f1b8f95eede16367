from collections import Counter

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.ratings.choices import OTHER_PICTURE, Shown, plan_choices

NAMES = [f"{number:04d}" for number in range(20)]


def planned(names=NAMES, methods=("ours",), n_trials=10, n_catch=4, seed=0):
    return plan_choices(names, methods, n_trials, n_catch, np.random.default_rng(seed))


def test_own_against_another_picture():
    choices = [choice for choice in planned() if choice.kind == "other_picture"]
    assert {choice.comparison for choice in choices} == {OTHER_PICTURE}
    assert len({choice.seen for choice in choices}) == 10
    for choice in choices:
        assert choice.right == Shown("ours", choice.seen)
        assert choice.wrong.method == "ours"
        assert choice.wrong.name != choice.seen
    assert {choice.wrong.name for choice in choices} == {
        choice.seen for choice in choices
    }  # each as often as the other


def test_the_first_method_against_every_other_on_the_same_picture():
    choices = [choice for choice in planned(methods=("ours", "theirs", "old")) if choice.kind != "catch"]
    assert Counter(choice.comparison for choice in choices) == {"theirs": 10, "old": 10}
    for choice in choices:
        assert choice.right == Shown("ours", choice.seen)
        assert choice.wrong == Shown(choice.comparison, choice.seen)


def test_catch_trials_show_what_was_seen():
    choices = [choice for choice in planned(n_catch=30) if choice.kind == "catch"]
    assert len(choices) == 30
    for choice in choices:
        assert choice.right == Shown("", choice.seen)
        assert choice.wrong.name != choice.seen


@pytest.mark.parametrize("n_trials", [10, 11])
def test_sides_are_even_and_orders_are_random(n_trials):
    choices = planned(n_trials=n_trials, n_catch=4)
    for kind, n in {"other_picture": n_trials, "catch": 4}.items():
        sides = Counter(choice.right_side for choice in choices if choice.kind == kind)
        assert abs(sides["left"] - sides["right"]) == n % 2
    assert [choice.seen for choice in choices] != [choice.seen for choice in planned(n_trials=n_trials, seed=1)]
    assert choices == planned(n_trials=n_trials, n_catch=4)
    places = [place for place, choice in enumerate(choices) if choice.kind == "catch"]
    assert places != list(range(n_trials, n_trials + 4))  # not all at the end


def test_fewer_pictures_than_trials_are_asked_about_once_each():
    choices = planned(NAMES[:3], n_trials=50, n_catch=0)
    assert sorted(choice.seen for choice in choices) == NAMES[:3]


def test_one_picture_is_no_choice():
    with pytest.raises(RunError, match="two pictures or more, got 1"):
        planned(NAMES[:1])
