"""Splits of LAION-fMRI, which its package ships by pool and name, and its out-of-distribution (OOD) pictures."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Int

from braindiffuser.datasets.split_files import read_sides
from braindiffuser.datasets.splits import OUT
from braindiffuser.errors import RecordingError

PACKAGE = "laion_fmri"
BELOW_ROOT = (Path(PACKAGE) / "splits" / "data", Path("splits") / "data", Path("splits"))
"""Where splits may lie in the folder of the recording."""
SMALLEST_SET = 2
"""Pictures that a test set needs, since scores compare them."""


def splits_folder(root: Path, given: Path | None) -> Path | None:
    """Return the folder that holds POOL/NAME.json: the one that is given, under the root, or in the package; None if none is.

    The package is found without being imported.
    """
    if given is not None:
        return given
    below = next((root / path for path in BELOW_ROOT if any((root / path).glob("*/*.json"))), None)
    if below is not None:
        return below
    spec = find_spec(PACKAGE)
    places = [Path(place) / "splits" / "data" for place in (spec.submodule_search_locations or ())] if spec else []
    return next((place for place in places if place.is_dir()), None)


def split_path(folder: Path, pool: str, name: str) -> Path:
    """Return the file of a split."""
    return folder / pool / f"{name}.json"


def numbered_splits(folder: Path | None, pool: str, name: str) -> tuple[str, ...]:
    """Return the splits that a name stands for: all that are called so with a number from 0 behind it, or itself.

    A split of just this name stands for itself. `cluster_k5` stands for five.

    Raises:
        RecordingError: there are some of them alone.
    """
    if folder is None or split_path(folder, pool, name).is_file():
        return (name,)
    found = {path.stem for path in (folder / pool).glob("*.json") if re.fullmatch(rf"{re.escape(name)}_\d+", path.stem)}
    said = re.search(r"_k(\d+)$", name)
    n = max(len(found), int(said[1]) if said else 0)
    expected = tuple(f"{name}_{number}" for number in range(n))
    lacking = [each for each in expected if each not in found]
    if found and lacking:
        raise RecordingError(
            f"{folder / pool} has {len(found)} of the {n} splits {name}, without {lacking[0]}.json: put it there, or name the "
            f"splits one by one, such as {min(found)}"
        )
    return expected if found else (name,)


@dataclass(frozen=True)
class Sides:
    """Which pictures train and which test, by their ids.

    Attributes:
        test: ids, out-of-distribution pictures among them.
        out: ids of those on neither side.
        further: name of a further test set → ids.
        notes: its name → title and text for the page.
        remarks: sentences for the page.
        is_known: whether there is a split.
    """

    test: frozenset[int]
    out: frozenset[int]
    further: Mapping[str, Int[np.ndarray, " _"]]
    notes: Mapping[str, tuple[str, str]]
    remarks: tuple[str, ...]
    is_known: bool

    def words(self, ids: Int[np.ndarray, " n"]) -> np.ndarray:
        """Return the split of each id: "train", "test", "out", or "" throughout if there is no split."""
        if not self.is_known:
            return np.full(len(ids), "", dtype=object)
        return np.where(np.isin(ids, list(self.test)), "test", np.where(np.isin(ids, list(self.out)), OUT, "train"))


def divide(
    names: Mapping[int, str], folder: Path | None, pool: str, split: str | None, variant: int, by_kind: bool
) -> Sides:
    """Divide the pictures that a subject saw.

    OOD pictures never train: they test in sets of their own, with any split.

    Args:
        names: id → name, of the pictures that were shown.
        folder: of the splits; None if none was found.
        pool: name of the pool.
        split: name of the split; None: none.
        variant: which of its variants.
        by_kind: whether OOD pictures are one test set per kind, rather than one in all.

    Raises:
        RecordingError: the split's file is missing or damaged, or lists no training picture that was shown.
    """
    sets, id_of = ood_sets(names.values(), by_kind)[0], {name: number for number, name in names.items()}
    notes = {name: _note(name, pictures) for name, pictures in sets.items()}
    further = {name: np.sort([id_of[picture] for picture in pictures]) for name, pictures in sets.items()}
    apart = {number for ids in further.values() for number in ids.tolist()}
    if split is None:
        return Sides(frozenset(), frozenset(), further, notes, (), False)
    path = _find(folder, pool, split)
    train_names, test_names = (frozenset(side or ()) for side in read_sides(path, variant))
    train = {number for number, name in names.items() if name in train_names} - apart
    test = {number for number, name in names.items() if name in test_names} - apart
    if not train:
        raise RecordingError(
            f"{path} lists {len(train_names)} training pictures, none of which this subject saw; names that it saw are such as "
            f"{next(iter(names.values()))!r}: choose the subject's own pool, or shared"
        )
    out = set(names) - train - test - apart
    said = [_provenance(path, pool, split, (len(train), len(test), len(apart)))]
    said += _unshown(names, train_names | test_names)
    if out:
        said.append(f"{len(out):,} pictures that were shown are on neither side of the split.")
    moved = sorted(names[number] for number in apart if names[number] in train_names)
    if moved:
        said.append(
            f"The split trains on {len(moved)} out-of-distribution pictures (such as {moved[0]}): they test all the same."
        )
    return Sides(frozenset(test | apart), frozenset(out), further, notes, tuple(said), True)


def kind_of_ood(name: str) -> str | None:
    """Return the kind of an out-of-distribution picture, None of any other.

    >>> kind_of_ood("shared_4rep_OOD_illusion-classic_cafe wall.png")
    'illusion-classic'
    """
    found = re.match(r"shared_(?:[^_]+_)?OOD_([^_.]+)", name)
    return found[1] if found else None


def ood_sets(names: Iterable[str], by_kind: bool) -> tuple[dict[str, list[str]], list[str]]:
    """Collect the OOD pictures, `ood` or `ood_KIND` → names; kinds with one picture are put together in `ood`.

    Args:
        names: of the pictures that were shown, each once.
        by_kind: whether to make one set per kind.

    Returns:
        The sets, and the picture that would be alone in one, if any: one picture is no test set.
    """
    sets: dict[str, list[str]] = {}
    for name in sorted(names):
        kind = kind_of_ood(name)
        if kind is not None:
            sets.setdefault(f"ood_{re.sub('[^a-z0-9]+', '_', kind.lower())}" if by_kind else "ood", []).append(name)
    rest = [name for found in sets.values() if len(found) < SMALLEST_SET for name in found]
    sets = {name: found for name, found in sorted(sets.items()) if len(found) >= SMALLEST_SET}
    if len(rest) < SMALLEST_SET:
        return sets, rest
    return {**sets, "ood": rest}, []


def _note(name: str, pictures: Iterable[str]) -> tuple[str, str]:
    """Return the title and the text of a test set for the page."""
    counts = Counter(str(kind_of_ood(picture)) for picture in pictures)
    counted = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    title = "Out-of-distribution pictures" if name == "ood" else f"Out-of-distribution pictures: {next(iter(counts))}"
    return title, f"They are unlike all training pictures by design, and are scored apart ({counted})."


def _find(folder: Path | None, pool: str, split: str) -> Path:
    if folder is None:
        raise RecordingError(
            f"the file {pool}/{split}.json of the split {split} was not found: install the package {PACKAGE}, which ships it, "
            "name the folder that holds it, such as `splits: /data/laion_fmri/splits/data`, or write `split: null`"
        )
    path = split_path(folder, pool, split)
    if not path.is_file():
        there = sorted(found.stem for found in path.parent.glob("*.json"))
        pools = sorted(found.name for found in folder.glob("*") if found.is_dir())
        has = f"pool {pool} has {', '.join(there)}" if there else f"pools there are {', '.join(pools) or 'none'}"
        raise RecordingError(
            f"{path} is missing; {has}: choose another dataset.split or dataset.pool, or take the splits of a newer version of "
            f"the package {PACKAGE}"
        )
    return path


def _provenance(path: Path, pool: str, split: str, counts: tuple[int, int, int]) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    n_train, n_test, n_ood = counts
    beside = f", beside {n_ood:,} out-of-distribution ones" if n_ood else ""
    return (
        f"Split: {split} of the pool {pool} (SHA-256 of its file: {digest}…), {n_train:,} pictures train and {n_test:,} "
        f"test{beside}."
    )


def _unshown(names: Mapping[int, str], listed: frozenset[str]) -> list[str]:
    n = len(listed - set(names.values()))
    return [f"{n:,} pictures on the split's lists were not shown in the sessions that are read."] if n else []
