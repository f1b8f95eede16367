"""Pictures → scores with intervals, beside the ceiling, three baselines and the ablations.

Each test set is scored separately. Metrics whose network's checkpoint is not on this machine are left out and reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Vector
from braindiffuser.experiment import Experiment
from braindiffuser.images import PictureReader, PictureSource, batch_slices
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.stages.reconstruct import STAGE as RECONSTRUCT
from braindiffuser.stages.reconstruct import ablated_rows, kind_name
from braindiffuser.store.draft import Draft

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.metric import FeatureNetwork
    from braindiffuser.metrics.profiles import Profile
    from braindiffuser.metrics.scorer import NetworkFeatures, Scorer
    from braindiffuser.metrics.summary import PerPicture, ScoreSets


def scores_name(test_set: str) -> str:
    """Name of the file that holds the scores of a test set."""
    return "scores.json" if test_set == "test" else f"scores_{test_set}.json"


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    from braindiffuser.datasets.noise_ceiling import summarise_regions
    from braindiffuser.stages.prepare import ceilings_of_tests

    draft, results = drafts[""], context.results
    _copy_seen(context, draft)
    scores, per_image = _score(context)
    for name, summary in scores.items():
        draft.write_json(scores_name(name), summary)
    regions = summarise_regions(ceilings_of_tests(results), results.read_bundle("rois.npz"))
    draft.write_json("noise_ceiling.json", regions)
    draft.write_table("per_image.csv", per_image)
    _write_sections(draft, context, scores, per_image, regions)
    yield ""


def _copy_seen(context: StageContext, draft: Draft) -> None:
    ids = context.results.read_array("stimuli/test_ids")
    missing = np.array(draft.missing_pictures("seen", len(ids)), np.int64)
    for rows in batch_slices(len(missing)) if missing.size else ():
        numbers = missing[rows]
        draft.write_pictures("seen", numbers.tolist(), context.open_recording().pictures(ids[numbers]))


def _score(context: StageContext) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Score every test set; return what each scores file holds, and all scores picture by picture.

    Pictures are read a batch at a time; what stays in memory is features of the stimuli, of the reconstructions, and of one
    more kind.
    """
    import pandas as pd

    from braindiffuser.datasets.splits import order_of_appearance
    from braindiffuser.metrics.feature_networks import load_networks
    from braindiffuser.metrics.scorer import Scorer
    from braindiffuser.metrics.summary import summarise
    from braindiffuser.networks.checkpoint_folders import downloads_folder

    experiment, ids = context.experiment, context.results.read_array("stimuli/test_ids")
    whole = experiment.evaluation.all_metrics()
    networks, missing = load_networks(whole, downloads_folder(), experiment.device)
    profile = whole.without(missing)
    summaries, tables = {}, []
    authors_numbers = order_of_appearance(context.results.read_table("trials.csv"), ids)
    for name, (start, stop) in context.results.read_json("test_sets.json").items():
        rng = np.random.default_rng([experiment.seed, stop - start])
        read = context.open_recording().pictures
        scorer = Scorer(PictureReader(ids[start:stop], read), profile, networks)
        scores = _score_sets(context, scorer, slice(start, stop), rng)
        if experiment.pictures.n_ablated is not None and experiment.ablations:
            rows = ablated_rows(experiment, start, stop)
            scores = _with_ablated(context, scores, Scorer(PictureReader(ids[rows], read), profile, networks), rows)
        summaries[name] = summarise(profile, scores, rng, experiment.evaluation.n_resamples) | {"missing": missing}
        facts = {
            "number": np.arange(start, stop),
            "stimulus_id": ids[start:stop],
            "authors_number": authors_numbers[start:stop],
            "set": name,
        }
        tables.append(pd.DataFrame(facts | dict(scores.final)))
    return summaries, pd.concat(tables)


