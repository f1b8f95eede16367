"""Laws of workers: same bytes as one process, whatever happens to a worker or to the scheduler, and one writer."""

import importlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from distributed import Event
from fakes import COMPUTED, N, fake_experiment, write_recording

from braindiffuser.clusters import ClusterFile, _cluster, job_script, open_cluster
from braindiffuser.dask_workers import (
    TRIES,
    DaskCluster,
    DaskWorkers,
    Place,
    Site,
    _compute,
    _hash_of_module,
    _imported,
    _keep_freed_memory,
    _networks,
    _own_device,
    _prepare,
    _wait_for,
    _work,
)
from braindiffuser.errors import RunError
from braindiffuser.files import alone_in
from braindiffuser.fold_runs import run_folds
from braindiffuser.planned_runs import making
from braindiffuser.progress import silent
from braindiffuser.reproduction.reproduce import reproduce
from braindiffuser.run import Run
from braindiffuser.settings_study.run_settings import run_settings
from braindiffuser.settings_study.study_file import StudyFile
from braindiffuser.stages.evaluation.run_scorers import scoring_of
from braindiffuser.stages.evaluation.shown_pictures import Shown, _score

ROOT = Path(__file__).parents[2]
PAGE = "report/index.html"
NOT_RESULTS = ("manifest.json", "experiment.yaml", "recording.json", "written.json", ".lock", PAGE)


def results(folder):
    """All results by name, but what holds times."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        name: content for name, content in files.items() if name not in NOT_RESULTS and not name.startswith("steps/")
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """A run that one process made."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Run.open(fake_experiment(root), folder).run_all()
    return folder


@pytest.fixture(scope="module")
def cluster_file(tmp_path_factory):
    """Two processes that find the fake parts."""
    file = tmp_path_factory.mktemp("cluster") / "local.yaml"
    content = {"n_workers": 2, "local": {"env": {"PYTHONPATH": str(Path(__file__).parent)}}}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


HEARD = []
"""What was said of the workers."""


@pytest.fixture(scope="module")
def connect(cluster_file):
    with open_cluster(None, cluster_file, lambda label, done, total: HEARD.append(label)) as connect:
        yield connect


def made(root, folder, connect, progress=silent, stages=(), **settings):
    experiment, workers = fake_experiment(root), DaskCluster(connect, ["fakes"], progress)
    run = Run.open(experiment, folder, progress=progress, workers=workers, **settings)
    for stage in stages:
        run.do(stage)
    if not stages:
        run.run_all()
    return folder


def kill_one(client):
    """Kill one worker, as the system does where memory runs out."""
    address, pid = next(iter(client.run(os.getpid).items()))
    os.kill(pid, signal.SIGKILL)
    return address


