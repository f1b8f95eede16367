"""Write a finished run into a new folder, in files that other programs read."""

from __future__ import annotations

from pathlib import Path

from braindiffuser import __version__
from braindiffuser.datasets.bids_labels import label_of_subject, space_of
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError
from braindiffuser.export.bdata_file import bdata_files
from braindiffuser.export.brain_maps import map_files
from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.export.named_arrays import array_files
from braindiffuser.export.written_files import DESCRIPTION, UID, Write, check_folder, json_file, text_file, write_files
from braindiffuser.progress import Progress, silent

BIDS_VERSION = "1.9.0"
NO_VOLUME = "The recording has no volume, so a table with a row per voxel is written in place of NIfTI files."
NO_NAME = "names of files have sub-unnamed, since BIDS asks for a label"
README = """\
Exported by braindiffuser {version} from {run}, {subject}.

sub-{label}/func/{gap}noise ceilings and masks of voxels and regions, or a table with a row per voxel where there is no volume
responses/*.npz      averaged, normalised responses to training and test stimuli, with names of stimuli
features/*.npz       features of stimuli ("true") and those that were decoded from responses ("decoded")
bdata/responses.h5   the same responses in Kamitani lab's format
"""
IGNORED = "responses/\nfeatures/\nbdata/\n"
"""What is no part of BIDS."""


def export_run(run: Path, out: Path, space: str | None = None, progress: Progress = silent) -> tuple[str, ...]:
    """Write noise ceilings, masks, responses and features of a finished run into a new folder.

    Args:
        run: folder of the run; it is not changed.
        out: folder to write to; new, empty, or an earlier export of the same results.
        space: label of the space that voxels lie in, for names of maps; None: the one that names of betas tell, otherwise
            "individual".
        progress: called as progress(label, done, total) after each file.

    Returns:
        Sentences on what is left out.

    Raises:
        RunError: the run's responses are not finished or out of date, or the folder holds other files.
        RecordingError: the recording cannot be opened.
    """
    finished = FinishedRun.open(run, progress)
    uid = finished.uid
    files = files_of(finished, space)
    recording = finished.experiment.dataset.folder
    outside = {"run": run} | ({} if recording is None else {"recording": recording})
    check_folder(out, outside, list(files), uid)
    write_files(out, files, progress)
    if finished.uid != uid:
        raise RunError(f"{run} was changed while it was exported: run the same command again, into another folder")
    said = [] if given_name(finished.recording.subject) else [f"The subject has no name: {NO_NAME}."]
    return (*finished.remarks, *said, *([NO_VOLUME] if finished.recording.voxels.mask is None else []))


def files_of(run: FinishedRun, space: str | None = None) -> dict[str, Write]:
    """Return all files of an export: name → what writes it; the description comes first."""
    label = space or space_of(run.experiment.dataset.files().get("betas", {}))
    description = {
        "Name": ": ".join(filter(None, ["braindiffuser", run.experiment.name])),
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "braindiffuser", "Version": __version__, "Description": "braindiffuser export"}],
        UID: run.uid,
    }
    name, subject, own = run.experiment.name, given_name(run.recording.subject), label_of_subject(run.recording.subject)
    readme = README.format(
        version=__version__,
        run=f'the run "{name}"' if name else "a run",
        subject=f"of subject {subject}" if subject else f"of a subject without a name: {NO_NAME}",
        label=own,
        gap=" " * max(1, 11 - len(own)),
    )
    return {
        DESCRIPTION: json_file(description),
        "README": text_file(readme),
        ".bidsignore": text_file(IGNORED),
        **map_files(run, label),
        **array_files(run),
        **bdata_files(run),
    }
