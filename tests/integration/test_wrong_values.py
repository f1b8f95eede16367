"""Laws of parts that give wrong values: each is told where the values are written, and no score is made of them."""

from types import SimpleNamespace
from typing import ClassVar

import fakes
import numpy as np
import pytest
from fakes import fake_experiment, write_recording

from braindiffuser.analyses.roi_maximisation import ROIMaximisation
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.datasets.rois import MAXIMISED_REGIONS
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RunError
from braindiffuser.progress import silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.regressor import Projection
from braindiffuser.run import Run

pytestmark = pytest.mark.usefixtures("types_unchecked")
ODD = {
    "complex": lambda values: values.astype(complex),
    "text": lambda values: values.astype(str),
    "bool": lambda values: values > 0,
    "object": lambda values: values.astype(object),
    "nan": lambda values: values * np.where(np.arange(len(values)) == 0, np.nan, 1)[(..., *[None] * (values.ndim - 1))],
    "huge": lambda values: values.astype(np.float64) * 1e300,
}
"""Ways in which numbers are none, or not finite."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


def fail(root, folder, stage, words, **changes):
    """Run stages up to one that must fail, with these words, and again when the same command is run again."""
    run = Run.open(fake_experiment(root, **changes), folder)
    for before in ("prepare", "extract", "fit", "compare", "reconstruct", "evaluate", "analyse"):
        if before == stage:
            break
        run.do(before)
    for _ in range(2):
        with pytest.raises(RunError, match=words) as caught:
            run.do(stage)
        assert "\n" not in str(caught.value)
    assert not run.is_finished(stage)


# Targets


class Odd(fakes.Code):
    """Gives features, or an unconditional feature, that are wrong in one way."""

    how: str = "nan"
    where: str = "extract"

    def extract(self, stimuli, networks, seed):
        rows = super().extract(stimuli, networks, seed)
        return self._spoilt(rows) if self.where == "extract" else rows

    def null(self, networks):
        return self._spoilt(super().null(networks)) if self.where == "null" else super().null(networks)

    def _spoilt(self, rows):
        shaped = {
            "wider": lambda rows: np.concatenate([rows, rows], axis=1),
            "flat": lambda rows: rows.ravel(),
            "more": lambda rows: np.concatenate([rows, rows]),
            "constant": lambda rows: np.ones_like(rows),
            "by a hair": lambda rows: np.full_like(rows, 300) * (1 + 1e-7 * rows),
            "ragged": lambda rows: [*rows.tolist(), [1.0]],
            "none": lambda rows: None,
        }
        return (ODD | shaped)[self.how](rows)


@pytest.mark.parametrize("how", ODD)
@pytest.mark.parametrize("where", ["extract", "null"])
def test_features_that_are_no_finite_numbers_are_told(how, where, root, tmp_path):
    words = (
        rf"Odd\.{where}\(\) returned .*expected real numbers"
        if how not in ("nan", "huge")
        else r"/a has values that are not finite"
    )
    fail(
        root,
        tmp_path,
        "extract",
        words,
        targets={"a": {"kind": f"{__name__}:Odd", "group": 1, "how": how, "where": where}},
    )


@pytest.mark.parametrize("how", ["ragged", "none"])
def test_features_that_are_no_array_are_told(how, root, tmp_path):
    words = r"Odd\.(extract|null)\(\) returned no array, expected real numbers of shape \(\d+, any, …\)"
    fail(root, tmp_path, "extract", words, targets={"a": {"kind": f"{__name__}:Odd", "group": 1, "how": how}})


@pytest.mark.parametrize("how", ["wider", "flat", "more"])
def test_an_unconditional_feature_has_the_shape_of_one_row(how, root, tmp_path):
    words = r"Odd\.null\(\) returned float32 of shape \(.*\), expected real numbers of shape \(1, (4|…)\)"
    fail(
        root,
        tmp_path,
        "extract",
        words,
        targets={"a": {"kind": f"{__name__}:Odd", "group": 1, "how": how, "where": "null"}},
    )


@pytest.mark.parametrize("how", ["constant", "by a hair"])
def test_a_group_that_is_the_same_for_all_stimuli_is_told_and_computed_anew(how, root, tmp_path, monkeypatch):
    targets = {"a": {"kind": f"{__name__}:Odd", "group": 1, "how": how}}
    words = "features of a are the same for all training stimuli, so there is nothing to decode: .*targets.a"
    fail(root, tmp_path, "extract", words, targets=targets)
    monkeypatch.setattr(Odd, "extract", fakes.Code.extract)
    run = Run.open(fake_experiment(root, targets=targets), tmp_path)
    run.do("extract")
    assert np.unique(run.results.read_array("targets/a")[:, 2]).size == fakes.N_TRAIN


class Uneven(fakes.Code):
    """Gives a row too many for some batches and one too few for others."""

    batch_size: int = 3

    def extract(self, stimuli, networks, seed):
        rows = super().extract(stimuli, networks, seed)
        return rows[:-1] if stimuli.ids[0] % 2 and len(rows) > 1 else np.concatenate([rows, rows[: len(rows) > 1]])


def test_rows_of_batches_that_only_add_up_are_told(root, tmp_path):
    words = r"Uneven\.extract\(\) returned float32 of shape \(4, 4\), expected real numbers of shape \(3, any, …\)"
    fail(root, tmp_path, "extract", words, targets={"a": {"kind": f"{__name__}:Uneven", "group": 1}})


# Regressors


class Wrong(fakes.Oracle):
    """Decodes, or fits, in one wrong way."""

    how: str = "nan"
    linear: ClassVar[bool] = True

    def fit(self, rows, targets, device, progress=silent):
        fitted = super().fit(rows, targets, device, progress)
        spoilt = {
            "stores nan": lambda found: FittedDecoder({"n_rows": np.array([np.nan])}, found.facts),
            "stores metadata": lambda found: FittedDecoder({**found.arrays, "__metadata__": np.ones(2)}, found.facts),
            "stores a dict": lambda found: dict(found.arrays),
        }
        if self.how == "fits a list":
            return list(fitted.values())
        return {group: spoilt.get(self.how, lambda found: found)(found) for group, found in fitted.items()}

    def decode(self, fitted, rows, targets, responses, device, progress=silent):
        for group, decoded in super().decode(fitted, rows, targets, responses, device, progress):
            if self.how in ODD:
                decoded["test"] = ODD[self.how](decoded["test"])
            if self.how != "none":
                named = "other" if self.how == "other" else group
                yield named if self.how == "names" else (named, decoded["test"] if self.how == "bare" else decoded)
            if self.how == "twice":
                yield group, decoded

    def project(self, fitted, rows, targets, patterns, device, progress=silent):
        for group in fitted:
            yield group, Projection(*np.full((4, len(patterns), 4), np.nan))


@pytest.mark.parametrize("how", ODD)
def test_predictions_that_are_no_finite_numbers_are_told(how, root, tmp_path):
    words = r"Wrong decoded a of test as .*expected real numbers of shape \(5, 4\)"
    if how in ("nan", "huge"):
        words = "predictions/a has values that are not finite as float32"
    fail(root, tmp_path, "fit", words, regression={"kind": f"{__name__}:Wrong", "how": how})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("twice", "decode of the regressor .*Wrong gave '[ab]' twice"),
        ("other", "decode of the regressor .*Wrong gave 'other' but was asked for a, b"),
        ("bare", "decode of the regressor .*Wrong gave ndarray where a mapping of test sets of a was expected"),
        ("none", "decode of the regressor .*Wrong gave target groups none, expected a, b"),
        ("names", "decode of the regressor .*Wrong gave NoneType where a mapping of test sets of a was expected"),
        ("fits a list", "fit of the regressor .*Wrong gave list where a mapping of target groups was expected"),
        (
            "stores nan",
            r"Wrong fitted a, but it cannot be stored: .*real numbers, all of them finite; n_rows \(float64\)",
        ),
        ("stores metadata", r"Wrong fitted a, but it cannot be stored: an array is called '__metadata__'"),
        ("stores a dict", "Wrong fitted a as dict, expected a FittedDecoder"),
    ],
)
def test_a_regressor_that_answers_in_another_form_is_told(how, words, root, tmp_path):
    fail(root, tmp_path, "fit", words, regression={"kind": f"{__name__}:Wrong", "how": how})


class Projects(fakes.Names):
    """Asks for projections."""

    def run(self, data):
        data.decoders().project(np.ones((2, 7), np.float32))
        return super().run(data)


def test_projections_that_are_not_finite_are_told(root, tmp_path):
    words = "Wrong projected patterns to a with values that are not finite"
    changes = {"regression": {"kind": f"{__name__}:Wrong", "how": ""}, "analyses": [{"kind": f"{__name__}:Projects"}]}
    run = Run.open(fake_experiment(root, **changes), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    with pytest.raises(RunError, match=words):
        run.do("analyse")


# Generators


class Draws(fakes.Tracer):
    """Draws one of its variants in a wrong way."""

    how: str = "nan"
    variant: str = "rough"

    def open(self, variant, null, networks, seed):
        draw = super().open(variant, null, networks, seed)
        kinds = ODD | {
            "black": np.zeros_like,
            "grey": lambda made: np.full_like(made, 0.5),
            "levels": lambda made: np.rint(made * 255).astype(np.uint8),
            "scalar": lambda made: np.float32(0),
        }
        return lambda *given: kinds[self.how](draw(*given)) if variant == self.variant else draw(*given)


@pytest.mark.parametrize("how", [*ODD, "levels", "scalar"])
@pytest.mark.parametrize("variant", ["rough", "full"])
def test_drawn_pictures_that_are_no_pictures_are_told(how, variant, root, tmp_path):
    words = {
        "nan": r"picture .* has values that are not finite",
        "huge": "has values from 0 to .*, expected 0 to 1",
        "levels": "pictures .* came as uint8, expected floating-point",
        "scalar": r"came as float32 of shape \(\), expected real numbers of shape \(\d+, 3, any, any\)",
    }
    generator = {"kind": f"{__name__}:Draws", "how": how, "variant": variant}
    fail(
        root,
        tmp_path,
        "reconstruct",
        words.get(how, "pictures .* came as .*, expected real numbers"),
        generator=generator,
    )


@pytest.mark.parametrize("how", ["black", "grey"])
def test_a_generator_whose_pictures_are_all_of_one_colour_is_told(how, root, tmp_path):
    words = "9 of 9 pictures final are of one flat colour each"
    fail(root, tmp_path, "reconstruct", words, generator={"kind": f"{__name__}:Draws", "how": how, "variant": "full"})


class Blots(fakes.Names):
    """Leaves pictures of one colour."""

    def run(self, data):
        outcome = super().run(data)
        return type(outcome)(outcome.section, {kind: np.zeros_like(made) for kind, made in outcome.pictures.items()})


def test_an_analysis_whose_pictures_are_all_of_one_colour_is_told(root, tmp_path):
    run = Run.open(fake_experiment(root, analyses=[{"kind": f"{__name__}:Blots"}]), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    with pytest.raises(RunError, match="4 of 4 pictures blots_regions are of one flat colour each"):
        run.do("analyse")


# What a part says of itself


class Says(fakes.Code):
    """Depends on something that JSON cannot hold."""

    how: str = "nan"

    def influences(self, device):
        said = {"nan": float("nan"), "array": np.ones(2), "set": {1}, "keys": {1: 1, "a": 2}}
        return super().influences(device) | {"further": said[self.how]}


@pytest.mark.parametrize("how", ["nan", "array", "set", "keys"])
def test_influences_that_json_cannot_hold_are_told_before_any_work(how, root, tmp_path):
    targets = {"a": {"kind": f"{__name__}:Says", "group": 1, "how": how}}
    with pytest.raises(
        RunError, match=r"what extract\.a depends on cannot be written as JSON .*: influences\(\) of a part"
    ):
        Run.open(fake_experiment(root, targets=targets), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Regions


def test_a_region_whose_voxels_do_not_vary_has_no_preferred_picture():
    """It would be the mean picture, under the region's name."""

    def data(n_still, told):
        values = np.array([[3.0, 4.0], [1.0, 2.0], [5.0, 0.0]])
        values[:n_still] = 0
        made = Projection(values, np.zeros(2), np.ones(2), np.ones(2))
        return SimpleNamespace(
            is_linear=True,
            known_regions=KnownRegions({name: np.ones(2, bool) for name in list(MAXIMISED_REGIONS)[:3]}),
            noise_ceiling=np.full(2, np.nan),
            voxels=lambda: Voxels(2),
            drawn_groups=("a",),
            decoders=lambda: SimpleNamespace(of=lambda groups: SimpleNamespace(project=lambda patterns: {"a": made})),
            predictions=lambda group: np.ones((4, 2)),
            draw=lambda features, ids: {"full": features["a"]} if len(ids) == len(features["a"]) else None,
            progress=lambda *said: told.append(said[0]),
        )

    names = list(MAXIMISED_REGIONS)[:3]
    for n_still in range(4):
        told = []
        outcome = ROIMaximisation(measured=False).run(data(n_still, told))
        drawn = outcome.pictures.get("roi_maximisation_full", ())
        assert len(drawn) == 3 - n_still
        assert [region["name"] for region in outcome.facts.get("regions", ())] == names[n_still:]
        assert told == [f"left out, since responses there do not vary: {', '.join(names[:n_still])}"] * (n_still > 0)


