"""The command line; importing a module of commands adds its commands."""

from braindiffuser.cli import (  # noqa: F401
    checkpoint_commands,
    curve_commands,
    rating_commands,
    recording_commands,
    run_commands,
    several_runs_commands,
    sharing_commands,
)
from braindiffuser.cli.app import app, main

__all__ = ["app", "main"]
