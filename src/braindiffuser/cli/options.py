"""Options that several commands have, and what they change in an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from braindiffuser.datasets.nsd import NSD
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.part import Settings
from braindiffuser.paths import expand


def expanded(value: Any) -> Any:
    """Replace `~` and `$VARIABLE` in a path that an option gives; shells leave them in `--out=~/run`."""
    if value is None:
        return None
    try:
        return type(value)(expand(str(value)))
    except ValueError as error:
        raise RunError(f"{value} {error}") from error


def expanded_each(values: list[str] | None) -> list[str] | None:
    """Replace `~` and `$VARIABLE` in each of several paths."""
    return None if values is None else [expanded(value) for value in values]


def entry_option(settings: type[Settings], name: str, *flags: str, **limits: Any) -> Any:
    """Return the option that sets an entry: its help is the entry's description."""
    return typer.Option(*flags, help=settings.model_fields[name].description, **limits)


Out = Annotated[Path, typer.Option("--out", callback=expanded, help="Folder of the run; made if it does not exist.")]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "--preset",
        callback=expanded,
        help="An experiment file, or the name of a preset; default: the experiment stored in --out; run then takes demo.",
    ),
]
Nsd = Annotated[Path | None, entry_option(NSD, "root", "--nsd", callback=expanded)]
Subject = Annotated[int | None, entry_option(NSD, "subject", "--subject", min=1, max=8)]
Device = Annotated[str | None, entry_option(Experiment, "device", "--device")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Recompute results whose settings or inputs changed; old ones stay until new ones are complete.",
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="Import this module, so that the experiment can use its classes as module:Class; repeatable.",
    ),
]

Shared = Annotated[
    Path | None,
    typer.Option(
        "--shared",
        callback=expanded,
        help="Folder of features that runs of one recording share, made if it does not exist: each stimulus is extracted once.",
    ),
]

NWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Number of processes of this machine that compute, or of jobs with --cluster (Dask)."
    ),
]
Cluster = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        callback=expanded,
        help="YAML file that says where workers run: address, local, or jobqueue (slurm, pbs, sge); see the docs on workers.",
    ),
]


def changes_of(
    nsd: Path | None = None, subject: int | None = None, device: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """Return the given options as nested changes to an experiment."""
    named = {"kind": "nsd", "root": str(nsd)} if nsd is not None else {}
    dataset = named | ({"subject": subject} if subject is not None else {})
    said = {"dataset": dataset, "device": device, "evaluation": {"profile": profile} if profile else None}
    return {key: value for key, value in said.items() if value}
