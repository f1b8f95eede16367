"""The command `curve`: adds an analysis `curve` to a run, as `analyse curve` does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from braindiffuser.analyses.curves.along import along, known_curves
from braindiffuser.cli.app import ONE_RUN, app
from braindiffuser.cli.options import Cluster, Device, NWorkers, Overwrite, With, expanded
from braindiffuser.cli.run_commands import analyse


def _hinted(over: str) -> str:
    """Return the name of a curve, with what it is over where the name is but a word of it.

    >>> _hinted("training"), _hinted("sessions")
    ('training (training pictures)', 'sessions')
    """
    axis = along(over).axis
    return over if axis == over.replace("_", " ") else f"{over} ({axis})"


@app.command(
    rich_help_panel=ONE_RUN,
    epilog="Example: **braindiffuser curve runs/demo sessions**; **braindiffuser curve runs/demo repeats --points 1,2,3**; "
    "**braindiffuser curve runs/demo strength --pictures 30**. Points that were computed before are not computed again.",
)
def curve(
    run: Annotated[Path, typer.Argument(callback=expanded, help="Folder of a finished run.")],
    over: Annotated[
        str,
        typer.Argument(help=f"What is varied: {', '.join(map(_hinted, known_curves()))}."),
    ],
    points: Annotated[
        str | None,
        typer.Option(
            "--points", help="Points of the curve, such as 1,2,3, beside the run's own; auto: those that suit the run."
        ),
    ] = None,
    pictures: Annotated[
        int | None, typer.Option("--pictures", help="Test pictures that are drawn and scored at every point.")
    ] = None,
    goal: Annotated[
        float | None,
        typer.Option("--goal", help="Pattern correlation to reach (training, sessions): how much data does it take?"),
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Score over sessions, training pictures, repeats, rank of the decoder or settings of the generator, for the page."""
    entries = [f"over={over}", f"name=curve_{over}"]
    chosen = "" if points == "auto" else points
    given = {"points": None if chosen is None else f"[{chosen}]", "pictures": pictures, "goal": goal}
    entries += [f"{name}={value}" for name, value in given.items() if value is not None]
    analyse(
        run, "curve", entries, device=device, overwrite=overwrite, modules=modules, workers=workers, cluster=cluster
    )