ONE_BLOCK_AFTER_ANOTHER = """
import resource, sys
from braindiffuser.dask_workers import _keep_freed_memory
if sys.argv[1] == "kept":
    _keep_freed_memory()
for _ in range(50):
    block = bytearray(8 * 2**20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Dask's setting is of the C library of Linux")
def test_a_worker_keeps_memory_that_it_freed(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as Dask sets it for its workers
    asked_for = {
        way: int(subprocess.check_output([sys.executable, "-c", ONE_BLOCK_AFTER_ANOTHER, way])) for way in ("kept", "")
    }
    pages = 8 * 2**20 // resource.getpagesize()
    assert asked_for[""] - asked_for["kept"] > 40 * pages, "50 blocks of 8 MiB, of which one needs new pages"


def test_workers_extract_many_blocks_and_fit_ridge_to_the_same_bytes(root, connect, tmp_path, monkeypatch):
    monkeypatch.setattr("braindiffuser.store.draft.BLOCK", 5)  # so that a split has several blocks
    changes, folders = {"regression": {"kind": "ridge", "n_folds": 2}}, (tmp_path / "alone", tmp_path / "workers")
    for folder, workers in zip(folders, (None, DaskCluster(connect, ["fakes"], silent)), strict=True):
        run = Run.open(fake_experiment(root, **changes), folder, workers=workers)
        for stage in ("prepare", "extract", "fit"):
            run.do(stage)
    assert results(folders[0]) == results(folders[1])
    assert list((folders[1] / "decoders").iterdir())


def test_commands_of_several_runs_give_workers_to_each(root, tmp_path, monkeypatch):
    given = []

    def opened(experiment, folder, *others, workers, siblings=()):
        given.append(workers)
        raise RunError("enough")

    monkeypatch.setattr("braindiffuser.run.Run.open", opened)
    workers = DaskCluster(lambda: None, [], silent)
    folds = fake_experiment(root, split={"kind": "folds", "n_folds": 2})
    with pytest.raises(RunError, match="enough"):
        run_folds(folds, tmp_path / "folds", workers=workers)
    with pytest.raises(RunError, match="enough"):
        reproduce([fake_experiment(root)], tmp_path / "paper", ["subj01"], workers=workers)
    assert given == [workers, workers]


def test_a_study_of_one_subject_gives_workers_to_each_run(study_file, tmp_path, monkeypatch):
    given = []

    def opened(experiment, folder, *others, workers, siblings):
        given.append(workers)
        raise RunError("enough")

    monkeypatch.setattr("braindiffuser.run.Run.open", opened)
    one = tmp_path / "one.yaml"
    one.write_text(json.dumps({"experiment": str(study_file.parent / "a.yaml"), "settings": SETTINGS}))
    workers = DaskCluster(lambda: None, [], silent)
    with pytest.raises(RunError, match="enough"):
        run_settings(one, tmp_path / "out", workers=workers)
    assert given == [workers]


SUBJECTS = ("a", "b")
SETTINGS = {"plain": {}, "stronger": {"generator": {"strength": 0.75}}}


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    """Two subjects under two settings."""
    folder = tmp_path_factory.mktemp("study")
    for number, name in enumerate(SUBJECTS):
        own = write_recording(folder / f"recording-{name}", seed=number)
        experiment = fake_experiment(
            own,
            dataset={"root": str(own), "subject": name},
            pictures={"ablations": [], "ceiling": False},
            analyses=[],
        )
        (folder / f"{name}.yaml").write_text(experiment.to_yaml())
    content = {"experiment": [f"{name}.yaml" for name in SUBJECTS], "settings": SETTINGS}
    (folder / "study.yaml").write_text(json.dumps(content))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def study(study_file):
    """The study that one process made."""
    run_settings(study_file, study_file.parent / "alone", average=False, n_permutations=0)
    return study_file.parent / "alone"


def studied(folder):
    """Results of all runs of a study."""
    return {f"{own}/{setting}": results(folder / own / setting) for own in SUBJECTS for setting in SETTINGS}


def test_subjects_of_a_study_are_made_by_workers_to_the_same_bytes_though_one_is_killed(
    study_file, study, connect, tmp_path
):
    said, killed, processes = [], [], list(connect().run(os.getpid).values())

    def heard(label, done, total):
        said.append(label)
        if not killed and label.startswith("a/plain: reconstructing"):
            killed.append(processes[0])
            os.kill(processes[0], signal.SIGKILL)

    workers, place = DaskCluster(connect, ["fakes"], heard), tmp_path / "out"
    before = len(HEARD)
    run_settings(study_file, place, average=False, n_permutations=0, progress=heard, workers=workers)
    assert studied(place) == studied(study)
    assert json.loads((place / "comparison.json").read_text()) == json.loads((study / "comparison.json").read_text())
    assert killed
    assert any("was lost" in label for label in HEARD[before:])
    assert any(label.startswith("b/stronger: ") for label in said)
    assert "subjects" in said
    assert any(label.startswith("a/stronger: prepare.responses: taken from") for label in said)


def test_what_stops_a_subject_on_a_worker_ends_the_command_with_its_words(study_file, connect, tmp_path, monkeypatch):
    monkeypatch.setattr("braindiffuser.planned_runs.making.check_before_runs", lambda *_, **__: None)
    place = tmp_path / "out"
    (place / "b" / "plain").mkdir(parents=True)
    (place / "b" / "plain" / "scores.json").write_text("mine")
    with pytest.raises(RunError, match=r"scores\.json"):
        run_settings(
            study_file,
            place,
            average=False,
            n_permutations=0,
            workers=DaskCluster(connect, ["fakes"], silent),
        )


def test_a_worker_stops_when_the_command_has_ended(connect):
    place = DaskCluster(connect, [], silent)._place("of this test")
    future = connect().submit(partial(_work, place, _works_on, "cpu"), "", pure=False)
    Event("of this test", client=connect()).set()
    assert "the command that began this has ended" in str(future.result(timeout=30).error)


def test_a_subject_reaches_a_worker_as_text(study_file, tmp_path):
    planned = StudyFile.load(study_file).plan(study_file)
    subject = making._Subject(str(tmp_path), tuple(planned[:2]), ("plain", "stronger"), False)
    again = making._Subject.from_text(replace(subject, overwrite=True).to_text())
    assert (again.overwrite, again.settings, again.folder) == (True, subject.settings, subject.folder)
    assert making._Subject.from_text(
        replace(subject, planned=(replace(planned[0], further=("x",)),)).to_text()
    ).planned[0].further == ("x",)
    assert [(own.folder, own.experiment) for own in again.planned] == [
        (own.folder, own.experiment) for own in planned[:2]
    ]


@pytest.mark.parametrize("work", [making._prepare_subject, making._finish_subject])
def test_work_on_a_subject_waits_for_the_process_that_is_at_it(study_file, tmp_path, monkeypatch, work):
    """A worker that was given up as lost may still write."""
    planned = StudyFile.load(study_file).plan(study_file)
    subject = making._Subject(str(tmp_path), tuple(planned[:2]), ("plain", "stronger"), False)
    said, free, opened = [], threading.Event(), []

    def wait(label, done, total):
        said.append(label)
        free.set()

    def is_opened(*_):
        opened.append(True)
        raise RunError("it was opened")

    monkeypatch.setattr(making._Subject, "open", is_opened)
    (tmp_path / "a").mkdir()
    with ThreadPoolExecutor(1) as pool:
        with alone_in(tmp_path / "a"):
            waiting = pool.submit(work, subject.to_text(), wait)
            assert free.wait(30)
            assert not opened
        with pytest.raises(RunError, match="it was opened"):
            waiting.result(timeout=30)
    assert said == ["a: waiting for another worker that makes the same runs"]


def test_workers_compute_parts_of_an_analysis_that_are_not_kept(root, finished, connect, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    added = fake_experiment(root).with_analysis("fakes:Parts", {})
    COMPUTED.clear()
    for workers in (DaskCluster(connect, ["fakes"], silent), None):
        run = Run.open(added, folder, workers=workers, overwrite=True)
        run.do("analyse")
        assert run.results.read_json("analyses/parts.json")["powers"] == [number**2 + N for number in range(6)]
        (folder / "analyses/parts.json").unlink()  # so that it is computed again, of parts that are kept
    assert COMPUTED == []


def test_parts_of_an_analysis_that_says_nothing_of_other_processes_are_computed_here(root, finished, connect, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    added = fake_experiment(root).with_analysis("fakes:OwnParts", {})
    run = Run.open(added, folder, workers=DaskCluster(connect, ["fakes"], silent), overwrite=True)
    run.do("analyse")
    assert run.results.read_json("analyses/ownparts.json")["powers"] == [2]


def test_what_was_made_last_is_kept_for_its_key_until_the_stage_ends(root, tmp_path):
    run = Run.open(fake_experiment(root), tmp_path / "run")
    context, made = run._context, []

    def make():
        made.append(len(made))
        return made[-1]

    assert [context.last("name", key, make) for key in (1, 1, 2, 1)] == [0, 0, 1, 2]
    assert context.last("another", 1, make) == 3
    assert context.last("name", 1, make) == 2
    run.do("prepare")
    assert context.last("name", 1, make) == 4


LABELS = ("extracting: train a", "fitting decoders", "decoding", "reconstructing: final", "scoring")
"""What workers do, as progress calls it."""


def test_two_workers_make_the_same_bytes_as_one_process_though_one_is_killed_in_each_stage(
    root, finished, connect, tmp_path
):
    killed = {}

    def kill_once(said, done, total):
        label = next((label for label in LABELS if said.startswith(label)), None)
        if label is not None and label not in killed:
            killed[label] = kill_one(connect())

    assert results(made(root, tmp_path / "run", connect, kill_once)) == results(finished)
    assert tuple(killed) == LABELS
    deadline = time.monotonic() + 20
    for address in killed.values():
        while not any(address in line and "was lost: what it had to do is computed again" in line for line in HEARD):
            assert time.monotonic() < deadline, HEARD
            time.sleep(0.1)
    assert HEARD[0].startswith("workers: started; dashboard: http://")


def test_workers_that_stay_take_nothing_of_the_command_before(tmp_path, connect):
    root, folder = write_recording(tmp_path / "told"), tmp_path / "run"
    made(root, folder, connect, stages=("prepare", "extract"))
    captions = (root / "captions.txt").read_text().splitlines()
    (root / "captions.txt").write_text("\n".join(f"another {caption}" for caption in captions))
    made(root, folder, connect, stages=("prepare", "extract"), overwrite=True)
    fresh = Run.open(fake_experiment(root), tmp_path / "fresh")
    fresh.do("prepare")
    fresh.do("extract")
    assert results(folder) == results(tmp_path / "fresh")


def started(port, *words):
    """A process of Dask."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    words = [sys.executable, "-m", *words, "--no-dashboard"]
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_scheduler_that_is_killed_and_started_again_changes_nothing(root, finished, tmp_path):
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    address, processes, said = f"tcp://127.0.0.1:{port}", [], []

    def start():
        scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port))
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny")
        processes.extend(started(port, *words) for words in (scheduler, worker))

    def kill_once(label, done, total):
        said.append(label)
        if label.startswith("reconstructing: final") and len(processes) == 2:
            for process in processes:
                process.kill()
                process.wait()
            start()

    file = tmp_path / "cluster.yaml"
    file.write_text(f"address: {address}", encoding="utf-8")
    start()
    try:
        with open_cluster(None, file, silent) as connect:
            assert results(made(root, tmp_path / "run", connect, kill_once)) == results(finished)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len(processes) == 4
    assert said.count("the scheduler of the workers was lost: connecting again") == 1


