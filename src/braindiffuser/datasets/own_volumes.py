"""Label volumes and maps that an experiment adds to a recording of any kind whose voxels lie in a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from braindiffuser.datasets.label_volumes import WITHIN, LabelVolume, table_beside
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.voxel_maps import VoxelMaps, read_map
from braindiffuser.errors import RecordingError

LABELS, MAPS = "dataset.label_volumes", "dataset.voxel_maps"
MASK = "of the recording"
"""What messages call the analysis mask."""


def with_volumes(recording: Recording, labels: Mapping[str, Path], maps: Mapping[str, Path]) -> Recording:
    """Return a recording whose regions may be named by further labels and maps; none is read yet.

    Args:
        recording: whose voxels lie in a volume.
        labels: name → label volume; one of a name that the recording has already replaces it.
        maps: name → volume of numbers, likewise.

    Raises:
        RecordingError: a file is missing, a name holds a colon, or the recording has no volume.
    """
    for entry, files in ((LABELS, labels), (MAPS, maps)):
        for name, path in files.items():
            if WITHIN in name:
                raise RecordingError(f"{entry} names {name!r}: leave out the {WITHIN}, which stands before a label")
            if not path.is_file():
                raise RecordingError(f"{path} is missing ({entry}.{name}): check its name, or leave it out")
        if files and recording.voxels.mask is None:
            raise RecordingError(
                f"{entry} names {', '.join(files)}, but this recording has no mask that says where voxels lie: give one, or "
                "leave them out"
            )
    volumes = {name: LabelVolume(path, recording.voxels, MASK, table_beside(path)) for name, path in labels.items()}
    readers = {name: partial(read_map, path, recording.voxels, MASK) for name, path in maps.items()}
    return replace(
        recording,
        label_volumes=recording.label_volumes.and_also(volumes) if volumes else recording.label_volumes,
        voxel_maps=recording.voxel_maps.and_also(VoxelMaps(readers)) if readers else recording.voxel_maps,
    )


def list_volumes(labels: Mapping[str, Path], maps: Mapping[str, Path]) -> dict[str, Path]:
    """Return name → path of the volumes, and of the tables beside label volumes, as a recording's files are listed."""
    listed = {f"maps/{name}/{path.name}": path for name, path in maps.items()}
    for name, path in labels.items():
        table = table_beside(path)
        listed |= {f"labels/{name}/{found.name}": found for found in (path, table) if found is not None}
    return {name: path for name, path in listed.items() if path.is_file()}
