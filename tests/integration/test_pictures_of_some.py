"""Pictures of one branch of the true features, and of random responses, on a stated number of test pictures."""

from dataclasses import replace

import fakes
import numpy as np
import pandas as pd
import pytest
from fakes import (
    N_FURTHER,
    N_TEST,
    SEED,
    SOURCE,
    SOURCES,
    STIMULUS,
    TEST_IDS,
    VARIANT,
    VARIANTS,
    fake_experiment,
    levels,
    write_recording,
)

from braindiffuser.datasets.recording import Recording
from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.metrics.baselines import random_responses
from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows
from braindiffuser.run import Run
from braindiffuser.stages.evaluation.near_targets import nearest_group
from braindiffuser.stages.reconstruct import STREAM, picture_kinds, sample_seed

ROWS = [0, 2, 4, N_TEST, N_TEST + 2, N_TEST + 3]
"""Of 5 and of 4 test pictures, three evenly spaced ones."""
SOME = {"n_recovered": 3, "n_random_responses": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


@pytest.fixture(scope="module")
def decoded():
    """Every set of responses that was decoded."""
    return []


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory, decoded):
    """The run without such pictures, then the run with three of each test set."""
    folder, decode = tmp_path_factory.mktemp("some"), fakes.Oracle.decode

    def remember(self, fitted, rows, targets, responses, *rest):
        decoded.append((tuple(fitted), dict(responses)))
        return decode(self, fitted, rows, targets, responses, *rest)

    plain = fake_experiment(root, analyses=[])
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes.Oracle, "decode", remember)
        for name, experiment in {"plain": plain, "some": plain.changed({"pictures": SOME})}.items():
            made.append(Run.open(experiment, folder / name))
            made[-1].run_all()
    return made


def pictures(run, kind):
    return {path.name: path.read_bytes() for path in (run.results.folder / "reconstructions" / kind).glob("*.png")}


def test_nothing_else_changes(runs):
    plain, some = runs
    for path in (plain.results.folder / "reconstructions").iterdir():
        assert pictures(plain, path.name) == pictures(some, path.name)
    ours, theirs = (run.results.read_json("scores.json") for run in runs)
    assert ours.keys() ^ theirs.keys() == {"recovery", "random_responses"}
    assert {name: theirs[name] for name in ours} == ours


def test_a_branch_alone_is_drawn_from_truth_and_compared_with_the_ceiling_of_the_same_pictures(runs):
    compared = runs[1].results.read_json("scores.json")["recovery"]
    assert compared["n_images"] == 3
    for key, expected in {"variant": VARIANTS["rough"], "source": SOURCES["truth"], "own": 1}.items():
        assert compared["metrics"][key]["values"]["a"] == expected
    assert compared["metrics"]["variant"]["values"]["all"] == VARIANTS["full"]
    ids = np.array(TEST_IDS)[ROWS[:3]]
    assert compared["metrics"]["stimulus"]["values"] == pytest.approx(dict.fromkeys(("all", "a"), ids.mean()))


def test_random_responses_are_decoded_set_by_set_and_drawn(runs, decoded):
    run = runs[1]
    train, ids = run.results.read_array("responses/train"), run.results.read_array("stimuli/test_ids")
    expected = random_responses(train, [np.random.default_rng([7, int(number), STREAM]) for number in ids[ROWS]])
    found = [responses for groups, responses in decoded if all(len(own) == 3 for own in responses.values())]
    assert len(found) == 2  # once for each step of the generator
    for responses in found:
        np.testing.assert_array_equal(np.concatenate([responses["test"], responses["further"]]), expected)
    kind = pictures(run, "from_random_responses")
    assert sorted(kind) == [f"{row:04d}.png" for row in ROWS]
    for place, row in enumerate(ROWS):
        said = levels(load_png([run.results.picture_path("from_random_responses", row)])[0])
        assert (said[VARIANT], said[SOURCE]) == (VARIANTS["full"], SOURCES["predictions"])
        assert said[STIMULUS] == (100 + place if row < N_TEST else 150 + place - 3)
    compared = run.results.read_json("scores_further.json")["random_responses"]
    assert compared["n_images"] == 3 <= N_FURTHER
    assert set(compared["metrics"]["own"]["values"]) == {"reconstruction", "random_responses"}
    assert compared["metrics"]["own"]["values"]["reconstruction"] == 1


def test_the_page_shows_both(runs):
    plain, some = (run.report().html for run in runs)
    for anchor in ('id="recovery"', 'id="random-responses"'):
        assert anchor in some
        assert anchor not in plain