def test_regions_are_drawn_whatever_their_spelling_unless_two_are_spelled_alike():
    told, made = [], Projection(np.array([[3.0, 4.0], [1.0, 2.0]]), np.zeros(2), np.ones(2), np.ones(2))
    data = SimpleNamespace(
        is_linear=True,
        known_regions=KnownRegions({name: np.ones(2, bool) for name in ("v-1", "FACES", "v2", "V_2", "other")}),
        noise_ceiling=np.full(2, np.nan),
        voxels=lambda: Voxels(2),
        drawn_groups=("a",),
        decoders=lambda: SimpleNamespace(
            of=lambda groups: SimpleNamespace(project=lambda patterns: {"a": made} if len(patterns) == 2 else {})
        ),
        predictions=lambda group: np.ones((4, 2)),
        draw=lambda features, ids: {"full": features["a"]},
        progress=lambda *said: told.append(said[0]),
    )
    outcome = ROIMaximisation(measured=False).run(data)
    assert [region["name"] for region in outcome.facts["regions"]] == ["faces", "V1"]
    assert told[0] == "Left out, since they are spelled alike: v2 and V_2."


# Scoring networks


def test_a_scoring_network_that_gives_no_layers_is_told(root, tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.OwnByFeatures, "load_network", lambda *_: lambda pictures: pictures[:, 0, 0])
    words = "a scoring network gave ndarray, expected a mapping of features by layer"
    fail(root, tmp_path, "evaluate", words)
