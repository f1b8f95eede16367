import pytest

from braindiffuser.errors import RunError
from braindiffuser.folder_scores.scores_file import check_scores_file


def test_scores_do_not_replace_the_file_that_the_table_is_printed_to(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.touch()
    check_scores_file(path)
    monkeypatch.setattr("os.fstat", lambda stream: path.stat())
    with pytest.raises(RunError, match=r"out\.json is the file that this command prints to: name another file"):
        check_scores_file(path)
