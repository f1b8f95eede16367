"""Sets of pictures that are scored as reconstructions of test pictures, one after the other or several at a time by workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Matrix
from braindiffuser.errors import RunError
from braindiffuser.images import PictureReader
from braindiffuser.stages import StageContext
from braindiffuser.stages.evaluation.run_scorers import Scoring, scoring_of

if TYPE_CHECKING:
    from braindiffuser.metrics.scored_pictures import ScoredPictures
    from braindiffuser.metrics.scorer import Scorer


class Shown(NamedTuple):
    """One picture for each of some test pictures.

    Attributes:
        rows: of the test pictures, which are scored among themselves.
        kind: of the pictures, drawn for these; "": training pictures.
        places: which training picture stands for each; empty: the mean of all stands for each.
        order: place in `rows` of the picture that stands for each where pictures are exchanged; empty: this is not scored.
        metrics: keys of those that the command's machine has networks for.
    """

    rows: tuple[int, ...]
    kind: str = ""
    places: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()


class Scored(NamedTuple):
    """Scores of `Shown` pictures.

    Attributes:
        pictures: scores of each.
        exchanged: the same with pictures exchanged, if an order is given.
        pairs: scores (n, n) of each picture as that of every test picture, in rows, if an order is given; key of metric → scores.
    """

    pictures: ScoredPictures
    exchanged: ScoredPictures | None = None
    pairs: Mapping[str, Matrix] = {}


def score_all(context: StageContext, shown: Mapping[str, Shown]) -> Iterator[tuple[str, Scored]]:
    """Yield the name of each set of pictures with its scores, in order; workers score several at a time."""
    n, metrics = len(next(iter(shown.values())).rows), tuple(scoring_of(context).profile.metrics)
    context.progress(f"scoring {n} pictures", 0, len(shown))
    scored = context.each(_score, [each._replace(metrics=metrics) for each in shown.values()])
    for done, (name, (_, found)) in enumerate(zip(shown, scored, strict=True), 1):
        context.progress(f"scoring {n} pictures", done, len(shown))
        yield name, found


def rows_of(rows: slice | Sequence[int] | Int[np.ndarray, " n"]) -> tuple[int, ...]:
    """Return rows as they are sent to workers."""
    return tuple(range(rows.start, rows.stop)) if isinstance(rows, slice) else tuple(map(int, rows))


def _score(context: StageContext, shown: Shown) -> Scored:
    from braindiffuser.metrics.scorer import extract_features, take

    context.networks.keep(())
    _refuse_other_metrics(scoring_of(context), shown.metrics)
    scorer: Scorer = context.last("scorer", shown.rows, lambda: _scorer(context, shown.rows))
    if not (shown.kind or shown.places):
        return Scored(_score_mean(context, scorer))
    made = _pictures(context, shown)
    features = extract_features(made, scorer.profile, scorer.networks)
    pictures = scorer.score(made, features)
    if not shown.order:
        return Scored(pictures)
    order = np.array(shown.order)
    exchanged = scorer.score(made.take(order), take(features, order))
    return Scored(pictures, exchanged, scorer.score_all_pairs(made, features))


def _refuse_other_metrics(scoring: Scoring, metrics: tuple[str, ...]) -> None:
    """Raise RunError if this machine has other scoring networks than that of the command."""
    own = tuple(scoring.profile.metrics)
    if own != metrics:
        lacks, more = ([key for key in one if key not in other] for one, other in ((metrics, own), (own, metrics)))
        said = f"lacks the networks of {', '.join(lacks)}" if lacks else f"has also the networks of {', '.join(more)}"
        raise RunError(
            f"a worker {said}, other than the machine of this command: keep downloads in one folder that all see, named by the "
            "environment variable BRAINDIFFUSER_CHECKPOINTS"
        )


def _score_mean(context: StageContext, scorer: Scorer) -> ScoredPictures:
    """Score the mean training picture, whose features are computed once."""
    from braindiffuser.metrics.baselines import mean_image
    from braindiffuser.metrics.scorer import extract_features, take

    mean, always = mean_image(_training(context)), np.zeros(len(scorer.seen), np.int64)
    features = extract_features(mean, scorer.profile, scorer.networks)
    return scorer.score(PictureReader(always, lambda numbers: mean[numbers]), take(features, always))


def _scorer(context: StageContext, rows: tuple[int, ...]) -> Scorer:
    from braindiffuser.metrics.scorer import Scorer

    scoring = scoring_of(context)
    ids = context.results.read_array("stimuli/test_ids")[list(rows)]
    return Scorer(PictureReader(ids, context.open_recording().pictures), scoring.profile, scoring.networks)


def _pictures(context: StageContext, shown: Shown) -> PictureReader:
    if shown.kind:
        return context.results.open_pictures(shown.kind, list(shown.rows))
    return _training(context).take(np.array(shown.places))


def _training(context: StageContext) -> PictureReader:
    return PictureReader(context.results.read_array("stimuli/train_ids"), context.open_recording().pictures)
