"""What to simulate: the settings of `simulation.simulate.simulate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from braindiffuser.part import Seed, Settings


class SimulatedSubject(Settings):
    """What to simulate. The same settings always give the same recording."""

    subject: int = Field(1, ge=1, le=8, description="Number of the subject, 1 to 8, as in NSD.")
    n_train: int = Field(3000, ge=4, description="Training pictures.")
    n_test: int = Field(200, ge=2, description="Test pictures, which all subjects see, like NSD's shared 1,000.")
    n_held_out: int = Field(
        0, ge=0, description="Further test pictures, of photographs that no network was trained on, scored separately."
    )
    n_repeats: int = Field(3, ge=1, description="Planned showings of each picture.")
    trials_per_session: int = Field(480, ge=2, description="Trials per session; must divide the total. NSD: 750.")
    n_missing_sessions: int = Field(
        1, ge=0, description="Sessions at the end that are not recorded, so that some repeats are missing."
    )
    grid: tuple[int, int, int] = Field(
        (22, 24, 20),
        description="Size of the volume in voxels: left–right, posterior–anterior, inferior–superior.",
    )
    n_early: int = Field(1800, ge=1, description="Voxels of V1, V2, V3 and hV4 together.")
    n_higher: int = Field(1800, ge=1, description="Voxels of all other regions of nsdgeneral.")
    n_dropouts: int = Field(2, ge=0, description="Voxels of nsdgeneral that are invalid, and so 0, in one session.")
    size: int = Field(64, ge=16, description="Side of the pictures in pixels.")
    seed: Seed = Field(0, description="Seed of everything: pictures, order, brain, noise.")
    betas_format: Literal["hdf5", "nii.gz"] = Field("hdf5", description="Format of the session files: hdf5 or nii.gz.")

    @model_validator(mode="after")
    def _check_sessions(self) -> SimulatedSubject:
        if self.n_held_out == 1:
            raise ValueError("n_held_out is 1, and scores compare two or more pictures: give 0, or 2 or more")
        n_trials = self.n_pictures * self.n_repeats
        if n_trials % self.trials_per_session:
            raise ValueError(
                f"{self.n_pictures} pictures × {self.n_repeats} repeats = {n_trials} trials do not fill sessions of"
                f" {self.trials_per_session} trials: trials_per_session must divide {n_trials}"
            )
        if self.n_missing_sessions >= self.n_designed_sessions:
            raise ValueError(
                f"{self.n_missing_sessions} of {self.n_designed_sessions} sessions missing leaves none: "
                "n_missing_sessions must be smaller"
            )
        if self.n_dropouts > self.n_early + self.n_higher:
            raise ValueError(f"n_dropouts is {self.n_dropouts}, more than the {self.n_early + self.n_higher} voxels")
        return self

    @property
    def n_shared(self) -> int:
        """Number of shared (test) pictures."""
        return self.n_test + self.n_held_out

    @property
    def n_pictures(self) -> int:
        """Number of all pictures."""
        return self.n_train + self.n_shared

    @property
    def n_designed_sessions(self) -> int:
        """Number of sessions that would show every picture `n_repeats` times."""
        return self.n_pictures * self.n_repeats // self.trials_per_session

    @property
    def n_sessions(self) -> int:
        """Number of sessions that are recorded."""
        return self.n_designed_sessions - self.n_missing_sessions
