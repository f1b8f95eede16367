"""Pictures → scores with intervals, beside the ceiling, baselines and the ablations.

Each test set is scored separately. Metrics whose network's checkpoint is not on this machine are left out and reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from braindiffuser.experiment import Experiment
from braindiffuser.images import batch_slices
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.stages.compare import FEATURE_SCORES, Categories, known_categories
from braindiffuser.stages.evaluation.flags import flag_pictures, flags_in_words
from braindiffuser.stages.evaluation.near_targets import NearTargets, decoded_neighbours, nearest_group
from braindiffuser.stages.evaluation.run_scorers import available_scoring, scoring_checkpoints, scoring_of
from braindiffuser.stages.evaluation.shown_pictures import Shown, rows_of, score_all
from braindiffuser.stages.reconstruct import STAGE as RECONSTRUCT
from braindiffuser.stages.reconstruct import ablated_rows, kind_name, recovers_branches, rows_of_some
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.profiles import Profile
    from braindiffuser.metrics.scored_pictures import ScoredPictures
    from braindiffuser.metrics.summary import PerPicture, ScoreSets

STREAM = 16
"""Third component of the seed of draws that were added later, so that earlier ones stay as they were."""


LEFT_OUT = "left_out.csv"
"""Table of the mean score of all other pictures when one is left out, as a picture and as a distractor of others, of metrics
that identify pictures among each other: intervals over folds and over subjects are made of it."""


def scores_name(test_set: str) -> str:
    """Name of the file that holds the scores of a test set."""
    return "scores.json" if test_set == "test" else f"scores_{test_set}.json"


def scored_pictures(results: Results, per_image: pd.DataFrame, name: str, keys: Collection[str]) -> ScoredPictures:
    """Return the scores of the reconstructions of one test set, in the order of its rows.

    Args:
        results: of the run.
        per_image: content of its `per_image.csv`.
        name: of the test set.
        keys: metrics.
    """
    from braindiffuser.metrics.scored_pictures import ScoredPictures

    rows = per_image[per_image["set"] == name]
    scores = {key: rows[key].to_numpy(dtype=np.float64) for key in keys}
    if not (results.folder / LEFT_OUT).is_file():  # runs of earlier versions have none
        return ScoredPictures(scores, {})
    without = results.read_table(LEFT_OUT).set_index("number").loc[rows["number"]]
    return ScoredPictures(scores, {key: without[key].to_numpy(dtype=np.float64) for key in keys if key in without})


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    from braindiffuser.datasets.noise_ceiling import summarise_regions
    from braindiffuser.stages.prepare import ceilings_of_tests

    draft, results = drafts[""], context.results
    _copy_seen(context, draft)
    scores, per_image, left_out = _score(context)
    flags = flag_pictures(context, scores)
    for name, summary in scores.items():
        draft.write_json(scores_name(name), summary)
    regions = summarise_regions(ceilings_of_tests(results), results.read_bundle("rois.npz"))
    draft.write_json("noise_ceiling.json", regions)
    draft.write_table("per_image.csv", per_image)
    draft.write_table(LEFT_OUT, left_out)
    draft.write_table("flags.csv", flags)
    _write_sections(draft, context, scores, per_image, flags, regions)
    yield ""


def _copy_seen(context: StageContext, draft: Draft) -> None:
    ids = context.results.read_array("stimuli/test_ids")
    missing = np.array(draft.missing_pictures("seen", len(ids)), np.int64)
    for rows in batch_slices(len(missing)) if missing.size else ():
        numbers = missing[rows]
        draft.write_pictures("seen", numbers.tolist(), context.open_recording().pictures(ids[numbers]))


def _score(context: StageContext) -> tuple[dict[str, dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """Score every test set; return what each scores file holds, all scores picture by picture, and those without each picture.

    Pictures are read a batch at a time; what stays in memory is features of the stimuli, of the reconstructions, and of one
    more kind.
    """
    import pandas as pd

    from braindiffuser.datasets.splits import order_of_appearance
    from braindiffuser.metrics.scored_pictures import ScoredPictures
    from braindiffuser.metrics.summary import summarise

    experiment, ids = context.experiment, context.results.read_array("stimuli/test_ids")
    profile, _, missing = scoring_of(context)
    summaries, tables, without, near = {}, [], [], NearTargets(context)
    of_features = context.results.read_json(FEATURE_SCORES)
    authors_numbers = order_of_appearance(context.results.read_table("trials.csv"), ids)
    for name, (start, stop) in context.results.read_json("test_sets.json").items():
        rng = np.random.default_rng([experiment.seed, stop - start])
        scores = _score_sets(context, slice(start, stop), rng, near)
        if experiment.pictures.n_ablated is not None and experiment.ablations:
            scores = _with_ablated(context, scores, ablated_rows(experiment, start, stop))
        summary = summarise(profile, scores, rng, experiment.evaluation.n_resamples)
        summaries[name] = summary | {"features": of_features[name]["groups"], "missing": missing}
        summaries[name] |= _facts_of_baselines(context, slice(start, stop))
        summaries[name] |= _compared_on_some(context, profile, slice(start, stop))
        facts = {
            "number": np.arange(start, stop),
            "stimulus_id": ids[start:stop],
            "authors_number": authors_numbers[start:stop],
            "set": name,
        }
        tables.append(pd.DataFrame(facts | dict(scores.final)))
        known = scores.final.left_out if isinstance(scores.final, ScoredPictures) else {}
        without.append(pd.DataFrame({key: facts[key] for key in ("number", "stimulus_id", "set")} | dict(known)))
    return summaries, pd.concat(tables), pd.concat(without)


def _score_sets(context: StageContext, rows: slice, rng: np.random.Generator, near: NearTargets) -> ScoreSets:
    """Score all kinds of pictures of one test set; ablations only if they are drawn for all of it.

    Shuffled responses would give the same reconstructions in another order, apart from noise (also under `transductive`,
    whose statistics ignore order). So this baseline draws nothing: it compares each reconstruction with another stimulus.
    """
    from braindiffuser.metrics.baselines import derangement, draw_training
    from braindiffuser.metrics.summary import ScoreSets

    n, experiment = rows.stop - rows.start, context.experiment
    ablations = {} if experiment.pictures.n_ablated is not None else _kinds_of_ablations(experiment)
    kinds = ["from_true_features"] * experiment.pictures.ceiling + list(ablations.values())
    n_train = len(context.results.read_array("stimuli/train_ids"))
    drawn, order = draw_training(n_train, n, rng), derangement(n, rng)
    chosen = {"random_train_image": drawn, **_chosen_training(context, near, rows)}
    own = Shown(rows_of(rows))
    shown = {"final": own._replace(kind="final", order=rows_of(order)), "mean_image": own}
    shown |= {name: own._replace(places=rows_of(places)) for name, places in chosen.items()}
    shown |= {kind: own._replace(kind=kind) for kind in kinds}
    found = dict(score_all(context, shown))
    scores: dict[str, PerPicture] = {name: each.pictures for name, each in found.items()}
    if found["final"].exchanged is not None:
        scores["shuffled_responses"] = found["final"].exchanged
    return ScoreSets(
        pairs=found["final"].pairs,
        final=scores["final"],
        ceiling=scores.get("from_true_features"),
        baselines={
            name: scores[name]
            for name in (
                "mean_image",
                "random_train_image",
                "shuffled_responses",
                "nearest_training_picture",
                "category_only",
            )
            if name in scores
        },
        ablations={name: scores[kind] for name, kind in ablations.items()},
    )


def _chosen_training(context: StageContext, near: NearTargets, rows: slice) -> dict[str, Int[np.ndarray, " n"]]:
    """Return baseline → which training pictures it shows for the test pictures of one set.

    The nearest training picture draws nothing: it shows what a decoder reaches that looks its answer up among known pictures
    (Shirakawa et al. 2024, arXiv:2405.10078).
    """
    from braindiffuser.metrics.baselines import draw_of_same_category
    from braindiffuser.metrics.nearest_rows import nearest_rows

    decoded = np.asarray(near.decoded[rows])
    chosen = {"nearest_training_picture": nearest_rows(decoded, near.targets, near.mean).place}
    categories = _shared_categories(context)
    if categories is not None:
        rng = np.random.default_rng([context.experiment.seed, rows.start, STREAM])
        chosen["category_only"] = draw_of_same_category(categories.of_training, categories.of_test[rows], rng)
    return chosen


def _shared_categories(context: StageContext) -> Categories | None:
    """Return the categories of stimuli; None unless training and test stimuli have two or more in common."""
    found = known_categories(context)
    if found is None:
        return None
    shared = set(found.of_training.tolist()) & set(found.of_test.tolist()) - {""}
    return found if len(shared) > 1 else None


def _facts_of_baselines(context: StageContext, rows: slice) -> dict[str, Any]:
    """Return by what the training pictures of baselines were chosen, as the scores file says it."""
    facts: dict[str, Any] = {"nearest_training_picture": {"features": nearest_group(context.experiment)}}
    categories = _shared_categories(context)
    if categories is not None:
        of_test = categories.of_test[rows]
        facts["category_only"] = {
            "column": categories.column,
            "n_categories": len(set(of_test.tolist()) - {""}),
            "n_without_training_picture": int((~np.isin(of_test, categories.of_training)).sum()),
        }
    return {"chosen_by": facts}


def _kinds_of_ablations(experiment: Experiment) -> dict[str, str]:
    return {name: kind_name(variant, "predictions") for name, variant in experiment.ablations.items()}


def _with_ablated(context: StageContext, scores: ScoreSets, rows: list[int]) -> ScoreSets:
    """Add the scores of ablations, and of the reconstructions, on some test pictures, which are scored among themselves."""
    kinds = {"final": "final", **_kinds_of_ablations(context.experiment)}
    shown = {name: Shown(rows_of(rows), kind) for name, kind in kinds.items()}
    found: dict[str, PerPicture] = {name: each.pictures for name, each in score_all(context, shown)}
    return replace(scores, final_of_ablated=found.pop("final"), ablations=found)


def _compared_on_some(context: StageContext, profile: Profile, of_set: slice) -> dict[str, Any]:
    """Score pictures that are drawn for some test pictures, which are scored among themselves.

    Returns:
        `recovery`: pictures from all true features and from one branch of them alone; `random_responses`: reconstructions, and
        pictures from random responses. Each is what `compare_sets` returns, and is there if it is drawn.
    """
    from braindiffuser.metrics.set_comparison import compare_sets

    experiment = context.experiment
    branches = experiment.generator.branches.items()
    recovery = {"all": kind_name("full", "truth"), **{label: kind_name(name, "truth") for name, label in branches}}
    random = {"reconstruction": "final", "random_responses": kind_name("full", "random_responses")}
    wanted = {
        "recovery": (experiment.pictures.n_recovered, recovery if recovers_branches(experiment) else {}),
        "random_responses": (
            experiment.pictures.n_random_responses,
            random if experiment.pictures.n_random_responses != 0 else {},
        ),
    }
    found = {}
    for name, (n, kinds) in wanted.items():
        if kinds:
            rows = rows_of(rows_of_some(n, of_set.start, of_set.stop))
            shown = {condition: Shown(rows, kind) for condition, kind in kinds.items()}
            sets: dict[str, PerPicture] = {name: each.pictures for name, each in score_all(context, shown)}
            found[name] = compare_sets(profile, sets)
    return found


def _write_sections(
    draft: Draft,
    context: StageContext,
    scores: Mapping[str, Mapping[str, Any]],
    per_image: pd.DataFrame,
    flags: pd.DataFrame,
    regions: Mapping[str, Any],
) -> None:
    from braindiffuser.report.comparison_sections import comparison_sections
    from braindiffuser.report.sample_sections import sample_sections
    from braindiffuser.report.score_sections import ScoredSet, noise_ceiling_section, on_test_set, score_sections

    experiment, recording = context.experiment, context.open_recording()
    neighbours = decoded_neighbours(context)
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
            flags=flags_in_words(flags),
            neighbours=neighbours,
        )
        for name, summary in scores.items()
    ]
    ceilings = [noise_ceiling_section(regions)] if regions.get("rois") else []
    name, first = next(iter(scores.items()))
    compared = [*comparison_sections(first), *sample_sections(first)]
    if len(scores) > 1:
        compared = [on_test_set(section, name) for section in compared]
    for number, section in enumerate([*score_sections(sets), *compared, *ceilings]):
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
    prepared, group = (Step("prepare", "stimuli"), Step("prepare", "responses")), nearest_group(experiment)
    features = (Step("extract", group), Step("fit", group), Step("compare"))
    return (*made, *prepared, *features, *RECONSTRUCT.steps(experiment))


STAGE = Stage(
    name="evaluate",
    does="score the pictures, with intervals, ceiling, baselines and ablations",
    reads="pictures, stimuli, noise ceilings, scores of features; targets and predictions of one group",
    writes=(
        "reconstructions/seen/*.png",
        "scores.json",
        "scores_*.json",
        "per_image.csv",
        LEFT_OUT,
        "flags.csv",
        "noise_ceiling.json",
        "sections/evaluate.*.json",
    ),
    needs=("prepare", "extract", "fit", "compare", "reconstruct"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    roles=lambda experiment, unit: ("stimuli",),
    checkpoints=lambda experiment, unit: scoring_checkpoints(experiment),
    available=lambda experiment, unit: available_scoring(experiment),
    workers="some",
)
