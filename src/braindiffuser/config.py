"""One experiment: the stages' own small configs put together, with a file form and an identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from braindiffuser.analysis.roi import RoiConfig
from braindiffuser.data.responses import Normalisation
from braindiffuser.data.simulated import SimulatedSubject
from braindiffuser.errors import RunError
from braindiffuser.features.clip import EmbeddingConfig
from braindiffuser.features.vdvae import LatentConfig
from braindiffuser.models.weights import BUNDLED
from braindiffuser.reconstruction.diffusion import DiffusionConfig
from braindiffuser.reconstruction.low_level import LowLevelConfig
from braindiffuser.reconstruction.placement import torch_dtype
from braindiffuser.regression.calibration import CalibrationName
from braindiffuser.weight_files import weights_folder

WITHOUT_INFLUENCE = ("name", "device", "data.root", "low_level.batch_size", "diffusion.batch_size", "diffusion.offload")
"""Entries that cannot change a result, and so do not enter an experiment's identity."""


class DataConfig(BaseModel):
    """Which recording, and how its betas become responses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path | None = None  # folder in NSD's layout; None: the simulated subject, kept in the run's own folder
    subject: PositiveInt = 1
    sessions: PositiveInt | None = None  # the first so many; None: all on disk (the paper used 37 of 40)
    betas_version: str = "betas_fithrf_GLMdenoise_RR"
    mask: str = "nsdgeneral"  # the analysed voxels
    rois: tuple[str, ...] = ()  # only voxels of these regions, such as V1 and V2; none: the whole mask
    min_noise_ceiling: float = Field(
        default=0.0, ge=0, lt=100
    )  # only voxels with as much, in percent, by training trials
    rows: Literal["averages", "trials"] = (
        "averages"  # decoders are fitted to averages over repeats, or to single trials
    )
    normalisation: Normalisation = "session"  # published: "training"


class CheckpointsConfig(BaseModel):
    """Folders of the networks: relative ones come with the package, or lie in the folder of downloaded weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vdvae: Path
    clip: Path
    autoencoder: Path
    unet: Path

    def folder(self, network: str) -> Path:
        """Return the folder of `vdvae`, `clip`, `autoencoder` or `unet`."""
        bundled = BUNDLED / Path(getattr(self, network))  # an absolute path stays itself
        return bundled if bundled.exists() else weights_folder() / Path(getattr(self, network))


Alphas = Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1)]


class AlphasConfig(BaseModel):
    """Ridge penalties to choose from for each target group; one alone is taken as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latents: Alphas = (50_000.0,)
    vision: Alphas = (60_000.0,)
    text: Alphas = (100_000.0,)


class RegressionConfig(BaseModel):
    """How decoders are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alphas: AlphasConfig = AlphasConfig()
    weights: Literal["equal", "repeats"] = "equal"  # of averaged responses: alike, or by the trials averaged into each
    n_folds: int = Field(default=5, ge=2)  # of cross-validation, grouped by picture
    calibration: CalibrationName = "inductive"  # published: "transductive"


class EvaluationConfig(BaseModel):
    """How reconstructions are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["demo", "brain-diffuser-2023"] = "demo"  # which metrics
    n_resamples: PositiveInt = 2000  # bootstrap resamples of pictures


class Experiment(BaseModel):
    """Everything that a run's results depend on.

    Example:
        >>> experiment = Experiment.load("demo")
        >>> experiment.diffusion.strength
        0.4
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seed: NonNegativeInt = 0  # of everything random after the recording
    device: str = "cpu"  # or "cuda", "cuda:1", …
    simulation: SimulatedSubject | None = None  # the subject to simulate where data.root is None
    data: DataConfig = DataConfig()
    checkpoints: CheckpointsConfig
    latents: LatentConfig = LatentConfig()
    embeddings: EmbeddingConfig = EmbeddingConfig()
    regression: RegressionConfig = RegressionConfig()
    low_level: LowLevelConfig = LowLevelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    roi: RoiConfig = RoiConfig()

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        if self.data.rows == "trials" and self.regression.weights == "repeats":
            raise ValueError(
                "regression.weights 'repeats' weighs averages: with data.rows 'trials' every trial counts already"
            )
        return self

    @classmethod
    def load(cls, source: str | Path) -> Experiment:
        """Read an experiment from a YAML file, or a bundled preset by its name.

        Raises:
            RunError: if there is no such preset or file, it is not YAML, or an entry is unknown or out of range; all are listed.
        """
        preset = files("braindiffuser") / "presets" / f"{source}.yaml"
        path = Path(source)
        if not path.is_file() and not preset.is_file():
            raise RunError(
                f"there is no file {source} and no preset of that name; presets: {', '.join(preset_names())}"
            )
        text = path.read_text(encoding="utf-8") if path.is_file() else preset.read_text(encoding="utf-8")
        try:
            return cls.model_validate(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RunError(f"{source} is not an experiment: it is not YAML: {error}") from error
        except ValidationError as error:
            listed = "; ".join(f"{'.'.join(map(str, e['loc'])) or source}: {e['msg']}" for e in error.errors())
            raise RunError(f"{source} is not an experiment: {listed}") from error

    def changed(self, changes: Mapping[str, Any]) -> Experiment:
        """Return the experiment with some entries changed, checked anew.

        Args:
            changes: nested as the experiment is, such as {"data": {"subject": 2}}.

        Raises:
            ValidationError: if an entry is unknown or out of range.

        Example:
            >>> Experiment.load("demo").changed({"data": {"subject": 2}}).data.subject
            2
        """
        return Experiment.model_validate(_merged(self.model_dump(), changes))

    def to_yaml(self) -> str:
        """Return the experiment as YAML that `load` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @property
    def in_force(self) -> dict[str, Any]:
        """All entries as JSON has them, but `diffusion.precision` as the type of number that it means on this device."""
        content = self.model_dump(mode="json")
        content["diffusion"]["precision"] = str(torch_dtype(self.diffusion.precision, self.device))
        return content

    @property
    def uid(self) -> str:
        """A readable name and eight hexadecimal digits of everything that results depend on."""
        return f"{self.name}-{identity(self.in_force)}"


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in changes.items():
        merged[key] = _merged(content.get(key) or {}, value) if isinstance(value, Mapping) else value
    return merged


def preset_names() -> list[str]:
    """Names of the bundled presets."""
    return sorted(entry.name.removesuffix(".yaml") for entry in (files("braindiffuser") / "presets").iterdir())


def identity(content: dict[str, Any], without: tuple[str, ...] = WITHOUT_INFLUENCE) -> str:
    """Eight hexadecimal digits of a SHA-256 over the entries that have an influence."""
    flat = {key: value for key, value in flatten(content).items() if key not in without}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys.

    Example:
        >>> flatten({"a": {"b": 1}, "c": 2})
        {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
