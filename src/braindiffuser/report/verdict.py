"""The first box of a page: what the numbers of a run support, what they do not, and why, each sentence computed.

A conclusion has a name, so that a program can ask for it. It is drawn from `scores.json` of one test set, and from what other
parts of the run found, where they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance
from braindiffuser.report.chance_alarm import HOW_TO_CHECK, too_few_to_exchange
from braindiffuser.report.numbers import join, number, p_sentence, percent
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_family

Kind = Literal["supported", "limited", "wrong"]
"""supported: the numbers show it. limited: they do not show it, or only in part. wrong: the run itself is in doubt."""

CHANCE = 0.5
SATURATED = 0.95
"""Two-way identification from which on better decoders hardly score higher: one that knows only which of 10 equal categories a
picture is of reaches 1 − 1/20."""
MANY_TWINS, FEW_TWINS = 0.5, 0.25
"""Shares of pictures with nearly the features of another one: more than the first among decoded features, though less than the
second among true ones, are called a collapse."""
NARROW = 0.5
"""Share of the true features' effective dimension below which the page says that decoded features vary along few directions."""
FEWEST_WITHIN = 10
"""Pictures that share a category with another one, below which nothing is said of the category."""
NEAR_CHANCE = 0.3
"""Share of the way from chance to another score: an interval that ends below it is near chance."""
NEGLIGIBLE = 0.01
"""Share of test pictures with nearly the features of a training picture up to which they cannot move scores by much."""
MOST_NAMED = 3
"""Copies that the verdict names."""
FEW_PICTURES = 30
CEILING_OF_NOISE = 5.0
"""Median noise ceiling in percent below which responses to one stimulus do not repeat."""


@dataclass(frozen=True)
class Conclusion:
    """One conclusion.

    Attributes:
        name: of it, the same in every run.
        kind: what it means for the reader.
        sentence: as the page prints it.
    """

    name: str
    kind: Kind
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What conclusions are drawn from.

    Attributes:
        scores: of the test set, as `scores.json` holds them, with its "features".
        audit: facts of this test set of the analysis split_audit, with its `n`; None: it was not made.
        noise_ceiling: median over all decoded voxels in percent; None: not known.
        notes: what must be known of the metrics, such as that networks are stand-ins: title → text.
        transductive: entries of the experiment that let statistics of the test set in, such as regression.calibration.
        is_simulated: whether no brain was recorded.
    """

    scores: Mapping[str, Any]
    audit: Mapping[str, Any] | None = None
    noise_ceiling: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    transductive: Sequence[str] = ()
    is_simulated: bool = False


def conclusions(evidence: Evidence) -> list[Conclusion]:
    """Draw all conclusions; what puts the run in doubt comes first, then what is supported, then its limits.

    docs/concepts/verdict.md lists their names, and when each is drawn.
    """
    found = [
        *_features(evidence),
        *_overlap(evidence),
        *_pictures(evidence),
        *_scope(evidence),
    ]
    order: Sequence[Kind] = ("wrong", "supported", "limited")
    return sorted(found, key=lambda each: order.index(each.kind))


def _features(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude from decoded features, before any picture is drawn."""
    groups = evidence.scores.get("features") or {}
    if not groups:
        return
    related = _related(groups)
    if not related:
        n = min(own["n_images"] for own in groups.values())
        if too_few_to_exchange(n, len(groups)):
            yield Conclusion(
                "too_few", "limited", f"{n} test pictures are too few to tell decoded features from chance."
            )
        else:
            yield _unrelated(evidence, groups)
        return
    best = max(related, key=lambda name: groups[name]["two_way"]["value"])
    own = groups[best]
    listed = join([_share_of(name, groups[name]["two_way"]) for name in groups if name in related])
    yield Conclusion(
        "features_identified",
        "supported",
        f"Responses carry what was seen: decoded features are nearer to their own picture than to another one in {listed} of "
        f"comparisons (chance 50 %, {p_sentence(own['two_way']['p'])}). Among all {own['n_images']}, "
        f"{percent(own['top1']['value'], 1)} of the pictures are found by {best}.",
    )
    decoded = {name: groups[name] for name in groups if name in related}
    yield _novelty(decoded)
    yield from _categories(decoded)
    yield from _collapse(decoded)
    if own["two_way"]["value"] >= SATURATED:
        ways = own["n_way"]
        size = next((size for size in ("50", "10") if size in ways), "all")
        yield Conclusion(
            "saturated",
            "limited",
            f"Two-way identification near 100 % cannot tell good decoders apart: one that knows only which of ten categories a "
            f"picture is of would score 95 %. Read identification among {size if size != 'all' else own['n_images']} instead: "
            f"{percent(ways[size]['value'], 1)} [{_ends(ways[size])}].",
        )


