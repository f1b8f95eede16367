"""Networks that are loaded once and shared: one CLIP serves two target groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import RunError, reason
from braindiffuser.system_errors import is_of_the_system, naming

Network = TypeVar("Network")


class NetworkCache:
    """Loads each network once, and holds it until `keep` releases it.

    Attributes:
        device: where networks compute: "cpu", "cuda", "cuda:1" …
    """

    def __init__(self, device: str = "cpu") -> None:
        """Begin with no network.

        Args:
            device: where networks compute.
        """
        self.device = device
        self._loaded: dict[tuple[Any, ...], Any] = {}

    def load(self, folder: Path, load: Callable[[Path], Network], *settings: Hashable) -> Network:
        """Return the network of a checkpoint folder, loading it if this is the first time, or if its files were replaced since.

        Args:
            folder: of the checkpoint.
            load: makes the network from the folder; cached by qualified name: two closures of one name share an entry.
            settings: what else the network depends on, such as its precision: networks of other settings are loaded
                separately.

        Raises:
            RunError: if the checkpoint is missing, damaged, or does not fit its own config.
        """
        written = _written(folder)
        key = (folder, written, load.__module__, load.__qualname__, *settings)
        if key not in self._loaded:
            self._loaded = {own: each for own, each in self._loaded.items() if own[0] != folder or own[1] == written}
            try:
                with naming(folder):
                    loaded = load(folder)
            except (OSError, ValueError) as error:
                if lacks_memory(error) or (is_of_the_system(error) and not isinstance(error, FileNotFoundError)):
                    raise  # the checkpoint is not to blame
                raise RunError(
                    f"the checkpoint {folder} cannot be used: {reason(error, 2000)}; if it is a published one, run "
                    "`braindiffuser checkpoints --convert`, if it came with the package, install braindiffuser again"
                ) from error
            if (
                _written(folder) != written
            ):  # it may be of either: whoever computes with it finds that out, and nobody later
                return loaded
            self._loaded[key] = loaded
        network: Network = self._loaded[key]
        return network

    def load_to_device(self, folder: Path, load: Callable[[Path, str], Network]) -> Network:
        """Return the network of a checkpoint folder, loading it straight to `device` if this is the first time.

        Args:
            folder: of the checkpoint.
            load: makes the network from the folder and the device, such as `checkpoints.load_vdvae`; cached as by `load`.

        Raises:
            RunError: as `load`.
        """

        @wraps(load)  # the same name, so the same entry of the cache
        def load_there(folder: Path) -> Network:
            return load(folder, self.device)

        return self.load(folder, load_there)

    def keep(self, folders: Collection[Path]) -> None:
        """Release all networks but these folders'."""
        self._loaded = {key: network for key, network in self._loaded.items() if key[0] in folders}


def _written(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return name, size, time of the last change and inode of each file of a checkpoint, without reading them."""
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        with suppress(OSError):
            own = path.stat()
            found.append((path.name, own.st_size, own.st_mtime_ns, own.st_ino))
    return tuple(found)
