"""Labels in BIDS names of files that are written: of subjects, spaces, regions and maps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from braindiffuser.datasets.bids_names import parse
from braindiffuser.datasets.subject_names import given_name


def label_of(text: str) -> str:
    """Return letters and digits of a name, all that BIDS takes in a label; "x" if it has none.

    >>> label_of("GOD-1"), label_of("sub-01"), label_of("ecc_0.5"), label_of("ecc_4+")
    ('GOD1', '01', 'ecc0pt5', 'ecc4plus')
    """
    spelt = re.sub(r"(?<=\d)\.(?=\d)", "pt", text.removeprefix("sub-")).replace("+", "plus")
    return re.sub(r"[^0-9a-zA-Z]", "", spelt) or "x"


def label_of_subject(name: str) -> str:
    """Return the label of a subject; BIDS asks for one also where there is no name.

    >>> label_of_subject("sub-01"), label_of_subject("subject")
    ('01', 'unnamed')
    """
    return label_of(given_name(name) or "unnamed")


def space_of(betas: Iterable[str]) -> str:
    """Return the label of the space that files of betas name; "individual" if they name none, or several.

    >>> space_of(["sub-01_task-a_space-T1w_betas.nii.gz"]), space_of(["betas_session01.hdf5"])
    ('T1w', 'individual')
    """
    files = [parse(Path(name)) for name in betas]
    labels = {file.label("space") if file else "" for file in files}
    return (labels.pop() if len(labels) == 1 else "") or "individual"


def labels_of(names: Iterable[str]) -> dict[str, str]:
    """Return name → label, each another one even where the disk does not tell capitals.

    >>> labels_of(["V1", "v-1", "LOC"])
    {'V1': 'V1', 'v-1': 'v1x2', 'LOC': 'LOC'}
    """
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        own, number = label_of(name), 2
        while own.casefold() in taken:
            own, number = f"{label_of(name)}x{number}", number + 1
        taken.add(own.casefold())
        labels[name] = own
    return labels
