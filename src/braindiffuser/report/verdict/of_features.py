"""What decoded features show, before any picture is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import starmap
from statistics import NormalDist
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA
from braindiffuser.report.chance_alarm import HOW_TO_CHECK, is_same_for_all, too_few_to_exchange
from braindiffuser.report.numbers import join, number, p_sentence, percent
from braindiffuser.report.verdict.conclusion import CHANCE, Conclusion, Evidence, ends_of, related_groups, share_of

SATURATED = 0.95
"""Two-way identification from which on better decoders hardly score higher: one that knows only which of 10 equal categories a
picture is of reaches 1 − 1/20."""
MANY_TWINS, FEW_TWINS = 0.5, 0.25
"""Shares of pictures with nearly the features of another one: more than the first among decoded features, though less than the
second among true ones, tell that nothing is left within clusters, where too few pictures share one to show it."""
MOST_KINDS = 25
"""Kinds of pictures that are called few. Of K equally frequent kinds, a share 1/K of all pairs is of one kind, of however many
pictures; a decoder of few directions gives many of a thousand pictures a twin, though few pairs are."""
APART = 0.7
"""Silhouette from which on clusters are clearly apart (Kaufman & Rousseeuw 1990): those of predictions of a few kinds are, if
two of one kind correlate by about .8 or more."""
ISOLATED = 0.9
"""Share of pictures that must lie nearer to all of their cluster than to any other: predictions along two or three directions
have no gaps between their clusters."""
CERTAIN = 0.99
"""Level of the interval that shows that pictures of one cluster are told apart: of 200 collapsed decoders about one passes by it,
at most."""
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
            same = {name: own["twins"] for name, own in groups.items() if is_same_for_all(own.get("twins", {}))}
            if same and len(same) == len(groups):
                yield _same_for_all(same)
            yield _unrelated(evidence, groups, are_same=len(same) == len(groups))
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
    others, novelty = [*_categories(decoded), *_collapse(decoded)], _novelty(decoded)
    if novelty.name != "novel" or not {"category_only", "collapsed"} & {each.name for each in others}:
        yield novelty  # where kinds of the test set do not train, one that knows only the kind is novel too
    yield from others
    if own["two_way"]["ci95"][0] >= SATURATED:
        ways = own["n_way"]
        size = next((size for size in ("50", "10") if size in ways), "all")
        n = own["n_images"] if size == "all" else int(size)
        yield Conclusion(
            "saturated",
            "limited",
            f"Two-way identification near 100 % cannot tell good decoders apart: where pictures are of ten categories, one that "
            f"knows only the category would score 95 %. Read identification among {n} instead: "
            f"{percent(ways[size]['value'], 1)} [{ends_of(ways[size])}] (chance {100 / n:.2g} %).",
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
    most = [name for name, share in shares.items() if share["ci95"][0] > CHANCE]
    few = [name for name, share in shares.items() if share["ci95"][1] <= CHANCE]
    if len(few) == len(shares):
        only = f"Only {said}. The others are nearer to a training picture than to what was seen."
        return Conclusion("not_novel", "limited", only)
    if few:
        rest = [name for name in shares if name not in most and name not in few]
        by = f"told from all training pictures by {join(most)}, not by {join(few)}"
        text = f"Most pictures are {by if most else f'not told from all training pictures by {join(few)}'}"
        is_open = f"; by {join(rest)} it is open" if rest else ""
        return Conclusion("not_novel", "limited", f"{text}{is_open}: {said}.")
    shown = f"shown by {join(most)} alone" if most else "not shown"
    return Conclusion(
        "novelty_open", "limited", f"Whether most are told from all training pictures is {shown}: {said}."
    )


def _unrelated(evidence: Evidence, groups: Mapping[str, Any], *, are_same: bool) -> Conclusion:
    """Say that nothing is decoded, and where trials and pictures may have come apart, unless predictions are all the same."""
    ceiling = evidence.noise_ceiling
    if are_same:
        where = "Look at the predictions first, then whether trials and pictures are misaligned."
    elif ceiling is None:
        where = "Trials and pictures are probably misaligned."
    elif ceiling < CEILING_OF_NOISE:
        where = (
            "Trials and pictures are probably misaligned. Responses to one stimulus do not repeat either (median noise ceiling "
            f"{number(ceiling, 1)} %): trials are probably out of step with the design, or carry no signal."
        )
    else:
        where = (
            "Trials and pictures are probably misaligned. Responses to one stimulus do repeat (median noise ceiling "
            f"{number(ceiling, 1)} %), so trials are grouped rightly: probably groups of trials are assigned to the wrong "
            "pictures, for example because one list counts from 0 and the other from 1."
        )
    smallest = min(own["two_way"]["p"] for own in groups.values())
    return Conclusion(
        "unrelated",
        "wrong",
        f"Nothing is shown to be decoded: no group of decoded features identifies its own pictures beyond chance (smallest "
        f"{p_sentence(smallest)}). {where} {HOW_TO_CHECK}",
    )


def _same_for_all(groups: Mapping[str, Mapping[str, Any]]) -> Conclusion:
    said = join([f"{number(own['decoded_correlation'], 2)} ({name})" for name, own in groups.items()])
    true = join([number(own["true_correlation"], 2) for own in groups.values()])
    return Conclusion(
        "collapsed",
        "wrong",
        f"Predictions are much the same for all pictures: those of two pictures correlate by {said} on average, true features by "
        f"{true}. Look whether test responses vary, and are normalised as training responses are.",
    )


def _collapse(groups: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Conclude on how much decoded features vary, beside the true ones of the same pictures."""
    collapsed = {name: own for name, own in groups.items() if _has_collapsed(own)}
    if collapsed:
        are_all = len(collapsed) == len(groups)
        yield Conclusion(
            "collapsed" if are_all else "collapsed_in_some",
            "wrong" if are_all else "limited",
            f"Predictions have collapsed to a few kinds of pictures: {'; '.join(starmap(_kinds, collapsed.items()))}.",
        )
    narrow = {
        name: own["effective_dimension"]
        for name, own in groups.items()
        if name not in collapsed and _is_narrow(own["effective_dimension"])
    }
    if narrow:
        said = [
            f"{number(own['decoded'], 1)} where true ones vary along {number(own['true'], 1)} ({name})"
            for name, own in narrow.items()
        ]
        yield Conclusion(
            "narrow",
            "limited",
            f"Most of what varies in decoded features lies along few directions in effect: {join(said)}.",
        )


