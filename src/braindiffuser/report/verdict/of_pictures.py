"""What the reconstructions show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance
from braindiffuser.report.chance_alarm import too_few_to_exchange
from braindiffuser.report.numbers import counted, join, p_sentence
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_family
from braindiffuser.report.verdict.conclusion import CHANCE, Conclusion, Evidence, related_groups

BLIND = {"mean_image": "the mean training picture", "random_train_image": "a training picture drawn at random"}
"""Baselines that know nothing of the responses, and how sentences name them."""


def pictures_conclusions(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude from the reconstructions."""
    yield from _drawn(evidence)
    yield from _blind(evidence.scores["metrics"])


def _drawn(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude on whether they show what was seen, and more than a training picture would."""
    metrics = evidence.scores["metrics"]
    p_values = {key: entry["p"] for key, entry in metrics.items() if entry.get("p") is not None}
    if not p_values:
        return
    beyond = beyond_chance(p_values)
    identification = [
        key for key in p_values if metrics[key].get("chance") == CHANCE and metrics[key]["bounds"] == [0, 1]
    ]
    if not beyond:
        yield from _not_shown(evidence, p_values, identification)
        return
    best = ([key for key in identification if key in beyond] or [key for key in p_values if key in beyond])[-1]
    entry = metrics[best]
    groups = evidence.scores.get("features") or {}
    if groups and not related_groups(groups):
        if too_few_to_exchange(int(evidence.scores["n_images"]), len(groups)):
            return
        yield Conclusion(
            "pictures_alone",
            "limited",
            f"{entry['label']} tells the reconstructions from those of other pictures ({p_sentence(entry['p'])}), though no "
            "decoded features do: by chance, or because pictures are drawn from something else too.",
        )
        return
    low, high = entry["ci95"]
    ends = format_interval(entry, Estimate(entry["value"], low, high))
    several = _of_several(metrics, p_values, beyond) if len(p_values) > 1 else ""
    yield Conclusion(
        "pictures_identified",
        "supported",
        f"Reconstructions resemble what was seen: {entry['label']} is {format_score(entry, entry['value'])} [{ends}], better "
        f"than with pictures exchanged ({p_sentence(entry['p'])}){several}.",
    )
    yield from _retrieval(metrics, int(evidence.scores["n_images"]))


def _of_several(metrics: Mapping[str, Any], p_values: Mapping[str, float], beyond: Collection[str]) -> str:
    """Say by how many metrics reconstructions are better than exchanged ones, by which not, and which cannot tell."""
    n, is_better = len(p_values), "is" if len(beyond) == 1 else "are"
    not_by = [metrics[key]["label"] for key in p_values if key not in beyond]
    untested = [entry["label"] for key, entry in metrics.items() if key not in p_values]
    return (
        f"; {len(beyond)} of {n} metrics {is_better} better, corrected for testing {n} (Holm)"
        + (f"; not by {join(not_by)}" if not_by else "")
        + (f"; {join(untested)} cannot be tested so" if untested else "")
    )


def _blind(metrics: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Name the metrics by which pictures that nothing was decoded for are closer to what was seen than reconstructions."""
    for name, whom in BLIND.items():
        found = {key: entry["differences"][name] for key, entry in metrics.items() if name in entry["differences"]}
        shown = beyond_chance({key: each["p"] for key, each in found.items()})
        behind = [
            metrics[key]["label"] for key in shown if (found[key]["value"] < 0) == metrics[key]["higher_is_better"]
        ]
        if behind:
            yield Conclusion(
                "behind_blind",
                "limited",
                f"By {join(behind)}, {whom} is closer to what was seen than the reconstructions, though it knows nothing of the "
                "responses (picture by picture).",
            )


def _not_shown(
    evidence: Evidence, p_values: Mapping[str, float], identification: Sequence[str]
) -> Iterator[Conclusion]:
    """Say why no metric tells the reconstructions from those of other pictures, though features are decoded."""
    groups, metrics, agreement = (evidence.scores.get(key) or {} for key in ("features", "metrics", "agreement"))
    decoded = related_groups(groups)
    if not decoded or too_few_to_exchange(int(evidence.scores["n_images"]), len(p_values)):
        return
    none = f"none of {len(p_values)} metrics tells the" if len(p_values) > 1 else "the one metric does not tell"
    said = (
        f"features of {join(sorted(decoded))} identify what was seen, but {none} "
        f"reconstructions from those of other pictures (smallest {p_sentence(min(p_values.values()))})"
    )
    reached = max((groups[name]["two_way"] for name in decoded), key=lambda share: float(share["value"]))
    agrees = bool(agreement) and agreement["p_value"] <= ALPHA
    near = [key for key in identification if _is_half_way(metrics[key], reached)]
    if near and len(near) == len(identification) and not agrees:
        yield Conclusion(
            "brain_ignored",
            "wrong",
            f"Pictures do not show what is decoded: {said}. The generator draws from something else than the brain.",
        )
    else:
        why = (
            "Pictures do resemble what was decoded, so look at the metrics and at the ceiling."
            if agrees
            else "There may be too few pictures to tell."
        )
        yield Conclusion(
            "pictures_open", "limited", f"Whether pictures show what is decoded is not known: {said}. {why}"
        )


def _is_half_way(found: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Return whether identification is shown to lie nearer to chance than to another score."""
    return bool(found["ci95"][1] < (CHANCE + beside["value"]) / 2)


def _retrieval(metrics: Mapping[str, Any], n_images: int) -> Iterator[Conclusion]:
    """Compare reconstructions with the training pictures that are nearest to the decoded features."""
    name = "nearest_training_picture"
    found = {key: entry["differences"][name] for key, entry in metrics.items() if name in entry["differences"]}
    if not found:
        return
    if len(found) * 2.0 ** (1 - n_images) > ALPHA:  # the sign-flip test's smallest p, after Holm's first step
        yield Conclusion(
            "too_few_to_compare",
            "limited",
            f"{n_images} test pictures are too few to compare reconstructions with training pictures by "
            f"{counted(len(found), 'metric')}.",
        )
        return
    shown = beyond_chance({key: each["p"] for key, each in found.items()})
    closer = [key for key in found if key in shown and (found[key]["value"] > 0) == metrics[key]["higher_is_better"]]
    farther = [key for key in found if key in shown and key not in closer]
    open_ones = [key for key in found if key not in shown]
    whom = "the training picture whose features are nearest to the decoded ones"

    def named(keys: Sequence[str]) -> str:
        return join([metrics[key]["label"] for key in keys])

    if any(metrics[key].get("of_features") or metric_family(metrics[key]) != "Pixel metrics" for key in closer):
        corrected = f", corrected for {len(found)} metrics" if len(found) > 1 else ""
        rest = f"; not clearly by {named(open_ones)}" if open_ones else ""
        yield Conclusion(
            "beyond_retrieval",
            "supported",
            f"Reconstructions are closer to what was seen than {whom}, by {named(closer)} (picture by picture{corrected}){rest}.",
        )
    elif closer:
        yield Conclusion(
            "beyond_retrieval_in_pixels",
            "limited",
            f"Only by {named(closer)} are reconstructions closer to what was seen than {whom}; blurring such a picture would do "
            "as much.",
        )
    else:
        yield Conclusion(
            "no_better_than_retrieval",
            "limited",
            f"By no metric are reconstructions clearly closer to what was seen than {whom}, so they are no evidence of more than "
            "retrieval.",
        )
    if farther:
        yield Conclusion(
            "behind_retrieval",
            "limited",
            f"By {named(farther)}, {whom} is closer to what was seen than the reconstructions.",
        )
