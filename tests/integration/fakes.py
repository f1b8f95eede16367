"""Parts that can be told apart: whatever they make says what it was made from, so that every path of a run can be traced.

A stimulus is a picture of one colour that says which stimulus it is and whether it trains or tests. Features say their group,
whether they come from stimuli or from responses, and which stimulus. A generator writes all that it was given into the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.datasets.dataset import Dataset, Folder
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.generators.generator import Draw, Generator, GroupFeatures, Variant
from braindiffuser.metrics.metric import Citation, Description, FeatureMetric, FeatureNetwork, Label, PixelMetric
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.part import runtime
from braindiffuser.progress import silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.regressor import Regressor
from braindiffuser.report.sections import PictureGroup, PictureGroups, PictureRef, Section, Text
from braindiffuser.targets.target import Features, Stimuli, Target

N_TRAIN, N_TEST, N_FURTHER, SIDE = 12, 5, 4, 16
N = N_TEST + N_FURTHER
FURTHER_IDS = range(N_TRAIN, N_TRAIN + N_FURTHER)
TEST_IDS = [*range(N_TRAIN + N_FURTHER, N_TRAIN + N), *FURTHER_IDS]
"""Test stimuli in test order: the further set comes after the other, and has the smaller ids."""
IMAGINED = ("Imagined circles", "They were imagined with closed eyes.")
"""Title and note of the further set, where `imagined.txt` says that it was imagined."""
GROUPS = {"a": 1, "b": 2}
SOURCES = {"truth": 1, "predictions": 2}
VARIANTS = {"rough": 1, "full": 2, "without_b": 3, "without_rough": 4}

# What each pixel of a drawn picture's first row says, in levels of red.
VARIANT, STIMULUS, SOURCE, START_VARIANT, START_SOURCE, START_STIMULUS, GROUP_A, GROUP_B, NULL, SEED, PICTURE_ID = (
    range(11)
)


def levels(picture: np.ndarray) -> np.ndarray:
    """Read the first row's red, 0 … 255."""
    return np.rint(picture[0, 0] * 255).astype(int)


def stimulus_picture(stimulus_id: int, brightness: int) -> np.ndarray:
    """Draw a picture of one colour: red says the stimulus, green whether it trains, blue how bright it is."""
    picture = np.zeros((3, SIDE, SIDE), np.float32)
    picture[0], picture[1], picture[2] = (stimulus_id + 1) / 255, float(stimulus_id < N_TRAIN), brightness / 255
    return picture


class Told(Dataset):
    """A recording in a folder of small files: `sessions/*.npy`, `design.csv`, `mask.npy`, `brightness.txt`, `captions.txt`."""

    root: Folder = runtime(description="Folder of the recording.")
    subject: str = Field("subj01", description="Name.")

    def open(self, made: Path) -> Recording:
        trials = pd.read_csv(self.root / "design.csv")
        mask = np.load(self.root / "mask.npy")
        sessions = {int(path.stem): path for path in sorted((self.root / "sessions").glob("*.npy"))}
        trials = trials[trials["session"].isin(sessions)].reset_index(drop=True)
        trials["repeat"] = number_repeats(trials["stimulus_id"].to_numpy())
        said = self.root / "captions.txt"
        captions = said.read_text().splitlines() if said.is_file() else None
        told = self.root / "remarks.txt"
        imagined = (self.root / "imagined.txt").is_file()
        n_voxels = int(mask.sum())
        return Recording(
            subject=self.subject,
            trials=trials.assign(subject=self.subject, run=1, trial=np.arange(len(trials))),
            voxels=Voxels.in_volume(mask, np.eye(4)),
            roi_masks={
                "V1": np.arange(n_voxels) < 3,
                "V2": np.arange(n_voxels) >= 3,
                "first": np.arange(n_voxels) < 1,
                "none": np.zeros(n_voxels, bool),
                "all": np.ones(n_voxels, bool),
            },
            read_session=lambda session: np.load(sessions[session])[:, mask.ravel()],
            pictures=partial(_pictures, self.root / "brightness.txt"),
            captions=None if captions is None else lambda stimulus_id: (captions[stimulus_id],),
            further_test_sets={"further": np.array(FURTHER_IDS)},
            imagined=("further",) if imagined else (),
            notes={"further": IMAGINED} if imagined else {},
            remarks=tuple(told.read_text().splitlines()) if told.is_file() else (),
            unit="percent",
            session_files=lambda session: (f"sessions/{session}.npy",),
        )

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        roles = {
            "design": ["design.csv", "remarks.txt", "imagined.txt"],
            "regions": ["mask.npy"],
            "betas": [f"sessions/{path.name}" for path in sorted((self.root / "sessions").glob("*.npy"))],
            "stimuli": ["brightness.txt"],
            "captions": ["captions.txt"],
        }
        return {
            role: {name: self.root / name for name in names if (self.root / name).is_file()}
            for role, names in roles.items()
        }

    @property
    def folder(self) -> Path:
        return self.root