def test_without_the_ceiling_it_is_drawn_for_these_pictures_alone(runs, root, tmp_path):
    changes = {"pictures": {"ceiling": False, "ablations": [], **SOME}, "analyses": []}
    run = Run.open(fake_experiment(root).changed(changes), tmp_path)
    run.run_all()
    assert sorted(pictures(run, "from_true_features")) == [f"{row:04d}.png" for row in ROWS]
    assert run.results.read_json("scores.json")["recovery"] == runs[1].results.read_json("scores.json")["recovery"]
    assert run.results.read_json("scores.json")["metrics"]["own"]["ceiling"] is None


def test_another_number_makes_only_these_and_scores_out_of_date(runs):
    changed = runs[1].experiment.changed({"pictures": {"n_recovered": 2}})
    run = Run.open(changed, runs[1].results.folder, overwrite=True)
    again = {str(step) for step in run.steps() if run.state(step) != "finished"}
    assert again == {"evaluate", "report"}  # the ceiling and the rough picture of true features are there for all


def test_nearest_training_pictures_are_of_the_group_of_pictures(runs):
    run = runs[0]
    assert nearest_group(run.experiment) == "a"  # b is made of captions
    targets, own = run.results.read_array("targets/a"), run.results.read_array("predictions/a")[:N_TEST]
    places = nearest_rows(own, targets, mean_row(targets)).place
    reds = run.results.read_array("stimuli/train_ids")[places] + 1
    entry = run.results.read_json("scores.json")["metrics"]["stimulus"]
    assert entry["baselines"]["nearest_training_picture"] == pytest.approx(reds.mean())
    assert "category_only" not in entry["baselines"]  # nothing is known of these stimuli


def test_who_knows_the_category_alone_shows_a_training_picture_of_it(root, tmp_path, monkeypatch):
    opened = fakes.Told.open
    kinds = pd.Series([f"kind {number % 3}" for number in range(fakes.N_TRAIN + fakes.N)])

    def described(self, made) -> Recording:
        recording = opened(self, made)
        return replace(recording, stimuli=pd.DataFrame({"name": kinds.index.astype(str), "sort": kinds}))

    monkeypatch.setattr(fakes.Told, "open", described)
    changes = {"evaluation": {"category": "sort"}, "analyses": [], "pictures": {"ceiling": False, "ablations": []}}
    run = Run.open(fake_experiment(root).changed(changes), tmp_path)
    shown = []

    def compare(self, seen, made):
        shown.append([levels(one)[0] - 1 for one in made])
        return np.zeros(len(made))

    monkeypatch.setattr(fakes.Own, "compare", compare)
    run.run_all()
    scores = run.results.read_json("scores.json")
    assert scores["chosen_by"]["category_only"] == {
        "column": "sort",
        "n_categories": 3,
        "n_without_training_picture": 0,
    }
    categories = [[number % 3 for number in made] for made in shown if max(made) < fakes.N_TRAIN]
    assert [number % 3 for number in TEST_IDS[:N_TEST]] in categories
    assert "True category" in run.report().html


@pytest.fixture(scope="module")
def sampled(runs, root, tmp_path_factory):
    """A run with three samples of each picture."""
    experiment = fake_experiment(root, analyses=[]).changed({"pictures": {"n_samples": 3}})
    run = Run.open(experiment, tmp_path_factory.mktemp("sampled"))
    run.run_all()
    return run


def test_the_first_sample_is_the_reconstruction_and_others_have_noise_of_their_own(runs, sampled):
    for kind in ("rough", "final"):
        assert pictures(sampled, kind) == pictures(runs[0], kind)
    seeds = [7, sample_seed(7, 1), sample_seed(7, 2)]
    assert len(set(seeds)) == 3
    assert max(seeds) < 2**63
    for sample in (1, 2):
        kind = f"final_sample_{sample}"
        assert picture_kinds(sampled.experiment)[kind].start == f"rough_sample_{sample}"
        for number, picture in enumerate(sampled.results.read_pictures(kind, fakes.N)):
            said = levels(picture)
            assert said[SEED] == seeds[sample] % 256
            assert (said[VARIANT], said[SOURCE]) == (VARIANTS["full"], SOURCES["predictions"])
            assert said[STIMULUS] == (100 + number if number < N_TEST else 150 + number - N_TEST)