def _is_narrow(dimension: Mapping[str, Any]) -> bool:
    return bool(dimension["true"] and dimension["decoded_ci95"][1] < NARROW * dimension["true"])


def _has_collapsed(own: Mapping[str, Any]) -> bool:
    """Return whether predictions fall into a few clusters, as true features do not, within which nothing is told apart."""
    twins, clusters = own.get("twins"), own.get("clusters")
    if twins is None or clusters is None or twins["true"] >= FEW_TWINS:  # scores of earlier versions have none
        return False
    many = twins["decoded_ci95"][0] > MANY_TWINS and twins["decoded_pairs"] > 1 / MOST_KINDS
    within = clusters["two_way"]
    is_apart = clusters["silhouette"] >= APART > clusters["true_silhouette"] and clusters["isolated"] >= ISOLATED
    is_told = _at_level(within, CERTAIN)["ci95"][0] > CHANCE
    return bool(is_apart and not is_told and (many or _is_near_chance(within, own["two_way"])))


def _kinds(name: str, own: Mapping[str, Any]) -> str:
    clusters = own["clusters"]
    within = _at_level(clusters["two_way"], CERTAIN)
    return (
        f"decoded features ({name}) fall into {clusters['n']} clusters, and among pictures of the same cluster "
        f"{percent(within['value'], 1)} [{ends_of(within)}] of comparisons are right (chance 50 %; interval of 99 %)"
    )


def _categories(groups: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Conclude on whether more than the category is decoded, of any group of features and of all."""
    known = {name: own for name, own in groups.items() if "within_category" in own}
    if not known:
        yield Conclusion(
            "category_unknown",
            "limited",
            "Whether more than the category is decoded is not known: no two test pictures are of one category by the table of "
            "stimuli (column `category`, or the one that `evaluation.category` names).",
        )
        return
    enough = [name for name, own in known.items() if own["within_category"]["n_images"] >= FEWEST_WITHIN]
    level = 1 - ALPHA / max(1, len(enough))  # Bonferroni
    within = {name: _at_level(own["within_category"], level) for name, own in known.items()}
    beyond = [name for name in enough if within[name]["ci95"][0] > CHANCE]
    near = [
        name
        for name in enough
        if name not in beyond and _is_near_chance(known[name]["within_category"], known[name]["two_way"])
    ]
    above = [name for name in near if known[name]["within_category"]["ci95"][0] > CHANCE]
    alone = [name for name in near if name not in above or len(above) == 1]  # one of several may be so by chance
    corrected = f"; intervals hold for {len(enough)} groups together" if len(enough) > 1 else ""
    said = f"among pictures of the same category %s of comparisons are right (chance 50 %{corrected})"
    rest = [name for name in known if name not in beyond and name not in alone]
    shares_of_rest = join([share_of(name, within[name]) for name in rest])
    if beyond:
        shares = join([share_of(name, within[name]) for name in beyond])
        yield Conclusion(
            "beyond_category", "supported", f"More than the category is decoded: {said.replace('%s', shares)}."
        )
    if alone:
        shares = join([share_of(name, within[name]) for name in alone])
        among = join([percent(known[name]["two_way"]["value"], 1) for name in alone])
        are_all = len(alone) == len(enough)
        yield Conclusion(
            "category_only" if are_all else "category_only_of_some",
            "wrong" if are_all else "limited",
            f"{'The scores are' if are_all else 'Some scores are'} like those of a decoder that knows only the category: "
            f"{said.replace('%s', shares)}, and {among} among all."
            f"{' They are no evidence that more than the category is decoded.' if are_all and not above else ''}"
            f"{'' if are_all or beyond else f' Of others it cannot be told: {shares_of_rest}.'}",
        )
    if not beyond and not alone:
        yield Conclusion(
            "category_open",
            "limited",
            f"Whether more than the category is decoded cannot be told: {said.replace('%s', shares_of_rest)}.",
        )


def _at_level(found: Mapping[str, Any], level: float) -> dict[str, Any]:
    """Return a share with the interval of another level than .95, cut to [0, 1]: its ends stretched as normal quantiles are."""
    usual, wanted = (NormalDist().inv_cdf(1 - (1 - own) / 2) for own in (1 - ALPHA, level))
    ends = [found["value"] + (end - found["value"]) * wanted / usual for end in found["ci95"]]
    return {**found, "ci95": [max(0.0, ends[0]), min(1.0, ends[1])]}


def _is_near_chance(found: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Return whether identification is shown to lie near chance, on the way from there to another score."""
    return bool(found["ci95"][1] < CHANCE + NEAR_CHANCE * (beside["value"] - CHANCE))
