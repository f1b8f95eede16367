"""From a lab's table of trials to that of a recording: numbers for sessions, runs, stimuli and repeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from braindiffuser.datasets.recording import TRIAL_COLUMNS, ranges
from braindiffuser.datasets.splits import OUT, number_repeats
from braindiffuser.datasets.tables import truth_values
from braindiffuser.errors import RecordingError

STIMULUS_COLUMNS = ("stim_file", "stimulus", "image", "image_name", "label")
"""Names of the column that says what was shown; the first that is there is taken."""
EXAMPLE = """session,run,stim_file,split
1,1,scene_004.png,train
1,1,scene_017.png,test"""
KEPT = ("test_set", "groups")
"""Columns that must be the same in all trials of a stimulus, since tests and folds go by them."""
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "test", "out": OUT}
"""Words that a column `split` may hold."""


def trial_table(
    rows: pd.DataFrame, subject: str, where: object, names: Sequence[str] | None = None, by_session: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Number the trials of one subject.

    Args:
        rows: one row per beta, in the order of the betas, with a column of `STIMULUS_COLUMNS`, and, if known, `session`, `run`,
            `split` or `is_test`, `is_catch` and `beta_index`; further columns whose value is the same in all trials of a
            stimulus, such as a category, describe the stimulus. Rows without a stimulus, and catch trials, are left out.
        subject: its name.
        where: file of the table, for messages.
        names: of all stimuli, in the order of their ids; None takes those of the table, in alphabetical order.
        by_session: whether `beta_index` begins anew in each session.

    Returns:
        Trials with `TRIAL_COLUMNS` and `beta_index`, in order of sessions: row of a trial's beta among those of the whole table,
        or as the table gives it; and the stimuli that were shown, by id, with the column `name`.

    Raises:
        RecordingError: a column is missing, holds no numbers where it should, or names a stimulus that there is not.
    """
    column = next((name for name in STIMULUS_COLUMNS if name in rows), None)
    if column is None:
        raise RecordingError(
            f"{where} lacks a column that says what was shown ({', '.join(STIMULUS_COLUMNS)}); it has "
            f"{', '.join(map(str, rows.columns))}; an example is\n{EXAMPLE}"
        )
    table = rows.reset_index(drop=True)
    if "beta_index" not in table:
        table = table.assign(beta_index=np.arange(len(table)))
    shown = table[column].notna().to_numpy(dtype=bool, copy=True)
    if "is_catch" in table:
        shown = shown & ~truth_values(table, "is_catch", where)
    table = table[shown].reset_index(drop=True)
    if table.empty:
        raise RecordingError(f"{where}: no trial shows a stimulus (column {column}), so nothing can be decoded")
    table = table.assign(beta_index=whole_numbers(table, "beta_index", where))
    _check_subject(table, where)
    stimulus = table[column].astype(str).str.strip()
    known = sorted(set(stimulus)) if names is None else list(names)
    number_of = {name: number for number, name in enumerate(known)}
    foreign = stimulus[~stimulus.isin(list(number_of))]
    if len(foreign):
        raise RecordingError(
            f"{where}: trial {foreign.index[0]}, counted from 0, shows {foreign.iloc[0]!r}, which is not among the stimuli "
            f"({known[0]!r} …)"
        )
    twice = table[table.duplicated(["session", "beta_index"] if by_session else ["beta_index"])]
    if len(twice):
        raise RecordingError(
            f"{where}: two trials have the beta {twice['beta_index'].iloc[0]}, counted from 0: let column beta_index count "
            f"{'through a session' if by_session else 'through all sessions'}, each once"
        )
    ids = stimulus.map(number_of).to_numpy(dtype=np.int64)
    table = table.assign(
        subject=subject,
        session=_told_apart(table, "session", where) if "session" in table else 1,
        run=_told_apart(table, "run", where) if "run" in table else 1,
        stimulus_id=ids,
        split=_split(table, where),
    )
    table = table.sort_values("session", kind="stable").reset_index(drop=True)
    table = table.assign(trial=np.arange(len(table)), repeat=number_repeats(table["stimulus_id"].to_numpy()))
    stimuli = _stimuli(table, column, known, where)
    return table[[*TRIAL_COLUMNS, "beta_index"]], stimuli


def _check_subject(table: pd.DataFrame, where: object) -> None:
    """Raise RecordingError if a table names several subjects."""
    subjects = [] if "subject" not in table else sorted(map(str, table["subject"].dropna().unique()))
    if len(subjects) > 1:
        raise RecordingError(
            f"{where} holds the subjects {', '.join(subjects[:4])}: write one table, and one array, for each"
        )


