import pytest

from braindiffuser.errors import RunError
from braindiffuser.folder_scores.scores_file import MARKS, SEALS, check_scores_file, sealed


def test_scores_do_not_replace_the_file_that_the_table_is_printed_to(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.touch()
    check_scores_file(path)
    monkeypatch.setattr("os.fstat", lambda stream: path.stat())
    with pytest.raises(RunError, match=r"out\.json is the file that this command prints to: name another file"):
        check_scores_file(path)


def without_seal(text):
    """The same as an earlier version wrote it."""
    return text[: text.rstrip("\n").rfind("\n") + 1]


@pytest.mark.parametrize("option", SEALS)
@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize(
    "change",
    [lambda text: f"{text}mine\n", lambda text: text.replace("0.5", "0.6"), lambda text: text[:-9], without_seal],
)
def test_what_somebody_wrote_into_a_file_is_not_overwritten(option, ending, change, tmp_path):
    path = tmp_path / "scores.txt"
    text = sealed("\n".join([*(mark.decode() for mark in MARKS[option]), "PixCorr – 0.5", "", f"last{ending}"]), option)
    for line_end in ("\n", "\r\n"):
        path.write_bytes(text.replace("\n", line_end).encode())
        check_scores_file(path, option)
    path.write_bytes(change(text).encode())
    with pytest.raises(
        RunError, match="was not written by this option, was changed since, or is of an earlier version"
    ):
        check_scores_file(path, option)
