"""Every cell of the score table and every picture is traced to its source, by parts that can be told apart."""

import base64
import io
import json
import re
import shutil

import fakes
import numpy as np
import pandas as pd
import pytest
from fakes import (
    GROUP_A,
    GROUP_B,
    N_FURTHER,
    N_TEST,
    N_TRAIN,
    NULL,
    PICTURE_ID,
    SEED,
    SOURCE,
    SOURCES,
    START_SOURCE,
    START_STIMULUS,
    START_VARIANT,
    STIMULUS,
    TEST_IDS,
    VARIANT,
    VARIANTS,
    N,
    fake_experiment,
    levels,
    write_recording,
)
from PIL import Image
from scipy.stats import spearmanr

from braindiffuser.analyses.analysis import Outcome
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.regression.fitted_decoder import load_decoder
from braindiffuser.report.sections import Gallery, Section, Table, Text
from braindiffuser.run import Run
from braindiffuser.stages.reconstruct import inputs_of, picture_kinds
from braindiffuser.stages.report import _provenance
from braindiffuser.step_results import StepResults
from braindiffuser.store.results import Results, Store

KINDS = {
    "rough": ("rough", "predictions", None),
    "rough_from_true_features": ("rough", "truth", None),
    "final": ("full", "predictions", "predictions"),
    "from_true_features": ("full", "truth", "truth"),
    "without_b": ("without_b", "predictions", "predictions"),
    "without_rough": ("without_rough", "predictions", None),
}
"""Kind → variant that draws it, whose features, and whose features the picture that it starts from was drawn from."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    run = Run.open(fake_experiment(root), tmp_path_factory.mktemp("runs") / "traced")
    run.run_all()
    return run


def value(run, condition, metric, file="scores.json"):
    entry = run.results.read_json(file)["metrics"][metric]
    if condition in ("value", "ceiling"):
        return entry[condition]
    return (entry["baselines"] | entry["ablations"])[condition]


def test_every_kind_of_picture_is_drawn(run):
    assert list(picture_kinds(run.experiment)) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_says_what_it_was_made_from(kind, run):
    variant, source, start = KINDS[kind]
    for number, picture in enumerate(run.results.read_pictures(kind, N)):
        found = levels(picture)
        assert found[VARIANT] == VARIANTS[variant]
        assert found[SOURCE] == SOURCES[source]
        in_set = number if number < N_TEST else number - N_TEST
        decoded = in_set + (100 if number < N_TEST else 150)
        assert found[STIMULUS] == (decoded if source == "predictions" else TEST_IDS[number])
        assert found[START_STIMULUS] == (0 if start is None else found[STIMULUS])
        assert found[PICTURE_ID] == TEST_IDS[number]
        groups = run.experiment.generator.groups_of(variant)
        assert (found[GROUP_A], found[GROUP_B]) == (1, 2 if "b" in groups else 0)
        assert found[START_SOURCE] == (0 if start is None else SOURCES[start])
        assert found[START_VARIANT] == (0 if start is None else VARIANTS["rough"])
        assert found[NULL] == 9 * len(groups)  # 9 of each group that the variant looks at
        assert found[SEED] == 7


def test_pictures_seen_are_the_stimuli_in_test_order(run):
    seen = run.results.read_pictures("seen", N)
    assert [levels(picture)[0] - 1 for picture in seen] == TEST_IDS
    assert not seen[:, 1].any()


@pytest.mark.parametrize(
    ("condition", "variant", "source"),
    [
        ("value", "full", "predictions"),
        ("ceiling", "full", "truth"),
        ("shuffled_responses", "full", "predictions"),
        ("rough_only", "rough", "predictions"),
        ("without_b", "without_b", "predictions"),
        ("without_rough", "without_rough", "predictions"),
    ],
)
@pytest.mark.parametrize("file", ["scores.json", "scores_further.json"])
def test_every_cell_scores_the_pictures_that_it_names(condition, variant, source, file, run):
    assert value(run, condition, "variant", file) == VARIANTS[variant]
    assert value(run, condition, "source", file) == SOURCES[source]
    assert value(run, condition, "trains", file) == 0


@pytest.mark.parametrize("metric", ["own", "own_by_features"])
@pytest.mark.parametrize("file", ["scores.json", "scores_further.json"])
def test_every_picture_is_compared_with_its_own_stimulus_and_shuffled_ones_with_others(metric, file, run):
    for condition in ("value", "ceiling", "rough_only", "without_b", "without_rough"):
        assert value(run, condition, metric, file) == 1, condition
    for condition in ("shuffled_responses", "mean_image", "random_train_image"):
        assert value(run, condition, metric, file) == 0, condition


def test_the_mean_picture_is_the_mean_of_all_training_pictures(run):
    reds = [number + 1 for number in range(N_TRAIN)]
    assert value(run, "mean_image", "stimulus") == pytest.approx(np.mean(reds), abs=0.51)


@pytest.mark.parametrize("file", ["scores.json", "scores_further.json"])
@pytest.mark.parametrize("baseline", ["mean_image", "random_train_image"])
def test_training_pictures_are_from_the_training_set(baseline, file, run):
    assert value(run, baseline, "trains", file) == 255
    assert 1 <= value(run, baseline, "stimulus", file) <= N_TRAIN


def test_each_test_set_is_scored_among_itself(run):
    table = run.results.read_table("per_image.csv")
    assert list(table["set"]) == ["test"] * N_TEST + ["further"] * N_FURTHER
    assert list(table["stimulus_id"]) == TEST_IDS
    trials = run.results.read_table("trials.csv")
    shown = list(dict.fromkeys(trials.loc[trials["split"] == "test", "stimulus_id"]))
    assert [shown[number] for number in table["authors_number"]] == TEST_IDS
    assert list(table["stimulus"]) == [*range(100, 100 + N_TEST), *range(150, 150 + N_FURTHER)]
    for file, name in (("scores.json", "test"), ("scores_further.json", "further")):
        own = table[table["set"] == name]
        assert run.results.read_json(file)["n_images"] == len(own)
        for metric in ("stimulus", "pixcorr"):
            assert value(run, "value", metric, file) == pytest.approx(own[metric].mean())
        shuffled = value(run, "shuffled_responses", "stimulus", file)
        assert shuffled == pytest.approx(own["stimulus"].mean())  # the same pictures, each at another's place


def test_predictions_of_a_test_set_are_made_and_placed_apart(run):
    for group in ("a", "b"):
        rows = run.results.read_array(f"predictions/{group}")
        assert list(rows[:, 2]) == [*range(100, 100 + N_TEST), *range(150, 150 + N_FURTHER)]


def test_features_come_from_their_own_stimuli_and_captions(run):
    for group, last in (("a", lambda number: 100), ("b", lambda number: len(f"caption {number}"))):
        for split, name in (("train", "targets"), ("test", "truth")):
            ids = run.results.read_array(f"stimuli/{split}_ids")
            rows = run.results.read_array(f"{name}/{group}")
            assert rows.dtype == (run.experiment.targets[group].stored_as if name == "targets" else np.float32)
            assert [tuple(row) for row in rows] == [(fakes.GROUPS[group], 1, number, last(number)) for number in ids]


def test_responses_are_of_the_stimuli_beside_them(run, root):
    """The nearest noiseless tuning, of which the betas were made, is that of the stimulus shown."""
    expected = np.load(root / "tuning.npy")[:, 1:]  # the first voxel is masked
    expected = (expected - expected[:N_TRAIN].mean(0)) / expected[:N_TRAIN].std(0, ddof=1)
    for split in ("train", "test"):
        ids, responses = run.results.read_array(f"stimuli/{split}_ids"), run.results.read_array(f"responses/{split}")
        distances = np.linalg.norm(responses[:, None] - expected[None], axis=2)
        assert list(distances.argmin(axis=1)) == list(ids)
        repeats = run.results.read_array(f"responses/n_repeats_{split}")
        assert list(repeats) == [fakes.repeats_of(number) for number in ids]


def test_noise_ceilings_are_of_their_voxels_and_of_the_test_repeats(run):
    """The signal-to-noise ratio falls from voxel to voxel as the noise was made to grow; NC = 100 r² / (r² + mean(1/n))."""
    ncsnr = run.results.read_array("ncsnr")
    assert spearmanr(ncsnr, fakes.noise_of(8)[1:]).statistic < -0.9
    expected = 100 * ncsnr**2 / (ncsnr**2 + np.mean([1 / fakes.repeats_of(number) for number in TEST_IDS]))
    facts = run.results.read_json("analyses/names.json")
    np.testing.assert_allclose(facts["noise_ceiling"], expected, rtol=1e-6)
    rois = run.results.read_json("noise_ceiling.json")["rois"]
    assert rois["V1"]["median"] == pytest.approx(np.median(expected[:3]), rel=1e-6)
    assert rois["V2"]["median"] == pytest.approx(np.median(expected[3:]), rel=1e-6)


def test_an_analysis_is_handed_what_its_names_say(run):
    facts = run.results.read_json("analyses/names.json")
    assert facts["test_sets"] == run.results.read_json("test_sets.json")
    for split in ("train", "test"):
        assert facts["stimulus_ids"][split] == run.results.read_array(f"stimuli/{split}_ids").tolist()
        assert facts["responses"][split] == run.results.read_array(f"responses/{split}").tolist()
    for group in ("a", "b"):
        assert facts["predictions"][group] == run.results.read_array(f"predictions/{group}").tolist()
        assert facts["truth"][group] == run.results.read_array(f"truth/{group}").tolist()


def test_pictures_of_an_analysis_are_drawn_from_what_it_asked_for(run):
    """There are more than the generator draws at a time."""
    assert run.experiment.generator.batch_size < 4
    for number, picture in enumerate(run.results.read_pictures("names_regions", 4)):
        found = levels(picture)
        assert (found[VARIANT], found[START_VARIANT]) == (VARIANTS["full"], VARIANTS["rough"])
        assert found[STIMULUS] == found[START_STIMULUS] == TEST_IDS[number]
        assert (found[PICTURE_ID], found[SEED], found[NULL]) == (40 + number, 7, 18)


def test_responses_to_test_stimuli_reach_neither_voxels_nor_decoders(root, tmp_path):
    ridge = {"kind": "ridge", "default_alphas": [1.0, 100.0], "n_folds": 3}
    changes = {"regression": ridge, "responses": {"min_noise_ceiling": 97.0}}
    shutil.copytree(root, tmp_path / "recording")
    design = pd.read_csv(root / "design.csv")
    for path in (tmp_path / "recording" / "sessions").iterdir():
        betas, own = np.load(path), design[design["session"] == int(path.stem)]
        rng = np.random.default_rng([3, int(path.stem)])
        betas[own["split"] == "test"] = rng.normal(size=betas[own["split"] == "test"].shape)
        np.save(path, betas)
    made = []
    for recording in (root, tmp_path / "recording"):
        run = Run.open(fake_experiment(recording, **changes), tmp_path / f"run{len(made)}")
        for stage in ("prepare", "extract", "fit"):
            run.do(stage)
        names = ("voxels.json", "decoders/a.safetensors", "decoders/b.safetensors")
        files = {name: run.results.path(name).read_bytes() for name in names}
        made.append((files, run.results.read_array("responses/train"), run.results.read_array("responses/test")))
    assert 0 < json.loads(made[0][0]["voxels.json"])["n_chosen"] < 7
    assert made[0][0] == made[1][0]
    np.testing.assert_array_equal(made[0][1], made[1][1])
    assert not np.allclose(made[0][2], made[1][2])


def test_a_decoder_is_refused_where_other_voxels_were_chosen(run):
    header = {"group": "a", "fingerprint": run.results.read_json("voxels.json")["fingerprint"]}
    path = run.results.path("decoders/a.safetensors")
    assert load_decoder(path, header).facts == {"group": "a"}
    with pytest.raises(RunError, match="was fitted with fingerprint"):
        load_decoder(path, header | {"fingerprint": "other"})


def shown_in(page, name):
    """Pictures (height, width, 3) of one section of a page, in the order of their places."""
    section = re.search(rf'<section aria-labelledby="{name}"[^>]*>.*?</section>', page, re.DOTALL).group()
    uris = re.findall(r'<img src="data:image/png;base64,([^"]+)"', section)
    images = [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]
    return [np.asarray(image) for image in images if image.size == (fakes.SIDE, fakes.SIDE)]


def test_the_page_shows_the_pictures_that_it_names(run):
    page = run.report().html
    section = next(section for section in run_sections(run) if section.name == "gallery")
    gallery = next(block for block in section.blocks if isinstance(block, Gallery))
    assert list(gallery.kinds) == ["seen", "rough", "final", "from_true_features"]
    places = [(kind, row.number) for rows in gallery.rows.values() for row in rows for kind in gallery.kinds]
    expected = [np.asarray(Image.open(run.results.picture_path(kind, number))) for kind, number in places]
    np.testing.assert_array_equal(shown_in(page, "gallery"), expected)
    regions = [np.asarray(Image.open(run.results.picture_path("names_regions", number))) for number in range(4)]
    np.testing.assert_array_equal(shown_in(page, "analysis-names"), regions)
    assert "found 4 of subj01" in page
    for word in ("Rough only", "Without b", "Without rough", "Test set further", "Names", "What was run"):
        assert word in page


def run_sections(run):
    return [
        Section.model_validate_json(path.read_text(encoding="utf-8"))
        for path in sorted((run.results.folder / "sections").iterdir())
    ]


@pytest.mark.parametrize(
    ("pictures", "kinds"),
    [
        ({"ceiling": False, "ablations": []}, ["rough", "final"]),
        ({"ceiling": True, "ablations": []}, ["rough", "rough_from_true_features", "final", "from_true_features"]),
        ({"ceiling": False, "ablations": ["without_b"]}, ["rough", "final", "without_b"]),
    ],
)
def test_which_pictures_are_drawn_is_a_choice(pictures, kinds, root, tmp_path):
    run = Run.open(fake_experiment(root, pictures=pictures), tmp_path)
    run.run_all()
    assert list(picture_kinds(run.experiment)) == kinds
    drawn = {path.name for path in (tmp_path / "reconstructions").iterdir()}
    assert drawn == {*kinds, "seen", "names_regions"}
    entry = run.results.read_json("scores.json")["metrics"]["variant"]
    assert set(entry["ablations"]) == set(pictures["ablations"])
    assert (entry["ceiling"] is None) == (not pictures["ceiling"])


def test_transductive_calibration_looks_at_one_test_set_at_a_time(root, tmp_path):
    """Predictions of one test set have the training targets' mean and spread by themselves, whatever the other set holds."""
    ridge = {"kind": "ridge", "alphas": {"a": [1.0], "b": [1.0]}, "calibration": "transductive"}
    run = Run.open(fake_experiment(root, regression=ridge), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    targets, predictions = run.results.read_array("targets/a")[:, 2], run.results.read_array("predictions/a")[:, 2]
    for start, stop in run.results.read_json("test_sets.json").values():
        assert predictions[start:stop].mean() == pytest.approx(targets.mean(dtype=np.float64), abs=1e-3)
        assert predictions[start:stop].std() == pytest.approx(targets.std(dtype=np.float64), rel=1e-3)


def test_a_metric_brings_its_own_network(root, tmp_path):
    loaded, load = [], fakes.OwnByFeatures.load_network
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes.OwnByFeatures, "load_network", lambda *call: loaded.append(call[1]) or load(*call))
        metrics = {"again": {"kind": "fakes:OwnByFeatures", "label": "Again"}}
        run = Run.open(fake_experiment(root, evaluation={"metrics": metrics}), tmp_path)
        run.run_all()
    assert loaded == ["cpu"]
    table = run.results.read_table("per_image.csv")
    assert table["again"].equals(table["own_by_features"])


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ("per_image", 'curious asks for scores, which its class must declare: "evaluate" among its `needs`'),
        ("predictions", 'curious asks for predictions, which its class must declare: "fit" among its `needs`'),
        ("decoders", 'curious asks for decoders, which its class must declare: "fit" among its `needs`'),
        ("draw", "curious asks for pictures, which its class must declare: `draws = True`"),
        ("final", "curious leaves pictures final: give them a name that begins with curious_"),
    ],
)
def test_an_analysis_gets_only_what_it_declares(asks, words, root, tmp_path):
    run = Run.open(fake_experiment(root, analyses=[{"kind": "fakes:Curious", "asks": asks}]), tmp_path)
    for stage in ("prepare", "extract"):
        run.do(stage)
    with pytest.raises(RunError, match=words):
        run.do("analyse")


