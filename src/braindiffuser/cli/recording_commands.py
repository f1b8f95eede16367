"""Commands of recordings and experiment files: simulate, describe, check, fetch, and export what a run knows."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from braindiffuser.cli.app import RECORDINGS, SeveralValues, app
from braindiffuser.cli.endings import CONTINUES, stoppable
from braindiffuser.cli.options import With, entry_option, expanded
from braindiffuser.cli.screen import OUTPUT, fail, print_out, progress_on_screen, require_output, say
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.errors import BrainDiffuserError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.extensions import import_modules
from braindiffuser.system_errors import naming

SIMULATED = SimulatedSubject()


@app.command(
    rich_help_panel=RECORDINGS,
    epilog="Example: **braindiffuser simulate data/simulated --train-pictures 280 --test-pictures 40 --seed 3**",
)
def simulate(
    folder: Annotated[Path, typer.Argument(callback=expanded, help="Folder to write the recording to.")],
    train_pictures: Annotated[int, entry_option(SimulatedSubject, "n_train", "--train-pictures")] = SIMULATED.n_train,
    test_pictures: Annotated[int, entry_option(SimulatedSubject, "n_test", "--test-pictures")] = SIMULATED.n_test,
    trials_per_session: Annotated[
        int, entry_option(SimulatedSubject, "trials_per_session", "--trials-per-session")
    ] = SIMULATED.trials_per_session,
    subject: Annotated[int, entry_option(SimulatedSubject, "subject", "--subject")] = SIMULATED.subject,
    seed: Annotated[int, entry_option(SimulatedSubject, "seed", "--seed")] = SIMULATED.seed,
    betas_format: Annotated[
        str, entry_option(SimulatedSubject, "betas_format", "--betas-format")
    ] = SIMULATED.betas_format,
) -> None:
    """Write a simulated recording in NSD's own file layout, with its known truth beside it."""
    from braindiffuser.datasets.simulation.simulate import simulate as write_recording

    settings = SimulatedSubject.model_validate(
        {
            "subject": subject,
            "n_train": train_pictures,
            "n_test": test_pictures,
            "trials_per_session": trials_per_session,
            "seed": seed,
            "betas_format": betas_format,
        }
    )
    with stoppable(CONTINUES), progress_on_screen() as progress:
        write_recording(folder, settings, progress)
    say(f"{folder} holds subject {subject}")


@app.command(
    rich_help_panel=RECORDINGS,
    epilog="Example: **braindiffuser info --preset demo > mine.yaml**, edit it, then "
    "**braindiffuser run --config mine.yaml --out runs/mine**",
)
def info(
    config: Annotated[
        str, typer.Option("--config", "--preset", callback=expanded, help="A preset or an experiment file.")
    ] = "demo",
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of experiment files instead.")
    ] = False,
    modules: With = None,
) -> None:
    """Print an experiment as a commented file to edit, and which checkpoints are installed."""
    from braindiffuser.experiment_file import experiment_schema, starting_file

    import_modules(modules)
    text = json.dumps(experiment_schema(), indent=2) if schema else starting_file(Experiment.load(config))
    require_output()
    with naming(OUTPUT):
        typer.echo(text if sys.stdout.isatty() else text.encode())  # an experiment file is UTF-8, on every system


@app.command(
    rich_help_panel=RECORDINGS,
    epilog="Example: **braindiffuser check mine.yaml**, then **braindiffuser run --config mine.yaml --out runs/mine**",
)
def check(
    config: Annotated[str, typer.Argument(callback=expanded, help="An experiment file, or a preset.")],
    modules: With = None,
) -> None:
    """Open a recording, print what was understood and what is unusual in its tables; betas and pictures are checked by run."""
    from braindiffuser.recording_check import check_recording

    import_modules(modules)
    require_output()
    for line in check_recording(config, modules or ()):
        print_out(line)


@app.command(rich_help_panel=RECORDINGS, epilog="Example: **braindiffuser export runs/mine exported/mine**")
def export(
    run: Annotated[Path, typer.Argument(callback=expanded, help="Folder of a finished run; it is not changed.")],
    out: Annotated[
        Path, typer.Argument(callback=expanded, help="New folder to write to; one that holds other files is refused.")
    ],
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="Label of the space that voxels lie in, such as T1w, for names of maps; default: the one in the names of betas, "
            "otherwise individual.",
        ),
    ] = None,
    modules: With = None,
) -> None:
    """Write a run's noise ceilings and masks (NIfTI), responses and features (.npz, bdata) into a new folder."""
    from braindiffuser.export.run_export import export_run

    import_modules(modules)
    with stoppable(CONTINUES), progress_on_screen() as progress:
        remarks = export_run(run, out, space, progress)
    say(*remarks, f"{out} holds what was exported of {run}")


@app.command(
    rich_help_panel=RECORDINGS,
    cls=SeveralValues,
    epilog="Example: **braindiffuser fetch**, then "
    "**braindiffuser fetch laion_fmri /data/laion --subjects sub-01 --sessions 1 2**",
)
def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of a data set; without it, all are described.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(callback=expanded, help="Folder to keep the files in; made if it does not exist.")
    ] = None,
    subjects: Annotated[list[str] | None, typer.Option("--subjects", help="Names of subjects.")] = None,
    sessions: Annotated[
        list[str] | None, typer.Option("--sessions", help="Numbers or ranges, such as 1 2 or 1-10; default: all.")
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--files", help="Only some: design, regions, betas, stimuli, captions; default: all."),
    ] = None,
    accept_terms: Annotated[
        str | None,
        typer.Option("--accept-terms", help="The word that accepts the terms of the data set, instead of typing it."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files that are here and are not what the server lists.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come, and end.")] = False,
) -> None:
    """List open data sets, or download chosen subjects, sessions and files of one."""
    from braindiffuser.open_data.fetch import Choice, describe, download, plan

    if name is None:
        print_out("\n".join(describe()))
        return
    choice = Choice.of(name, subjects or (), sessions or (), files or ())
    if folder is None:
        fail(f"name the folder to keep the files in, such as {command_line('fetch', name, f'/data/{name}')}")
    faults: list[str] = []
    with stoppable(f"{CONTINUES}; files that came whole are kept"):
        if choice.data.files:
            planned = plan(choice, folder)
            say(planned.said(replace), f"licence: {choice.data.licence}", f"page: {choice.data.page}")
            faults += planned.faults
            if not dry_run and planned.wanted:
                _accept(choice.data.terms, choice.data.word, accept_terms)
                with progress_on_screen() as progress:
                    faults += download(planned, folder, progress, replace)
        else:
            faults.append(
                f"nothing of {name} can be downloaded from here, since its address is not listed: get it by hand"
            )
    say(*(f"to get by hand: {text}" for text in choice.data.by_hand))
    if not dry_run:
        print_out(choice.experiment_file(folder.absolute()).rstrip())
    if faults:
        raise BrainDiffuserError("\n".join(faults))


def _accept(terms: str, word: str, given: str | None) -> None:
    """Have a person accept terms by typing a word, if there are any."""
    if not terms:
        return
    say(f"terms: {terms}")
    if given is None:
        with suppress(typer.Abort):
            given = typer.prompt(f"Type {word} if you did", err=True)
    if given is None or given.strip() != word:
        fail(f"the terms were not accepted, so nothing was downloaded: type {word}, or give --accept-terms {word}")