def test_runs_of_one_command_share_a_connection_which_is_made_again_if_it_is_lost(root, finished, connect, tmp_path):
    said, clients = [], [connect()]
    assert connect() is clients[0]

    def lose_it(label, done, total):
        said.append(label)
        if label.startswith("extracting: train b") and connect() is clients[0]:
            clients[0].close()

    folder = made(root, tmp_path / "run", connect, lose_it, stages=("prepare", "extract"))
    assert results(folder).items() <= results(finished).items()
    assert (folder / "arrays/targets").is_dir()
    assert connect() is not clients[0]
    assert said.count("the scheduler of the workers was lost: connecting again") == 1


def told(**facts):
    """What a worker is told of a run of no other facts than some."""
    place = {"command": "", "working": "", "modules": (), "versions": ()}
    usual = {"folder": "", "experiment": "{}", "recording": "", "finished": ()}
    of_place = Place(**(place | {name: facts.pop(name) for name in place.keys() & facts.keys()}))
    return Site(**({"place": of_place} | usual | facts))


def test_a_worker_elsewhere_or_of_other_versions_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"does not see .*gone, where this command was started"):
        _prepare(told(working=str(tmp_path / "gone")).place)
    (tmp_path / "below").mkdir()
    _keep_freed_memory.cache_clear()
    _prepare(told(working=str(tmp_path / "below"), modules=(("fakes", _hash_of_module("fakes")),)).place)
    assert _keep_freed_memory.cache_info().currsize == 1, "every worker passes here before its first part"
    assert Path.cwd() == tmp_path / "below"
    with pytest.raises(RunError, match=r"a worker has numpy .*, and this command 1\.0"):
        _prepare(told(working=str(tmp_path), versions=(("numpy", "1.0"),)).place)
    with pytest.raises(RunError, match="another version of the module fakes: start the workers again"):
        _prepare(told(working=str(tmp_path), modules=(("fakes", "of another file"),)).place)


