"""Every cell of the score table and every picture is traced to its source, by parts that can be told apart."""

import base64
import io
import re

import fakes
import numpy as np
import pytest
from fakes import (
    GROUP_A,
    GROUP_B,
    N_FURTHER,
    N_TEST,
    N_TRAIN,
    NULL,
    SEED,
    SOURCE,
    SOURCES,
    START_SOURCE,
    START_VARIANT,
    STIMULUS,
    VARIANT,
    VARIANTS,
    fake_experiment,
    levels,
    write_recording,
)
from PIL import Image

from braindiffuser.analyses import Outcome
from braindiffuser.errors import RunError
from braindiffuser.report.sections import Gallery, Section
from braindiffuser.run import Run
from braindiffuser.stages.reconstruct import picture_kinds
from braindiffuser.store import Results

N = N_TEST + N_FURTHER
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
        assert found[STIMULUS] == (decoded if source == "predictions" else N_TRAIN + number)
        groups = run.experiment.generator.groups_of(variant)
        assert (found[GROUP_A], found[GROUP_B]) == (1, 2 if "b" in groups else 0)
        assert found[START_SOURCE] == (0 if start is None else SOURCES[start])
        assert found[START_VARIANT] == (0 if start is None else VARIANTS["rough"])
        assert found[NULL] == 9 * len(groups)  # 9 of each group that the variant looks at
        assert found[SEED] == 7


def test_pictures_seen_are_the_stimuli_in_test_order(run):
    seen = run.results.read_pictures("seen", N)
    assert [levels(picture)[0] - 1 for picture in seen] == list(range(N_TRAIN, N_TRAIN + N))
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


@pytest.mark.parametrize("file", ["scores.json", "scores_further.json"])
@pytest.mark.parametrize("baseline", ["mean_image", "random_train_image"])
def test_training_pictures_are_from_the_training_set(baseline, file, run):
    assert value(run, baseline, "trains", file) == 255
    assert 1 <= value(run, baseline, "stimulus", file) <= N_TRAIN


def test_each_test_set_is_scored_among_itself(run):
    table = run.results.read_table("per_image.csv")
    assert list(table["set"]) == ["test"] * N_TEST + ["further"] * N_FURTHER
    assert list(table["stimulus_id"]) == list(range(N_TRAIN, N_TRAIN + N))
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
            assert [tuple(row) for row in rows] == [(fakes.GROUPS[group], 1, number, last(number)) for number in ids]


def test_responses_are_of_the_stimuli_beside_them(run, root):
    """The nearest noiseless tuning, of which the betas were made, is that of the stimulus shown."""
    expected = np.load(root / "tuning.npy")[:, 1:]  # the first voxel is masked
    expected = (expected - expected[:N_TRAIN].mean(0)) / expected[:N_TRAIN].std(0, ddof=1)
    for split in ("train", "test"):
        ids, responses = run.results.read_array(f"stimuli/{split}_ids"), run.results.read_array(f"responses/{split}")
        distances = np.linalg.norm(responses[:, None] - expected[None], axis=2)
        assert list(distances.argmin(axis=1)) == list(ids)


def shown_in(page, name):
    """Pictures (height, width, 3) of one section of a page, in the order of their places."""
    section = re.search(rf'<section aria-labelledby="{name}">.*?</section>', page, re.DOTALL).group()
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
    regions = [np.asarray(Image.open(run.results.picture_path("names_regions", number))) for number in range(2)]
    np.testing.assert_array_equal(shown_in(page, "analysis-names"), regions)
    assert "found 2 of subj01" in page
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
    metrics = {"own": {"kind": "fakes:Brightness"}, "again": {"kind": "fakes:Brightness", "label": "Again"}}
    run = Run.open(fake_experiment(root, evaluation={"metrics": metrics}), tmp_path)
    run.run_all()
    seen, made = (run.results.read_pictures(kind, N)[:, 0].mean(axis=(1, 2)) for kind in ("seen", "final"))
    table = run.results.read_table("per_image.csv")
    np.testing.assert_allclose(table["own"], np.abs(seen - made), atol=1e-6)
    assert table["again"].equals(table["own"])


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ("per_image", 'curious asks for scores, which its class must declare: "evaluate" among its `needs`'),
        ("predictions", 'curious asks for predictions, which its class must declare: "fit" among its `needs`'),
        ("project", 'curious asks for projections, which its class must declare: "fit" among its `needs`'),
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

    def attribute(run, step, draft):
        read[str(step)] = set(now)
        now.clear()
        publish(run, step, draft)

    existing, publish = Results._existing, Run._publish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "_existing", remember)
        patch.setattr(Run, "_publish", attribute)
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