def test_sections_of_analyses_have_names_of_their_own(root, tmp_path):
    curious = {"kind": "fakes:Curious", "name": "scores", "asks": "responses"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes.Curious, "run", lambda *_: Outcome(Section(name="scores", title="Mine", blocks=())))
        run = Run.open(fake_experiment(root, analyses=[curious]), tmp_path)
        run.run_all()
    page = run.report().html
    assert page.count('<h2 id="scores">') == page.count('<h2 id="analysis-scores">') == 1


@pytest.fixture(scope="module")
def read_by(root, tmp_path_factory):
    """The names of files that each step read while it was made; steps of `fit` are made together."""
    read, now = {}, []

    def remember(results, name):
        now.append(name)
        return existing(results, name)

    def attribute(results, step, draft):
        read[str(step)] = set(now)
        now.clear()
        publish(results, step, draft)

    existing, publish = Results._existing, StepResults.publish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "_existing", remember)
        patch.setattr(StepResults, "publish", attribute)
        run = Run.open(fake_experiment(root), tmp_path_factory.mktemp("runs") / "spied")
        run.run_all()
    read["fit.b"] |= read["fit.a"]
    read["fit.a"] |= read["fit.b"]
    return run, read


def test_a_step_reads_only_what_it_declares(read_by):
    run, read = read_by
    made_by = {name: step for step, record in run._finished().items() for name in record["files"]}
    for step in run.steps():
        together = run.steps("fit") if step.stage == "fit" else (step,)
        declared = {str(need) for each in together for need in run.states.needs_of(each)}
        assert {made_by[name] for name in read[str(step)] - {"recording.json"}} <= declared, step
    assert all(read[f"{stage}.a"] for stage in ("extract", "fit"))


