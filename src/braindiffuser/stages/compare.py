"""Decoded features against the stimuli's own → scores of features, before any picture is drawn.

Each test set is scored separately. Training targets are read in blocks, predictions and truth of one group after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

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
    column, categories = _categories(context)
    found = _score(context, sets, categories)
    content = {
        name: {
            "n_images": sets[name].stop - sets[name].start,
            "category_column": column,
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
    from braindiffuser.metrics.feature_scores import DecodedGroup
    from braindiffuser.metrics.linear_reach import linear_reach
    from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows

    targets = context.results.open_array(f"targets/{group}")
    mean = mean_row(targets)
    decoded = _flat(context.results.read_array(f"predictions/{group}"))
    nearest = nearest_rows(decoded, targets, mean)
    shift = mean.astype(np.float32)
    truth = _as_stored(_flat(context.results.read_array(f"truth/{group}")), targets.dtype) - shift
    reach = linear_reach(truth, targets, mean) if min(targets.shape[0], truth.shape[1]) <= LARGEST_SIDE else None
    return DecodedGroup(decoded - shift, truth, nearest, reach, targets.shape[0])


def _flat(features: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n d"]:
    return features.reshape(len(features), -1)


def _as_stored(truth: Float[np.ndarray, "n d"], dtype: np.dtype[Any]) -> Float[np.ndarray, "n d"]:
    """Round true features as targets are stored, so that a test picture that also trains equals its target."""
    with np.errstate(over="ignore"):
        rounded = truth.astype(dtype).astype(np.float32)
    return np.where(np.isfinite(rounded), rounded, truth.astype(np.float32))


def _categories(context: StageContext) -> tuple[str | None, Int[np.ndarray, " n_test"] | None]:
    """Return the column that says the category of stimuli, and the number of each test stimulus's, −1 where it has none."""
    import pandas as pd

    known, column = context.open_recording().known_stimuli(), context.experiment.evaluation.category
    if known is None or column not in known:
        return None, None
    ids = context.results.read_array("stimuli/test_ids")
    return column, pd.factorize(known[column].reindex(ids))[0].astype(np.int64)


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
