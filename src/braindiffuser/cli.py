"""The command line: a command per stage, `run` and `demo` for all, and `check`, `folds`, `export`, `fetch` and a few more."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from braindiffuser import __version__
from braindiffuser.datasets.nsd import NSD
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.errors import BrainDiffuserError, RunError, reason
from braindiffuser.experiment import EvaluationConfig, Experiment, list_faults
from braindiffuser.extensions import import_modules
from braindiffuser.part import Settings
from braindiffuser.paths import expand
from braindiffuser.plain_data import read_entries
from braindiffuser.progress_bars import progress_bars
from braindiffuser.system_errors import is_of_the_system, naming, sentence

if TYPE_CHECKING:
    from braindiffuser.progress import Progress
    from braindiffuser.run import Run


class _Commands(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty values: an empty path would be the working folder."""
        for before, given in zip(["braindiffuser", *args], args, strict=False):
            if not given.strip() or re.fullmatch(r"--[a-z-]+=\s*", given):
                _fail(f"the value after {given.strip() or before} is empty: give one, or leave the option out")
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Read the command line and run a command; whatever is expected to go wrong is one sentence."""
        with _errors_as_sentences():
            return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; Ctrl-C is one sentence."""
        with _stoppable("nothing was changed"):
            return super().invoke(ctx)


SEVERAL = ("--subjects", "--sessions", "--files", "--splits", "--config")
"""Options after which several values may stand."""


class _SeveralValues(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read several values after one option: `--sessions 1 2` as `--sessions 1 --sessions 2`."""
        repeated: list[str] = []
        option, is_first = "", False
        for given in args:
            if given.startswith("-"):
                option, is_first = given if given in SEVERAL else "", True
            elif option and not is_first:
                repeated.append(option)
            else:
                is_first = False
            repeated.append(given)
        return super().parse_args(ctx, repeated)


def _expanded(value: Any) -> Any:
    """Replace `~` and `$VARIABLE` in a path that an option gives; shells leave them in `--out=~/run`."""
    if value is None:
        return None
    try:
        return type(value)(expand(str(value)))
    except ValueError as error:
        raise RunError(f"{value} {error}") from error


def _print_version(asked: bool) -> bool:
    if asked:
        _print(f"braindiffuser {__version__}")
        raise typer.Exit
    return asked


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Reconstruct what a person saw from their fMRI (Brain-Diffuser, Ozcelik & VanRullen 2023).",
    epilog="Start here: **braindiffuser demo**, which simulates a subject, decodes it and writes a page.",
)


def _entry(settings: type[Settings], name: str, *flags: str, **limits: Any) -> Any:
    """Return the option that sets an entry: its help is the entry's description."""
    return typer.Option(*flags, help=settings.model_fields[name].description, **limits)


Out = Annotated[Path, typer.Option("--out", callback=_expanded, help="Folder of the run; made if it does not exist.")]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "--preset",
        callback=_expanded,
        help="An experiment file, or the name of a preset; default: the experiment stored in --out; run then takes demo.",
    ),
]
Nsd = Annotated[Path | None, _entry(NSD, "root", "--nsd", callback=_expanded)]
Subject = Annotated[int | None, _entry(NSD, "subject", "--subject", min=1, max=8)]
Device = Annotated[str | None, _entry(Experiment, "device", "--device")]
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
        callback=_expanded,
        help="Folder of features that runs of one recording share, made if it does not exist: each stimulus is extracted once.",
    ),
]

console = Console(stderr=True)
CONTINUES = "the same command continues"
OUTPUT = "the standard output"
SIMULATED = SimulatedSubject()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(epilog="Example: **braindiffuser demo --out runs/demo**")
def demo(out: Out = Path("runs/demo"), overwrite: Overwrite = False) -> None:
    """Simulate a subject, decode it with the bundled networks, and write the page."""
    _run(out, "demo", overwrite, stage=None)


