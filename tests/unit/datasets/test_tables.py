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


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_separators_are_known_by_the_header(tmp_path, suffix, separator):
    path = tmp_path / f"trials{suffix}"
    path.write_text(f"session{separator}stim_file\n1{separator}a b.png\n2{separator}c.png\n")
    table = read_table(path, ["session", "stim_file"])
    assert table["session"].tolist() == [1, 2]
    assert table["stim_file"].tolist() == ["a b.png", "c.png"]


def test_a_header_with_commas_is_one_of_commas(tmp_path):
    (tmp_path / "trials.csv").write_text("stim_file,a;b\nx.png,1;2\n")
    assert read_table(tmp_path / "trials.csv")["a;b"].tolist() == ["1;2"]


def test_a_pointer_of_git_lfs_is_no_table(tmp_path):
    (tmp_path / "trials.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n")
    with pytest.raises(RecordingError, match=r"trials.csv is a pointer of git-lfs, .*: run `git lfs pull`"):
        read_table(tmp_path / "trials.csv")


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


ROWS = ["stim_file,session,caption", 'a.png,1,"red, on green"', "b.png,2,blue", "", "c.png,3,"]


def write(path, rows, separator=","):
    path.write_text("\n".join(rows).replace(",", separator) if separator == "\t" else "\n".join(rows))
    return path


def test_commas_in_quotes_blank_lines_and_empty_cells_are_no_faults(tmp_path):
    table = read_table(write(tmp_path / "t.csv", [*ROWS, "d.png,4,green,,"]))
    assert table["caption"].tolist()[:2] == ["red, on green", "blue"]
    assert table["session"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            ["b.png,2,blue, on green"],
            r"row 2, counted from 0 \(line 5\), has 4 cells .* but the header has 3: put texts",
        ),
        (["b.png,2,x,x"] * 9, r"row 2, .* has 4 cells"),
        (["b.png,2"], r"row 2, .* has 2 cells \('b.png', '2'\), but the header has 3: write n/a"),
        (["b.png,2,x", "b.png"], r"row 3, .* has 1 cells"),
    ],
)
def test_rows_of_another_length_than_the_header_are_refused_by_number(tmp_path, suffix, rows, words):
    plain = [ROWS[0], "a.png,1,red", ROWS[2], "", *rows]
    with pytest.raises(RecordingError, match=words):
        read_table(write(tmp_path / f"t{suffix}", plain, "\t" if suffix == ".tsv" else ","))


def test_every_row_that_lacks_a_name_for_its_first_column_is_refused(tmp_path):
    pd.DataFrame({"stim_file": ["a", "b"], "caption": ["x", "y"]}, index=["r", "s"]).to_csv(tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace(",stim_file", "stim_file", 1))  # as R writes row names
    with pytest.raises(RecordingError, match=r"row 0, .* has 3 cells"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_another_encoding_is_named_with_its_remedy(tmp_path, encoding, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(
        "session\tstim_file\n1\tBücher.png\n".replace("\t", "," if suffix == ".csv" else "\t").encode(encoding)
    )
    with pytest.raises(RecordingError, match=rf"t\{suffix} .*: save it as UTF-8$"):
        read_table(path)


@pytest.mark.parametrize("name", ["nan", "NaN", "NA", "None", "null", "NULL", "#N/A"])
@pytest.mark.parametrize("column", ["stim_file", "stimulus", "image_name"])
def test_a_stimulus_may_be_called_what_others_write_for_nothing(tmp_path, name, column):
    table = read_table(write(tmp_path / "t.csv", [f"session,{column},caption", f"1,{name},nan", "2,n/a,x", "3,,x"]))
    assert table[column].tolist()[0] == name
    assert table[column].isna().tolist() == [False, True, True]
    assert table["caption"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("second", ["split", " Split ", '"split"'])
def test_a_column_that_is_given_twice_is_refused(tmp_path, suffix, separator, second):
    """pandas would name the second one split.1, and the first would decide which stimuli test."""
    path = tmp_path / f"trials{suffix}"
    rows = [("stim_file", "split", second), ("a.png", "train", "test"), ("b.png", "test", "train")]
    path.write_text("\n".join(map(separator.join, rows)))
    with pytest.raises(RecordingError, match=r"trials\.[ct]sv has two columns 'split': rename one"):
        read_table(path)


def test_columns_without_a_name_and_those_that_end_in_a_number_are_read(tmp_path):
    """As pandas writes an index; nobody looks for either."""
    (tmp_path / "t.csv").write_text(",stim_file,,score,score.1\n0,a.png,x,1,2\n")
    table = read_table(tmp_path / "t.csv", ["stim_file"])
    assert (table["score"].tolist(), table["score.1"].tolist()) == ([1], [2])
