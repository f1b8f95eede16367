"""A shared decoder: one safetensors file and its card, read and written on disk and on a hub. It decodes without torch.

No file is run or unpickled: a file holds arrays and a header of JSON, both are checked, and everything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from braindiffuser.errors import DependencyError, RunError, lacks_package, reason
from braindiffuser.files import LEFTOVER, replacing
from braindiffuser.lfs_pointers import pointer_sentence
from braindiffuser.regression.reduced_decoder import ReducedDecoder
from braindiffuser.sharing.card import card
from braindiffuser.sharing.facts import FORMAT, DecoderFacts
from braindiffuser.sharing.response_check import check_size, checked_responses, normalised

FILE = "decoder.safetensors"
CARD = "README.md"
HEADER = "header"
OF_GROUP = ("weights", "sizes", "offset", "loadings", "mean", "spread")
"""Arrays of each target group, in the file as group.GROUP.weights and so on."""
MESSAGE = "Share a decoder"
NEWER = re.compile(r"braindiffuser-shared-decoder-[1-9]\d*")
UPDATE = "it was written by a newer version, so update braindiffuser"


class Averages(NamedTuple):
    """m and s of the last step of normalisation, r = (a − m) / s; 0 and 1 where there is none.

    Attributes:
        mean: of each voxel's averages over training stimuli.
        std: their standard deviation; 1 where a voxel never varies.
    """

    mean: Float32[np.ndarray, " n_voxels"]
    std: Float32[np.ndarray, " n_voxels"]


@runtime_checkable
class Hub(Protocol):
    """What is used of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        """Make a repository."""

    def repo_info(self, repo_id: str) -> Any:
        """Return what is known of it, with `private`."""

    def list_repo_files(self, repo_id: str) -> list[str]:
        """Return the names of its files."""

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        """Upload the files of a folder."""

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None) -> str:
        """Download a file; return where it is."""


