"""Features that runs share: the bytes of each run are those that it has alone, whatever the order, also after a kill."""

import numpy as np
import pytest
from fakes import fake_experiment, write_recording

from braindiffuser.errors import RunError
from braindiffuser.run import Run
from braindiffuser.store.results import Store

SPLITS = [{"kind": "folds", "n_folds": 3, "seed": 2, "fold": fold} for fold in range(3)]
ARRAYS = ("targets", "truth", "null", "predictions")


def contents(folder):
    """Name → bytes of all arrays and pictures of a run."""
    names = [*(f"arrays/{name}" for name in ARRAYS), "reconstructions"]
    paths = [path for name in names for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def fakes_recording(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("shared") / "told")


def of_fakes(root, split):
    return fake_experiment(root, split=split, pictures={"ceiling": False, "ablations": []}, analyses=[])


def drawn(own, folder, shared=None, stages=("prepare", "extract", "fit", "reconstruct"), **options):
    """Do the stages up to the pictures."""
    run = Run.open(own, folder, shared=shared, **options)
    for stage in stages:
        run.do(stage)
    return run


@pytest.fixture(scope="module")
def alone(fakes_recording, tmp_path_factory):
    """Contents of the run of each split without a pool."""
    folder = tmp_path_factory.mktemp("alone")
    return [
        contents(drawn(of_fakes(fakes_recording, split), folder / str(number)).results.folder)
        for number, split in enumerate(SPLITS)
    ]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0]])
def test_a_run_with_a_pool_has_the_bytes_of_one_without(fakes_recording, alone, tmp_path, order):
    for number in order:
        own = of_fakes(fakes_recording, SPLITS[number])
        assert contents(drawn(own, tmp_path / str(number), tmp_path / "pool").results.folder) == alone[number]


def test_the_networks_of_real_targets_compute_each_stimulus_once(experiment, tmp_path, monkeypatch):
    from braindiffuser.targets.vdvae import VDVAELatents

    asked, extract = [], VDVAELatents.extract

    def counting(target, stimuli, networks, seed):
        asked.append(stimuli.ids.tolist())
        return extract(target, stimuli, networks, seed)

    monkeypatch.setattr(VDVAELatents, "extract", counting)
    n_asked, stages = [], ("prepare", "extract")
    for number, split in enumerate(SPLITS[:2]):
        own = experiment.changed({"split": split, "targets": {"latents": {"batch_size": 8}}})
        run = drawn(own, tmp_path / f"shared-{number}", tmp_path / "pool", stages)
        n_asked.append(sum(map(len, asked)))
        asked.clear()
    assert contents(run.results.folder) == contents(drawn(own, tmp_path / "alone", None, stages).results.folder)
    n_stimuli = sum(len(run.results.read_array(f"stimuli/{side}_ids")) for side in ("train", "test"))
    assert (
        n_stimuli < n_asked[0] <= n_stimuli + 1 + 2 * 7
    )  # one tells the shape, and the last batch of each side is filled up
    assert n_asked[1] == 0


def test_a_run_that_is_stopped_while_it_fills_a_pool_ends_with_the_same_bytes(fakes_recording, alone, tmp_path):
    def stop(label, done, total):
        if label == "extracting: train b":
            raise KeyboardInterrupt

    first, second = (of_fakes(fakes_recording, split) for split in SPLITS[:2])
    with pytest.raises(KeyboardInterrupt):
        drawn(first, tmp_path / "stopped", tmp_path / "pool", progress=stop)
    assert contents(drawn(second, tmp_path / "second", tmp_path / "pool").results.folder) == alone[1]
    assert contents(drawn(first, tmp_path / "stopped", tmp_path / "pool").results.folder) == alone[0]


def test_changed_pictures_are_never_taken_from_a_pool(tmp_path):
    root = write_recording(tmp_path / "told")
    own, stages = of_fakes(root, SPLITS[0]), ("prepare", "extract")
    before = contents(drawn(own, tmp_path / "before", tmp_path / "pool", stages).results.folder)
    (root / "brightness.txt").write_text("7")
    after = contents(drawn(own, tmp_path / "after", tmp_path / "pool", stages).results.folder)
    assert after == contents(drawn(own, tmp_path / "alone", None, stages).results.folder) != before


@pytest.mark.parametrize("pool", ["pool", None])
def test_a_file_that_is_replaced_for_a_while_leaves_no_rows_behind(tmp_path, pool):
    root, stages = write_recording(tmp_path / "told"), ("prepare", "extract")
    own = of_fakes(root, SPLITS[0]).changed({"targets": {"a": {"batch_size": 4}}})
    shared = None if pool is None else tmp_path / pool
    right = contents(drawn(own, tmp_path / "alone", None, stages).results.folder)

    def replace_it(label, done, total):
        if label == "extracting: train a":
            (root / "brightness.txt").write_text("7")
        if label == "extracting: test a":
            pytest.fail("a block is kept that was read from another file")

    with pytest.raises(RunError, match="run the same command again"):
        drawn(own, tmp_path / "run", shared, stages, progress=replace_it)
    (root / "brightness.txt").write_text("100")
    for folder in ("run", "another"):
        assert contents(drawn(own, tmp_path / folder, shared, stages).results.folder) == right