def test_the_code_of_a_whole_package_is_compared(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "lab_of_ours"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "depth.py").write_text("DEPTH = 1\n")
    importlib.import_module("lab_of_ours")
    before = _hash_of_module("lab_of_ours")
    (package / "depth.py").write_text("DEPTH = 2\n")
    assert _hash_of_module("lab_of_ours") == before  # as it was imported
    monkeypatch.delitem(_imported, "lab_of_ours")
    assert _hash_of_module("lab_of_ours") != before


def test_a_worker_with_other_scoring_networks_is_refused(root, finished):
    run = Run.open(None, finished)
    score = partial(_score, run._context)
    keys = tuple(scoring_of(run._context).profile.metrics)
    with pytest.raises(
        RunError, match="a worker has also the networks of own_by_features, other than the machine of this"
    ):
        score(Shown((0,), "final", metrics=keys[:-1]))
    with pytest.raises(RunError, match="a worker lacks the networks of clip"):
        score(Shown((0,), "final", metrics=(*keys, "clip")))
    assert set(score(Shown((0, 1), "final", metrics=keys)).pictures) == set(keys)


def test_a_worker_keeps_networks_of_one_command_alone():
    first = _networks("one", "cpu")
    assert _networks("one", "cpu") is first
    assert _networks("two", "cpu") is not first
    assert _networks("one", "cpu") is not first