@dataclass(frozen=True, eq=False, repr=False)
class SharedDecoder:
    """Decoders of reduced rank of all target groups, calibration folded in, with what is known of them.

    Example:
        decoder = braindiffuser.SharedDecoder.load("shared/subj01")
        features = decoder.decode(responses)["vision"]

    Attributes:
        facts: what it says of itself.
        groups: target group → arrays.
        null: target group → unconditional feature (1, …), of those that the generator is guided away from.
        averages: of the training trials, before the last step of normalisation.
    """

    facts: DecoderFacts
    groups: Mapping[str, ReducedDecoder]
    null: Mapping[str, Float32[np.ndarray, "1 ..."]]
    averages: Averages

    def decode(
        self, responses: Any, *, fingerprint: str | None = None, any_size: bool = False, betas: bool = False
    ) -> dict[str, Float32[np.ndarray, "n ..."]]:
        """Decode responses; each row is decoded for itself.

        Args:
            responses: (n, n_voxels), averages or single trials, normalised as the training responses; or betas.
            fingerprint: of their voxels, which is compared; None: it is not known.
            any_size: whether responses are decoded that are far larger or smaller than the training responses.
            betas: whether they are betas in the unit of the recording, which are normalised first, by `responses_of`.

        Returns:
            Target group → features (n, …), on the scale of the targets.

        Raises:
            RunError: responses are of other voxels, not finite, or not of the size of the training responses; or decoded
                features are not finite.
        """
        if betas:
            responses = self.responses_of(responses, fingerprint)
        values = checked_responses(responses, self.facts, fingerprint)
        if not any_size:
            first = next(iter(self.groups.values()))
            check_size(values, first.response_mean, first.response_std, self.facts)
        with np.errstate(over="ignore", invalid="ignore"):  # which is refused
            decoded = {group: own.predict(values) for group, own in self._widened.items()}
        for group, features in decoded.items():
            if not np.isfinite(features).all():
                raise RunError(f"decoded features of {group} are not finite: responses are far larger than any can be")
        return {group: own.reshape(len(values), *self.facts.groups[group].shape) for group, own in decoded.items()}

    def responses_of(self, betas: Any, fingerprint: str | None = None) -> Float32[np.ndarray, "n n_voxels"]:
        """Return betas normalised as the training responses were, as `response_check.normalised` describes it.

        Args:
            betas: (n, n_voxels), averages or single trials in the unit of the recording; all trials of one session or run, if
                training trials were z-scored by these.
            fingerprint: of their voxels, which is compared; None: it is not known.

        Raises:
            RunError: they are of other voxels, not finite, or too few to be z-scored by.
        """
        values = checked_responses(betas, self.facts, fingerprint)
        return normalised(values, self.facts, self.averages.mean, self.averages.std)

    @cached_property
    def _widened(self) -> dict[str, ReducedDecoder]:
        return {group: own.widened() for group, own in self.groups.items()}

    # On disk

    def save(self, folder: Path | str) -> Path:
        """Write the file and its card into a folder, each whole or not at all.

        Args:
            folder: new, empty, or one that holds this decoder already.

        Returns:
            Path of the file.

        Raises:
            RunError: the folder holds other files.
        """
        folder = Path(folder)
        check_free(folder, self.facts.__eq__)
        arrays, stated = self._arrays(), self.facts.model_dump(mode="json")
        header = json.dumps({"facts": stated, "sha256": _hash(stated, arrays)})
        with replacing(folder / FILE) as beside:
            beside.write_bytes(save(arrays, {HEADER: header}))  # save_file would let nobody else read it
        with replacing(folder / CARD) as beside:
            beside.write_text(card(self.facts, (folder / FILE).stat().st_size), encoding="utf-8")
        return folder / FILE

    def _arrays(self) -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Return all arrays by their names in the file."""
        first = next(iter(self.groups.values()))
        arrays = {"voxels.mean": first.response_mean, "voxels.std": first.response_std}
        arrays |= {"averages.mean": self.averages.mean, "averages.std": self.averages.std}
        arrays |= {
            f"group.{group}.{name}": getattr(own, name) for group, own in self.groups.items() for name in OF_GROUP
        }
        arrays |= {f"group.{group}.null": values for group, values in self.null.items()}
        return {name: np.ascontiguousarray(values) for name, values in arrays.items()}

    @classmethod
    def load(cls, path: Path | str) -> SharedDecoder:
        """Read a shared decoder, and check that it is whole.

        Args:
            path: the file, or the folder that holds it.

        Raises:
            RunError: there is none, it is damaged, or something else.
        """
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise RunError(
                f"there is no shared decoder at {path}: name the folder or the file that `braindiffuser share` wrote"
            )
        pointer = pointer_sentence(path)
        if pointer:
            raise RunError(pointer)
        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
                stated = _format_of(header)
                if stated != FORMAT and NEWER.fullmatch(stated):
                    raise RunError(f"{path} has the format {stated}, and this version reads {FORMAT}: {UPDATE}")
                if stated != FORMAT:
                    raise RunError(
                        f"{path} is no shared decoder of format {FORMAT}: name one that `braindiffuser share` wrote"
                    )
                names = file.keys()
                arrays = {name: file.get_tensor(name) for name in names}
            facts = DecoderFacts.model_validate_json(json.dumps(header["facts"]))
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            if {each["type"] for each in error.errors()} == {"extra_forbidden"} and header.get("sha256") == _hash(
                header["facts"], arrays
            ):
                raise RunError(f"{path} states {place}, which this version does not know: {UPDATE}") from error
            raise RunError(
                f"{path} is damaged or altered: its header has {place} wrong ({reason(fault['msg'])})"
            ) from error
        except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{path} is damaged or no shared decoder ({reason(error)}): copy or download it again"
            ) from error
        _check_arrays(path, facts, arrays)
        if header.get("sha256") != _hash(header["facts"], arrays):
            raise RunError(
                f"{path} is damaged or altered, its content has not the hash that it states: copy or download it again"
            )
        averages = Averages(arrays["averages.mean"], arrays["averages.std"])
        return cls(facts, {group: _reduced(group, arrays) for group in facts.groups}, _null(facts, arrays), averages)

    # On a hub

    def push_to_hub(self, repo_id: str, *, private: bool = True, replace: bool = False, api: Hub | None = None) -> str:
        """Upload the file and its card to a model repository of Hugging Face's hub, made if there is none.

        Args:
            repo_id: owner/name.
            private: whether the repository must be private, one that is there too; passing a decoder on is for you to decide.
            replace: whether files that the repository holds may be replaced.
            api: `huggingface_hub.HfApi`, with a token and an endpoint of your own; None: the default.

        Returns:
            The repository, as `from_pretrained` takes it.

        Raises:
            DependencyError: huggingface_hub is not installed.
            RunError: the repository is public and must be private, it holds files and none may be replaced, or the hub refuses.
        """
        hub = api or _hub()
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / "decoder")
            with _hub_errors(
                f"the hub did not take {repo_id}", "check its name, that you are logged in, and the network"
            ):
                hub.create_repo(repo_id, private=private, exist_ok=True)
                if private and not hub.repo_info(repo_id).private:
                    raise RunError(
                        f"the repository {repo_id} is there and public: name a new one, or give private=False to publish there"
                    )
                held = sorted(set(hub.list_repo_files(repo_id)) - {".gitattributes"})
                if held and not replace:
                    raise RunError(
                        f"the repository {repo_id} holds {held[0]}: name a new one, or give replace=True to replace {FILE} and "
                        f"{CARD}"
                    )
                hub.upload_folder(repo_id=repo_id, folder_path=str(Path(folder) / "decoder"), commit_message=MESSAGE)
        return repo_id

    @classmethod
    def from_pretrained(
        cls, source: Path | str, *, revision: str | None = None, api: Hub | None = None
    ) -> SharedDecoder:
        """Read a shared decoder from a folder, a file, or a model repository of Hugging Face's hub.

        Args:
            source: a path, if there is such a one, or owner/name.
            revision: branch, tag or commit of the repository; a commit always gives the same decoder. A path has none.
            api: as in `push_to_hub`.

        Raises:
            DependencyError: huggingface_hub is not installed.
            RunError: there is no such repository or file, it is no shared decoder, or a path was given a revision.
        """
        if not Path(source).exists():
            missing = f"there is no {source} on this machine, and the hub gave no {FILE} of a repository of that name"
            return cls.load(_downloaded(str(source), revision, api, missing))
        if revision is not None:
            raise RunError(
                f"{source} is on this machine, which keeps no revisions: leave the revision out, or call SharedDecoder.from_hub, "
                "which looks at the hub alone"
            )
        return cls.load(source)

    @classmethod
    def from_hub(cls, repo_id: str, *, revision: str | None = None, api: Hub | None = None) -> SharedDecoder:
        """Read a shared decoder from a model repository of Hugging Face's hub, whatever lies on this machine.

        Args:
            repo_id: owner/name.
            revision: branch, tag or commit; a commit always gives the same decoder.
            api: as in `push_to_hub`.

        Raises:
            DependencyError: huggingface_hub is not installed.
            RunError: there is no such repository, or it holds no shared decoder.
        """
        return cls.load(_downloaded(repo_id, revision, api, f"the hub gave no {FILE} of a repository {repo_id}"))

    def __repr__(self) -> str:
        """Return whom it is of, and the shapes of what it takes and gives."""
        groups = ", ".join(f"{group} {own.shape}" for group, own in self.facts.groups.items())
        return f"SharedDecoder({self.facts.origin.subject or 'a person'}, {self.facts.voxels.n} voxels → {groups})"


def _downloaded(repo_id: str, revision: str | None, api: Hub | None, missing: str) -> str:
    """Return where the file of a repository was downloaded to; raise RunError with `missing` if it was not."""
    hub = api or _hub()
    with _hub_errors(missing, "check the name, and the network"):
        return hub.hf_hub_download(repo_id, FILE, revision=revision)


@contextmanager
def _hub_errors(what: str, advice: str) -> Iterator[None]:
    """Raise RunError for whatever a library of the hub raises; its errors, and those of the network, are of many kinds."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"{what} ({reason(error)}): {advice}") from error


