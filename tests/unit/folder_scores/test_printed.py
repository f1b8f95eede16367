"""Laws of what is said of two folders: nothing that was left out goes unsaid."""

import io
import re

import numpy as np
from PIL import Image
from rich.console import Console

from braindiffuser.folder_scores.printed import (
    folder_notes,
    method_files,
    method_page,
    print_folder_scores,
    print_method_scores,
    squared,
)
from braindiffuser.folder_scores.scoring import open_methods, score_methods

WHOLE = {"unmatched": {"seen": [], "made": []}, "missing": {}, "remarks": []}
PARTLY = {
    "unmatched": {"seen": ["a [1].png", "b.png"], "made": []},
    "missing": {"alexnet": "it with braindiffuser checkpoints"},
    "remarks": ["Pictures of 12 pixels are small."],
}
NOTES = [
    "seen: 2 pictures without a partner are left out (a [1].png, …)",
    "alexnet is missing, so its metrics are left out: get it with braindiffuser checkpoints",
    "Pictures of 12 pixels are small.",
]


def test_everything_that_was_left_out_is_said():
    assert folder_notes(WHOLE) == []
    assert folder_notes(PARTLY) == NOTES


def test_the_table_goes_to_results_and_notes_to_the_console(monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.printed.scores_markdown", lambda scores, kind: "| a table |")
    results, stream = [], io.StringIO()
    print_folder_scores(PARTLY, results.append, Console(file=stream, width=40))
    assert [result.markup for result in results] == ["| a table |"]
    assert stream.getvalue().splitlines() == NOTES


def of_two_methods(tmp_path, size):
    """Scores of two methods of 12 pictures of noise, one of them nearly what was seen."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, (12, *size, 3), np.uint8)
    for name, share in (("seen", 1), ("ours", 0.9), ("theirs", 0.5)):
        (tmp_path / name).mkdir()
        for number, picture in enumerate(share * seen + (1 - share) * rng.integers(0, 256, seen.shape, np.uint8)):
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name / f"{number:02d}.png")
    opened = open_methods(tmp_path / "seen", [tmp_path / "ours", tmp_path / "theirs"], "pixels")
    return opened, score_methods(opened)


def test_several_methods_are_printed_written_and_shown_with_the_same_numbers(tmp_path):
    opened, scores = of_two_methods(tmp_path, (16, 24))
    results, stream = [], io.StringIO()
    print_method_scores(scores, results.append, Console(file=stream, width=40))
    printed = "".join(getattr(result, "markup", result) for result in results)
    files = method_files(scores)
    page = method_page(scores, opened)
    value = f"{scores['methods']['theirs']['metrics']['ssim']['value']:.3f}"
    for text in (printed, *files.values(), page):
        assert value in text
    said = "theirs, compared with ours on the same pictures: worse on PixCorr and SSIM."
    assert said in printed
    assert said in page
    assert "ours and theirs, scored against what was seen" in page
    assert len(re.findall(r"<img src=\"data:image/png;base64,", page)) >= 3 * 3 * 3
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("<script>") == 1  # its own, see test_page
    assert [files[kind][:8] for kind in ("csv", "markdown", "latex")] == ["Metric,o", "<!-- Mad", "% Made b"]


def test_what_is_left_out_of_several_methods_is_said_so():
    scores = {**PARTLY, "methods": {"a": {}, "b": {}}}
    assert folder_notes(scores)[0] == "seen: 2 pictures that not all methods have are left out (a [1].png, …)"
    scores["unmatched"] = {"seen": ["0003"], "made": []}
    assert folder_notes(scores)[0] == "seen: 1 picture that not all methods have is left out (0003)"


def test_pictures_are_put_into_squares_unchanged():
    pictures = np.random.default_rng(0).random((2, 3, 4, 7), dtype=np.float32)
    square = squared(pictures)
    assert square.shape == (2, 3, 7, 7)
    assert np.array_equal(square[:, :, 1:5], pictures)
    assert (square[:, :, [0, 5, 6]] == 0.5).all()
    assert squared(square) is square