class Unlisted(Told):
    """The same of a class that lists no files, as one does that keeps the default of `files`."""

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        return {}


class OfSeveral(Told):
    """The same of files that hold the betas of several people, which the class tells apart by their subject."""

    def open(self, made: Path) -> Recording:
        found, own = super().open(made), int.from_bytes(self.subject.encode())
        return replace(found, read_session=lambda session: found.read_session(session) + own % 97)


class Captioned(Told):
    """The same with captions in a file that is listed as part of the design."""

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        files = dict(super().files())
        return {**files, "design": {**files["design"], **files.pop("captions")}}


class Ordered(Told):
    """The same where `order.txt`, a file of the design, says which picture a number stands for: by how bright it is."""

    def open(self, made: Path) -> Recording:
        order = list(map(int, (self.root / "order.txt").read_text().split()))
        told = super().open(made)
        return replace(told, pictures=lambda ids: np.stack([stimulus_picture(int(n), order[int(n)]) for n in ids]))

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        files = dict(super().files())
        return {**files, "design": {**files["design"], "order.txt": self.root / "order.txt"}}


def _pictures(brightness: Path, ids: np.ndarray) -> np.ndarray:
    level = int(brightness.read_text())
    return np.stack([stimulus_picture(int(stimulus_id), level) for stimulus_id in ids])


def repeats_of(stimulus_id: int) -> int:
    """How often a stimulus is shown: 3 or 6 times if it trains, 4 or 3 times if it tests."""
    return (3, 6)[stimulus_id % 2] if stimulus_id < N_TRAIN else (4, 3)[stimulus_id % 2]


def noise_of(n_voxels: int) -> np.ndarray:
    """Standard deviation of each voxel's noise; that of what it responds is about 1."""
    return 0.02 * 1.8 ** np.arange(n_voxels)


def write_recording(folder: Path, n_sessions: int = 3, seed: int = 0) -> Path:
    """Write a recording whose betas are noise around one value for each stimulus."""
    rng = np.random.default_rng(seed)
    (folder / "sessions").mkdir(parents=True)
    n_stimuli = N_TRAIN + N
    all_shown = np.array([number for number in range(n_stimuli) for _ in range(repeats_of(number))])
    in_session = np.array([k % 3 + 1 for number in range(n_stimuli) for k in range(repeats_of(number))])
    order = rng.permutation(len(all_shown))
    order = order[np.argsort(in_session[order], kind="stable")]
    shown, session = all_shown[order], in_session[order]
    split = np.where(shown < N_TRAIN, "train", "test")
    pd.DataFrame({"session": session, "stimulus_id": shown, "split": split}).to_csv(folder / "design.csv", index=False)
    mask = np.ones((2, 2, 2), bool)
    mask[0, 0, 0] = False
    np.save(folder / "mask.npy", mask)
    tuning = rng.normal(size=(n_stimuli, mask.size))
    np.save(folder / "tuning.npy", tuning)
    for number in range(1, n_sessions + 1):
        own = shown[session == number]
        betas = tuning[own] + noise_of(mask.size) * rng.normal(size=(len(own), mask.size))
        np.save(folder / "sessions" / f"{number}.npy", betas.astype(np.float32))
    (folder / "brightness.txt").write_text("100")
    (folder / "captions.txt").write_text("\n".join(f"caption {number}" for number in range(n_stimuli)))
    return folder


