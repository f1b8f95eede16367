"""Decoded features against the stimuli's own → scores of features, before any picture is drawn.

Each test set is scored separately. Training targets are read in blocks, predictions and truth of one group after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.experiment import Experiment
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.stages.fit import STAGE as FIT
from braindiffuser.store.draft import Draft

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.feature_scores import DecodedGroup

FEATURE_SCORES = "feature_scores.json"
"""File of the scores: test set → `groups` (target group → scores, see `metrics.feature_scores`), `n_images`, `remarks` and
`category_column`, the column of the table of stimuli that `within_category` compares in, if there is one."""
LARGEST_SIDE = 12_000
"""Training stimuli or features, whichever are fewer, beyond which `best_linear` is left out: its matrix takes more than 2 GB."""


@dataclass
class _Found:
    """What was found of one test set."""

    groups: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    import pandas as pd

    from braindiffuser.report.feature_section import feature_section

    draft, results = drafts[""], context.results
    sets = {name: slice(*rows) for name, rows in results.read_json("test_sets.json").items()}
    categories = known_categories(context)
    found = _score(context, sets, None if categories is None else categories.numbers)
    content = {
        name: {
            "n_images": sets[name].stop - sets[name].start,
            "category_column": None if categories is None else categories.column,
            "groups": own.groups,
            "remarks": own.remarks,
        }
        for name, own in found.items()
    }
    draft.write_json(FEATURE_SCORES, content)
    tables = [table for own in found.values() for table in own.tables]
    if tables:
        draft.write_table("feature_per_image.csv", pd.concat(tables))
    section = feature_section(content)
    draft.write_text("sections/compare.features.json", section.model_dump_json(indent=1) + "\n")
    yield ""


def _score(
    context: StageContext, sets: Mapping[str, slice], categories: Int[np.ndarray, " n_test"] | None
) -> dict[str, _Found]:
    import pandas as pd

    from braindiffuser.metrics.feature_scores import FEWEST_PICTURES, feature_scores

    found = {name: _Found() for name in sets}
    for name, rows in sets.items():
        if rows.stop - rows.start < FEWEST_PICTURES:
            found[name].remarks.append(f"Test set {name} has too few pictures for scores of features.")
    scored = {name: rows for name, rows in sets.items() if not found[name].remarks}
    groups = tuple(context.experiment.targets) if scored else ()
    ids, train_ids = (context.results.read_array(f"stimuli/{split}_ids") for split in ("test", "train"))
    for number, group in enumerate(groups):
        context.progress("comparing decoded features", number, len(groups))
        decoded = _decoded(context, group)
        for name, rows in scored.items():
            if decoded.reach is None:
                left = f"{group}: the linear limit is left out, with more than {LARGEST_SIDE:,} training stimuli and features."
                found[name].remarks.append(left)
            rng = np.random.default_rng([context.experiment.seed, rows.start, crc32(group.encode())])
            own = None if categories is None else categories[rows]
            try:
                made = feature_scores(decoded.of(rows), rng, own)
            except ValueError as error:
                found[name].remarks.append(f"{group} of test set {name} has no scores: {error}.")
                continue
            found[name].groups[group] = made.facts
            facts = {
                "number": np.arange(rows.start, rows.stop),
                "stimulus_id": ids[rows],
                "set": name,
                "group": group,
                "nearest_training_id": train_ids[decoded.nearest.place[rows]],
            }
            found[name].tables.append(pd.DataFrame(facts | dict(made.per_picture)))
    context.progress("comparing decoded features", len(groups), len(groups))
    return found


def _decoded(context: StageContext, group: str) -> DecodedGroup:
    """Read decoded and true features of all test stimuli, and hold them against the training targets."""
    from braindiffuser.metrics.feature_scores import DecodedGroup, centred
    from braindiffuser.metrics.linear_reach import linear_reach
    from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows

    targets = context.results.open_array(f"targets/{group}")
    mean = mean_row(targets)
    predictions = context.results.read_array(f"predictions/{group}")
    nearest = nearest_rows(predictions, targets, mean)
    decoded, truth = centred(predictions, context.results.read_array(f"truth/{group}"), mean, targets)
    reach = linear_reach(truth, targets, mean) if min(targets.shape[0], truth.shape[1]) <= LARGEST_SIDE else None
    return DecodedGroup(decoded, truth, nearest, reach, targets.shape[0])


class Categories(NamedTuple):
    """Categories of stimuli, as the table of stimuli says them.

    Attributes:
        column: of the table.
        of_training: category of each training stimulus (n_train,), "" where it is not known.
        of_test: of each test stimulus (n_test,).
    """

    column: str
    of_training: Shaped[np.ndarray, " n_train"]
    of_test: Shaped[np.ndarray, " n_test"]

    @property
    def numbers(self) -> Int[np.ndarray, " n_test"]:
        """Number of each test stimulus's category, −1 where it is not known."""
        _, numbers = np.unique(self.of_test, return_inverse=True)
        return np.where(self.of_test == "", -1, numbers)


def known_categories(context: StageContext) -> Categories | None:
    """Return the categories of training and of test stimuli; None if the table of stimuli has no such column."""
    known, column = context.open_recording().known_stimuli(), context.experiment.evaluation.category
    if known is None or column not in known:
        return None
    ids = (context.results.read_array(f"stimuli/{split}_ids") for split in ("train", "test"))
    values = (known[column].reindex(own) for own in ids)
    return Categories(column, *(np.where(own.isna(), "", own.astype(str).str.strip()) for own in values))


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    made = (Step("prepare", "recording"),) if experiment.dataset.makes_files else ()
    extracted = tuple(Step("extract", group) for group in experiment.targets)
    return (*made, Step("prepare", "stimuli"), *extracted, *FIT.steps(experiment))


STAGE = Stage(
    name="compare",
    does="score decoded features, before any picture is drawn",
    reads="predictions, truth, targets, what is known of stimuli",
    writes=(FEATURE_SCORES, "feature_per_image.csv", "sections/compare.features.json"),
    needs=("prepare", "extract", "fit"),
    needs_of=_needs_of,
    influences=lambda experiment, unit: {"seed": experiment.seed, "category": experiment.evaluation.category},
    compute=_compute,
    roles=lambda experiment, unit: ("design",),
    on_device=False,
)
