"""The command line; importing a module of commands adds its commands."""

from braindiffuser.cli import checkpoint_commands, recording_commands, run_commands, several_runs_commands  # noqa: F401
from braindiffuser.cli.app import app, main

__all__ = ["app", "main"]
