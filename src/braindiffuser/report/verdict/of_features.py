"""What decoded features show, before any picture is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA
from braindiffuser.report.chance_alarm import HOW_TO_CHECK, too_few_to_exchange
from braindiffuser.report.numbers import join, number, p_sentence, percent
from braindiffuser.report.verdict.conclusion import CHANCE, Conclusion, Evidence, ends_of, related_groups, share_of

SATURATED = 0.95
"""Two-way identification from which on better decoders hardly score higher: one that knows only which of 10 equal categories a
picture is of reaches 1 − 1/20."""
MANY_TWINS, FEW_TWINS = 0.5, 0.25
"""Shares of pictures with nearly the features of another one: more than the first among decoded features, though less than the
second among true ones, are called a collapse."""
MOST_KINDS = 25
"""Kinds of pictures that are called few. Of K equally frequent kinds, a share 1/K of all pairs is of one kind, of however many
pictures; a decoder of few directions gives many of a thousand pictures a twin, though few pairs are."""
NARROW = 0.5
"""Share of the true features' effective dimension below which the page says that decoded features vary along few directions."""
FEWEST_WITHIN = 10
"""Pictures that share a category with another one, below which nothing is said of the category."""
NEAR_CHANCE = 0.3
"""Share of the way from chance to another score: an interval that ends below it is near chance."""
CEILING_OF_NOISE = 5.0
"""Median noise ceiling in percent below which responses to one stimulus do not repeat."""


def features_conclusions(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude from decoded features, before any picture is drawn."""
    groups = evidence.scores.get("features") or {}
    if not groups:
        return
    related = related_groups(groups)
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
    listed = join([share_of(name, groups[name]["two_way"]) for name in groups if name in related])
    yield Conclusion(
        "features_identified",
        "supported",
        f"Responses carry what was seen: decoded features are nearer to their own picture than to another one in {listed} of "
        f"comparisons (chance 50 %, {p_sentence(own['two_way']['p'])}). Among all {own['n_images']}, "
        f"{percent(own['top1']['value'], 1)} of the pictures are found by {best}.",
    )
    decoded = {name: groups[name] for name in groups if name in related}
    of_categories, novelty = list(_categories(decoded)), _novelty(decoded)
    if novelty.name != "novel" or "category_only" not in {each.name for each in of_categories}:
        yield novelty  # where categories of the test set do not train, one that knows only the category is novel too
    yield from of_categories
    yield from _collapse(decoded)
    if own["two_way"]["value"] >= SATURATED:
        ways = own["n_way"]
        size = next((size for size in ("50", "10") if size in ways), "all")
        yield Conclusion(
            "saturated",
            "limited",
            f"Two-way identification near 100 % cannot tell good decoders apart: one that knows only which of ten categories a "
            f"picture is of would score 95 %. Read identification among {size if size != 'all' else own['n_images']} instead: "
            f"{percent(ways[size]['value'], 1)} [{ends_of(ways[size])}].",
        )


def _novelty(groups: Mapping[str, Any]) -> Conclusion:
    """Conclude on how many pictures are told from all that the decoder has seen."""
    shares = {name: own["novelty"] for name, own in groups.items()}
    n_train = next(iter(groups.values()))["n_train"]
    said = (
        f"{join([share_of(name, share) for name, share in shares.items()])} of the pictures have decoded features that are "
        f"nearer to their own truth than to each of the {n_train:,} training pictures"
    )
    if min(share["ci95"][0] for share in shares.values()) > CHANCE:
        return Conclusion("novel", "supported", f"Most are told from all training pictures too: {said}.")
    if min(share["value"] for share in shares.values()) > CHANCE:
        return Conclusion(
            "novelty_open", "limited", f"Whether most are told from all training pictures is not shown: {said}."
        )
    if max(share["value"] for share in shares.values()) > CHANCE:
        return Conclusion(
            "not_novel",
            "limited",
            f"By some groups of features most pictures are told from all training pictures, but not by all: {said}.",
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
    collapsed = [name for name, own in groups.items() if _has_collapsed(own["twins"])]
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


def _has_collapsed(twins: Mapping[str, Any]) -> bool:
    """Return whether most pictures have a twin by decoded features, and so many at once that there are few kinds of them."""
    many = twins["decoded_ci95"][0] > MANY_TWINS and twins["true"] < FEW_TWINS
    return bool(many and twins.get("decoded_pairs", 1.0) > 1 / MOST_KINDS)


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
    rest = [name for name in known if name not in beyond and name not in alone]
    shares_of_rest = join([share_of(name, known[name]["within_category"]) for name in rest])
    if beyond:
        shares = join([share_of(name, known[name]["within_category"]) for name in beyond])
        yield Conclusion(
            "beyond_category", "supported", f"More than the category is decoded: {said.replace('%s', shares)}."
        )
    if alone:
        within = join([share_of(name, known[name]["within_category"]) for name in alone])
        among = join([percent(known[name]["two_way"]["value"], 1) for name in alone])
        are_all = len(alone) == len(enough)
        yield Conclusion(
            "category_only" if are_all else "category_only_of_some",
            "wrong" if are_all else "limited",
            f"{'The scores are' if are_all else 'Some scores are'} like those of a decoder that knows only the category: "
            f"{said.replace('%s', within)}, and {among} among all."
            f"{' They are no evidence that pictures are reconstructed.' if are_all else ''}"
            f"{'' if are_all or beyond else f' Of others it cannot be told: {shares_of_rest}.'}",
        )
    if not beyond and not alone:
        yield Conclusion(
            "category_open",
            "limited",
            f"Whether more than the category is decoded cannot be told: {said.replace('%s', shares_of_rest)}.",
        )


def _lower_end(found: Mapping[str, Any], n_tested: int) -> float:
    """Return the lower end of an interval that holds for all of several scores together (Bonferroni, by normal quantiles)."""
    usual, wider = (NormalDist().inv_cdf(1 - ALPHA / (2 * n)) for n in (1, n_tested))
    return float(found["value"] - (found["value"] - found["ci95"][0]) * wider / usual)


def _is_near_chance(found: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Return whether identification is shown to lie near chance, on the way from there to another score."""
    return bool(found["ci95"][1] < CHANCE + NEAR_CHANCE * (beside["value"] - CHANCE))
