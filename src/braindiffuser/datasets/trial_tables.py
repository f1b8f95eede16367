"""From a lab's table of trials to that of a recording: numbers for sessions, runs, stimuli and repeats."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from braindiffuser.datasets.recording import TRIAL_COLUMNS, ranges
from braindiffuser.datasets.splits import OUT, number_repeats
from braindiffuser.datasets.tables import STIMULUS_COLUMNS, truth_values
from braindiffuser.errors import RecordingError

EXAMPLE = """session,run,stim_file,split
1,1,scene_004.png,train
1,1,scene_017.png,test"""
KEPT = ("test_set", "groups", "shared")
"""Columns that must be the same in all trials of a stimulus, since tests and folds go by them."""
_DATE = r"^(?:[^\d.\-+]\D*)?(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:[ T]00:00(?::00(?:\.0+)?)?)?$"
"""A day as 2024-01-31, also as pandas writes it."""
MOST_DIGITS = 18
"""Digits of a whole number in a table."""
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "out": OUT}
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
        Trials in order of sessions, with `TRIAL_COLUMNS`, `beta_index` (row of a trial's beta among those of the whole table, or
        as the table gives it) and `table_row` (row of the trial among `rows`, from 0, or as they give it), whose `attrs["words"]`
        are what `words_of` finds in the columns session and run; and the stimuli that were shown, by id, with the column `name`.

    Raises:
        RecordingError: a column is missing, holds no numbers where it should, or names a stimulus that there is not.
    """
    column = stimulus_column(rows, where)
    table = rows.reset_index(drop=True)
    if "beta_index" not in table:
        table = table.assign(beta_index=np.arange(len(table)))
    if "table_row" not in table:
        table = table.assign(table_row=np.arange(len(table)))
    shown = table[column].notna().to_numpy(dtype=bool, copy=True)
    if "is_catch" in table:
        shown = shown & ~truth_values(table, "is_catch", where)
    table = table[shown]  # keeps the numbers of rows, which messages name
    if table.empty:
        raise RecordingError(f"{where}: no trial shows a stimulus (column {column}), so nothing can be decoded")
    table = table.assign(beta_index=whole_numbers(table, "beta_index", where))
    _check_subject(table, where)
    stimulus = stimulus_names(table[column])
    known = sorted(set(stimulus)) if names is None else list(names)
    number_of = dict(zip(stimulus_names(pd.Series(known, dtype=object)), range(len(known)), strict=True))
    foreign = stimulus[~stimulus.isin(list(number_of))]
    if len(foreign):
        raise RecordingError(
            f"{where}: row {table['table_row'][foreign.index[0]]}, counted from 0, shows {foreign.iloc[0]!r}, which is not among "
            f"the stimuli ({known[0]!r} …)"
        )
    twice = table[table.duplicated(["session", "beta_index"] if by_session else ["beta_index"])]
    if len(twice):
        raise RecordingError(
            f"{where}: two trials have the beta {twice['beta_index'].iloc[0]}, counted from 0: let column beta_index count "
            f"{'through a session' if by_session else 'through all sessions'}, each once"
        )
    words = {name: words_of(table[name]) for name in ("session", "run") if name in table}
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
    _check_test_sets(table, stimuli, where)
    trials = table[[*TRIAL_COLUMNS, "beta_index", "table_row"]]
    trials.attrs["words"] = words
    return trials, stimuli


def _check_test_sets(table: pd.DataFrame, stimuli: pd.DataFrame, where: object) -> None:
    """Raise RecordingError if stimuli of a further test set do not test by the column split, which would leave the set empty."""
    if "test_set" not in stimuli or (table["split"] == "").all():
        return
    apart = table[table["stimulus_id"].isin(stimuli.index[stimuli["test_set"].notna()]) & (table["split"] != "test")]
    if len(apart):
        number, split = apart["stimulus_id"].iloc[0], apart["split"].iloc[0]
        raise RecordingError(
            f"{where}: {stimuli['name'][number]!r} belongs to the test set {stimuli['test_set'][number]}, but its split is "
            f"{'empty' if split == OUT else split}: write test there, or leave its test_set empty"
        )


def further_sets_of(stimuli: pd.DataFrame) -> dict[str, Int[np.ndarray, " _"]]:
    """Return name → ids of the further test sets that the column `test_set` of a table of stimuli names."""
    if "test_set" not in stimuli:
        return {}
    groups = stimuli.dropna(subset=["test_set"]).groupby("test_set")
    return {str(name): own.index.to_numpy(dtype=np.int64) for name, own in groups}


def stimulus_names(values: pd.Series) -> pd.Series:
    """Return stimuli as texts that can be compared, whatever program wrote them.

    Numbers that pandas made fractional, since some rows of their column are empty, are whole again: 1.0 is "1". Letters with
    accents are composed (NFC), since some systems store an accent as a character of its own.

    Args:
        values: without missing ones.

    >>> stimulus_names(pd.Series([1.0, 12.0])).tolist()
    ['1', '12']
    """
    texts = values.map(lambda value: unicodedata.normalize("NFC", str(value)).strip()).astype(object)
    if len(texts) and texts.str.fullmatch(r"(?:0|[1-9]\d*)\.0").all():
        return texts.str.removesuffix(".0")
    return texts