def _stage_command(stage: str | None) -> Callable[..., None]:
    """Return the command of a stage, or of all of them."""

    def command(
        out: Out,
        config: Config = None,
        nsd: Nsd = None,
        subject: Subject = None,
        device: Device = None,
        overwrite: Overwrite = False,
        modules: With = None,
        shared: Shared = None,
    ) -> None:
        _run(out, config, overwrite, stage, _changes(nsd, subject, device), modules, shared)

    return command


app.command(
    "run",
    help="Run every stage that is not finished, from betas to the page.",
    epilog="Example: **braindiffuser run --config my-experiment.yaml --out runs/mine**; "
    "**braindiffuser run --preset brain-diffuser --nsd /data/nsd --subject 1 --out runs/subj01**. "
    "Interrupted? The same command resumes.",
)(_stage_command(None))


@app.command(
    epilog="Example: **braindiffuser evaluate --out runs/demo**; "
    "**braindiffuser evaluate seen/ made/ --profile brain-diffuser-2023 --json scores.json**"
)
def evaluate(
    seen: Annotated[
        Path | None, typer.Argument(callback=_expanded, help="Folder of stimuli (scores two folders instead of a run).")
    ] = None,
    made: Annotated[
        Path | None, typer.Argument(callback=_expanded, help="Folder of reconstructions, with the same file names.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", callback=_expanded, help="Folder of the run.")] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    profile: Annotated[str | None, _entry(EvaluationConfig, "profile", "--profile")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", callback=_expanded, help="Also write the scores to this JSON file (two folders only)."),
    ] = None,
    device: Device = None,
    modules: With = None,
) -> None:
    """Stage 5: score a run's pictures, or any two folders of pictures."""
    if out is not None and seen is None and json_file is None:
        _run(out, config, overwrite, "evaluate", _changes(device=device, profile=profile), modules)
    elif seen is not None and made is not None and out is None:
        if config is not None or overwrite or modules:
            _fail(
                "--config, --overwrite and --with apply to runs only; for two folders give --profile, --device and --json"
            )
        _score_folders(seen, made, profile or "demo", json_file, device or "cpu")
    else:
        _fail("name either a run (--out RUN; its scores go to RUN/scores.json) or two folders of pictures (SEEN MADE)")


@app.command(
    epilog="Example: **braindiffuser analyse --out runs/demo** runs the analyses of the experiment; "
    "**braindiffuser analyse voxel_weights --out runs/demo** adds one; "
    "**braindiffuser analyse picture_groups --set column=category --out runs/demo** with an entry."
)
def analyse(
    out: Out,
    name: Annotated[
        str | None,
        typer.Argument(help="Kind of a further analysis, or name of one of the experiment; default: all of its own."),
    ] = None,
    entries: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Entry of the analysis, as entry=value; repeatable. `braindiffuser info --schema` lists them."
        ),
    ] = None,
    config: Config = None,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
) -> None:
    """Stage 6: run the analyses, such as the preferred picture of each ROI; with NAME a further one, for the page too."""
    if name is None:
        if entries:
            _fail(
                "--set gives an entry of one analysis: name it, as in `braindiffuser analyse picture_groups --set column=kind`"
            )
        _run(out, config, overwrite, "analyse", _changes(device=device), modules)
        return
    with _stoppable(CONTINUES), _progress() as progress:
        import_modules(modules)
        own = read_entries(entries or ())
        opened = _open(
            out,
            config,
            overwrite,
            "analyse",
            progress,
            lambda given: given.changed(_changes(device=device)).with_analysis(name, own),
        )
        opened.do("analyse")
        opened.do("report")
    _print_result(opened)


def _add_stage_commands() -> None:
    """Add a command for every stage that has none of its own."""
    from braindiffuser.stages import stages

    known = {info.callback.__name__ for info in app.registered_commands if info.callback}
    for number, stage in enumerate(stages().values(), start=1):
        if stage.name not in known:
            begins = "" if stage.needs else "--config demo "
            example = f"Example: **braindiffuser {stage.name} {begins}--out runs/demo**"
            app.command(stage.name, help=f"Stage {number}: {stage.does}.", epilog=example)(_stage_command(stage.name))


