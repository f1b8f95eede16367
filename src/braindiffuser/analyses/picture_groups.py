"""Scores by groups of pictures: a column of the table of stimuli, such as their source, kind or category.

A generator's training pictures may resemble one group more than another, so that its prior flatters that group's scores. Groups
also differ in difficulty. The interaction of group and variant tells the two apart as far as that can be told: what makes a group
easy helps the whole method and the variant without the generator alike, and cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.datasets.dataset import File
from braindiffuser.errors import RunError, command_line

if TYPE_CHECKING:
    import pandas as pd


class PictureGroups(Analysis):
    """Score groups of test pictures apart, and compare what two variants differ by from group to group."""

    needs: ClassVar[tuple[str, ...]] = ("reconstruct",)
    scores: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("design", "stimuli")

    column: str = Field(
        min_length=1,
        description="Column of the table of stimuli whose values are the groups, such as category or source.",
    )
    table: File | None = Field(
        None,
        description="CSV or TSV file with that column and one named stimulus_id (from 0) or name; null: what the recording says.",
    )
    reference: str | None = Field(
        None, description="Group that the others are compared with; null: the one with most test pictures."
    )
    kinds: Annotated[tuple[str, str], EACH_ONCE] = Field(
        ("final", "low_level"),
        description="Kinds of pictures whose difference is compared between groups, such as final and low_level.",
    )
    n_permutations: int = Field(
        2000,
        ge=19,
        description="Exchanges of group labels behind each p value, which is 1 / (1 + n) at least: k groups besides the "
        "reference need 20 k − 1.",
    )

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries; of the table its content."""
        own = super().influences(device)
        return own if self.table is None else {**own, "table": _digest(self.table, self.label)}

    def run(self, data: RunData) -> Outcome:
        """Score both variants, and compare their groups."""
        from braindiffuser.metrics.groups import FEWEST, group_means, interactions
        from braindiffuser.report.group_section import group_section

        if self.table is not None and not self.table.is_file():
            raise RunError(f"{self.label}.table is {_missing(self.table, self.label)}")
        rows = data.test_sets["test"]
        values, remarks = self._values(data)
        values = values[rows]
        for sentence in remarks:
            data.progress(sentence, 1, 1)
        groups = _groups(values, FEWEST)
        if not groups:
            raise RunError(
                f"{self.label}: no value of the column {self.column} has {FEWEST} test pictures or more: name another column"
            )
        reference = self._reference(groups)
        kinds = {kind: data.made(kind).take(rows) for kind in self.kinds}
        scores = {}
        for done, (kind, pictures) in enumerate(kinds.items(), start=1):
            scores[kind] = data.score(pictures, "test")
            data.progress("scoring groups of pictures", done, len(kinds))
        metrics = data.metrics()
        rng = np.random.default_rng([data.seed, len(values)])
        means = {
            key: {kind: group_means(own[key], groups, entry["bounds"]) for kind, own in scores.items()}
            for key, entry in metrics.items()
        }
        first, second = self.kinds
        differences = {key: scores[first][key] - scores[second][key] for key in metrics}
        found = {
            name: interactions(differences, chosen, groups[reference], rng, self.n_permutations)
            for name, chosen in groups.items()
            if name != reference
        }
        facts = {
            "column": self.column,
            "reference": reference,
            "kinds": list(self.kinds),
            "groups": {name: int(chosen.sum()) for name, chosen in groups.items()},
            "left_out": _left_out(values, groups),
            "n_permutations": self.n_permutations,
            **({"remarks": remarks} if remarks else {}),
            "metrics": {
                key: {
                    **entry,
                    "means": means[key],
                    "interactions": {
                        name: {
                            "value": each[key].value,
                            "ci95": list(each[key].interval),
                            "p_value": each[key].p_value,
                            "p_corrected": each[key].p_corrected,
                        }
                        for name, each in found.items()
                    },
                }
                for key, entry in metrics.items()
            },
        }
        table = _per_picture(data, rows, values, scores)
        return Outcome(group_section(self.label, facts), facts=facts, tables={"per_image": table})

    def check_columns(self, columns: Collection[str]) -> None:
        """Check that the column is one of the recording's, unless a table of one's own has it."""
        if self.table is None:
            self._check_column(columns)

    def _check_column(self, columns: Collection[str]) -> None:
        if self.column not in columns:
            raise RunError(
                f"{self.label}: there is no column {self.column} of stimuli; there are {', '.join(columns) or '(none)'}: name "
                "one of them, or a file with `table`"
            )

    def _values(self, data: RunData) -> tuple[np.ndarray, list[str]]:
        """Return the group of each test stimulus as text, "" where it is not known, and what is odd of the table."""
        import pandas as pd

        known, ids, remarks = data.stimuli("test"), data.stimulus_ids("test"), list[str]()
        if self.table is not None:
            both = pd.concat([data.stimuli(side).set_axis(data.stimulus_ids(side)) for side in ("test", "train")])
            both = both[~both.index.duplicated()]
            found, remarks = _read(self.table, both, data.n_pictures)
            known = found.reindex(ids)
        self._check_column(list(map(str, known.columns)))
        column = known[self.column]
        return np.where(column.isna(), "", column.astype(str).str.strip()), remarks

    def _reference(self, groups: Mapping[str, Bool[np.ndarray, " n"]]) -> str:
        if self.reference is None:
            return max(groups, key=lambda name: int(groups[name].sum()))
        if self.reference not in groups:
            from braindiffuser.metrics.groups import FEWEST

            raise RunError(
                f"{self.label}.reference is {self.reference}, but the groups with {FEWEST} test pictures or more are "
                f"{', '.join(groups)}"
            )
        return self.reference