def stimulus_column(table: pd.DataFrame, where: object, example: str = EXAMPLE) -> str:
    """Return the name of the column that says what was shown.

    Raises:
        RecordingError: there is none; shows the example.
    """
    found = next((name for name in STIMULUS_COLUMNS if name in table), None)
    if found is None:
        first, *others = STIMULUS_COLUMNS
        raise RecordingError(
            f"{where} lacks the column {first}; it has {', '.join(map(str, table.columns))}, expected what was shown under that "
            f"name, or as {', '.join(others)}, such as\n{example}"
        )
    return found


def _check_subject(table: pd.DataFrame, where: object) -> None:
    """Raise RecordingError if a table names several subjects."""
    subjects = [] if "subject" not in table else sorted(map(str, table["subject"].dropna().unique()))
    if len(subjects) > 1:
        raise RecordingError(
            f"{where} holds the subjects {', '.join(subjects[:4])}: write one table, and one array, for each"
        )


def words_of(values: pd.Series) -> list[str]:
    """Return the words that name sessions or runs, in the order in which they come first; [] unless all are words without digits.

    >>> words_of(pd.Series(["post", "pre", "Post"])), words_of(pd.Series(["ses-01", "pre"]))
    (['post', 'pre'], [])
    """
    texts = values.map(lambda value: value.strip() if isinstance(value, str) else "")
    if not texts.str.fullmatch(r"[^\d]*[^\W\d_][^\d]*").all():
        return []
    return texts.groupby(texts.str.casefold(), sort=False).first().tolist()


def _told_apart(table: pd.DataFrame, column: str, where: object) -> np.ndarray:
    """Return the numbers of sessions or runs: as `whole_numbers`, or, of `words_of`, by the order in which they come first.

    Raises:
        RecordingError: two names have one number, or some are words and some are not.
    """
    words = {word.casefold(): number for number, word in enumerate(words_of(table[column]), start=1)}
    if words:
        return table[column].map(lambda value: words[value.strip().casefold()]).to_numpy(dtype=np.int64)
    numbers = whole_numbers(table.assign(**{column: _without_dashes(table[column])}), column, where)
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


def _without_dashes(values: pd.Series) -> pd.Series:
    """Return a column in which days, such as 2024-01-31, are the numbers 20240131; other values stay."""
    days = values.astype(str).str.strip().str.extract(_DATE)
    return values.astype(object).where(days.isna().any(axis=1), days.fillna("").sum(axis=1))


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
    texts = table[column].map(lambda value: "" if pd.isna(value) else str(value).strip()).astype(str)  # of no row too
    found = texts.str.extract(r"^(?:[^\d.\-+]\D*)?(\d+)(?:\.0*)?$", expand=False)
    if found.isna().any():
        first = int(np.argmax(found.isna()))
        day = ", or a day, such as 2024-01-31, or words alone, such as pre and post"
        day = day if column in ("session", "run") else ""
        raise RecordingError(
            f"{where}: column {column} holds {texts.iloc[first]!r} in row {found.index[first]}, counted from 0; expected a "
            f"number, or a name that ends in one, such as ses-01{day}"
        )
    if (long := found.str.len() > MOST_DIGITS).any():
        first = int(np.argmax(long))
        raise RecordingError(
            f"{where}: column {column} holds {texts.iloc[first]:.30} in row {found.index[first]}, counted from 0; expected "
            f"a number of {MOST_DIGITS} digits at most"
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
        RecordingError: an index is no number, or given twice.
    """
    table = table.dropna(subset=["index", "name"])
    table = table.assign(index=whole_numbers(table, "index", where))
    table = table[table["index"] > 0]
    twice = table[table["index"].duplicated()]
    if len(twice):
        number = twice["index"].iloc[0]
        names = " and ".join(map(repr, table.loc[table["index"] == number, "name"]))
        raise RecordingError(f"{where} has two rows with the index {number} ({names}): write one for each label")
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
    own = {*TRIAL_COLUMNS, "beta_index", "table_row", "onset", "duration", "is_catch", "name", column}
    described = [name for name in table.columns if name not in own and (groups[name].nunique(dropna=False) == 1).all()]
    for name in (name for name in KEPT if name in table.columns and name not in described):
        if table[name].notna().any():
            raise RecordingError(
                f"{where}: column {name} differs between trials of one stimulus, or is empty in some: write the same in all of "
                "them, or rename the column if it says something else"
            )
    stimuli = (
        groups[described].first()
        if described
        else pd.DataFrame(index=pd.Index(np.unique(table["stimulus_id"]), name="stimulus_id"))
    )
    stimuli.insert(0, "name", [known[number] for number in stimuli.index])
    # for the message of `split.groups`, which may name one of these
    stimuli.attrs["varying"] = tuple(str(name) for name in table.columns if name not in own and name not in described)
    return stimuli
