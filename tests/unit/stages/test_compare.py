"""The stage that scores decoded features: what it reads, what it leaves out, and that it says so."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from braindiffuser.metrics import nearest_rows
from braindiffuser.metrics.feature_scores import FeatureScores, centred
from braindiffuser.stages import StageContext, compare

N_TRAIN, SHAPE = 300, (4, 5)
SETS = {"test": slice(0, 30), "held_out": slice(30, 36), "two": slice(36, 38)}


class Blocks:
    """An array that is read in parts, and remembers how many rows at once."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __getitem__(self, rows):
        self.most = max(self.most, len(self.values[rows]))
        return self.values[rows]


class Context(StageContext):
    """Of a stage context only what the stage asks for."""

    def __init__(self, **known):
        self.__dict__.update(known)


class World:
    """Arrays of a run with one group, as `Results` gives them."""

    def __init__(self, stimuli=None, category="category"):
        rng = np.random.default_rng(0)
        n = SETS["two"].stop
        targets = rng.normal(3, 1, (N_TRAIN, *SHAPE)).astype(np.float16)
        truth = rng.normal(3, 1, (n, *SHAPE)).astype(np.float32)
        truth[0] = targets[7]  # also trains
        self.arrays = {
            "targets/a": Blocks(targets),
            "truth/a": truth,
            "predictions/a": truth + 0.3 * rng.normal(size=truth.shape).astype(np.float32),
            "stimuli/test_ids": np.arange(100, 100 + n),
            "stimuli/train_ids": np.arange(1000, 1000 + N_TRAIN),
        }
        self.said = []
        self.context = Context(
            results=SimpleNamespace(read_array=self.arrays.__getitem__, open_array=self.arrays.__getitem__),
            experiment=SimpleNamespace(seed=0, targets={"a": None}, evaluation=SimpleNamespace(category=category)),
            progress=lambda *said: self.said.append(said),
            open_recording=lambda: SimpleNamespace(known_stimuli=lambda: stimuli),
        )

    def score(self):
        categories = compare.known_categories(self.context)
        return compare._score(self.context, SETS, None if categories is None else categories.numbers)


def test_every_test_set_is_scored_among_itself_and_small_ones_are_named():
    found = World().score()
    assert found["test"].groups["a"]["n_images"] == 30
    assert found["held_out"].groups["a"]["n_images"] == 6
    assert found["two"].groups == {}
    assert found["two"].remarks == ["Test set two has too few pictures for scores of features."]
    assert found["test"].groups["a"]["two_way"]["value"] > 0.95
    assert found["test"].groups["a"]["n_train"] == N_TRAIN
    assert found["test"].groups["a"]["n_features"] == 20


def test_pictures_are_told_one_by_one_with_the_nearest_training_stimulus():
    table = World().score()["test"].tables[0]
    assert list(table["stimulus_id"]) == list(range(100, 130))
    assert table["nearest_training_id"][0] == 1007
    assert table["novel"][0] == 0  # it is a training stimulus itself
    assert table["novel"].mean() > 0.8
    assert set(table["group"]) == {"a"}


def test_training_targets_are_read_in_blocks_that_change_nothing(monkeypatch):
    whole = World().score()["test"].groups["a"]
    monkeypatch.setattr(nearest_rows, "REFERENCE_BYTES", 150 * 4 * 20)
    world = World()
    parts = world.score()["test"].groups["a"]
    assert world.arrays["targets/a"].most == 128
    assert parts["novelty"] == whole["novelty"]
    assert parts["best_linear"]["value"] == pytest.approx(whole["best_linear"]["value"])
    assert parts["two_way"] == whole["two_way"]


def test_a_matrix_that_would_be_too_large_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(compare, "LARGEST_SIDE", 19)
    found = World().score()["test"]
    assert "best_linear" not in found.groups["a"]
    assert found.remarks == ["a: the linear limit is left out, with more than 19 training stimuli and features."]


@pytest.mark.parametrize("column", ["category", "Concept"])
def test_categories_are_a_column_of_the_stimuli(column):
    ids = np.arange(100, 138)
    known = pd.DataFrame({"name": "x", column: np.where(ids % 2, "cat", "dog")}, index=ids)
    known.loc[[101, 103], column] = [None, " "]
    known.loc[105, column] = "cat "
    world = World(known, column)
    assert compare.known_categories(world.context).column == column
    assert world.score()["test"].groups["a"]["within_category"]["n_images"] == 28
    assert set(compare.known_categories(world.context).of_test) == {"", "cat", "dog"}


@pytest.mark.parametrize("known", [None, pd.DataFrame({"name": ["x"]}, index=[100])])
def test_without_such_a_column_nothing_is_compared_in_categories(known):
    world = World(known)
    assert compare.known_categories(world.context) is None
    assert "within_category" not in world.score()["test"].groups["a"]


def test_values_beyond_half_precision_stay_as_they_are():
    truth = np.array([[1e6, 0.1]], np.float32)
    _, stored = centred(truth, truth, np.zeros(2), np.zeros((3, 2), np.float16))
    assert stored[0, 0] == 1e6
    assert stored[0, 1] == np.float16(0.1)


def test_what_training_targets_have_in_common_is_taken_off_everywhere():
    world, common = World(), 20 * np.random.default_rng(9).normal(size=SHAPE).astype(np.float32)
    world.arrays["targets/a"] = Blocks((world.arrays["targets/a"].values + common).astype(np.float32))
    for name in ("truth/a", "predictions/a"):
        world.arrays[name] = world.arrays[name] + common
    train = world.arrays["targets/a"].values.reshape(N_TRAIN, -1).astype(np.float64)
    truth, decoded = (world.arrays[name][SETS["test"]].reshape(30, -1) for name in ("truth/a", "predictions/a"))
    truth, decoded, train = (values - train.mean(axis=0) for values in (truth, decoded, train))
    found = world.score()["test"]
    own = [np.corrcoef(*pair)[0, 1] for pair in zip(truth, decoded, strict=True)]
    assert found.groups["a"]["pattern_correlation"]["value"] == pytest.approx(np.mean(own), abs=1e-3)
    nearest = np.corrcoef(decoded, train)[:30, 30:].argmax(axis=1)
    assert found.tables[0]["nearest_training_id"].tolist() == (1000 + nearest).tolist()


def test_every_group_and_test_set_has_exchanges_of_its_own(monkeypatch):
    """Equal arrays of two groups have equal scores, but p of other exchanges."""
    world, drawn = World(), []
    world.arrays |= {name.replace("/a", "/b"): own for name, own in world.arrays.items() if name.endswith("/a")}
    world.context.experiment.targets["b"] = None

    def remember(group, rng, categories):
        drawn.append(rng.bit_generator.state["state"]["state"])
        return FeatureScores({}, {})

    monkeypatch.setattr("braindiffuser.metrics.feature_scores.feature_scores", remember)
    world.score()
    assert len(set(drawn)) == len(drawn) == 4
