"""Laws of what is said of two folders: nothing that was left out goes unsaid."""

import io

from rich.console import Console

from braindiffuser.folder_scores import folder_notes, print_folder_scores

WHOLE = {"unmatched": {"seen": [], "made": []}, "missing": {}, "remarks": []}
PARTLY = {
    "unmatched": {"seen": ["a [1].png", "b.png"], "made": []},
    "missing": {"alexnet": "it with braindiffuser checkpoints"},
    "remarks": ["Pictures of 12 pixels are small."],
}
NOTES = [
    "seen: 2 without a partner left out, first a [1].png",
    "alexnet is missing, so its metrics are left out: get it with braindiffuser checkpoints",
    "Pictures of 12 pixels are small.",
]


def test_everything_that_was_left_out_is_said():
    assert folder_notes(WHOLE) == []
    assert folder_notes(PARTLY) == NOTES


def test_the_table_goes_to_results_and_notes_to_the_console(monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.scores_markdown", lambda scores, kind: "| a table |")
    results, stream = [], io.StringIO()
    print_folder_scores(PARTLY, results.append, Console(file=stream, width=40))
    assert [result.markup for result in results] == ["| a table |"]
    assert stream.getvalue().splitlines() == NOTES
