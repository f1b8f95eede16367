"""A run's decoders are shared as they are: what was decoded is decoded again, and what is stated is what is measured."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.datasets.responses import average_responses
from braindiffuser.errors import RunError
from braindiffuser.export.run_export import export_run
from braindiffuser.regression.reduced_fit import reduce_decoder
from braindiffuser.run import Run
from braindiffuser.run_folder import stored_experiment
from braindiffuser.sharing import SharedDecoder, share_run
from braindiffuser.stages.fit import training_rows
from braindiffuser.store.results import Results

from ..export.conftest import prepare, write_lab

GROUPS = ["latents", "vision"]


@pytest.fixture(scope="module")
def shared(decoded, tmp_path_factory):
    """Folder of the run's decoders of full rank."""
    folder = tmp_path_factory.mktemp("shared") / "whole"
    share_run(decoded, folder, lost=0.0, precision="float32")
    return folder


@pytest.fixture(scope="module")
def exported(decoded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "out"
    export_run(decoded, folder)
    return folder


def test_of_full_rank_it_decodes_what_the_run_decoded(decoded, shared):
    results, decoder = Results(decoded), SharedDecoder.load(shared)
    made = decoder.decode(results.read_array("responses/test"))
    assert list(made) == GROUPS == list(stored_experiment(decoded).targets)
    for group, values in made.items():
        expected = results.read_array(f"predictions/{group}")
        assert values.shape == expected.shape
        assert np.square(values - expected).sum() < 1e-8 * np.square(expected - expected.mean(axis=0)).sum()


def test_what_is_stated_of_test_sets_is_what_is_measured(decoded, tmp_path):
    results = Results(decoded)
    with pytest.raises(RunError, match=f"{decoded}: name a new folder for the decoder, outside it"):
        share_run(decoded, decoded / "out")
    decoder, _ = share_run(decoded, tmp_path / "out", lost=0.2)
    with pytest.raises(RunError, match="holds another decoder or card: name a new folder for the decoder"):
        share_run(decoded, tmp_path / "out", lost=0.1)
    made = decoder.decode(results.read_array("responses/test"))
    for group, own in decoder.facts.groups.items():
        whole = results.read_array(f"predictions/{group}")
        std = results.read_array(f"targets/{group}").std(axis=0, dtype=np.float64)
        unit = np.where(std > 0, std, np.inf)
        expected = np.square((made[group] - whole) / unit).sum() / np.square((whole - whole.mean(axis=0)) / unit).sum()
        assert own.lost_of_targets.median <= own.lost_of_targets.ninth_decile
        assert 0 < own.lost <= 0.201
        assert own.rank < results.read_array("responses/train").shape[0] - 1
        np.testing.assert_allclose(own.test_sets["test"].difference, expected, rtol=1e-3)
        assert own.test_sets["test"].n_images == 5


def two_way(decoded, truth, mean):
    """Independent: share of others with which features, less the training mean, correlate less than with their own truth."""
    made, seen = (
        (values.reshape(len(values), -1) - mean.reshape(1, -1)).astype(np.float64) for values in (decoded, truth)
    )
    r = np.corrcoef(made, seen)[: len(made), len(made) :]
    return np.mean(
        [np.mean(r[i, i] > np.delete(r[i], i)) + 0.5 * np.mean(r[i, i] == np.delete(r[i], i)) for i in range(len(r))]
    )


def test_what_is_stated_of_a_decoder_of_one_direction_is_what_is_measured(decoded, tmp_path):
    results = Results(decoded)
    decoder, _ = share_run(decoded, tmp_path / "one", lost=0.2, max_rank=1)
    features = decoder.decode(results.read_array("responses/test"))
    rows = training_rows(stored_experiment(decoded), results)
    differ = False
    for group, own in decoder.facts.groups.items():
        made = reduce_decoder(rows, results.read_array(f"targets/{group}"), own.alpha, lost=0.2, max_rank=1)
        np.testing.assert_allclose(own.lost_of_targets.median, np.median(made.lost_of_targets), rtol=1e-6)
        np.testing.assert_allclose(own.lost_of_targets.ninth_decile, np.quantile(made.lost_of_targets, 0.9), rtol=1e-6)
        assert own.limited
        mean, truth = (
            results.read_array(f"targets/{group}").mean(axis=0, dtype=np.float64),
            results.read_array(f"truth/{group}"),
        )
        found = own.test_sets["test"]
        whole, shared = (
            two_way(each, truth, mean) for each in (results.read_array(f"predictions/{group}"), features[group])
        )
        np.testing.assert_allclose((found.whole.value, found.shared.value), (whole, shared), atol=1e-6)
        differ |= abs(whole - shared) > 0.05
    assert differ, "whole and shared scores can be told apart"
    card = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert f"Each voxel has {len(GROUPS) + 4} numbers here" in card
    enough, _ = share_run(decoded, tmp_path / "enough", lost=0.9, max_rank=1)
    assert not any(own.limited for own in enough.facts.groups.values() if own.lost < 0.9)
    assert any(own.lost < 0.9 for own in enough.facts.groups.values())


def test_test_responses_choose_nothing(decoded, tmp_path):
    """With other test responses and features the arrays are the same, bit for bit."""
    from braindiffuser.export.finished_run import FinishedRun
    from braindiffuser.progress import silent
    from braindiffuser.sharing import making

    finished = FinishedRun.open(decoded, silent)
    first, said = making._reduced(finished, "vision", 0.1, 500, np.dtype(np.float16), silent)

    class Others(Results):
        def read_array(self, name):
            values = super().read_array(name)
            return values[::-1].copy() if name == "responses/test" else values

    changed = FinishedRun(**{**vars(finished), "results": Others(decoded)})
    second, other = making._reduced(changed, "vision", 0.1, 500, np.dtype(np.float16), silent)
    for name, values in vars(first).items():
        np.testing.assert_array_equal(values, getattr(second, name))
    assert said.test_sets != other.test_sets


def test_facts_are_those_of_the_run(decoded, shared):
    facts, results = SharedDecoder.load(shared).facts, Results(decoded)
    assert facts.origin.subject == "sub-07"
    assert (facts.origin.recording, facts.origin.simulated, facts.origin.terms) == ("arrays", False, None)
    assert facts.voxels.fingerprint == results.read_json("voxels.json")["fingerprint"]
    assert facts.voxels.n == results.read_array("responses/test").shape[1]
    assert facts.responses.n_stimuli == 11
    assert facts.responses.mean_repeats == 3
    assert facts.generator["kind"] == "brain_diffuser_vision"
    assert facts.scores == {}


def test_no_training_response_stands_in_the_file(decoded, shared):
    """No row of them is found in an array; what can be computed from it with the pictures is another question (the card)."""
    results = Results(decoded)
    responses = results.read_array("responses/train")
    arrays = SharedDecoder.load(shared)._arrays()
    for values in arrays.values():
        for row in responses:
            for side in (values, values.T):
                if side.ndim == 2 and side.shape[1] == len(row):
                    correlations = [abs(np.corrcoef(each, row)[0, 1]) for each in side if each.std() > 0]
                    assert max(correlations, default=0) < 0.99
    assert len(arrays) == 4 + 6 * len(GROUPS) + 1


def test_as_many_numbers_as_training_stimuli_are_warned_of(decoded, tmp_path):
    _, remarks = share_run(decoded, tmp_path / "much", lost=0.0)
    assert any("training responses can be computed from it" in remark for remark in remarks)
    assert "which are no more" in (tmp_path / "much" / "README.md").read_text(encoding="utf-8")
    _, remarks = share_run(decoded, tmp_path / "little", lost=0.0, max_rank=2)
    assert not any("training responses can be computed from it" in remark for remark in remarks)
    assert "the limit on rank was reached" in (tmp_path / "little" / "README.md").read_text(encoding="utf-8")
    assert "too few to determine them" in (tmp_path / "little" / "README.md").read_text(encoding="utf-8")


def test_what_cannot_be_shared_is_refused_before_anything_is_written(decoded, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(decoded, folder)
    with pytest.raises(RunError, match="overlaps the run"):
        share_run(folder, folder / "shared")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(RunError, match="holds mine: name a new folder"):
        share_run(folder, tmp_path / "out")
    experiment = stored_experiment(folder).changed({"regression": {"calibration": "transductive"}})
    run = Run.open(experiment, folder, overwrite=True)
    with pytest.raises(RunError, match=r"is out of date|has no decoders"):
        share_run(folder, tmp_path / "other")
    run.do("fit")
    with pytest.raises(RunError, match=r"calibration transductive .* set regression\.calibration to inductive"):
        share_run(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


# Commands


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, " ".join(done.output.split())


def test_a_run_is_shared_exported_responses_are_decoded(decoded, exported, tmp_path):
    status, said = call("share", decoded, tmp_path / "shared", "--lost", "0.1", "--licence", "cc-by-4.0")
    assert status == 0, said
    assert "vision: rank" in said
    assert "license: cc-by-4.0" in (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    responses = exported / "responses" / "test.npz"
    for name, more in (("whole", ()), ("one", ("--trial-by-trial",))):
        status, said = call("decode", tmp_path / "shared", responses, "--out", tmp_path / f"{name}.npz", *more)
        assert status == 0, said
        assert ("ms a trial" in said) == bool(more)
    with (
        np.load(tmp_path / "whole.npz") as whole,
        np.load(tmp_path / "one.npz") as one,
        np.load(responses) as given,
        np.load(exported / "features" / "vision_test.npz") as features,
    ):
        assert sorted(whole.files) == sorted([*GROUPS, "stimulus_id", "stimulus_name", "test_set"])
        for name in ("stimulus_id", "stimulus_name", "test_set"):
            np.testing.assert_array_equal(whole[name], given[name])
        for group in GROUPS:
            np.testing.assert_allclose(one[group], whole[group], atol=1e-4)
        truth = features["decoded"]
        assert np.square(whole["vision"] - truth).sum() < 0.5 * np.square(truth - truth.mean(axis=0)).sum()
    status, said = call("decode", tmp_path / "shared", responses, "--out", tmp_path / "whole.npz")
    assert (status, "exists: name a new file" in said) == (1, True)


@pytest.mark.parametrize("normalisation", ["training", "none", "session"])
def test_betas_are_normalised_as_the_training_responses_were(normalisation, tmp_path):
    lab = write_lab(tmp_path / "lab")
    run = prepare(lab, tmp_path / "run", responses={"normalisation": normalisation}, regression={"n_folds": 2})
    for stage in ("extract", "fit"):
        run.do(stage)
    decoder, _ = share_run(tmp_path / "run", tmp_path / "out", lost=0.0, precision="float32")
    recording = run.recording()
    expected = average_responses(recording, normalisation)
    betas = np.load(lab.root / "responses.npy")
    shown = recording.trials["stimulus_id"].to_numpy()
    if normalisation == "session":
        own = betas[recording.trials["session"].to_numpy() == 2]
        z = (own - own.mean(axis=0)) / own.std(axis=0, ddof=1)
        made = decoder.responses_of(own)
        np.testing.assert_allclose(made, (z - expected.mean_) / expected.std_, rtol=1e-3, atol=1e-4)
        with pytest.raises(RunError, match=r"z-scored by the trials of their session .* and 1 rows are too few"):
            decoder.decode(own[:1], betas=True)
        return
    averages = np.stack([betas[shown == number].mean(axis=0) for number in expected.test_ids])
    made = decoder.decode(averages, betas=True)
    assert decoder.decode(averages[:1], betas=True)["vision"].shape[0] == 1
    for group, own in decoder.decode(expected.test).items():
        np.testing.assert_allclose(made[group], own, atol=1e-3 * np.abs(own).max())
    np.save(tmp_path / "betas.npy", averages)
    status, said = call("decode", tmp_path / "out", tmp_path / "betas.npy", "--out", tmp_path / "made.npz", "--betas")
    assert status == 0, said
    with np.load(tmp_path / "made.npz") as file:
        np.testing.assert_allclose(file["vision"], made["vision"], rtol=1e-5)


def test_one_by_one_each_row_is_decoded_that_is_decoded_beside_the_others(shared, exported, tmp_path):
    """A row alone would be refused that is larger than all rows together may be; beside them it is not."""
    decoder = SharedDecoder.load(shared)
    with np.load(exported / "responses" / "test.npz") as file:
        arrays = dict(file)
    alone = arrays["responses"][:1] * 4.0
    with pytest.raises(RunError, match="times as large"):
        decoder.decode(alone)
    arrays["responses"] = np.concatenate([alone, arrays["responses"][1:]])
    np.savez(tmp_path / "larger.npz", **arrays)
    status, said = call("decode", shared, tmp_path / "larger.npz", "--out", tmp_path / "out.npz", "--trial-by-trial")
    assert (status, "ms a trial" in said) == (0, True), said
    with np.load(tmp_path / "out.npz") as made:
        np.testing.assert_allclose(made["vision"][:1], decoder.decode(alone, any_size=True)["vision"], rtol=1e-5)


def test_files_of_other_voxels_and_other_files_are_refused(shared, exported, tmp_path):
    out = tmp_path / "out.npz"
    with np.load(exported / "responses" / "test.npz") as file:
        arrays = dict(file)
    assert arrays["voxel_fingerprint"].tolist() == [SharedDecoder.load(shared).facts.voxels.fingerprint]
    np.savez(tmp_path / "other.npz", **{**arrays, "voxel_fingerprint": np.array(["0" * 16])})
    np.save(tmp_path / "few.npy", arrays["responses"][:, :-1])
    np.save(tmp_path / "raw.npy", 300 * arrays["responses"])
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    np.savez(tmp_path / "objects.npz", responses=np.array([{}, []], dtype=object))
    np.savez(tmp_path / "named.npz", betas=arrays["responses"])
    np.savez(tmp_path / "ids.npz", **{**arrays, "stimulus_id": np.arange(3)})
    (tmp_path / "text.npz").write_text("no archive")
    for name, expected in (
        ("other.npz", "fingerprint 0000"),
        ("few.npy", "and the decoder needs"),
        ("raw.npy", "times as large as the training responses"),
        ("objects.npy", "Python objects"),
        ("objects.npz", "Python objects"),
        ("named.npz", "holds no array called responses, but betas"),
        ("ids.npz", "stimulus_id of"),
        ("text.npz", "is no array of responses"),
        ("missing.npy", "there is no file"),
    ):
        status, said = call("decode", shared, tmp_path / name, "--out", out)
        assert status == 1, name
        assert expected in said, name
        assert not out.exists()
    np.save(tmp_path / "plain.npy", arrays["responses"])
    assert call("decode", shared, tmp_path / "plain.npy", "--out", out)[0] == 0
    assert call("decode", shared, tmp_path / "raw.npy", "--out", tmp_path / "b.npz", "--any-size")[0] == 0


def test_pictures_are_those_that_the_run_draws(decoded, shared, exported, tmp_path):
    """Features of full rank, the run's generator, seed and ids: the same pictures, but for rounding."""
    from braindiffuser.images import load_png

    folder = tmp_path / "run"
    shutil.copytree(decoded, folder)
    Run.open(None, folder).do("reconstruct")
    responses = exported / "responses" / "test.npz"
    status, said = call("decode", shared, responses, "--out", tmp_path / "a.npz", "--pictures", tmp_path / "pictures")
    assert status == 0, said
    assert "holds 5 pictures" in said
    for kind in ("low_level", "final"):
        made, expected = (
            load_png([place / kind / f"{number:04d}.png" for number in range(5)])
            for place in (tmp_path / "pictures", folder / "reconstructions")
        )
        assert np.abs(made - expected).mean() < 2e-3
    status, said = call("decode", shared, responses, "--out", tmp_path / "b.npz", "--pictures", tmp_path / "pictures")
    assert (status, "name a new folder for the pictures" in said, (tmp_path / "b.npz").exists()) == (1, True, False)
    for place in (tmp_path / "p.npz", tmp_path, tmp_path / "p.npz" / "drawn"):
        status, said = call("decode", shared, responses, "--out", tmp_path / "p.npz", "--pictures", place)
        assert (status, "overlap: name another folder" in said, (tmp_path / "p.npz").exists()) == (1, True, False)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    status, said = call("decode", shared, responses, "--out", tmp_path / "p.npz", "--pictures", tmp_path / "link")
    assert (status, "is there already" in said, (tmp_path / "p.npz").exists()) == (1, True, False)
    other = tmp_path / "a.npz"
    np.savez(other, vision=np.zeros(3))
    status, said = call("decode", shared, responses, "--out", other, "--pictures", tmp_path / "more")
    assert (status, "exists: name a new file" in said, (tmp_path / "more").exists()) == (1, True, False)


def test_of_pictures_that_were_stopped_nothing_is_left_and_the_same_command_goes_on(
    shared, exported, tmp_path, monkeypatch
):
    from braindiffuser.sharing import drawing

    def stop(*others, **more):
        yield slice(0, 1), np.zeros((1, 3, 8, 8), np.float32)
        raise KeyboardInterrupt

    command = ("decode", shared, exported / "responses" / "test.npz", "--out", tmp_path / "a.npz")
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "draw_variant", stop)
        status, said = call(*command, "--pictures", tmp_path / "made" / "pictures")
    assert status == 130
    assert "features that were written stay; the same command begins the rest again" in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "made"]
    status, said = call(*command, "--pictures", tmp_path / "made" / "pictures")
    assert status == 0, said
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"pictures"}


def test_a_generator_that_cannot_be_used_is_said(shared):
    from braindiffuser.sharing.drawing import generator_of

    facts = SharedDecoder.load(shared).facts
    for change, expected in (
        (None, "names no generator"),
        ({"kind": "nobodys.module:Class"}, "cannot be used"),
        ({**facts.generator, "unet": "/elsewhere/unet"}, "needs the folder /elsewhere/unet"),
        ({**facts.generator, "unet": "../unet"}, r"needs the folder \.\./unet"),
        ({**facts.generator, "unet": "demo/none"}, "needs the checkpoint demo/none"),
        ({**facts.generator, "more": 1}, "cannot be used"),
    ):
        with pytest.raises(RunError, match=expected):
            generator_of(facts.model_copy(update={"generator": change}))
    without = {name: own for name, own in facts.groups.items() if name != "vision"}
    with pytest.raises(RunError, match="needs features of vision"):
        generator_of(facts.model_copy(update={"groups": without}))


@pytest.mark.usefixtures("types_unchecked")
def test_scores_of_pictures_are_told_where_they_are(tmp_path):
    from braindiffuser.sharing.making import _scores

    class Fake:
        class results:  # noqa: N801
            folder = tmp_path

            @staticmethod
            def read_json(name):
                return json.loads((tmp_path / name).read_text())

        def has(self, step):
            return str(step) == "evaluate"

    score = {"label": "SSIM", "higher_is_better": True, "value": 0.3, "ci95": [0.2, 0.4]}
    (tmp_path / "test_sets.json").write_text('{"test": [0, 5], "other": [5, 6]}')
    (tmp_path / "scores.json").write_text(json.dumps({"profile": "demo", "n_images": 5, "metrics": {"ssim": score}}))
    found = _scores(Fake())
    assert list(found) == ["test"]
    assert found["test"].metrics["ssim"].score.ci95 == (0.2, 0.4)
