"""The command of published checkpoints: show, download, convert."""

from __future__ import annotations

from typing import Annotated

import typer

from braindiffuser.cli.app import RECORDINGS, app
from braindiffuser.cli.endings import CONTINUES, stoppable
from braindiffuser.cli.screen import print_out, progress_on_screen, say
from braindiffuser.errors import BrainDiffuserError


@app.command(
    rich_help_panel=RECORDINGS,
    epilog="Example: **braindiffuser checkpoints**, then **braindiffuser checkpoints --download --convert**",
)
def checkpoints(
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Download missing files; whole ones are kept, an interrupted one begins again."
        ),
    ] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Convert downloaded files to checkpoint folders, once.")
    ] = False,
) -> None:
    """Show the published checkpoints that the preset brain-diffuser needs; download and convert them."""
    from braindiffuser.networks.checkpoint_folders import downloads_folder
    from braindiffuser.networks.published import convert_all, download_all, not_converted

    folder, faults = downloads_folder(), []
    if folder.exists() and not folder.is_dir():
        raise BrainDiffuserError(f"{folder} is a file: name a folder with BRAINDIFFUSER_CHECKPOINTS")
    with stoppable(f"{CONTINUES}; a file that was being downloaded or converted begins again"):
        if download:
            with progress_on_screen() as progress:
                faults += download_all(folder, progress)
        if convert:
            faults += convert_all(folder, say)
            faults += not_converted(folder) if not faults else []
    _print_published()
    if faults:
        raise BrainDiffuserError("\n".join(dict.fromkeys(faults)))


def _print_published() -> None:
    """Print each published file: here or missing, size, name, purpose, licence, URL."""
    from braindiffuser.networks.checkpoint_folders import downloads_folder
    from braindiffuser.networks.downloads import find, has_size
    from braindiffuser.networks.published import needed

    folder = downloads_folder()
    files = needed(folder)
    missing = [file for file in files if find(file, folder) is None]
    total = sum(file.megabytes for file in missing)
    lines = [f"Published checkpoints: {len(missing)} of {len(files)} files are missing, {total:,.0f} MB"]
    for file in files:
        here = find(file, folder)
        mark = "missing" if here is None else "here" if has_size(here, file) else "damaged"
        lines += [
            f"  {mark:8}{file.megabytes:>7,.0f} MB  {file.name}  for {file.needed_for} ({file.licence})",
            f"    {file.url}",
        ]
    lines.append(
        f"Folder: {folder} (BRAINDIFFUSER_CHECKPOINTS names another); `braindiffuser checkpoints --download` downloads them"
    )
    print_out("\n".join(lines))
