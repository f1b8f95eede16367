"""Commands of one run: `run` and `demo` for all stages, and one for each stage."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from braindiffuser.cli.app import ONE_RUN, STAGES, app
from braindiffuser.cli.endings import CONTINUES, stoppable
from braindiffuser.cli.options import (
    Cluster,
    Config,
    Device,
    Nsd,
    NWorkers,
    Out,
    Overwrite,
    Shared,
    Subject,
    With,
    changes_of,
    entry_option,
    expanded,
    expanded_each,
)
from braindiffuser.cli.screen import console, fail, print_analysis, print_out, print_result, progress_on_screen
from braindiffuser.cli.workers import started_workers
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import EvaluationConfig, Experiment
from braindiffuser.extensions import import_modules
from braindiffuser.plain_data import read_entries

if TYPE_CHECKING:
    from braindiffuser.progress import Progress
    from braindiffuser.run import MakeWorkers, Run


@app.command(rich_help_panel=ONE_RUN, epilog="Example: **braindiffuser demo --out runs/demo**")
def demo(
    out: Out = Path("runs/demo"), overwrite: Overwrite = False, workers: NWorkers = None, cluster: Cluster = None
) -> None:
    """Simulate a subject, decode it with the bundled networks, and write the page."""
    _run(out, "demo", overwrite, stage=None, n_workers=workers, cluster=cluster)


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
        workers: NWorkers = None,
        cluster: Cluster = None,
    ) -> None:
        _run(out, config, overwrite, stage, changes_of(nsd, subject, device), modules, shared, workers, cluster)

    return command


def _without(command: Callable[..., None], *options: str) -> Callable[..., None]:
    """Return a command without some of its options."""
    own = inspect.signature(command, eval_str=True)
    left = [parameter for name, parameter in own.parameters.items() if name not in options]
    command.__signature__ = own.replace(parameters=left)  # type: ignore[attr-defined]  # what Typer reads
    return command


app.command(
    "run",
    rich_help_panel=ONE_RUN,
    help="Run every stage that is not finished, from betas to the page.",
    epilog="Example: **braindiffuser run --config my-experiment.yaml --out runs/mine**; "
    "**braindiffuser run --preset brain-diffuser --nsd /data/nsd --subject 1 --out runs/subj01**. "
    "Interrupted? The same command resumes.",
)(_stage_command(None))


@app.command(
    rich_help_panel=STAGES,
    epilog="Example: **braindiffuser evaluate --out runs/demo**; "
    "**braindiffuser evaluate made/ --seen seen/ --profile brain-diffuser-2023 --json scores.json**; "
    "**braindiffuser evaluate ours/ theirs.pt baseline.npy --seen seen/ --page methods.html --latex methods.tex**",
)
def evaluate(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            callback=expanded_each,
            metavar="[PICTURES]...",
            help="Reconstructions by one method or several, with --seen; or what was seen and then the reconstructions. Each is "
            "a folder, or a stack (.npy, .npz, .pt, .zarr, .h5; FILE:KEY for one array of several).",
        ),
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option("--seen", callback=expanded, help="What was seen: a folder of pictures, or a stack."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Name of the method that others are compared with; default: the first."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", callback=expanded, help="Folder of the run.")] = None,
    config: Config = None,
    overwrite: Overwrite = False,
    profile: Annotated[str | None, entry_option(EvaluationConfig, "profile", "--profile")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=expanded, help="Also write all scores to this JSON file.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", callback=expanded, help="Also write the table to this CSV file.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", callback=expanded, help="Also write the tables to this Markdown file.")
    ] = None,
    latex_file: Annotated[
        Path | None, typer.Option("--latex", callback=expanded, help="Also write the tables to this LaTeX file.")
    ] = None,
    page_file: Annotated[
        Path | None,
        typer.Option("--page", callback=expanded, help="Also write a page with tables and pictures to this HTML file."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            callback=expanded,
            help="Folder where features of pictures are kept for the next time; default: below that of downloaded networks.",
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no features.")] = False,
    device: Device = None,
    modules: With = None,
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Stage 6: score a run's pictures, or pictures by any methods against what was seen, and compare these methods."""
    options = {
        "--json": json_file,
        "--csv": csv_file,
        "--markdown": markdown_file,
        "--latex": latex_file,
        "--page": page_file,
    }
    files = {option: path for option, path in options.items() if path is not None}
    others = {"--against": against, "--cache": cache, "--no-cache": no_cache}
    for_pictures = [*files, *(option for option, given in others.items() if given)]
    if out is not None and not (pictures or seen or for_pictures):
        choices = changes_of(device=device, profile=profile)
        _run(out, config, overwrite, "evaluate", choices, modules, n_workers=workers, cluster=cluster)
        return
    if out is not None and not (pictures or seen):
        _refuse_for_run(for_pictures, out)
    by_order = False
    if seen is None and pictures and len(pictures) == 2:
        seen, pictures, by_order = pictures[0], pictures[1:], True
    if out is not None or seen is None or not pictures:
        fail(
            "name either a run (--out RUN; its scores go to RUN/scores.json), or pictures and what was seen (MADE --seen SEEN, "
            "MADE MADE … --seen SEEN, or SEEN MADE for short)"
        )
    if config is not None or overwrite or modules or workers or cluster is not None:
        fail(
            "--config, --overwrite, --with, --workers and --cluster apply to runs only; for folders and stacks give --profile, "
            "--device, --json, --csv, --markdown, --latex, --page and --cache"
        )
    if cache is not None and no_cache:
        fail("--cache names a folder, and --no-cache keeps nothing: write one of the two")
    keep = (lambda: None) if no_cache else (lambda: cache or _cache_folder())
    _score_methods(seen, pictures, by_order, against, profile or "demo", files, device or "cpu", keep)