def _novelty(groups: Mapping[str, Any]) -> Conclusion:
    """Conclude on how many pictures are told from all that the decoder has seen."""
    shares = {name: own["novelty"] for name, own in groups.items()}
    n_train = next(iter(groups.values()))["n_train"]
    said = (
        f"{join([_share_of(name, share) for name, share in shares.items()])} of the pictures have decoded features that are "
        f"nearer to their own truth than to each of the {n_train:,} training pictures"
    )
    if min(share["ci95"][0] for share in shares.values()) > CHANCE:
        return Conclusion("novel", "supported", f"Most are told from all training pictures too: {said}.")
    if min(share["value"] for share in shares.values()) > CHANCE:
        return Conclusion(
            "novelty_open", "limited", f"Whether most are told from all training pictures is not shown: {said}."
        )
    return Conclusion(
        "not_novel",
        "limited",
        f"Only {said}. The others are nearer to a training picture than to what was seen.",
    )


def _unrelated(evidence: Evidence, groups: Mapping[str, Any]) -> Conclusion:
    """Say that nothing is decoded, and where trials and pictures may have come apart."""
    ceiling = evidence.noise_ceiling
    if ceiling is None:
        where = ""
    elif ceiling < CEILING_OF_NOISE:
        where = (
            f" Responses to one stimulus do not repeat either (median noise ceiling {number(ceiling, 1)} %): trials are probably "
            "out of step with the design, or carry no signal."
        )
    else:
        where = (
            f" Responses to one stimulus do repeat (median noise ceiling {number(ceiling, 1)} %), so trials are grouped rightly: "
            "probably the pictures are exchanged, such as numbers that count from 0 and from 1."
        )
    smallest = min(own["two_way"]["p"] for own in groups.values())
    return Conclusion(
        "unrelated",
        "wrong",
        f"Nothing is decoded: no group of features is nearer to its own picture than chance (smallest {p_sentence(smallest)}). "
        f"Trials and pictures are probably misaligned.{where} {HOW_TO_CHECK}",
    )


