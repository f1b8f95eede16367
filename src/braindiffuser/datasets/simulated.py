"""A simulated subject, written in NSD's file layout into the run's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.progress import Progress

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Simulated(SimulatedSubject, Dataset):
    """A simulated subject with known ground truth, in NSD's file layout."""

    makes_files: ClassVar[bool] = True
    default_subjects: ClassVar[tuple[str, ...]] = ("1", "2", "3", "4")

    def make(self, folder: Path, progress: Progress) -> None:
        """Simulate the subject; the same settings always give the same files."""
        from braindiffuser.datasets.simulation.simulate import simulate

        settings = {name: getattr(self, name) for name in SimulatedSubject.model_fields}
        simulate(folder, SimulatedSubject(**settings), progress, is_locked=True)  # as the whole run is

    def made_at(self, folder: Path) -> Dataset:
        """Return what reads the simulated files as those of NSD."""
        from braindiffuser.datasets.nsd import NSD

        every_dataset_has = {name: getattr(self, name) for name in Dataset.model_fields}
        return NSD(root=folder, subject=self.subject, **every_dataset_has)

    def open(self, made: Path) -> Recording:
        """Open what was simulated."""
        from braindiffuser.datasets.nsd_layout import open_nsd

        return open_nsd(made, self.subject)