def test_truth_of_test_stimuli_reaches_no_reconstruction(read_by):
    _, read = read_by
    for kind, (_, source, _) in KINDS.items():
        assert any("/truth/" in name for name in read[f"reconstruct.{kind}"]) == (source == "truth"), kind
    for step in ("fit.a", "fit.b", "prepare.responses"):
        assert not any("/truth/" in name for name in read[step])


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_all_that_a_generator_is_given(kind, read_by):
    run, read = read_by
    kept = {name.rpartition("/")[0] for name in read[f"reconstruct.{kind}"]}
    assert kept == set(inputs_of(run.experiment, kind).values())


def test_the_page_names_them_with_their_hashes_and_says_what_the_test_does_not_cover(run):
    (found,) = _provenance(run._context)
    table, folded, truth = (block for block in found.blocks if isinstance(block, Table))
    sources = [row.cells[0].value for row in table.rows]
    assert [source for source in sources if source.startswith("arrays/predictions")] == [
        "arrays/predictions/a",
        "arrays/predictions/a",
        "arrays/predictions/b",
    ]
    assert all(row.cells[1].value != "–" and len(row.cells[2].value) == 16 for row in table.rows)
    assert not any("truth" in row.cells[0].value for row in [*table.rows, *folded.rows])
    assert [row.label for row in truth.rows] == ["arrays/truth/a", "arrays/truth/b"]
    said = " ".join(block.text for block in found.blocks if isinstance(block, Text))
    assert "are not among them" in said
    assert "generator (fakes:Tracer)" in said


def test_regions_that_an_analysis_names_are_looked_up_even_if_it_does_not_ask_for_them(run, tmp_path):
    assert not run.experiment.regression.linear
    copy = shutil.copytree(run.results.folder, tmp_path / "copy")
    opened = Run.open(run.experiment.with_analysis("voxel_weights", {"regions": ["V9"]}), copy, note_when_done=True)
    with pytest.raises(RecordingError, match=r"there is no region 'V9'.* analyses\.voxel_weights\.regions names"):
        opened.do("analyse")
    assert not Store(copy).record("analyse.voxel_weights")
