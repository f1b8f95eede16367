import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.tables import read_table, truth_values
from braindiffuser.errors import RecordingError

EXAMPLE = "stim_file\na.png"


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
def test_missing_values_are_missing_and_texts_stay_texts(tmp_path, suffix, separator):
    path = tmp_path / f"trials{suffix}"
    path.write_text(
        separator.join(["run", "stim_file"]) + f"\nrun-01{separator}n/a\nrun-02{separator}NA\n", encoding="utf-8-sig"
    )
    table = read_table(path, ["stim_file"])
    assert table["run"].tolist() == ["run-01", "run-02"]
    assert table["stim_file"].isna().tolist() == [True, False]
    assert table["stim_file"].iloc[1] == "NA"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing; expected a table with the columns stim_file, such as\nstim_file\na.png"),
        ("run\n1\n", "lacks the column stim_file; it has run, such as\nstim_file"),
        ("stim_file\n", "has no rows"),
        ("", "is damaged, cut short or no table"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_with_an_example(tmp_path, content, words):
    path = tmp_path / "trials.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecordingError, match=words):
        read_table(path, ["stim_file"], EXAMPLE)


def test_other_files_are_no_tables(tmp_path):
    with pytest.raises(RecordingError, match=r"expected a file that ends in \.csv, \.tsv, \.parquet"):
        read_table(tmp_path / "trials.xlsx")


def test_truth_values_are_those_that_people_write():
    table = pd.DataFrame({"is_catch": [1, 0, "True", "no", np.nan, "1.0", "YES"]})
    assert truth_values(table, "is_catch", "t").tolist() == [True, False, True, False, False, True, True]
    with pytest.raises(RecordingError, match=r"t: column is_catch holds 'maybe', expected 1 or 0"):
        truth_values(pd.DataFrame({"is_catch": ["maybe"]}), "is_catch", "t")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_names_that_look_like_numbers_stay_texts(tmp_path, suffix):
    separator = "\t" if suffix == ".tsv" else ","
    path = tmp_path / f"trials{suffix}"
    path.write_text("\n".join(separator.join(row) for row in [("run", "stim_file"), ("01", "0012"), ("02", "n/a")]))
    table = read_table(path)
    assert table["stim_file"].iloc[0] == "0012"
    assert table["stim_file"].isna().tolist() == [False, True]
    assert table["run"].tolist() == [1, 2]


def test_columns_are_known_whatever_their_case_and_spaces(tmp_path):
    (tmp_path / "t.csv").write_text("Stim_File, Session , Extra\n0012,1,x\n")
    table = read_table(tmp_path / "t.csv", ["stim_file", "session"])
    assert list(table) == ["stim_file", "session", "Extra"]
    assert table["stim_file"].tolist() == ["0012"]
    (tmp_path / "t.csv").write_text("session,Session\n1,2\n")
    with pytest.raises(RecordingError, match="has two columns 'session'"):
        read_table(tmp_path / "t.csv")