@pytest.mark.parametrize("error", [RunError("no 3"), FileNotFoundError("no file"), MemoryError("too much")])
def test_what_a_part_cannot_do_comes_back_without_a_traceback_of_the_worker(error, monkeypatch):
    monkeypatch.setattr("braindiffuser.dask_workers._context", lambda site: None)
    assert _compute(told(), _fail, error).error is error
    with pytest.raises(ZeroDivisionError):  # a fault of the program keeps its traceback
        _compute(told(), _fail, ZeroDivisionError())


def _works_on(item, progress):
    while True:
        progress("working", 0, 1)
        time.sleep(0.05)


def _end(context, item):
    os._exit(1)


def _square(context, item):
    return item * item


def _fail(context, item):
    raise item


def test_a_part_that_takes_every_worker_with_it_is_said(root, finished, connect):
    workers = DaskCluster(connect, ["fakes"], silent)(fake_experiment(root), finished, dict)
    with pytest.raises(RunError, match="took worker after worker with it, probably because memory ran out"):
        list(workers.each(_end, [1]))


def test_workers_that_dask_has_given_up_are_started_anew(root, finished, cluster_file, monkeypatch):
    """A worker that takes long to start again, as on a busy machine, is given up with its nanny."""
    monkeypatch.setattr("braindiffuser.dask_workers.PATIENCE", 0.5)
    said = []
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10ms"}),
        open_cluster(None, cluster_file, silent) as connect,
    ):
        cluster = connect().cluster
        workers = DaskCluster(connect, ["fakes"], lambda label, done, total: said.append(label))(
            fake_experiment(root), finished, dict
        )
        for pid in connect().run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 30
        while cluster.workers:
            assert time.monotonic() < until, "the workers were not given up"
            time.sleep(0.05)
        until = time.monotonic() + 60
        while (
            len(cluster.workers) < 2
        ):  # one that starts while its predecessor still ends is refused, and started once more
            assert time.monotonic() < until, "not all workers were started anew"
            assert list(workers.each(_square, [3, 4])) == [(3, 9), (4, 16)]
        assert len(cluster.worker_spec) == 2
    assert "workers that did not come back, which are started anew: 2" in said