class Code(Target):
    """(group, source, stimulus, brightness or length of the caption): what the features were made from."""

    reads: ClassVar[tuple[str, ...]] = ("stimuli",)

    group: int = Field(description="Number that stands for the group.")
    shift: int = Field(0, description="Added to the last number.")
    nothing: int = Field(9, description="Last number of the feature of nothing.")

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        blue = stimuli.pictures()[:, 2, 0, 0] * 255
        return self._rows(stimuli.ids, np.rint(blue) + self.shift)

    def _rows(self, ids: np.ndarray, last: np.ndarray) -> Features:
        rows = [np.full(len(ids), self.group), np.full(len(ids), SOURCES["truth"]), ids, last]
        return np.stack(rows, axis=1).astype(np.float32)

    def null(self, networks: NetworkCache) -> Features:
        return np.array([[self.group, 0, 0, self.nothing]], np.float32)


class Caption(Code):
    """The same of captions."""

    reads: ClassVar[tuple[str, ...]] = ("captions",)

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        lengths = [len(captions[0]) for captions in stimuli.captions()]
        return self._rows(stimuli.ids, np.array(lengths) + self.shift)


class Oracle(Regressor):
    """Decodes the group, "predictions", and the row of the test set; says in the last number how many rows it was fitted to."""

    penalty: dict[str, float] = Field({}, description="Without effect, but of one group.")

    def influences_of(self, group: str, device: str) -> dict[str, Any]:
        return {"kind": self.kind, "penalty": self.penalty.get(group, 0.0)}

    def fit(self, rows, targets, device, progress=silent):
        progress("choosing alpha", 1, 1)
        return {
            group: FittedDecoder({"n_rows": np.array([rows.responses.shape[0]])}, {"group": group}) for group in targets
        }

    def decode(self, fitted, rows, targets, responses, device, progress=silent):
        for group, found in fitted.items():
            progress("predicting features", 1, 1)
            decoded = {}
            for name, own in responses.items():
                first = np.rint(np.asarray(targets[group][:1])[0])
                made = [
                    np.full(len(own), first[0]),
                    np.full(len(own), SOURCES["predictions"]),
                    np.arange(len(own)) + (100 if name == "test" else 150),
                    np.full(len(own), float(found.arrays["n_rows"][0])),
                ]
                decoded[name] = np.stack(made, axis=1).astype(np.float32)
            yield group, decoded