def check_free(folder: Path, is_the_same: Callable[[DecoderFacts], bool]) -> None:
    """Check that a decoder may be written to a folder.

    Args:
        folder: to write to.
        is_the_same: whether facts of a decoder that lies there are those of the one to write.

    Raises:
        RunError: it is a file, or holds anything but the same decoder, with its card unchanged.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a new folder for the decoder")
    there = [path for path in folder.glob("*") if not LEFTOVER.fullmatch(path.name)]
    others = sorted(path.name for path in there if path.name not in (FILE, CARD) or path.is_symlink())
    if others or (there and not _is_own(folder, is_the_same)):
        raise RunError(
            f"{folder} holds {others[0] if others else 'another decoder or card'}: name a new folder for the decoder"
        )


def _is_own(folder: Path, is_the_same: Callable[[DecoderFacts], bool]) -> bool:
    """Return whether a folder holds the same decoder, and no card or its own one."""
    try:
        facts = SharedDecoder.load(folder).facts
        written = folder / CARD
        expected = card(facts, (folder / FILE).stat().st_size)
        return is_the_same(facts) and (not written.exists() or written.read_text(encoding="utf-8") == expected)
    except (RunError, OSError, ValueError):
        return False


def _format_of(header: Any) -> str:
    facts = header.get("facts") if isinstance(header, dict) else None
    return str(facts.get("format")) if isinstance(facts, dict) else ""


def _hash(facts: Mapping[str, Any], arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> str:
    """Return the SHA-256 of facts, as a file states them, and of arrays."""
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        values = arrays[name]
        content.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        content.update(values.reshape(-1).view(np.uint8).data)
    return content.hexdigest()


def _check_arrays(path: Path, facts: DecoderFacts, arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> None:
    """Raise RunError if arrays are not those that the facts speak of."""
    voxels = facts.voxels.n
    expected: dict[str, tuple[int, ...]] = {}
    for group, own in facts.groups.items():
        n_targets = int(np.prod(own.shape, dtype=object))
        sides = ((voxels, own.rank), (own.rank,), (own.rank,), (own.rank, n_targets), (n_targets,), (n_targets,))
        expected |= {f"group.{group}.{name}": shape for name, shape in zip(OF_GROUP, sides, strict=True)}
        if f"group.{group}.null" in arrays:
            expected[f"group.{group}.null"] = (1, *own.shape)
    expected |= {f"{name}.{own}": (voxels,) for name in ("voxels", "averages") for own in ("mean", "std")}
    large = np.dtype(facts.precision)
    for name in sorted(expected.keys() | arrays.keys()):
        found = arrays.get(name)
        dtype = large if name.endswith((".weights", ".loadings")) else np.dtype(np.float32)
        if found is None or (found.shape, found.dtype) != (expected.get(name), dtype) or not np.isfinite(found).all():
            raise RunError(f"{path} is damaged or altered: its array {name:.80} is not what its header says")
    if not all((arrays[name] > 0).all() for name in ("voxels.std", "averages.std")):
        raise RunError(f"{path} is damaged or altered: a voxel's standard deviation is not above 0")


def _reduced(group: str, arrays: Mapping[str, Any]) -> ReducedDecoder:
    return ReducedDecoder(
        arrays["voxels.mean"], arrays["voxels.std"], **{name: arrays[f"group.{group}.{name}"] for name in OF_GROUP}
    )


def _null(facts: DecoderFacts, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {group: arrays[f"group.{group}.null"] for group in facts.groups if f"group.{group}.null" in arrays}


def _hub() -> Hub:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise DependencyError(lacks_package(error, "hub") or str(error)) from error
    hub: Hub = HfApi()
    return hub
