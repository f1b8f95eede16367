"""Ablations on a stated number of test pictures: the same for all, compared with the whole method on these alone."""

import html

import numpy as np
import pytest
from fakes import FURTHER_IDS, N_FURTHER, N_TEST, STIMULUS, fake_experiment, levels, write_recording

from braindiffuser.images import load_png
from braindiffuser.run import Run

N_ABLATED = 3
ROWS = [0, 2, 4, N_TEST, N_TEST + 2, N_TEST + 3]
"""Of 5 and of 4 test pictures, evenly spaced from the first to the last."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The run whose ablations are drawn for all test pictures, then that of three pictures of each test set."""
    folder = tmp_path_factory.mktemp("ablated")
    root = write_recording(folder / "told")
    named = {"pictures": {"ablations": "all"}, "analyses": []}
    whole = Run.open(fake_experiment(root, **named), folder / "whole")
    part = Run.open(fake_experiment(root, **named).changed({"pictures": {"n_ablated": N_ABLATED}}), folder / "part")
    for run in (whole, part):
        run.run_all()
    return whole, part


def pictures(run, kind):
    folder = run.results.folder / "reconstructions" / kind
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("kind", ["without_b", "without_rough"])
def test_only_these_are_drawn_and_they_are_as_among_all(runs, kind):
    whole, part = (pictures(run, kind) for run in runs)
    assert len(whole) == N_TEST + N_FURTHER
    assert part == {f"{row:04d}.png": whole[f"{row:04d}.png"] for row in ROWS}


@pytest.mark.parametrize("kind", ["final", "rough", "from_true_features", "rough_from_true_features"])
def test_what_the_whole_method_needs_is_drawn_for_all(runs, kind):
    whole, part = (pictures(run, kind) for run in runs)
    assert part == whole
    assert len(whole) == N_TEST + N_FURTHER


@pytest.mark.parametrize(("name", "first"), [("scores.json", 0), ("scores_further.json", N_TEST)])
def test_scores_of_ablations_and_of_the_whole_method_beside_them_are_of_these_alone(runs, name, first):
    whole, part = (run.results.read_json(name)["metrics"] for run in runs)
    rows = [row for row in ROWS if first <= row < first + N_TEST][:N_ABLATED]
    told = [
        levels(load_png([runs[0].results.picture_path("final", row)])[0])[STIMULUS] for row in rows
    ]  # what the metric "stimulus" reads
    entry = part["stimulus"]
    assert entry["ablated"]["n_images"] == N_ABLATED
    assert entry["ablated"]["value"] == pytest.approx(np.mean(told))
    assert entry["ablations"] == pytest.approx(
        dict.fromkeys(("rough_only", "without_b", "without_rough"), np.mean(told))
    )
    assert entry["value"] == whole["stimulus"]["value"]
    assert (
        first == 0 or entry["ablated"]["value"] != entry["value"]
    )  # of the first set both means are of ids around one
    for key, own in part.items():
        changed = {"ablated", "ablations", "ablations_ci95"}
        assert {k: v for k, v in own.items() if k not in changed} == {
            k: v for k, v in whole[key].items() if k not in changed
        }
        assert "ablated" not in whole[key]


def test_the_page_says_of_how_many_pictures_and_compares_like_with_like(runs):
    whole, part = (html.unescape((run.results.folder / "report" / "index.html").read_text()) for run in runs)
    said = f"are of {N_ABLATED} of the {N_TEST} test pictures, evenly spaced and scored among themselves"
    assert said in part
    assert said not in whole
    assert len(FURTHER_IDS) == N_FURTHER


def test_another_number_makes_only_ablations_and_scores_out_of_date(runs):
    whole, _ = runs
    changed = Run.open(whole.experiment.changed({"pictures": {"n_ablated": 2}}), whole.results.folder, overwrite=True)
    again = {str(step) for step in changed.steps() if changed.state(step) != "finished"}
    assert again == {"reconstruct.without_b", "reconstruct.without_rough", "evaluate", "report"}


def test_more_pictures_than_there_are_are_all(runs, tmp_path):
    from braindiffuser.stages.reconstruct import ablated_rows

    experiment = runs[1].experiment.changed({"pictures": {"n_ablated": 99}})
    assert ablated_rows(experiment, 3, 8) == [3, 4, 5, 6, 7]