@app.command(
    epilog="Example: **braindiffuser simulate data/simulated --train-pictures 280 --test-pictures 40 --seed 3**"
)
def simulate(
    folder: Annotated[Path, typer.Argument(callback=_expanded, help="Folder to write the recording to.")],
    train_pictures: Annotated[int, _entry(SimulatedSubject, "n_train", "--train-pictures")] = SIMULATED.n_train,
    test_pictures: Annotated[int, _entry(SimulatedSubject, "n_test", "--test-pictures")] = SIMULATED.n_test,
    trials_per_session: Annotated[
        int, _entry(SimulatedSubject, "trials_per_session", "--trials-per-session")
    ] = SIMULATED.trials_per_session,
    subject: Annotated[int, _entry(SimulatedSubject, "subject", "--subject")] = SIMULATED.subject,
    seed: Annotated[int, _entry(SimulatedSubject, "seed", "--seed")] = SIMULATED.seed,
    betas_format: Annotated[str, _entry(SimulatedSubject, "betas_format", "--betas-format")] = SIMULATED.betas_format,
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
    with _stoppable(CONTINUES), _progress() as progress:
        write_recording(folder, settings, progress)
    console.print(f"{folder} holds subject {subject}", markup=False, highlight=False, soft_wrap=True)


@app.command(
    epilog="Example: **braindiffuser info --preset demo > mine.yaml**, edit it, then "
    "**braindiffuser run --config mine.yaml --out runs/mine**"
)
def info(
    config: Annotated[
        str, typer.Option("--config", "--preset", callback=_expanded, help="A preset or an experiment file.")
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
    _require_output()
    with naming(OUTPUT):
        typer.echo(text if sys.stdout.isatty() else text.encode())  # an experiment file is UTF-8, on every system


@app.command(
    epilog="Example: **braindiffuser check mine.yaml**, then **braindiffuser run --config mine.yaml --out runs/mine**"
)
def check(
    config: Annotated[str, typer.Argument(callback=_expanded, help="An experiment file, or a preset.")],
    modules: With = None,
) -> None:
    """Open a recording, print what was understood and what is unusual in its tables; betas and pictures are checked by run."""
    from braindiffuser.recording_check import check_recording

    import_modules(modules)
    _require_output()
    for line in check_recording(config, modules or ()):
        _print(line)


@app.command(epilog="Example: **braindiffuser folds mine.yaml --out runs/mine-folds --shuffled 1**")
def folds(
    config: Annotated[str, typer.Argument(callback=_expanded, help="An experiment file whose split is `kind: folds`.")],
    out: Annotated[
        Path, typer.Option("--out", callback=_expanded, help="Folder for the runs of all folds, and their common page.")
    ],
    shuffled: Annotated[
        int,
        typer.Option(
            "--shuffled",
            min=0,
            help="Also repeat everything this many times with training pictures exchanged before anything is fitted (the null).",
        ),
    ] = 0,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
) -> None:
    """Make one run for each of k folds, score inside folds, and write a common page."""
    from rich.markdown import Markdown

    from braindiffuser.fold_runs import run_folds
    from braindiffuser.report.fold_sections import conditions_of
    from braindiffuser.report.tables import scores_markdown

    with _stoppable(CONTINUES), _progress() as progress:
        import_modules(modules)
        experiment = Experiment.load(config).changed(_changes(device=device))
        joint = run_folds(experiment, out, shuffled, overwrite, progress)
    _print(Markdown(scores_markdown(joint, conditions_of(joint))))
    _print(f"Page: {out / 'index.html'}")


@app.command(
    cls=_SeveralValues,
    epilog="Example: **braindiffuser reproduce --nsd /data/nsd --subjects 1 2 5 7 --out runs/paper**; "
    "**braindiffuser reproduce --config laion.yaml --subjects sub-01 sub-03 --splits random_0 tau cluster_k5 ood "
    "--out runs/laion**; **braindiffuser reproduce --preset demo --out runs/study** (four simulated subjects). Interrupted? "
    "The same command resumes.",
)
def reproduce(
    out: Annotated[Path, typer.Option("--out", callback=_expanded, help="Folder for all runs, and their common page.")],
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            "--preset",
            help="An experiment file or a preset, whose subject is changed; or one file for each subject; default: "
            "brain-diffuser with --nsd, else demo.",
        ),
    ] = None,
    nsd: Nsd = None,
    subjects: Annotated[
        list[str] | None,
        typer.Option(
            "--subjects", help="Names or numbers of subjects; default: 1 2 5 7 of NSD, 1 2 3 4 of simulated ones."
        ),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option(
            "--splits",
            help="Splits, the replication first: names of the dataset's own, such as random_0 tau cluster_k5, or a kind with its "
            "entries, such as cluster:n_clusters=5,test_cluster=0; default: that of the experiment.",
        ),
    ] = None,
    ablated: Annotated[
        int | None,
        typer.Option(
            "--ablated", min=2, help="Draw ablations of this many test pictures only; default: as the experiment says."
        ),
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
) -> None:
    """Do the whole paper: runs of several subjects and splits, its five findings beside the original's numbers, and a page."""
    from braindiffuser.reproduction.reproduce import PAGE, print_findings
    from braindiffuser.reproduction.reproduce import reproduce as run_all

    with _stoppable(CONTINUES), _progress() as progress:
        import_modules(modules)
        sources = config or ["brain-diffuser" if nsd is not None else "demo"]
        changes = _changes(nsd, device=device)
        experiments = [Experiment.load(_expanded(source)).changed(changes) for source in sources]
        found = run_all(experiments, out, subjects or (), splits or (), ablated, overwrite, progress)
    print_findings(found, _print)
    _print(f"Page: {out / PAGE}")


@app.command(epilog="Example: **braindiffuser study runs/subj01 runs/subj02 runs/subj05 runs/subj07 --out runs/study**")
def study(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of finished runs, one of each subject; they are not changed.")
    ],
    out: Annotated[Path, typer.Option("--out", callback=_expanded, help="Folder for the study and its page.")],
    average: Annotated[
        bool,
        typer.Option(
            "--average/--no-average",
            help="Average predicted features over subjects, draw pictures of them, and score these.",
        ),
    ] = True,
    permutations: Annotated[
        int,
        typer.Option(
            "--permutations", min=0, help="Permutations of test pictures within each subject, for prevalence; 0: none."
        ),
    ] = 1000,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
) -> None:
    """Put finished runs of several subjects together: means, intervals over pictures and over subjects, and a page."""
    from rich.markdown import Markdown

    from braindiffuser.study.study import run_study, scores_markdown

    with _stoppable(CONTINUES), _progress() as progress:
        import_modules(modules)
        joint = run_study(
            [_expanded(run) for run in runs],
            out,
            average=average,
            n_permutations=permutations,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    _print(Markdown(scores_markdown(joint)))
    _print(f"Page: {out / 'index.html'}")


@app.command(epilog="Example: **braindiffuser export runs/mine exported/mine**")
def export(
    run: Annotated[Path, typer.Argument(callback=_expanded, help="Folder of a finished run; it is not changed.")],
    out: Annotated[
        Path, typer.Argument(callback=_expanded, help="New folder to write to; one that holds other files is refused.")
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
    with _stoppable(CONTINUES), _progress() as progress:
        remarks = export_run(run, out, space, progress)
    for line in (*remarks, f"{out} holds what was exported of {run}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command(
    cls=_SeveralValues,
    epilog="Example: **braindiffuser fetch**, then "
    "**braindiffuser fetch laion_fmri /data/laion --subjects sub-01 --sessions 1 2**",
)
def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of a data set; without it, all are described.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(callback=_expanded, help="Folder to keep the files in; made if it does not exist.")
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
        _print("\n".join(describe()))
        return
    choice = Choice.of(name, subjects or (), sessions or (), files or ())
    if folder is None:
        _fail(f"name the folder to keep the files in, such as `braindiffuser fetch {name} /data/{name}`")
    faults: list[str] = []
    with _stoppable(f"{CONTINUES}; files that came whole are kept"):
        if choice.data.files:
            planned = plan(choice, folder)
            _say(planned.said(replace), f"licence: {choice.data.licence}", f"page: {choice.data.page}")
            faults += planned.faults
            if not dry_run and planned.wanted:
                _accept(choice.data.terms, choice.data.word, accept_terms)
                with _progress() as progress:
                    faults += download(planned, folder, progress, replace)
        else:
            faults.append(
                f"nothing of {name} can be downloaded from here, since its address is not listed: get it by hand"
            )
    _say(*(f"to get by hand: {text}" for text in choice.data.by_hand))
    if not dry_run:
        _print(choice.experiment_file(folder.absolute()).rstrip())
    if faults:
        raise BrainDiffuserError("\n".join(faults))


def _say(*lines: str) -> None:
    """Print remarks, as they are, to the standard error."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _accept(terms: str, word: str, given: str | None) -> None:
    """Have a person accept terms by typing a word, if there are any."""
    if not terms:
        return
    _say(f"terms: {terms}")
    if given is None:
        with suppress(typer.Abort):
            given = typer.prompt(f"Type {word} if you did", err=True)
    if given is None or given.strip() != word:
        _fail(f"the terms were not accepted, so nothing was downloaded: type {word}, or give --accept-terms {word}")


@app.command(epilog="Example: **braindiffuser checkpoints**, then **braindiffuser checkpoints --download --convert**")
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
    with _stoppable(f"{CONTINUES}; a file that was being downloaded or converted begins again"):
        if download:
            with _progress() as progress:
                faults += download_all(folder, progress)
        if convert:
            faults += convert_all(folder, lambda line: console.print(line, highlight=False, markup=False))
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
    _print("\n".join(lines))


_add_stage_commands()


def main() -> None:
    """Entry point of `braindiffuser`."""
    for stream in (sys.stdout, sys.stderr):  # a log shows each line when it is written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # of characters that it cannot show
    stop = _stop_once()
    for number in STOPPING:
        signal.signal(number, stop)
    try:
        app()
    finally:
        for number in STOPPING:  # while the interpreter ends, one more would change the exit status
            signal.signal(number, signal.SIG_IGN)


def _changes(
    nsd: Path | None = None, subject: int | None = None, device: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """Return the given options as nested changes to an experiment."""
    named = {"kind": "nsd", "root": str(nsd)} if nsd is not None else {}
    dataset = named | ({"subject": subject} if subject is not None else {})
    said = {"dataset": dataset, "device": device, "evaluation": {"profile": profile} if profile else None}
    return {key: value for key, value in said.items() if value}


def _run(
    out: Path,
    config: str | None,
    overwrite: bool,
    stage: str | None,
    choices: dict[str, Any] | None = None,
    modules: list[str] | None = None,
    shared: Path | None = None,
) -> None:
    with _stoppable(CONTINUES), _progress() as progress:
        import_modules(modules)
        opened = _open(out, config, overwrite, stage, progress, lambda given: given.changed(choices or {}), shared)
        if stage is None:
            opened.run_all()
        else:
            opened.do(stage)
    _print_result(opened)


def _open(
    out: Path,
    config: str | None,
    overwrite: bool,
    stage: str | None,
    progress: Progress,
    change: Callable[[Experiment], Experiment],
    shared: Path | None = None,
) -> Run:
    begun = (out / "manifest.json").exists() or (out / "steps").exists()
    given = None if begun and config is None else change(Experiment.load(config or "demo"))
    from braindiffuser.run import Run
    from braindiffuser.run_folder import stored_experiment
    from braindiffuser.stages import stages

    if stage is not None and not begun:
        first, needs = next(iter(stages())), stages()[stage].needs
        if needs or config is None:
            why = f"{stage} needs {first} first, and {out} holds no run" if needs else f"{out} holds no run"
            raise RunError(
                f"{why}: name the folder of a run, or begin one with `braindiffuser {first} --config FILE --out {out}` or "
                "`braindiffuser run` (FILE: an experiment file or a preset, such as demo)"
            )
    return Run.open(given or change(stored_experiment(out)), out, overwrite, progress, shared)


def _require_output() -> None:
    if sys.stdout is None:
        raise RunError("there is no standard output to print to: it was closed")


def _print(content: Any) -> None:
    """Print results, as they are, to standard output."""
    with naming(OUTPUT):
        Console().print(content, highlight=False, markup=False, soft_wrap=isinstance(content, str))


def _print_result(opened: Run) -> None:
    from rich.markdown import Markdown

    from braindiffuser.report.tables import scores_markdown

    page = opened.results.folder / "report" / "index.html"
    if opened.is_finished("evaluate"):
        _print(Markdown(scores_markdown(opened.results.read_json("scores.json"))))
    if opened.is_finished("report"):
        _print(f"Page: {page}")


def _score_folders(seen: Path, made: Path, profile: str, json_file: Path | None, device: str) -> None:
    from braindiffuser.folder_scores import print_folder_scores
    from braindiffuser.machine import check_device
    from braindiffuser.metrics.folders import evaluate_folders
    from braindiffuser.metrics.scores_file import check_scores_file, write_scores

    check_device(device)
    if json_file is not None:
        check_scores_file(json_file)
    with _stoppable("nothing was written; the same command begins again"):
        scores = evaluate_folders(seen, made, profile, device=device)
    print_folder_scores(scores, _print, console)
    if json_file is not None:
        write_scores(scores, json_file)


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """Print expected errors as one sentence, and exit with 1: ours, invalid settings, files that cannot be read or written."""
    try:
        yield
    except BrainDiffuserError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail(list_faults(error))
    except BrokenPipeError:  # of `| head`; typer ends the command
        raise
    except OSError as error:
        _fail(sentence(error) if is_of_the_system(error) else f"a file cannot be read or written: {error}")
    except MemoryError as error:
        _fail(f"memory ran out ({reason(error)}): free memory that other programs use")
    except EOFError as error:
        _fail(f"a file ends too early: {reason(error)}")


@contextmanager
def _stoppable(then: str) -> Iterator[None]:
    """On Ctrl-C say in one sentence what the same command does next time; exit with 130, or 143 on SIGTERM."""
    try:
        yield
    except KeyboardInterrupt as error:
        with suppress(OSError):
            console.print(f"stopped: {then}", highlight=False, soft_wrap=True)
        sys.exit(128 + int((error.args or _received or (signal.SIGINT,))[-1]))


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a command: Ctrl-C, and how clusters end a job."""
_received: list[int] = []
"""Signals that were received; a KeyboardInterrupt may be raised anew on its way, without its number."""


def _stop_once(patience: float = 1.0) -> Callable[[int, object], None]:
    """Return a handler of signals that raises KeyboardInterrupt, but not again within `patience` seconds."""
    last = -patience

    def stop(number: int, _frame: object) -> None:
        nonlocal last
        earlier, last = last, time.monotonic()
        _received.append(number)
        if last - earlier > patience:
            raise KeyboardInterrupt(number)

    return stop


def _fail(message: str) -> NoReturn:
    with suppress(OSError):  # a log on a full disk takes no more
        console.print(Text.assemble(("error: ", "bold red"), message), highlight=False, soft_wrap=True)
    sys.exit(1)


def _progress() -> AbstractContextManager[Progress]:
    return progress_bars(console)


if __name__ == "__main__":
    main()