def test_rows_are_others_where_the_design_says_that_numbers_are_other_pictures(tmp_path):
    root, stages = write_recording(tmp_path / "told"), ("prepare", "extract")
    own = of_fakes(root, SPLITS[0]).changed({"dataset": {"kind": "fakes:Ordered", "root": str(root)}})
    (root / "order.txt").write_text(" ".join(map(str, range(21))))
    before = contents(drawn(own, tmp_path / "before", tmp_path / "pool", stages).results.folder)
    (root / "order.txt").write_text(" ".join(map(str, reversed(range(21)))))
    after = contents(drawn(own, tmp_path / "after", tmp_path / "pool", stages).results.folder)
    assert after == contents(drawn(own, tmp_path / "alone", None, stages).results.folder) != before


def test_a_pool_changes_no_record_and_no_finished_run_needs_it(fakes_recording, tmp_path):
    own, stages = of_fakes(fakes_recording, SPLITS[0]), ("prepare", "extract")
    drawn(own, tmp_path / "run", tmp_path / "pool", stages)
    drawn(own, tmp_path / "alone", None, stages)
    records = [Store(tmp_path / name).record("extract.a") for name in ("run", "alone")]
    assert records[0]["uid"] == records[1]["uid"]
    again = Run.open(own, tmp_path / "run")
    assert all(again.state(step) == "finished" for stage in stages for step in again.steps(stage))


def test_a_folder_in_the_recording_or_of_something_else_is_no_pool(fakes_recording, tmp_path):
    own = of_fakes(fakes_recording, SPLITS[0])
    with pytest.raises(RunError, match=r"shared features, .*overlaps the recording"):
        Run.open(own, tmp_path / "run", shared=fakes_recording / "pool")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"mine holds notes\.txt but no pool\.json"):
        Run.open(own, tmp_path / "run", shared=tmp_path / "mine")
    assert not (tmp_path / "run").exists()


def test_rows_in_a_pool_are_float32_whatever_a_run_stores(fakes_recording, tmp_path):
    from safetensors.numpy import load_file

    run = drawn(of_fakes(fakes_recording, SPLITS[0]), tmp_path / "run", tmp_path / "pool", ("prepare", "extract"))
    assert {load_file(path)["rows"].dtype for path in (tmp_path / "pool").rglob("rows-*")} == {np.dtype(np.float32)}
    assert run.results.open_array("targets/a").dtype == np.float16


def test_features_of_a_dataset_that_lists_no_stimuli_are_never_shared(tmp_path):
    from braindiffuser.fold_runs import folder_to_share
    from braindiffuser.stages import extract

    told = []
    for number in range(2):
        root = write_recording(tmp_path / f"told-{number}")
        own = of_fakes(root, SPLITS[0]).changed({"dataset": {"kind": "fakes:Unlisted", "root": str(root)}})
        with pytest.raises(
            RunError, match="fakes:Unlisted lists no files of the role stimuli, so features of a cannot be"
        ):
            Run.open(own, tmp_path / "run", shared=tmp_path / "pool")
        assert folder_to_share(tmp_path / "pool", own, lambda label, done, total: told.append(label)) is None
        run = drawn(own, tmp_path / f"run-{number}", None, ("prepare",))
        run._context  # noqa: B018  made while nothing is shared
        object.__setattr__(run._context, "shared", tmp_path / "pool")
        with pytest.raises(RunError, match="lists no files of the role stimuli"):
            extract._shared_rows(run._context, "a")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "pool").exists()
    assert set(told) == {
        "fakes:Unlisted lists no files of the role stimuli, so features of a cannot be shared between runs: each run extracts "
        "its own"
    }


def test_changed_captions_in_a_table_of_trials_are_never_taken_from_a_pool(tmp_path):
    root, stages = write_recording(tmp_path / "told"), ("prepare", "extract")
    own = of_fakes(root, SPLITS[0]).changed({"dataset": {"kind": "fakes:Captioned", "root": str(root)}})
    before = contents(drawn(own, tmp_path / "before", tmp_path / "pool", stages).results.folder)
    (root / "captions.txt").write_text("\n".join(f"another caption {number}" for number in range(30)))
    after = contents(drawn(own, tmp_path / "after", tmp_path / "pool", stages).results.folder)
    assert after == contents(drawn(own, tmp_path / "alone", None, stages).results.folder) != before


@pytest.mark.parametrize("place", [".", "arrays", ".."])
def test_a_pool_that_overlaps_the_run_is_refused_before_any_work(fakes_recording, tmp_path, place):
    own = of_fakes(fakes_recording, SPLITS[0])
    with pytest.raises(RunError, match="overlaps the run"):
        Run.open(own, tmp_path / "below" / "run", shared=tmp_path / "below" / "run" / place)
    assert not (tmp_path / "below").exists()


def test_a_pool_that_is_no_pool_any_more_stops_no_run_that_has_its_features(fakes_recording, tmp_path):
    own, stages = of_fakes(fakes_recording, SPLITS[0]), ("prepare", "extract")
    drawn(own, tmp_path / "run", tmp_path / "pool", stages)
    (tmp_path / "pool" / "notes.txt").write_text("mine")
    (tmp_path / "pool" / "pool.json").unlink()
    drawn(own, tmp_path / "run", tmp_path / "pool", ("fit",))
    with pytest.raises(RunError, match="away, or choose an empty folder"):
        drawn(own, tmp_path / "other", tmp_path / "pool", stages)