def _told_apart(table: pd.DataFrame, column: str, where: object) -> np.ndarray:
    """Return the numbers of sessions or runs, as `whole_numbers`; raise RecordingError if two names have one number."""
    numbers = whole_numbers(table, column, where)
    names = pd.Series(table[column].map(lambda value: str(value).strip().lower()))
    alike = pd.DataFrame(
        {"name": names.str.extract(r"^(.*?)\d+(?:\.0*)?$", expand=False), "number": numbers}
    ).drop_duplicates()
    twice = alike[alike["number"].duplicated(keep=False)]
    if len(twice):
        number = int(twice["number"].iloc[0])
        same = sorted(set(names[numbers == number]))
        raise RecordingError(
            f"{where}: column {column} holds {same[0]!r} and {same[1]!r}, which end in the same number: number them through"
        )
    return numbers


def choose_sessions(recorded: Iterable[int], wanted: int | Sequence[int] | None, where: object) -> list[int]:
    """Choose sessions among those that were recorded.

    Args:
        recorded: their numbers.
        wanted: None: all; n: sessions 1 to n; or a list of numbers.
        where: what holds them, for the message.

    Returns:
        Ascending numbers.

    Raises:
        RecordingError: one is not there.
    """
    there = set(recorded)
    asked = there if wanted is None else set(range(1, wanted + 1)) if isinstance(wanted, int) else set(wanted)
    if asked - there:
        raise RecordingError(
            f"{where} has the sessions {ranges(there) or 'none'}, but dataset.sessions asks for {ranges(asked - there)} too: "
            f"write `sessions: {sorted(asked & there) or 'null'}`, or add them"
        )
    return sorted(asked)


def whole_numbers(table: pd.DataFrame, column: str, where: object) -> np.ndarray:
    """Return a column of whole numbers: as they are, or the digits at the end of names such as `ses-01`.

    Raises:
        RecordingError: a value is neither.
    """
    texts = table[column].map(lambda value: "" if pd.isna(value) else str(value).strip())
    found = texts.str.extract(r"^(?:[^\d.\-+]\D*)?(\d+)(?:\.0*)?$", expand=False)
    if found.isna().any():
        row = int(np.argmax(found.isna()))
        raise RecordingError(
            f"{where}: column {column} holds {texts.iloc[row]!r} in row {row}, counted from 0; expected a number, or a name that "
            "ends in one, such as ses-01"
        )
    return found.astype(np.int64).to_numpy()


def regions_named(
    labels: Int[np.ndarray, " n_voxels"], table: pd.DataFrame, where: object
) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return the regions of a table of names; labels of the same name, as of two hemispheres, are one region.

    Args:
        labels: of the analysed voxels.
        table: with the columns `index` and `name`; labels of 0 and below are left out.
        where: file of the table, for messages.

    Raises:
        RecordingError: an index is no number.
    """
    table = table.dropna(subset=["index", "name"])
    table = table.assign(index=whole_numbers(table, "index", where))
    table = table[table["index"] > 0]
    return {str(name): np.isin(labels, own["index"].to_numpy()) for name, own in table.groupby("name", sort=False)}


def _split(table: pd.DataFrame, where: object) -> pd.Series | str:
    """Return the split of each trial; "" throughout if the table does not say."""
    tests = truth_values(table, "is_test", where) if "is_test" in table else None
    if "split" not in table:
        return "" if tests is None else pd.Series(np.where(tests, "test", "train"), table.index)
    words = table["split"].map(lambda value: "out" if pd.isna(value) else str(value).strip().lower() or "out")
    if tests is not None and ((words.map(SPLITS) == "test") != tests).any():
        raise RecordingError(f"{where}: columns split and is_test contradict each other: leave one of them out")
    unknown = sorted(set(words) - SPLITS.keys())
    if unknown:
        raise RecordingError(
            f"{where}: column split holds {unknown[0]!r}; expected train, test, or nothing where a stimulus is in neither"
        )
    return words.map(SPLITS)


def _stimuli(table: pd.DataFrame, column: str, known: Sequence[str], where: object) -> pd.DataFrame:
    """List the stimuli that were shown, with the columns that describe them."""
    groups = table.groupby("stimulus_id")
    own = {*TRIAL_COLUMNS, "beta_index", "onset", "duration", "is_catch", column}
    described = [name for name in table.columns if name not in own and (groups[name].nunique(dropna=False) == 1).all()]
    for name in (name for name in KEPT if name in table.columns and name not in described):
        if table[name].notna().any():
            raise RecordingError(
                f"{where}: column {name} differs between trials of one stimulus, or is empty in some: write the same in all of "
                "them, or give the stimuli different names"
            )
    stimuli = (
        groups[described].first()
        if described
        else pd.DataFrame(index=pd.Index(np.unique(table["stimulus_id"]), name="stimulus_id"))
    )
    stimuli.insert(0, "name", [known[number] for number in stimuli.index])
    return stimuli
