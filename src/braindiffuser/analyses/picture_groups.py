"""Scores by groups of pictures: a column of the table of stimuli, such as their source, kind or category.

A generator's training pictures may resemble one group more than another, so that its prior flatters that group's scores. Groups
also differ in difficulty. The interaction of group and variant tells the two apart as far as that can be told: what makes a group
easy helps the whole method and the variant without the generator alike, and cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool
from pydantic import Field, PositiveInt

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.datasets.dataset import File
from braindiffuser.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 2
"""Test pictures that a group needs to be scored."""


class PictureGroups(Analysis):
    """Score groups of test pictures apart, and compare what two variants differ by from group to group."""

    takes_seed: ClassVar[bool] = True
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
    variants: tuple[str, str] = Field(
        ("final", "low_level"),
        description="Kinds of pictures whose difference is compared between groups, such as final and low_level.",
    )
    n_resamples: PositiveInt = Field(2000, description="Bootstrap resamples, and exchanges of group labels.")

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries; of the table its content."""
        own = super().influences(device)
        return own if self.table is None else {**own, "table": _digest(self.table)}

    def run(self, data: RunData) -> Outcome:
        """Score both variants, and compare their groups."""
        from braindiffuser.metrics.groups import group_means, interaction
        from braindiffuser.report.group_section import group_section

        rows = data.test_sets["test"]
        values = self._values(data)[rows]
        groups = _groups(values)
        if not groups:
            raise RunError(
                f"{self.label}: no value of the column {self.column} has {FEWEST} test pictures or more: name another column"
            )
        reference = self._reference(groups)
        kinds = {kind: data.made(kind).take(rows) for kind in self.variants}
        scores = {}
        for done, (kind, pictures) in enumerate(kinds.items(), start=1):
            scores[kind] = data.score(pictures, "test")
            data.progress("scoring groups of pictures", done, len(kinds))
        metrics = data.metrics()
        rng = np.random.default_rng([data.seed, len(values)])
        means = {
            key: {kind: group_means(own[key], groups, rng, self.n_resamples) for kind, own in scores.items()}
            for key in metrics
        }
        first, second = self.variants
        found = {
            key: {
                name: interaction(
                    scores[first][key] - scores[second][key], chosen, groups[reference], rng, *[self.n_resamples] * 2
                )
                for name, chosen in groups.items()
                if name != reference
            }
            for key in metrics
        }
        facts = {
            "column": self.column,
            "reference": reference,
            "variants": list(self.variants),
            "groups": {name: int(chosen.sum()) for name, chosen in groups.items()},
            "left_out": _left_out(values, groups),
            "metrics": {
                key: {
                    **entry,
                    "means": means[key],
                    "interactions": {
                        name: {"value": each.value, "ci95": list(each.interval), "p_value": each.p_value}
                        for name, each in found[key].items()
                    },
                }
                for key, entry in metrics.items()
            },
        }
        table = _per_picture(data, rows, values, scores)
        return Outcome(group_section(self.label, facts), facts=facts, tables={"per_image": table})

    def _values(self, data: RunData) -> np.ndarray:
        """Return the group of each test stimulus as text; "" where it is not known."""
        known, ids = data.stimuli("test"), data.stimulus_ids("test")
        if self.table is not None:
            known = _read(self.table, known, ids)
        if self.column not in known:
            there = ", ".join(map(str, known.columns)) or "(none)"
            raise RunError(
                f"{self.label}: there is no column {self.column} of stimuli; there are {there}: name one of them, or a file with "
                "`table`"
            )
        column = known[self.column]
        return np.where(column.isna(), "", column.astype(str).str.strip())

    def _reference(self, groups: Mapping[str, Bool[np.ndarray, " n"]]) -> str:
        if self.reference is None:
            return max(groups, key=lambda name: int(groups[name].sum()))
        if self.reference not in groups:
            raise RunError(
                f"{self.label}.reference is {self.reference}, but the groups with {FEWEST} test pictures or more are "
                f"{', '.join(groups)}"
            )
        return self.reference


def _groups(values: np.ndarray) -> dict[str, Bool[np.ndarray, " n"]]:
    """Return group → its pictures, those with most pictures first; pictures without a value are in none."""
    names, counts = np.unique(values[values != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[k]): values == names[k] for k in order if counts[k] >= FEWEST}


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


def _read(path: Any, known: pd.DataFrame, ids: np.ndarray) -> pd.DataFrame:
    """Read a table of stimuli by their ids or names, in the order of `ids`."""
    import pandas as pd

    from braindiffuser.datasets.reading import reading

    with reading(path, "table of stimuli"):
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    if "stimulus_id" in table:
        numbers = pd.to_numeric(table["stimulus_id"], errors="coerce")
        keys: Any = pd.Index(ids)
        own = table.set_index(numbers)
    elif "name" in table and "name" in known:
        keys, own = known["name"].astype(str), table.set_index("name")
    else:
        raise RunError(
            f"{path} has the columns {', '.join(table.columns)}; expected stimulus_id, or name where stimuli have names"
        )
    if own.index.has_duplicates:
        raise RunError(f"{path} lists {own.index[own.index.duplicated()][0]} twice: give each stimulus one row")
    found = own.reindex(keys)
    found.index = pd.Index(ids)
    return found


def _digest(path: Any) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
