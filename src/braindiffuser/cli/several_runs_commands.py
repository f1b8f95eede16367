"""Commands of several runs: folds, the whole paper, and studies of several subjects."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from braindiffuser.cli.app import SEVERAL_RUNS, SeveralValues, app
from braindiffuser.cli.endings import CONTINUES, stoppable
from braindiffuser.cli.options import Cluster, Device, Nsd, NWorkers, Overwrite, With, changes_of, expanded
from braindiffuser.cli.screen import print_out, progress_on_screen
from braindiffuser.cli.workers import started_workers
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.extensions import import_modules


@app.command(
    rich_help_panel=SEVERAL_RUNS, epilog="Example: **braindiffuser folds mine.yaml --out runs/mine-folds --shuffled 1**"
)
def folds(
    config: Annotated[str, typer.Argument(callback=expanded, help="An experiment file whose split is `kind: folds`.")],
    out: Annotated[
        Path, typer.Option("--out", callback=expanded, help="Folder for the runs of all folds, and their common page.")
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
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Make one run for each of k folds, score inside folds, and write a common page."""
    from rich.markdown import Markdown

    from braindiffuser.fold_runs import run_folds
    from braindiffuser.report.fold_sections import conditions_of
    from braindiffuser.report.tables import brief_scores_markdown

    with stoppable(CONTINUES), progress_on_screen() as progress, ExitStack() as stack:
        import_modules(modules)
        experiment = Experiment.load(config).changed(changes_of(device=device))
        made = started_workers(workers, cluster, modules or [], progress, stack)
        joint = run_folds(experiment, out, shuffled, overwrite, progress, made)
    print_out(Markdown(brief_scores_markdown(joint, conditions_of(joint))))
    print_out(f"Page: {out / 'index.html'}")


@app.command(
    rich_help_panel=SEVERAL_RUNS,
    cls=SeveralValues,
    epilog="Example: **braindiffuser reproduce --nsd /data/nsd --subjects 1 2 5 7 --out runs/paper**; "
    "**braindiffuser reproduce --config laion.yaml --subjects sub-01 sub-03 --splits random_0 tau cluster_k5 ood "
    "--out runs/laion**; **braindiffuser reproduce --preset demo --out runs/study** (four simulated subjects). Interrupted? "
    "The same command resumes.",
)
def reproduce(
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="Folder for all runs, and their common page.")],
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
            "entries, such as folds:n_folds=5,fold=0; default: that of the experiment.",
        ),
    ] = None,
    ablated: Annotated[
        int | None,
        typer.Option(
            "--ablated", min=2, help="Draw ablations for this many test pictures only; default: as the experiment says."
        ),
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    modules: With = None,
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Do the whole paper: runs of several subjects and splits, its five findings beside the original's numbers, and a page."""
    from braindiffuser.planned_runs.before_runs import PAGE
    from braindiffuser.reproduction.page import print_findings
    from braindiffuser.reproduction.reproduce import reproduce as run_all

    with stoppable(CONTINUES), progress_on_screen() as progress, ExitStack() as stack:
        import_modules(modules)
        sources = config or ["brain-diffuser" if nsd is not None else "demo"]
        changes = changes_of(nsd, device=device)
        experiments = [Experiment.load(expanded(source)).changed(changes) for source in sources]
        made = started_workers(workers, cluster, modules or [], progress, stack)
        found = run_all(experiments, out, subjects or (), splits or (), ablated, overwrite, progress, made)
    print_findings(found, print_out)
    print_out(f"Page: {out / PAGE}")


@app.command(
    rich_help_panel=SEVERAL_RUNS,
    epilog="Example: **braindiffuser study runs/subj01 runs/subj02 runs/subj05 runs/subj07 --out runs/study**; "
    "**braindiffuser study settings.yaml --out runs/settings --workers 2** (makes all runs; interrupted? The same command "
    "resumes).",
)
def study(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|FILE",
            help="Folders of finished runs, one of each subject, which are not changed; or a YAML file that says which subjects "
            "and settings to run and compare.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="Folder for the study and its page.")],
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
    workers: NWorkers = None,
    cluster: Cluster = None,
) -> None:
    """Put finished runs of several subjects together; or make the runs of a FILE, subjects under settings, and compare these."""
    from rich.markdown import Markdown

    from braindiffuser.report.setting_sections import settings_markdown, settings_sentences
    from braindiffuser.settings_study.run_settings import run_settings
    from braindiffuser.settings_study.study_file import StudyFile, is_study_file
    from braindiffuser.study.study import run_study, scores_markdown

    with stoppable(CONTINUES), progress_on_screen() as progress, ExitStack() as stack:
        given = [expanded(run) for run in runs]
        file = next((path for path in given if is_study_file(path)), None)
        if file is not None and len(given) > 1:
            raise RunError(
                f"{file} is a file, which says all that a study is made of: name it alone, or folders of runs"
            )
        if file is None and (workers is not None or cluster is not None):
            raise RunError(
                "--workers and --cluster compute runs, and these are finished: leave them out, or name a study's file"
            )
        import_modules(modules)
        if file is not None:
            StudyFile.load(file).plan(file)  # before workers are started, which may be jobs of a queue
        if file is None:
            joint = run_study(
                given,
                out,
                average=average,
                n_permutations=permutations,
                device=device,
                overwrite=overwrite,
                progress=progress,
            )
            shown, sentences = scores_markdown(joint), []
        else:
            found = run_settings(
                file,
                out,
                average=average,
                n_permutations=permutations,
                device=device,
                overwrite=overwrite,
                progress=progress,
                workers=started_workers(workers, cluster, modules or [], progress, stack),
            )
            shown, sentences = settings_markdown(found), settings_sentences(found)
    print_out(Markdown(shown))
    for sentence in sentences:
        print_out(sentence)
    print_out(f"Page: {out / 'index.html'}")