def _score_sets(context: StageContext, scorer: Scorer, rows: slice, rng: np.random.Generator) -> ScoreSets:
    """Score all kinds of pictures of one test set, one kind after the other; ablations only if they are drawn for all of it.

    Shuffled responses would give the same reconstructions in another order, apart from noise (also under `transductive`,
    whose statistics ignore order). So this baseline draws nothing: it compares each reconstruction with another stimulus.
    """
    from braindiffuser.metrics.baselines import derangement, draw_training, mean_image
    from braindiffuser.metrics.scorer import extract_features, take
    from braindiffuser.metrics.summary import ScoreSets

    n, experiment = len(scorer.seen), context.experiment
    scores: dict[str, PerPicture] = {}
    ablations = {} if experiment.pictures.n_ablated is not None else _kinds_of_ablations(experiment)
    kinds = ["from_true_features"] * experiment.pictures.ceiling + list(ablations.values())
    made = {kind: context.results.open_pictures(kind, rows.stop).take(rows) for kind in ("final", *kinds)}
    train = PictureReader(context.results.read_array("stimuli/train_ids"), context.open_recording().pictures)
    drawn, order = draw_training(len(train), n, rng), derangement(n, rng)

    def add(name: str, pictures: PictureSource, features: NetworkFeatures | None = None) -> None:
        context.progress(f"scoring {n} pictures", len(scores), len(kinds) + 4)
        scores[name] = scorer.score(pictures, features)

    features = extract_features(made["final"], scorer.profile, scorer.networks)
    add("final", made["final"], features)
    add("shuffled_responses", made["final"].take(order), take(features, order))
    mean, always = mean_image(train), np.zeros(n, np.int64)
    features = extract_features(mean, scorer.profile, scorer.networks)
    add("mean_image", PictureReader(always, lambda numbers: mean[numbers]), take(features, always))
    add("random_train_image", train.take(drawn))
    for kind in kinds:
        add(kind, made[kind])
    context.progress(f"scoring {n} pictures", len(scores), len(scores))
    return ScoreSets(
        final=scores["final"],
        ceiling=scores.get("from_true_features"),
        baselines={name: scores[name] for name in ("mean_image", "random_train_image", "shuffled_responses")},
        ablations={name: scores[kind] for name, kind in ablations.items()},
    )