def _collapse(groups: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Conclude on how much decoded features vary, beside the true ones of the same pictures."""
    collapsed = [
        name
        for name, own in groups.items()
        if own["twins"]["decoded_ci95"][0] > MANY_TWINS and own["twins"]["true"] < FEW_TWINS
    ]
    are_all = len(collapsed) == len(groups)
    for name, own in groups.items():
        twins, dimension = own["twins"], own["effective_dimension"]
        if name in collapsed:
            yield Conclusion(
                "collapsed" if are_all else "collapsed_in_some",
                "wrong" if are_all else "limited",
                f"{percent(twins['decoded'], 1)} of the pictures have nearly the same decoded features ({name}) as another one "
                f"(true features: {percent(twins['true'], 1)}): predictions have collapsed to a few kinds of pictures.",
            )
        elif dimension["true"] and dimension["decoded_ci95"][1] < NARROW * dimension["true"]:
            yield Conclusion(
                "narrow",
                "limited",
                f"Most of what varies in decoded features of {name} lies along {number(dimension['decoded'], 1)} directions in "
                f"effect; true ones vary along {number(dimension['true'], 1)}.",
            )


def _categories(groups: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Conclude on whether more than the category is decoded, of any group of features and of all."""
    known = {name: own for name, own in groups.items() if "within_category" in own}
    if not known:
        yield Conclusion(
            "category_unknown",
            "limited",
            "Whether more than the category is decoded is not known: the table of stimuli says of no two test pictures that they "
            "share one (column `category`, or the one that `evaluation.category` names).",
        )
        return
    enough = [name for name, own in known.items() if own["within_category"]["n_images"] >= FEWEST_WITHIN]
    beyond = [name for name in enough if _lower_end(known[name]["within_category"], len(enough)) > CHANCE]
    alone = [
        name
        for name in enough
        if name not in beyond and _is_near_chance(known[name]["within_category"], known[name]["two_way"])
    ]
    said = "among pictures of the same category %s of comparisons are right (chance 50 %)"
    if beyond:
        shares = join([_share_of(name, known[name]["within_category"]) for name in beyond])
        yield Conclusion(
            "beyond_category", "supported", f"More than the category is decoded: {said.replace('%s', shares)}."
        )
    if alone:
        within = join([_share_of(name, known[name]["within_category"]) for name in alone])
        among = join([percent(known[name]["two_way"]["value"], 1) for name in alone])
        are_all = len(alone) == len(enough)
        yield Conclusion(
            "category_only" if are_all else "category_only_of_some",
            "wrong" if are_all else "limited",
            f"{'The scores are' if are_all else 'Some scores are'} like those of a decoder that knows only the category: "
            f"{said.replace('%s', within)}, and {among} among all."
            f"{' They are no evidence that pictures are reconstructed.' if are_all else ''}",
        )
    if not beyond and not alone:
        shares = join([_share_of(name, own["within_category"]) for name, own in known.items()])
        yield Conclusion(
            "category_open",
            "limited",
            f"Whether more than the category is decoded cannot be told: {said.replace('%s', shares)}.",
        )


def _lower_end(found: Mapping[str, Any], n_tested: int) -> float:
    """Return the lower end of an interval that holds for all of several scores together (Bonferroni, by normal quantiles)."""
    usual, wider = (NormalDist().inv_cdf(1 - ALPHA / (2 * n)) for n in (1, n_tested))
    return float(found["value"] - (found["value"] - found["ci95"][0]) * wider / usual)


def _is_near_chance(found: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Return whether identification is shown to lie near chance, on the way from there to another score."""
    return bool(found["ci95"][1] < CHANCE + NEAR_CHANCE * (beside["value"] - CHANCE))


def _overlap(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude on test pictures that lie in the training set."""
    audit = evidence.audit
    if audit is None:
        yield Conclusion(
            "not_audited",
            "limited",
            "Whether test pictures resemble training pictures was not looked at: `braindiffuser analyse split_audit --out RUN` "
            "does.",
        )
        return
    copies, near = audit["near_copies"], audit["near_duplicates"]
    doubles = near["count"]
    have = "has" if doubles == 1 else "have"
    of = (
        f"of {audit['n']} test pictures, {doubles} {have} nearly the same features as a training picture (of training pictures "
        f"{percent(near['training_share'], 1)})"
    )
    if copies:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are in the training set: {len(copies)} of {audit['n']} show nearly the same pixels as a training "
            f"picture ({_names(copies)}). Take them out of either side before scores are believed.",
        )
    elif doubles > NEGLIGIBLE * audit["n"] and near["more_than_training"]:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures double training pictures: {of}. Look at these pairs in the section on the split, and take out of "
            "either side what shows the same.",
        )
    elif audit["verdict"] == "nearer":
        yield Conclusion(
            "nearer_than_training",
            "wrong",
            "Test pictures lie nearer to training pictures than those lie to each other, so scores tell little of new pictures.",
        )
    elif doubles:
        yield Conclusion(
            "few_doubles",
            "limited",
            f"Some test pictures nearly double training pictures: {of}. That moves a mean score by "
            f"{percent(doubles / audit['n'], 1)} at most.",
        )
    if not copies and (alike := audit["look_alikes"]):
        yield Conclusion(
            "look_alikes",
            "limited",
            f"Whether test pictures are copies cannot be told from pixels: {len(alike)} of {audit['n']} show nearly the same as "
            f"a training picture ({_names(alike)}), as training pictures do among themselves. Look at these pairs.",
        )
    if audit["verdict"] == "alike":
        yield Conclusion(
            "alike",
            "limited",
            "Test pictures resemble training pictures as much as those resemble each other: scores hold for such pictures, and "
            "tell nothing of other kinds.",
        )


