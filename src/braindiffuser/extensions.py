"""Modules that a user names on the command line (`--with`), so that an experiment may use their classes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from traceback import extract_tb, format_exception_only

from braindiffuser.errors import RunError


def import_modules(names: Sequence[str] | None) -> None:
    """Import the given modules, from the working folder or from installed packages.

    Raises:
        RunError: if there is no such module, or it fails; names the line.
    """
    if not names:
        return
    folder = Path.cwd()
    sys.path.append(str(folder))
    for name in names:
        try:
            with redirect_stdout(sys.stderr):  # what a module prints is no part of this command's output
                import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may also call sys.exit()
            raise RunError(f"--with {name} cannot be imported: {_fault_of_import(error)}") from error
        finally:
            os.chdir(folder)  # in case the module went elsewhere: paths of this command count from here


def _fault_of_import(error: BaseException) -> str:
    """Name the line of a module that failed, or say that there is no such module."""
    frames = [frame for frame in extract_tb(error.__traceback__)[1:] if "importlib" not in frame.filename]
    fault = format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename} is not Python: {fault}"
    if frames:
        return f"line {frames[0].lineno} of {frames[0].filename} fails with {fault}"
    return (
        f"{error}; name a module, such as lab.depth for lab/depth.py; modules are searched in this folder and in "
        "installed packages"
    )