def test_a_process_that_is_killed_while_all_start_is_started_once_more(monkeypatch):
    given = []

    def start(**arguments):
        given.append(arguments)
        if len(given) == 1:
            raise RuntimeError("Nanny failed to start.")
        return "cluster"

    monkeypatch.setattr("distributed.LocalCluster", start)
    assert _cluster(ClusterFile(local={}), 2) == "cluster"
    assert given[0] == given[1]


def test_that_no_worker_has_come_yet_is_said(root, finished, monkeypatch):
    """Jobs of a queue that ended are not submitted again."""
    monkeypatch.setattr("braindiffuser.dask_workers._replace_lost", None)
    said = []
    results = iter([TimeoutError, TimeoutError, 2])

    def result(timeout):
        made = next(results)
        if made is TimeoutError:
            raise TimeoutError
        return made

    client = SimpleNamespace(
        cluster=SimpleNamespace(),  # a queue's
        scheduler_info=lambda n_workers: {"workers": {}},
        submit=lambda compute, item, pure: SimpleNamespace(result=result, status="finished"),
    )
    workers = DaskCluster(lambda: client, [], lambda label, done, total: said.append(label))
    assert list(workers(fake_experiment(root), finished, dict).each(_square, [1])) == [(1, 2)]
    assert len(said) == 1
    assert said[0].startswith("no worker is there: waiting for one (jobs of a queue may take long to begin; ")


def test_a_scheduler_that_is_lost_again_and_again_ends_the_command(root, finished):
    connected = []

    def lost(timeout):
        raise CancelledError

    def connect():
        connected.append(
            SimpleNamespace(
                cluster=None,
                scheduler_info=lambda n_workers: {"workers": {"one": {}}},
                submit=lambda compute, item, pure: SimpleNamespace(result=lost, status="cancelled"),
            )
        )
        return connected[-1]

    workers = DaskCluster(connect, [], silent)(fake_experiment(root), finished, dict)
    with pytest.raises(RunError, match="was lost again and again: see that it runs, and run the same command again"):
        list(workers.each(_square, [1]))
    assert len(connected) == 1 + TRIES


def test_items_come_in_order_and_errors_as_they_were_raised(root, finished, connect):
    workers = DaskCluster(connect, ["fakes"], silent)(fake_experiment(root), finished, dict)
    assert isinstance(workers, DaskWorkers)
    assert list(workers.each(_square, list(range(20)))) == [(item, item * item) for item in range(20)]
    for error in (RunError("no 3"), FileNotFoundError("no file")):
        with pytest.raises(type(error), match=str(error)):
            list(workers.each(_fail, [error]))


def test_a_worker_waits_for_results_that_a_disk_shows_late(tmp_path, monkeypatch):
    monkeypatch.setattr("braindiffuser.dask_workers.LATE", 0.0)
    monkeypatch.setattr("braindiffuser.dask_workers.time.sleep", lambda seconds: None)
    site = told(folder=str(tmp_path), finished=(("prepare.stimuli", "abc"),))
    with pytest.raises(RunError, match=r"does not see prepare\.stimuli"):
        _wait_for(site)
    shown = iter([{}, {"uid": "that of an earlier result"}, {"uid": "abc"}])
    monkeypatch.setattr("braindiffuser.dask_workers.LATE", 60.0)
    monkeypatch.setattr("braindiffuser.store.results.Store.record", lambda store, step: next(shown))
    _wait_for(site)
    assert next(shown, None) is None


@pytest.mark.parametrize(
    ("name", "n", "device"), [(3, 4, "cuda:3"), ("SLURMCluster-5", 4, "cuda:1"), ("other", 4, "cuda:0"), (3, 1, "cuda")]
)
def test_workers_of_a_machine_take_its_gpus_in_turn(name, n, device, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: n)
    monkeypatch.setattr("braindiffuser.dask_workers.get_worker", lambda: SimpleNamespace(name=name))
    assert _own_device("cuda") == device
    assert _own_device("cpu") == "cpu"