def _names(pairs: Sequence[Mapping[str, Any]]) -> str:
    names = [str(each["name"] or each["stimulus_id"]) for each in pairs[:MOST_NAMED]]
    more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    return f"{', '.join(names)}{more}"


def _pictures(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude from the reconstructions."""
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
    if groups and not _related(groups):
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
    several = f"; {len(beyond)} of {len(p_values)} metrics are, corrected for as many" if len(p_values) > 1 else ""
    yield Conclusion(
        "pictures_identified",
        "supported",
        f"Reconstructions show it: {entry['label']} is {format_score(entry, entry['value'])} [{ends}], beyond exchanged pictures "
        f"({p_sentence(entry['p'])}){several}.",
    )
    yield from _retrieval(metrics, int(evidence.scores["n_images"]))


def _not_shown(
    evidence: Evidence, p_values: Mapping[str, float], identification: Sequence[str]
) -> Iterator[Conclusion]:
    """Say why no metric tells the reconstructions from those of other pictures, though features are decoded."""
    groups, metrics, agreement = (evidence.scores.get(key) or {} for key in ("features", "metrics", "agreement"))
    decoded = _related(groups)
    if not decoded or too_few_to_exchange(int(evidence.scores["n_images"]), len(p_values)):
        return
    said = (
        f"features of {join(sorted(decoded))} identify what was seen, but none of {len(p_values)} metrics tells the "
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


def _related(groups: Mapping[str, Any]) -> set[str]:
    """Return the groups of features that identify pictures beyond chance."""
    return beyond_chance({name: own["two_way"]["p"] for name, own in groups.items()})


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
            f"{n_images} test pictures are too few to compare reconstructions with training pictures by {len(found)} metrics.",
        )
        return
    shown = beyond_chance({key: each["p"] for key, each in found.items()})
    closer = [key for key in found if key in shown and (found[key]["value"] > 0) == metrics[key]["higher_is_better"]]
    farther = [key for key in found if key in shown and key not in closer]
    open_ones = [key for key in found if key not in shown]
    whom = "the training picture whose features are nearest to the decoded ones"

    def named(keys: Sequence[str]) -> str:
        return join([metrics[key]["label"] for key in keys])

    if any(metric_family(metrics[key]) != "Pixel metrics" for key in closer):
        yield Conclusion(
            "beyond_retrieval",
            "supported",
            f"Reconstructions are closer to what was seen than {whom}, by {named(closer)} (picture by picture, corrected for "
            f"{len(found)} metrics){f'; not clearly by {named(open_ones)}' if open_ones else ''}.",
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


def _scope(evidence: Evidence) -> Iterator[Conclusion]:
    """Say what the numbers are of."""
    n = evidence.scores["n_images"]
    if evidence.transductive:
        yield Conclusion(
            "transductive",
            "limited",
            f"Statistics of the test set were used ({join(list(evidence.transductive))}: transductive), so what is decoded of "
            "one picture depends on the others, and no single trial could be decoded so.",
        )
    if n < FEW_PICTURES:
        yield Conclusion(
            "few_pictures", "limited", f"{n} test pictures are few: intervals are wide, and rare failures may not show."
        )
    whom = "one simulated subject; no brain was recorded" if evidence.is_simulated else "one subject and one fit"
    yield Conclusion(
        "one_subject",
        "limited",
        f"Intervals are over test pictures of {whom}. Others are a question for a study of several subjects.",
    )
    for title, text in evidence.notes.items():
        yield Conclusion("note", "limited", f"{title}: {text}")


def _share_of(name: str, entry: Mapping[str, Any]) -> str:
    return f"{percent(entry['value'], 1)} [{_ends(entry)}] ({name})"


def _ends(entry: Mapping[str, Any]) -> str:
    low, high = entry["ci95"]
    return f"{number(100 * low, 1)} – {number(100 * high, 1)}"
