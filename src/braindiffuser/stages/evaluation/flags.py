"""Whether pictures show what was decoded, and whether several samples of one agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Pictures
from braindiffuser.images import PictureReader
from braindiffuser.stages import StageContext
from braindiffuser.stages.evaluation.near_targets import NearTargets
from braindiffuser.stages.evaluation.run_scorers import scoring_of
from braindiffuser.stages.reconstruct import kind_name, n_samples, rows_of_some

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.profiles import Profile
    from braindiffuser.metrics.summary import PerPicture

STREAM = 16, 2
"""Last components of the seed of the permutations behind p; every use of random numbers in a run has its own."""


def flag_pictures(context: StageContext, scores: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """Add to the scores of each test set whether pictures show what was decoded, and what several samples of them say.

    Returns:
        A row for each test picture, with a column for each of the two that could be computed.
    """
    import pandas as pd

    ids, tables, near = context.results.read_array("stimuli/test_ids"), [], NearTargets(context)
    for name, (start, stop) in context.results.read_json("test_sets.json").items():
        rows = slice(start, stop)
        facts = _add_agreement(context, near, scores[name], rows) | _add_samples(context, scores[name], rows)
        numbers = {"number": np.arange(start, stop), "stimulus_id": ids[rows], "set": name}
        tables.append(pd.DataFrame(numbers | facts))
    return pd.concat(tables, ignore_index=True)


FLAGS: Mapping[str, str] = {
    "disagrees": "does not show what was decoded",
    "spreads": "samples of it differ as much as pictures of other responses",
}
"""Column of `flags.csv` → what it says of a picture."""


def flags_in_words(flags: pd.DataFrame) -> dict[int, tuple[str, ...]]:
    """Return the number of each flagged picture → what is doubtful about it."""
    said = {name: text for name, text in FLAGS.items() if name in flags}
    rows = flags.to_dict("records")
    found = {int(row["number"]): tuple(text for name, text in said.items() if row[name] is True) for row in rows}
    return {number: texts for number, texts in found.items() if texts}


def _add_agreement(context: StageContext, near: NearTargets, scores: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Compare features of the reconstructions with the decoded ones, where the group is made of pictures alone."""
    from braindiffuser.metrics.agreement import FLAGGED_BELOW, agreement_scores
    from braindiffuser.metrics.inference import exchanged_means, permutation_p_value
    from braindiffuser.metrics.intervals import share_interval

    group, experiment = near.group, context.experiment
    if set(experiment.targets[group].reads) != {"stimuli"}:
        return {}
    drawn = _features_of_drawn(context, group, rows, near.targets.shape[1:])
    found = agreement_scores(np.asarray(near.decoded[rows]), drawn, near.mean)
    own, value = found.scores, float(found.scores.mean())
    rng = np.random.default_rng([experiment.seed, rows.start, *STREAM])
    scores["agreement"] = {
        "features": group,
        "value": value,
        "ci95": list(share_interval(value, found.left_out, 0.5, graded=True)),
        "p_value": permutation_p_value(value, exchanged_means(found.compared, rng)),
        "flagged_below": FLAGGED_BELOW,
        "flagged": (rows.start + np.flatnonzero(own < FLAGGED_BELOW)).tolist(),
    }
    return {"agreement": own, "disagrees": own < FLAGGED_BELOW}


def _features_of_drawn(
    context: StageContext, group: str, rows: slice, shape: tuple[int, ...]
) -> Float[np.ndarray, "n ..."]:
    """Extract the features of one target group from reconstructions, as they are extracted from stimuli."""
    from braindiffuser.batches import Batches
    from braindiffuser.images import batch_slices, resize
    from braindiffuser.real_numbers import real_numbers
    from braindiffuser.targets.target import Stimuli

    experiment, ids = context.experiment, context.results.read_array("stimuli/test_ids")[rows]
    target, drawn = experiment.targets[group], context.results.open_pictures("final", rows.stop).take(rows)
    context.networks.keep(target.checkpoints.values())
    side = context.open_recording().pictures(ids[:1]).shape[-1]
    batches, parts = Batches(target.batch_size, context.progress), list[Any]()
    for some in batch_slices(len(ids)):
        pictures = resize(drawn[some], side)

        def extract(chosen: slice, pictures: Pictures = pictures, own: Any = ids[some]) -> Any:
            stimuli = Stimuli(own[chosen], lambda _: pictures[chosen], None)
            made = target.extract(stimuli, context.networks, experiment.seed)
            return real_numbers(made, f"{type(target).__name__}.extract() returned", (len(stimuli.ids), *shape))

        parts += [features for _, features in batches.over(len(pictures), extract)]
        context.progress("extracting features of reconstructions", some.stop, len(ids))
    return np.concatenate(parts)


def _add_samples(context: StageContext, scores: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Score further samples of the reconstructions, and compare samples with each other, if there are any."""
    from braindiffuser.metrics.agreement import FLAGGED_BELOW
    from braindiffuser.metrics.intervals import share_interval
    from braindiffuser.metrics.samples import sample_agreement, summarise_samples
    from braindiffuser.metrics.scorer import Scorer, extract_features

    experiment, n = context.experiment, n_samples(context.experiment)
    if n == 1:
        return {}
    profile, networks, _ = scoring_of(context)
    chosen = np.array(rows_of_some(experiment.pictures.n_sampled, rows.start, rows.stop))
    ids = context.results.read_array("stimuli/test_ids")[chosen]
    scorer = Scorer(PictureReader(ids, context.open_recording().pictures), profile, networks)
    compared_by = _compared_layer(profile)
    found: list[PerPicture] = []
    features: list[Any] = []
    label = f"scoring samples of {len(chosen)} pictures"
    for sample in range(n):
        context.progress(label, sample, n)
        pictures = context.results.open_pictures(kind_name("full", "predictions", sample), chosen.tolist())
        own = extract_features(pictures, profile, networks)
        found.append(scorer.score(pictures, own))
        features += [own[compared_by[0]][compared_by[1]]] if compared_by else []
    context.progress(label, n, n)
    scores["samples"] = summarise_samples(profile, found)
    if compared_by is None:
        return {}
    agreement, left_out = sample_agreement(features)
    value = float(agreement.mean())
    scores["samples"]["agreement"] = {
        "features": " ".join(compared_by),
        "value": value,
        "ci95": list(share_interval(value, left_out, 0.5, graded=True)),
        "flagged_below": FLAGGED_BELOW,
        "flagged": chosen[agreement < FLAGGED_BELOW].tolist(),
    }
    of_all = np.full(rows.stop - rows.start, np.nan)
    of_all[chosen - rows.start] = agreement
    return {"sample_agreement": of_all, "spreads": of_all < FLAGGED_BELOW}


def _compared_layer(profile: Profile) -> tuple[str, str] | None:
    """Return network and layer of the last metric that identifies pictures by features, by which samples are compared."""
    from braindiffuser.metrics.metric import FeatureMetric

    metrics = [metric for metric in profile.metrics.values() if isinstance(metric, FeatureMetric)]
    identifying = [metric for metric in metrics if metric.chance is not None] or metrics
    return (identifying[-1].network, identifying[-1].layer) if identifying else None