class Tracer(Generator):
    """Writes all that it was given into pixels."""

    uses: ClassVar[tuple[str, ...]] = ("a", "b")
    variants: ClassVar[Mapping[str, Variant]] = {
        "rough": Variant("Rough", None, ("a",), "rough_only", "Rough only", branch="a"),
        "full": Variant("Whole", "rough", ("a", "b")),
        "without_b": Variant("Without b", "rough", ("a",), "without_b", "Without b"),
        "without_rough": Variant("Without rough", None, ("a", "b"), "without_rough", "Without rough"),
    }

    strength: float = Field(0.5, ge=0, le=1, description="Shown in blue.")
    batch_size: int = runtime(3, description="Pictures at a time.")

    def open(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        def draw(features: GroupFeatures, picture_ids: np.ndarray, start: np.ndarray | None) -> np.ndarray:
            made = np.zeros((len(picture_ids), 3, SIDE, SIDE), np.float32)
            made[:, 2] = self.strength
            row = made[:, 0, 0]
            row[:, VARIANT] = VARIANTS[variant]
            first = next(iter(features.values()))
            row[:, SOURCE], row[:, STIMULUS] = first[:, 1], first[:, 2]
            for place, group in ((GROUP_A, "a"), (GROUP_B, "b")):
                row[:, place] = features[group][:, 0] if group in features else 0
            row[:, PICTURE_ID] = picture_ids
            row[:, NULL] = sum(int(values[0, 3]) for values in null.values())
            row[:, SEED] = seed % 256
            if start is not None:
                row[:, START_VARIANT] = np.rint(start[:, 0, 0, VARIANT] * 255)
                row[:, START_SOURCE] = np.rint(start[:, 0, 0, SOURCE] * 255)
                row[:, START_STIMULUS] = np.rint(start[:, 0, 0, STIMULUS] * 255)
            made[:, 0, 0] = row / 255
            return made

        return draw


class Reads(PixelMetric):
    """What one pixel of the picture says, less what one pixel of the stimulus says if asked to."""

    bounds: ClassVar[tuple[float, float]] = (-255.0, 255.0)
    label: Label = "Reads"
    description: Description = "What a pixel says."
    citation: Citation = "none"
    pixel: int = Field(0, ge=0, lt=SIDE, description="Which pixel of the first row.")
    channel: int = Field(0, ge=0, lt=3, description="Which channel.")

    def compare(self, seen: np.ndarray, made: np.ndarray) -> np.ndarray:
        return np.rint(made[:, self.channel, 0, self.pixel].astype(np.float64) * 255)


def is_own(seen: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Tell from the first rows' red (n, side) whether what was made was made from the stimulus that was seen: 1.0 or 0.0."""
    said, shown = np.rint(made[:, STIMULUS] * 255).astype(int), np.rint(seen[:, STIMULUS] * 255).astype(int) - 1
    decoded = np.array([*range(100, 100 + N_TEST), *range(150, 150 + N_FURTHER)])
    stimuli = {int(row): stimulus for row, stimulus in zip(decoded, TEST_IDS, strict=True)}
    return np.array([float(stimuli.get(int(one), int(one)) == other) for one, other in zip(said, shown, strict=True)])


class Own(PixelMetric):
    """Whether a picture was made from the stimulus that it is compared with."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    label: Label = "Own"
    description: Description = "1 if the picture says the stimulus."
    citation: Citation = "none"

    def compare(self, seen: np.ndarray, made: np.ndarray) -> np.ndarray:
        return is_own(seen[:, 0, 0], made[:, 0, 0])


class OwnByFeatures(FeatureMetric):
    """The same by features of a network that comes with the metric."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    label: Label = "Own by features"
    description: Description = "1 if the features say the stimulus."
    citation: Citation = "none"
    network: str = "first_row"
    layer: str = "red"

    def load_network(self, device: str) -> FeatureNetwork:
        return lambda pictures: {"red": pictures[:, 0, 0].astype(np.float64)}

    def compare(self, seen: np.ndarray, made: np.ndarray) -> np.ndarray:
        return is_own(seen, made)


class Names(Analysis):
    """Leaves one picture for each region, and a sentence."""

    draws: ClassVar[bool] = True

    word: str = Field("found", description="A word of the sentence.")

    def run(self, data: RunData) -> Outcome:
        names = [name for name, mask in data.rois.items() if mask.any()]
        features = {group: data.truth(group)[: len(names)] for group in data.drawn_groups}
        drawn = data.draw(features, 40 + np.arange(len(names)))
        kind = f"{self.label}_regions"
        refs = [PictureRef(kind=kind, number=number, label=name) for number, name in enumerate(names)]
        groups = tuple(PictureGroup(name=ref.label, pictures=(ref,)) for ref in refs)
        section = Section(
            name=self.label,
            title="Names",
            blocks=(Text(text=f"{self.word} {len(names)} of {data.subject}"), PictureGroups(groups=groups)),
        )
        facts = {
            "names": names,
            "noise_ceiling": data.noise_ceiling.tolist(),
            "test_sets": {name: [rows.start, rows.stop] for name, rows in data.test_sets.items()},
            "responses": {split: data.responses(split).tolist() for split in ("train", "test")},
            "stimulus_ids": {split: data.stimulus_ids(split).tolist() for split in ("train", "test")},
            "predictions": {group: data.predictions(group).tolist() for group in data.groups},
            "truth": {group: data.truth(group).tolist() for group in data.groups},
        }
        return Outcome(section, {kind: drawn["full"]}, facts)


class Curious(Analysis):
    """Asks for things that it does not declare, or leaves pictures under another's name."""

    asks: str = Field("per_image", description="What it asks for.")
    needs: ClassVar[tuple[str, ...]] = ()

    def run(self, data: RunData) -> Outcome:
        section = Section(name="scores", title="Curious", blocks=())
        if self.asks == "final":
            return Outcome(section, {"final": np.zeros((1, 3, SIDE, SIDE), np.float32)})
        arguments = {"predictions": ("a",), "draw": ({}, ())}
        getattr(data, self.asks)(*arguments.get(self.asks, ()))
        return Outcome(section)


class Averages(Analysis):
    """Says how far averages of single trials are from responses, how often it computed that, and what was drawn with changes."""

    reads: ClassVar[tuple[str, ...]] = ("betas",)
    draws: ClassVar[bool] = True
    later: ClassVar[tuple[str, ...]] = ("word", "name")

    word: str = Field("", description="A word that nothing kept depends on.")
    number: int = Field(0, description="A number that all depends on.")

    def run(self, data: RunData) -> Outcome:
        sides = {side: data.kept(side, partial(self._distance, data, side)) for side in ("train", "test")}
        features = {group: data.truth(group)[:2] for group in data.drawn_groups}
        begun = {"rough": np.full((2, 3, SIDE, SIDE), 7 / 255, np.float32)}
        drawn = data.draw(features, np.arange(2), {"strength": 0.25}, begun)
        facts = {
            "word": self.word,
            "sides": sides,
            "blue": float(drawn["full"][0, 2, 1, 1]),
            "start": levels(drawn["full"][0])[START_VARIANT].item(),
            "chain": list(data.chain),
            "own": data.generator["strength"],
        }
        return Outcome(Section(name="averages", title="Averages", blocks=()), facts=facts)

    def _distance(self, data: RunData, side: str) -> dict[str, Any]:
        trials, responses = data.trials(side), data.responses(side)
        counts = np.bincount(trials.stimuli, minlength=len(responses))
        sums = np.zeros_like(responses, dtype=np.float64)
        np.add.at(sums, trials.stimuli, trials.responses)
        COMPUTED.append(side)
        return {
            "distance": float(np.abs(sums / counts[:, None] - responses).max()),
            "counts": counts.tolist(),
            "sessions": np.unique(trials.sessions).tolist(),
        }


class Parts(Analysis):
    """Says squares, each computed as a part, and how often this process computed one."""

    power: int = Field(2, description="Exponent.")

    def run(self, data: RunData) -> Outcome:
        items = {f"part{number}": number for number in range(6)}
        facts = {"powers": list(data.kept_each(items, self.part_of(data)))}
        return Outcome(Section(name="parts", title="Parts", blocks=()), facts=facts)

    def part_of(self, data: RunData) -> Callable[[int], int]:
        n = len(data.stimulus_ids("test"))

        def part(number: int) -> int:
            COMPUTED.append(f"part {number}")
            return number**self.power + n

        return part


class OwnParts(Parts):
    """The same of a class that says of no other process how it would compute a part."""

    part_of = Analysis.part_of

    def run(self, data: RunData) -> Outcome:
        facts = {"powers": list(data.kept_each({"one": 1}, lambda number: number + 1))}
        return Outcome(Section(name="parts", title="Parts", blocks=()), facts=facts)


COMPUTED: list[str] = []
"""Sides whose averages were computed."""


class Paints(Names):
    """Asks for a stage that does not exist."""

    needs: ClassVar[tuple[str, ...]] = ("paint",)


def fake_experiment(root: Path, **changes: Any):
    """An experiment of fake parts alone; changes are nested entries."""
    from braindiffuser.experiment import Experiment

    module = __name__
    content = {
        "name": "fakes",
        "seed": 7,
        "dataset": {"kind": f"{module}:Told", "root": str(root)},
        "targets": {
            "a": {"kind": f"{module}:Code", "group": GROUPS["a"]},
            "b": {"kind": f"{module}:Caption", "group": GROUPS["b"]},
        },
        "regression": {"kind": f"{module}:Oracle"},
        "generator": {"kind": f"{module}:Tracer"},
        "evaluation": {
            "profile": "pixels",
            "n_resamples": 20,
            "metrics": {
                "variant": {"kind": f"{module}:Reads", "pixel": VARIANT},
                "stimulus": {"kind": f"{module}:Reads", "pixel": STIMULUS},
                "source": {"kind": f"{module}:Reads", "pixel": SOURCE},
                "trains": {"kind": f"{module}:Reads", "channel": 1},
                "own": {"kind": f"{module}:Own"},
                "own_by_features": {"kind": f"{module}:OwnByFeatures"},
            },
        },
        "analyses": [{"kind": f"{module}:Names"}],
    }
    return Experiment.model_validate(content).changed(changes)
