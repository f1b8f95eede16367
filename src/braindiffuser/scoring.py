"""A run's test pictures scored with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from braindiffuser.errors import RunError
from braindiffuser.evaluation.scorer import NetworkFeatures, Scorer, arrange, extract_features
from braindiffuser.evaluation.trust import PerPicture, ScoreSets, derangement, draw_training, mean_image, summarise
from braindiffuser.images import PictureReader, PictureSource
from braindiffuser.models.weights import Clip
from braindiffuser.run import Run
from braindiffuser.weight_files import weights_folder


def evaluate_run(run: Run, clip: Callable[[], Clip]) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Score a run's reconstructions beside the ceiling, three baselines and two ablations.

    Stimuli of held-out photographs are scored apart, among themselves. Pictures are read a batch at a time; what stays in
    memory is features of the stimuli, of the reconstructions, and of one more kind.

    Args:
        run: with all its pictures made.
        clip: loads the run's own, which `clip_demo` stands for.

    Returns:
        By test set what its scores file holds, and all scores picture by picture, as in `per_image.csv`.

    Raises:
        RunError: if a picture is missing, or a test set has one stimulus.
        DependencyError: if a file of weights is there but damaged.
    """
    config, ids = run.experiment.evaluation, run.stimulus_ids("test")
    networks, missing = scoring_networks(PROFILES[config.profile], clip, weights_folder(), run.experiment.device)
    profile = PROFILES[config.profile].without(missing)
    summaries, tables = {}, []
    for name, rows in run.test_sets.items():
        n = rows.stop - rows.start
        if n < 2:
            raise RunError(f"there is one {name} stimulus: two-way identification needs two or more")
        rng = np.random.default_rng([run.experiment.seed, n])
        scorer = Scorer(PictureReader(ids[rows], run.pictures), profile, networks)
        scores = _score_sets(run, scorer, rows, rng)
        summaries[name] = summarise(profile, scores, rng, config.n_resamples) | {"missing": missing}
        facts = {"number": np.arange(rows.start, rows.stop), "stimulus_id": ids[rows], "set": name}
        tables.append(pd.DataFrame(facts | dict(scores.final)))
    return summaries, pd.concat(tables)


def _score_sets(run: Run, scorer: Scorer, rows: slice, rng: np.random.Generator) -> ScoreSets:
    """Score all kinds of pictures of one test set, one kind after the other.

    Under every calibration but `transductive` a reconstruction is made from its own responses alone, so shuffling responses
    among the stimuli shuffles the reconstructions: that baseline is the reconstructions, each moved to another stimulus.
    """
    n, scores = len(scorer.seen), dict[str, PerPicture]()
    kinds = ("final", "from_true_features", "low_level", "without_low_level")
    made = {kind: run.store.open_pictures(kind, rows.stop).take(rows) for kind in kinds}
    train = PictureReader(run.stimulus_ids("train"), run.pictures)
    drawn, order = draw_training(len(train), n, rng), derangement(n, rng)

    def add(name: str, pictures: PictureSource, features: NetworkFeatures | None = None) -> None:
        run.progress(f"scoring {n} pictures", len(scores), len(kinds) + 3)
        scores[name] = scorer.score(pictures, features)

    features = extract_features(made["final"], scorer.profile, scorer.networks)
    add("final", made["final"], features)
    add("shuffled_responses", made["final"].take(order), arrange(features, order))
    mean, always = mean_image(train), np.zeros(n, np.int64)
    features = extract_features(mean, scorer.profile, scorer.networks)
    add("mean_image", PictureReader(always, lambda numbers: mean[numbers]), arrange(features, always))
    add("random_train_image", train.take(drawn))
    for kind in kinds[1:]:
        add(kind, made[kind])
    run.progress(f"scoring {n} pictures", len(scores), len(scores))
    return ScoreSets(
        final=scores["final"],
        ceiling=scores["from_true_features"],
        baselines={name: scores[name] for name in ("mean_image", "random_train_image", "shuffled_responses")},
        ablations={"low_level_only": scores["low_level"], "without_low_level": scores["without_low_level"]},
    )