class RunScorers:
    """Scores pictures against the stimuli of a run's test sets, whose features are computed once."""

    def __init__(self, context: StageContext, test_sets: Mapping[str, slice]) -> None:
        """Remember the run; networks are loaded when the first pictures are scored."""
        self._context, self._sets = context, test_sets
        self._scorers: dict[tuple[str, bytes], Scorer] = {}

    def score(
        self, pictures: PictureSource, test_set: str = "test", chosen: Int[np.ndarray, " n"] | None = None
    ) -> Mapping[str, Vector]:
        """Score pictures (n, 3, height, width) of one test set, in its order: key of each metric → scores (n,).

        Metrics whose network is not on this machine are left out.

        Args:
            pictures: one for each stimulus that is scored.
            test_set: its name.
            chosen: places in the test set of the stimuli that the pictures are of, which are then identified among these alone;
                None: all.

        Raises:
            RunError: what `Scorer` raises.
        """
        key = test_set, b"" if chosen is None else chosen.tobytes()
        if key not in self._scorers:
            from braindiffuser.metrics.scorer import Scorer

            profile, networks = self._loaded
            ids = self._context.results.read_array("stimuli/test_ids")[self._sets[test_set]]
            ids = ids if chosen is None else ids[chosen]
            seen = PictureReader(ids, self._context.open_recording().pictures)
            self._scorers[key] = Scorer(seen, profile, networks)
        return self._scorers[key].score(pictures)

    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is known of each metric, by its key, as `scores.json` says it."""
        from braindiffuser.metrics.summary import facts_of

        return {key: facts_of(metric) for key, metric in self._loaded[0].metrics.items()}

    @cached_property
    def _loaded(self) -> tuple[Profile, Mapping[str, FeatureNetwork]]:
        from braindiffuser.metrics.feature_networks import load_networks
        from braindiffuser.networks.checkpoint_folders import downloads_folder

        experiment = self._context.experiment
        whole = experiment.evaluation.all_metrics()
        networks, missing = load_networks(whole, downloads_folder(), experiment.device)
        return whole.without(missing), networks


def _kinds_of_ablations(experiment: Experiment) -> dict[str, str]:
    return {name: kind_name(variant, "predictions") for name, variant in experiment.ablations.items()}


def _with_ablated(context: StageContext, scores: ScoreSets, scorer: Scorer, rows: list[int]) -> ScoreSets:
    """Add the scores of ablations, and of the reconstructions, on some test pictures, which are scored among themselves."""
    kinds = {"final": "final", **_kinds_of_ablations(context.experiment)}
    found: dict[str, PerPicture] = {}
    for name, kind in kinds.items():
        context.progress(f"scoring {len(rows)} pictures", len(found), len(kinds))
        found[name] = scorer.score(context.results.open_pictures(kind, rows))
    return replace(scores, final_of_ablated=found.pop("final"), ablations=found)


def _write_sections(
    draft: Draft,
    context: StageContext,
    scores: Mapping[str, Mapping[str, Any]],
    per_image: pd.DataFrame,
    regions: Mapping[str, Any],
) -> None:
    from braindiffuser.report.score_sections import ScoredSet, noise_ceiling_section, score_sections

    experiment, recording = context.experiment, context.open_recording()
    kinds, ablations = gallery_kinds(experiment), ablation_labels(experiment)
    profile = experiment.evaluation.all_metrics().without(next(iter(scores.values()))["missing"])
    sets = [
        ScoredSet(
            name=name,
            scores=summary,
            per_image=per_image[per_image["set"] == name].reset_index(drop=True),
            kinds=kinds,
            ablations=ablations,
            headlines=profile.headlines,
            notes=profile.notes,
            heading=recording.notes.get(name),
            names=recording.names,
        )
        for name, summary in scores.items()
    ]
    ceilings = [noise_ceiling_section(regions)] if regions.get("rois") else []
    for number, section in enumerate([*score_sections(sets), *ceilings]):
        name = f"sections/evaluate.{number:02d}-{section.name}.json"
        draft.write_text(name, section.model_dump_json(indent=1) + "\n")


def gallery_kinds(experiment: Experiment) -> dict[str, str]:
    """Return the kinds of pictures of a gallery, from left to right: seen, the variants up to the whole method, the ceiling."""
    generator = experiment.generator
    way = {kind_name(variant, "predictions"): generator.variants[variant].label for variant in generator.chain("full")}
    ceiling = {"from_true_features": "From true features"} if experiment.pictures.ceiling else {}
    return {"seen": "Seen", **way, **ceiling}


def ablation_labels(experiment: Experiment) -> dict[str, str]:
    """Return the name of each ablation that is drawn → its label."""
    variants = experiment.generator.variants
    drawn_by = {name: variants[variant] for name, variant in experiment.ablations.items()}
    return {name: variant.ablation_label or variant.label for name, variant in drawn_by.items()}


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    evaluation = experiment.evaluation.influences(experiment.device)
    return {
        "seed": experiment.seed,
        "evaluation": evaluation,
        "pictures": experiment.pictures.influences(experiment.device),
    }


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    made = (Step("prepare", "recording"),) if experiment.dataset.makes_files else ()
    return (*made, Step("prepare", "stimuli"), Step("prepare", "responses"), *RECONSTRUCT.steps(experiment))


def scoring_checkpoints(experiment: Experiment) -> dict[str, Path]:
    """Return the checkpoint folders that scores depend on, by the name of their entry."""
    from braindiffuser.metrics.feature_networks import bundled_checkpoints

    whole = experiment.evaluation.all_metrics()
    own = {
        f"evaluation.metrics.{name}.{entry}": folder
        for name, metric in whole.metrics.items()
        for entry, folder in metric.checkpoints.items()
    }
    return own | {f"evaluation.{name}": folder for name, folder in bundled_checkpoints(whole.layers).items()}


def available_scoring(experiment: Experiment) -> tuple[str, ...]:
    """Return the scoring networks whose files are on this machine."""
    from braindiffuser.metrics.feature_networks import available_networks

    return available_networks(experiment.evaluation.all_metrics().layers)


STAGE = Stage(
    name="evaluate",
    does="score the pictures, with intervals, ceiling, baselines and ablations",
    reads="pictures, stimuli, noise ceilings",
    writes=(
        "reconstructions/seen/*.png",
        "scores.json",
        "scores_*.json",
        "per_image.csv",
        "noise_ceiling.json",
        "sections/evaluate.*.json",
    ),
    needs=("prepare", "reconstruct"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    roles=lambda experiment, unit: ("stimuli",),
    checkpoints=lambda experiment, unit: scoring_checkpoints(experiment),
    available=lambda experiment, unit: available_scoring(experiment),
)