def _refuse_for_run(options: list[str], out: Path) -> NoReturn:
    """Say where a run has what these options would write of folders and stacks."""
    from braindiffuser.report.numbers import join

    fail(
        f"{join(options)} {'is' if len(options) == 1 else 'are'} for folders and stacks, and {out} is a run: leave "
        f"{'it' if len(options) == 1 else 'them'} out, and find its table in {out / 'report' / 'scores.md'}, its "
        f"numbers in {out / 'scores.json'} and its page in {out / 'report' / 'index.html'}"
    )


@app.command(
    rich_help_panel=STAGES,
    epilog="Example: **braindiffuser analyse --out runs/demo** runs the analyses of the experiment; "
    "**braindiffuser analyse voxel_weights --out runs/demo** adds one; "
    "**braindiffuser analyse picture_groups --set column=category --out runs/demo** with an entry; "
    "**braindiffuser analyse picture_groups --remove --out runs/demo** takes it from the run again.",
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
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the analysis from the run and its page instead; its files are kept.")
    ] = False,
    config: Config = None,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Stage 7: run the analyses, such as the preferred picture of each ROI; with NAME a further one, for the page too."""
    if name is None:
        if remove:
            fail(
                "--remove takes one analysis from the run: name it, as in "
                "`braindiffuser analyse picture_groups --remove --out RUN`"
            )
        if entries:
            fail(
                "--set gives an entry of one analysis: name it, as in "
                "`braindiffuser analyse picture_groups --set column=kind --out RUN`"
            )
        choices = changes_of(device=device)
        _run(out, config, overwrite, "analyse", choices, modules, n_workers=workers, cluster=cluster)
        return
    with stoppable(CONTINUES), progress_on_screen() as progress, ExitStack() as stack:
        import_modules(modules)
        own = read_entries(entries or ())
        if remove and own:
            fail("--remove takes an analysis away, and --set gives an entry of one: write one of the two")
        if remove and (device is not None or workers or cluster is not None):
            fail("--remove takes an analysis away, and computes nothing: leave --device, --workers and --cluster out")

        def change(given: Experiment) -> Experiment:
            chosen = given.changed(changes_of(device=device))
            return chosen.without_analysis(name) if remove else chosen.with_analysis(name, own)

        computing = started_workers(workers, cluster, modules or [], progress, stack)
        opened = _open(
            out, config, overwrite, "analyse", progress, change, note_when_done=not remove, workers=computing
        )
        if remove and _is_unfinished(opened):
            print_out(f"{name} was taken from the run; left to do: {command_line('run', '--out', out)}")
            return
        if not remove:
            opened.do("analyse")
        opened.do("report")
    made = None if remove else opened.experiment.analysis(name, own)
    if made is None:
        print_result(opened)
    else:
        print_analysis(opened, made.label)


def _is_unfinished(opened: Run) -> bool:
    """Return whether a step is left to do besides the page."""
    return any(step.stage != "report" and opened.state(step) != "finished" for step in opened.steps())


def _add_stage_commands() -> None:
    """Add a command for every stage that has none of its own, in their order."""
    from braindiffuser.stages import stages

    known = {info.callback.__name__ for info in app.registered_commands if info.callback}
    for number, stage in enumerate(stages().values(), start=1):
        if stage.name not in known:
            begins = "" if stage.needs else "--config demo "
            example = f"Example: **braindiffuser {stage.name} {begins}--out runs/demo**"
            command = _stage_command(stage.name)
            app.command(stage.name, rich_help_panel=STAGES, help=f"Stage {number}: {stage.does}.", epilog=example)(
                command if stage.workers != "none" else _without(command, "workers", "cluster")
            )


def _run(
    out: Path,
    config: str | None,
    overwrite: bool,
    stage: str | None,
    choices: dict[str, Any] | None = None,
    modules: list[str] | None = None,
    shared: Path | None = None,
    n_workers: int | None = None,
    cluster: Path | None = None,
) -> None:
    with stoppable(CONTINUES), progress_on_screen() as progress, ExitStack() as stack:
        import_modules(modules)
        workers = started_workers(n_workers, cluster, modules or [], progress, stack)
        opened = _open(
            out, config, overwrite, stage, progress, lambda given: given.changed(choices or {}), shared, workers
        )
        if stage is None:
            opened.run_all()
        else:
            opened.do(stage, again=overwrite and stage == "report")
    print_result(opened)


def _open(
    out: Path,
    config: str | None,
    overwrite: bool,
    stage: str | None,
    progress: Progress,
    change: Callable[[Experiment], Experiment],
    shared: Path | None = None,
    workers: MakeWorkers | None = None,
    note_when_done: bool = False,
) -> Run:
    from braindiffuser.run_folder import refuse_other_kinds, stored_experiment

    refuse_other_kinds(out)
    begun = (out / "manifest.json").exists() or (out / "steps").exists()
    given = None if begun and config is None else change(Experiment.load(config or "demo"))
    from braindiffuser.run import Run
    from braindiffuser.stages import stages

    if stage is not None and not begun:
        first, needs = next(iter(stages())), stages()[stage].needs
        if needs or config is None:
            why = f"{stage} needs {first} first, and {out} holds no run" if needs else f"{out} holds no run"
            raise RunError(
                f"{why}: name the folder of a run, or begin one with {command_line(first, '--config', 'FILE', '--out', out)} or "
                "`braindiffuser run` (FILE: an experiment file or a preset, such as demo)"
            )
    return Run.open(given or change(stored_experiment(out)), out, overwrite, progress, shared, note_when_done, workers)


def _cache_folder() -> Path:
    from braindiffuser.folder_scores.feature_cache import default_folder

    return default_folder()


def _score_methods(
    seen: str,
    methods: list[str],
    by_order: bool,
    against: str | None,
    profile: str,
    files: Mapping[str, Path],
    device: str,
    cache_folder: Callable[[], Path | None],
) -> None:
    from braindiffuser.folder_scores import printed, scoring
    from braindiffuser.folder_scores.scores_file import check_scores_files, scores_text, sealed, write_text
    from braindiffuser.machine import check_device

    check_device(device)
    check_scores_files(files)
    with stoppable("nothing was written; the same command begins again"):
        opened = scoring.open_methods(seen, methods, profile)
        scoring.check_reference(opened, against)
        print_out(printed.roles_sentence(opened.seen, list(opened.partners.labels.values()), by_order))
        scores = scoring.score_methods(opened, against, device=device, cache=cache_folder())
        several = len(methods) > 1
        content = scores if several else scoring.of_one_method(scores)
        texts = {"--json": scores_text(content)}
        if files.keys() - texts.keys():
            texts |= {f"--{kind}": text for kind, text in printed.method_files(scores).items()}
        if "--page" in files:
            texts["--page"] = printed.method_page(scores, opened)
        (printed.print_method_scores if several else printed.print_folder_scores)(content, print_out, console)
    with stoppable("some of the files may be written; the same command writes all of them"):
        for option, path in files.items():
            write_text(sealed(texts[option], option), path)
    if "--page" in files:
        print_out(f"Page: {files['--page']}")


_add_stage_commands()