def _groups(values: np.ndarray, fewest: int) -> dict[str, Bool[np.ndarray, " n"]]:
    """Return group → its pictures, those with most pictures first; pictures without a value, or of few others, are in none."""
    names, counts = np.unique(values[values != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[k]): values == names[k] for k in order if counts[k] >= fewest}


def _left_out(values: np.ndarray, groups: Mapping[str, Any]) -> dict[str, int]:
    """Count the pictures that are in no group, by their value."""
    names, counts = np.unique(values[~np.isin(values, list(groups))], return_counts=True)
    return {str(name) or "without a value": int(count) for name, count in zip(names, counts, strict=True)}


def _per_picture(
    data: RunData, rows: slice, values: np.ndarray, scores: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    import pandas as pd

    ids = data.stimulus_ids("test")[rows]
    columns = {f"{kind}_{key}": own for kind, by_key in scores.items() for key, own in by_key.items()}
    return pd.DataFrame({"stimulus_id": ids, "group": values, **columns})


def _read(path: Any, known: pd.DataFrame, n_pictures: Callable[[], int | None]) -> tuple[pd.DataFrame, list[str]]:
    """Read a table of stimuli by their ids or names, in the order of `known`, and say what is odd of it.

    Args:
        path: of the table.
        known: what is known of the run's stimuli, by id.
        n_pictures: returns how many pictures ids count from 0; None if that is not known.

    Raises:
        RunError: it has no ids or names, an id is no whole number, a stimulus has two rows, or is larger than there are pictures.
    """
    import pandas as pd

    from braindiffuser.datasets.reading import reading

    with reading(path, "table of stimuli"):
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    if "name" not in table:
        table = table.rename(columns={"stim_file": "name"})  # as tables of trials call it
    if "stimulus_id" in table:
        keys: Any = known.index
        own = table.set_index(_whole(table["stimulus_id"], path))
    elif "name" in table and "name" in known:
        keys, own = known["name"].astype(str), table.set_index("name")
    else:
        raise RunError(
            f"{path} has the columns {', '.join(table.columns)}; expected stimulus_id, or name (or stim_file) where stimuli have "
            "names"
        )
    if own.index.has_duplicates:
        raise RunError(f"{path} lists {own.index[own.index.duplicated()][0]} twice: give each stimulus one row")
    found = own.reindex(keys)
    found.index = known.index
    others, remarks = int((~own.index.isin(keys)).sum()), list[str]()
    if "stimulus_id" in table:
        if others:
            _check_largest(int(own.index.max()), n_pictures(), path)
        if own.index.min() == 1 and (others or not keys.isin(own.index).all()):
            remarks.append(f"Ids count from 0, and those of {path.name} begin at 1: if it counts from 1, subtract 1.")
    if others:
        remarks.append(
            f"{others:,} of {len(own):,} rows of {path.name} are of no training or test stimulus of this run."
        )
    return found, remarks


def _check_largest(largest: int, n_pictures: int | None, path: Any) -> None:
    """Check that the largest id is one; ids count from 0."""
    if n_pictures is None or largest < n_pictures:
        return
    remedy = (
        "if it counts from 1, subtract 1 from each" if largest == n_pictures else "name the stimuli of this recording"
    )
    raise RunError(f"{path} has the stimulus_id {largest:,}, and ids count from 0 to {n_pictures - 1:,}: {remedy}")


def _whole(texts: pd.Series, path: Any) -> pd.Series:
    """Return stimulus ids as int64; raises RunError naming one that is no whole number."""
    import pandas as pd

    numbers = pd.to_numeric(texts.str.strip(), errors="coerce")
    wrong = texts[~((numbers % 1 == 0) & (numbers >= 0) & (numbers < 2**53))]
    if len(wrong):
        raise RunError(f"{path} has the stimulus_id {wrong.iloc[0]!r}: expected whole numbers from 0")
    return numbers.astype("int64")


def _digest(path: Any, label: str) -> str:
    import hashlib

    if not path.is_file():
        return _missing(path, label)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _missing(path: Any, label: str) -> str:
    return f"missing: put {path} back, or take the analysis away by {command_line('analyse', label, '--remove', '--out', 'RUN')}"