def test_a_scheduler_that_stays_away_ends_the_command_with_advice(root, finished):
    def lost(timeout):
        raise CancelledError

    client = SimpleNamespace(
        cluster=None,
        scheduler_info=lambda n_workers: {"workers": {"one": {}}},
        submit=lambda compute, item, pure: SimpleNamespace(result=lost, status="cancelled"),
    )
    clients = iter([client])

    def connect():
        if (found := next(clients, None)) is None:
            raise RunError("no scheduler of workers answers at tcp://a:1: timed out")
        return found

    workers = DaskCluster(connect, [], silent)(fake_experiment(root), finished, dict)
    with pytest.raises(RunError, match="timed out; once it runs, the same command goes on from what is there"):
        list(workers.each(_square, [1]))


def test_ctrl_c_stays_ours_beside_a_queue():
    code = (
        "import signal; from braindiffuser.clusters import ClusterFile, job_script; kept = signal.getsignal(signal.SIGINT);"
        "job_script(ClusterFile(jobqueue={'slurm': {'cores': 1, 'memory': '1GiB'}}));"
        "assert signal.getsignal(signal.SIGINT) is kept"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_of_another_version_are_refused(tmp_path, monkeypatch):
    def run(function):
        raise ModuleNotFoundError("No module named 'braindiffuser.dask_workers'")

    monkeypatch.setattr("distributed.Client", lambda *given, **more: SimpleNamespace(run=run, close=lambda: None))
    file = tmp_path / "cluster.yaml"
    file.write_text("address: tcp://a:1", encoding="utf-8")
    with (
        pytest.raises(RunError, match="the workers at tcp://a:1 cannot compute for this command: No module named"),
        open_cluster(None, file, silent),
    ):
        pass


def test_the_command_starts_workers_and_says_nothing_but_where_they_are_seen(root, finished, tmp_path):
    file = tmp_path / "told.yaml"
    file.write_text(fake_experiment(root).to_yaml(), encoding="utf-8")
    words = [
        "-m",
        "braindiffuser",
        "run",
        "--config",
        file,
        "--with",
        "fakes",
        "--out",
        tmp_path / "run",
        "--workers",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "workers: started; dashboard: http://" in said
    assert not any(word in said for word in ("Traceback", "CRITICAL", "WARNING", "was lost"))
    assert results(tmp_path / "run") == results(finished)


def test_without_workers_dask_is_not_imported(finished):
    code = (
        "import sys; from braindiffuser.cli import main; from braindiffuser.run import Run;"
        f"Run.open(None, {str(finished)!r}); print([name for name in ('dask', 'distributed') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    code = "import fakes;" + code
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


# Files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "give one of address, local and jobqueue, got none"),
        ("{local: {}, address: tcp://a}", "got address, local"),
        ("{jobqueue: {lsf: {}}}", "jobqueue has lsf, expected one of slurm, pbs, sge"),
        ("{slurm: {}}", "there is no such entry"),
        ("[1", "cannot be read as YAML"),
        ("[" * 100_000, "cannot be read as YAML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(content, said, tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=said):
        ClusterFile.load(file)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RunError, match="there is no file"):
        ClusterFile.load(tmp_path / "cluster.yaml")


def test_a_scheduler_that_does_not_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("braindiffuser.clusters.REACHED", 1)
    file = tmp_path / "cluster.yaml"
    file.write_text("address: tcp://127.0.0.1:1", encoding="utf-8")
    with (
        pytest.raises(RunError, match=r"no scheduler of workers answers at tcp://127\.0\.0\.1:1"),
        open_cluster(None, file, silent),
    ):
        pass


@pytest.mark.parametrize("error", [ValueError("missing port number"), TypeError("TLS expects a context")])
def test_an_address_that_is_none_is_said(error, tmp_path, monkeypatch):
    def refuse(*given, **more):
        raise error

    monkeypatch.setattr("distributed.Client", refuse)
    file = tmp_path / "cluster.yaml"
    file.write_text("address: nonsense", encoding="utf-8")
    with (
        pytest.raises(RunError, match=rf"nonsense cannot be reached: {error}; give an address such as tcp://"),
        open_cluster(None, file, silent),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("local: {foo: 1}", "workers cannot be started: Nanny failed to start: .*'foo'"),
        ("local: {n_workers: 0}", r"local\.n_workers is 0, expected 1 or more"),
        ("local: {threads_per_worker: 0}", r"local\.threads_per_worker is 0, expected 1 or more"),
        ("jobqueue: {slurm: {queue: gpu}}", r"jobqueue\.slurm has no cores: say what each job gets"),
    ],
)
def test_a_file_that_dask_cannot_use_is_said(content, said, tmp_path, capfd):
    file = tmp_path / "cluster.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=said), open_cluster(None, file, silent):
        pass
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("submit", "said"),
    [
        (None, "sbatch is not on this machine: start this command where jobs are submitted from"),
        (
            "echo 'sbatch: error: invalid partition' >&2; exit 1",
            "the queue took no job: sbatch: error: invalid partition",
        ),
    ],
)
def test_a_queue_that_takes_no_job_is_said(submit, said, tmp_path, monkeypatch, capfd):
    queue_of(tmp_path, submit, monkeypatch)
    with pytest.raises(RunError, match=said), open_cluster(2, tmp_path / "cluster.yaml", silent):
        pass
    assert "Traceback" not in "".join(capfd.readouterr())


def test_jobs_are_submitted_and_end_with_the_command(tmp_path, monkeypatch):
    queue_of(tmp_path, "echo Submitted batch job $$; echo submitted >> log", monkeypatch)
    with open_cluster(2, tmp_path / "cluster.yaml", silent):
        assert (tmp_path / "log").read_text() == 2 * "submitted\n"
    assert (tmp_path / "log").read_text() == 2 * "submitted\n" + 2 * "cancelled\n"


def queue_of(folder, submit, monkeypatch):
    """Put commands of a queue into a folder, which becomes the working folder and that of all commands."""
    for name, does in (("sbatch", submit), ("scancel", "echo cancelled >> log")):
        if does is not None:
            (folder / name).write_text(f"#!/bin/sh\n{does}\n")
            (folder / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(folder)
    (folder / "cluster.yaml").write_text("jobqueue: {slurm: {cores: 1, memory: 1GiB}}", encoding="utf-8")


def test_ctrl_c_ends_workers_without_a_traceback(root, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom fakes import *\n\n\nclass Slow(Code):\n    def extract(self, *given):\n        time.sleep(1)\n"
        "        return super().extract(*given)\n",
        encoding="utf-8",
    )
    told = fake_experiment(root).to_yaml().replace("fakes:Code", "slow:Slow")
    (tmp_path / "slow.yaml").write_text(told, encoding="utf-8")
    words = ["run", "--config", "slow.yaml", "--with", "slow", "--out", "run", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-m", "braindiffuser", *words],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list((tmp_path / "run").glob("unfinished/extract.a*")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert not any(word in said for word in ("Traceback", "was lost", "WARNING"))


def test_workers_of_a_scheduler_that_runs_cannot_be_counted_here(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("address: tcp://127.0.0.1:1", encoding="utf-8")
    with pytest.raises(RunError, match="leave --workers and n_workers out"), open_cluster(2, file, silent):
        pass


def test_the_example_for_slurm_makes_this_script():
    script = job_script(ClusterFile.load(ROOT / "examples/clusters/slurm.yaml"))
    lines = script.splitlines()
    begin = lines.index("source ~/braindiffuser/.venv/bin/activate")
    assert lines[0] == "#!/usr/bin/env bash"
    assert set(lines[1:begin]) - {""} == {
        "#SBATCH -J dask-worker",
        "#SBATCH -p gpu",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=48G",
        "#SBATCH -t 04:00:00",
        "#SBATCH --gpus=1",
    }
    assert "distributed.cli.dask_worker" in script
    assert "--nthreads 1" in script


@pytest.mark.parametrize("example", sorted((ROOT / "examples/clusters").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_read(example):
    assert ClusterFile.load(example)