def test_scores_of_the_run_are_of_the_first_sample_and_those_of_all_stand_beside_them(runs, sampled):
    plain, found = (run.results.read_json("scores.json") for run in (runs[0], sampled))
    samples = found.pop("samples")
    assert found == plain
    assert samples["n_samples"] == 3
    own = samples["metrics"]["own"]
    assert (own["mean"], own["best_of"], own["by_sample"]) == (1, 1, [1, 1, 1])
    assert own["generator_share"]["share"] is None  # no score differs
    assert samples["metrics"]["stimulus"]["generator_share"]["share"] == 0  # only pictures differ
    flags = sampled.results.read_table("flags.csv")
    assert list(flags["number"]) == list(range(fakes.N))
    assert {"agreement", "disagrees", "sample_agreement", "spreads"} <= set(flags)
    assert samples["agreement"]["flagged"] == flags.loc[flags["spreads"] & (flags["set"] == "test"), "number"].tolist()
    assert 'id="samples"' in sampled.report().html
    assert 'id="samples"' not in runs[0].report().html


def test_pictures_are_held_against_the_features_that_they_were_drawn_from(runs, monkeypatch):
    run = runs[0]
    found = run.results.read_json("scores.json")["agreement"]
    assert found["features"] == "a"
    table = run.results.read_table("flags.csv")
    assert found["value"] == pytest.approx(table.loc[table["set"] == "test", "agreement"].mean())
    assert found["flagged"] == table.loc[table["disagrees"] & (table["set"] == "test"), "number"].tolist()
    assert "sample_agreement" not in table
    assert 'id="agreement"' in run.report().html


def test_samples_of_some_pictures_are_drawn_and_scored_for_these(runs, sampled):
    changed = sampled.experiment.changed({"pictures": {"n_sampled": 3}})
    run = Run.open(changed, sampled.results.folder, overwrite=True)
    again = {str(step) for step in run.steps() if run.state(step) != "finished"}
    assert again == {
        *(f"reconstruct.{kind}_sample_{n}" for kind in ("rough", "final") for n in (1, 2)),
        "evaluate",
        "report",
    }
    before = pictures(sampled, "final_sample_1")
    run.run_all()
    assert pictures(run, "final_sample_1") == {f"{row:04d}.png": before[f"{row:04d}.png"] for row in ROWS}
    assert run.results.read_json("scores.json")["samples"]["n_images"] == 3
    flags = run.results.read_table("flags.csv")
    assert list(flags.index[flags["sample_agreement"].notna()]) == ROWS
    assert not flags["spreads"][flags["sample_agreement"].isna()].any()


def test_all_is_all_of_them_whatever_the_file_begins_from(root):
    from braindiffuser.stages.reconstruct import entry_of_rows, rows_of_some

    everything = {"n_recovered": "all", "n_random_responses": "all", "n_samples": 2, "n_sampled": "all"}
    experiment = fake_experiment(root).changed({"pictures": everything})
    assert {entry_of_rows(experiment, kind) for kind in picture_kinds(experiment)} == {None}
    assert rows_of_some("all", 3, 8) == [3, 4, 5, 6, 7]
    with pytest.raises(RunError, match="is 1, and one picture cannot be scored among others"):
        fake_experiment(root).changed({"pictures": {"n_recovered": 1}})


def test_the_sheet_tells_of_each_picture_its_flags_and_whose_features_the_decoded_ones_resemble(sampled):
    from braindiffuser.report.sections import ContactSheet, Section

    results = sampled.results
    files = sorted(results.folder.glob("sections/evaluate.*.json"))
    sections = [Section.model_validate_json(path.read_text(encoding="utf-8")) for path in files]
    sheets = [block for section in sections for block in section.blocks if isinstance(block, ContactSheet)]
    flags = results.read_table("flags.csv").set_index("number")
    mean = results.read_array("targets/a").mean(axis=0).ravel()
    decoded, true = (results.read_array(f"{name}/a").reshape(fakes.N, -1) - mean for name in ("predictions", "truth"))
    numbers = []
    for sheet, (start, stop) in zip(sheets, results.read_json("test_sets.json").values(), strict=True):
        r = np.corrcoef(decoded[start:stop], true[start:stop])[: stop - start, stop - start :]
        for strip in sheet.strips:
            numbers.append(strip.number)
            said = " ".join(strip.flags)
            assert ("does not show what was decoded" in said) == flags.loc[strip.number, "disagrees"]
            assert ("samples of it differ" in said) == flags.loc[strip.number, "spreads"]
            own = [r[strip.number - start, number - start] for number in strip.neighbours]
            np.testing.assert_allclose(own, np.sort(r[strip.number - start])[::-1][:5], atol=1e-5)
    assert numbers == list(range(fakes.N))
    assert flags["disagrees"].any() or flags["spreads"].any()
