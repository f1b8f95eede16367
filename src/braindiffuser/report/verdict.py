"""The first box of a page: what the numbers of a run support, what they do not, and why, each sentence computed.

A conclusion has a name, so that a program can ask for it. It is drawn from `scores.json` of one test set, and from what other
parts of the run found, where they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from braindiffuser.report.beyond_chance import beyond_chance
from braindiffuser.report.chance_alarm import HOW_TO_CHECK
from braindiffuser.report.numbers import interval, join, number, p_sentence, percent
from braindiffuser.report.sections import Gallery, Headlines, Section, Sentences

Kind = Literal["supported", "limited", "wrong"]
"""supported: the numbers show it. limited: they do not show it, or only in part. wrong: the run itself is in doubt."""

CHANCE = 0.5
SATURATED = 0.95
"""Two-way identification from which on better decoders hardly score higher: one that knows only which of 10 equal categories a
picture is of reaches 1 − 1/20."""
COLLAPSED = 0.1
"""Share of the true features' effective dimension below which decoded features are called collapsed."""
NARROW = 0.5
"""Share of it below which the page says that much of what differs between pictures is lost."""
NEGLIGIBLE = 0.01
"""Share of test pictures with nearly the features of a training picture up to which they cannot move scores by much."""
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

    Names: `unrelated`, `copies`, `nearer_than_training`, `brain_ignored`, `collapsed`, `category_only` (wrong);
    `features_identified`, `novel`, `beyond_category`, `pictures_identified`, `beyond_retrieval` (supported); `narrow`,
    `not_novel`, `category_unknown`, `category_open`, `no_better_than_retrieval`, `not_audited`, `few_doubles`, `saturated`,
    `transductive`, `few_pictures`, `one_subject`, `note` (limited).
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
    related = beyond_chance({name: own["two_way"]["p"] for name, own in groups.items()})
    if not related:
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
    yield from _collapse(groups, related)
    yield from _categories(best, own)
    yield _novelty({name: groups[name] for name in groups if name in related})
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
        f"{join([_share_of(name, share) for name, share in shares.items()])} of the pictures have decoded features that are nearer "
        f"to their own truth than to each of the {n_train:,} training pictures"
    )
    if min(share["ci95"][0] for share in shares.values()) > CHANCE:
        return Conclusion("novel", "supported", f"Most are told from all training pictures too: {said}.")
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


def _collapse(groups: Mapping[str, Any], related: set[str]) -> Iterator[Conclusion]:
    """Conclude on how many directions decoded features vary along, beside the true ones of the same pictures."""
    for name in groups:
        dimension = groups[name]["effective_dimension"]
        decoded, true = dimension["decoded"], dimension["true"]
        if name not in related or not true:
            continue
        along = f"along {number(decoded, 1)} directions in effect, true ones along {number(true, 1)}"
        if dimension["decoded_ci95"][1] < COLLAPSED * true:
            yield Conclusion(
                "collapsed",
                "wrong",
                f"Decoded features of {name} vary {along}: predictions have collapsed to a few kinds of pictures, whatever the "
                "scores.",
            )
        elif dimension["decoded_ci95"][1] < NARROW * true:
            yield Conclusion(
                "narrow",
                "limited",
                f"Decoded features of {name} vary {along}: much of what differs between pictures is not decoded.",
            )


def _categories(group: str, own: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Conclude on whether more than the category is decoded."""
    within = own.get("within_category")
    if within is None:
        yield Conclusion(
            "category_unknown",
            "limited",
            "Whether more than the category is decoded is not known: the table of stimuli has no column that says it (category).",
        )
        return
    low, high = within["ci95"]
    share = f"{percent(within['value'], 1)} [{_ends(within)}]"
    said = f"among pictures of the same category {group} is right in {share} of comparisons"
    if low > CHANCE:
        yield Conclusion("beyond_category", "supported", f"More than the category is decoded: {said} (chance 50 %).")
    elif high < (CHANCE + own["two_way"]["value"]) / 2:
        yield Conclusion(
            "category_only",
            "wrong",
            f"The scores are those of a decoder that knows only the category: {said}, which is chance, and "
            f"{percent(own['two_way']['value'], 1)} among all. They are no evidence that pictures are reconstructed.",
        )
    else:
        yield Conclusion(
            "category_open",
            "limited",
            f"Too few pictures share a category to tell whether more than it is decoded: {said} (chance 50 %).",
        )


def _overlap(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude on test pictures that lie in the training set."""
    audit = evidence.audit
    if audit is None:
        yield Conclusion(
            "not_audited",
            "limited",
            "Whether test pictures resemble training pictures was not looked at: `braindiffuser analyse split_audit` does.",
        )
        return
    copies, doubles = audit["near_copies"], audit["near_duplicates"]
    counted = [f"{len(copies)} {_have(len(copies), 'show')} nearly the same pixels"] if copies else []
    if doubles["count"]:
        counted.append(f"{doubles['count']} {_have(doubles['count'])} nearly the same features")
    said = f"of {audit['n']} test pictures, {join(counted)} as a training picture"
    if copies or doubles["count"] > NEGLIGIBLE * audit["n"]:
        first = next((copy["name"] or copy["stimulus_id"] for copy in copies), None)
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are in the training set: {said}{'' if first is None else f', first {first}'}. Take them out of either "
            "side before scores are believed.",
        )
    elif audit["verdict"] == "nearer":
        yield Conclusion(
            "nearer_than_training",
            "wrong",
            "Test pictures lie nearer to training pictures than those lie to each other, so scores tell little of new pictures.",
        )
    elif counted:
        yield Conclusion(
            "few_doubles",
            "limited",
            f"Some test pictures resemble training pictures closely: {said}. They are too few to move a mean score by more than "
            f"{percent(doubles['count'] / audit['n'], 1)}.",
        )


def _pictures(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude from the reconstructions."""
    metrics = evidence.scores["metrics"]
    p_values = {key: entry["p"] for key, entry in metrics.items() if entry.get("p") is not None}
    groups = evidence.scores.get("features") or {}
    decoded = beyond_chance({name: own["two_way"]["p"] for name, own in groups.items()})
    if not p_values:
        return
    beyond = beyond_chance(p_values)
    if not beyond:
        if decoded:
            yield Conclusion(
                "brain_ignored",
                "wrong",
                f"Pictures do not show what is decoded: features of {join(sorted(decoded))} identify what was seen, but none of "
                f"{len(p_values)} metrics tells the reconstructions from those of other pictures (smallest "
                f"{p_sentence(min(p_values.values()))}). The generator draws from something else than the brain.",
            )
        return
    identified = [
        key
        for key in metrics
        if key in beyond and metrics[key].get("chance") == CHANCE and metrics[key]["bounds"] == [0, 1]
    ] or [key for key in metrics if key in beyond]
    best = identified[-1]
    entry = metrics[best]
    yield Conclusion(
        "pictures_identified",
        "supported",
        f"Reconstructions show it: {entry['label']} is {number(entry['value'], 2)} [{interval(entry['ci95'], 2)}], beyond "
        f"exchanged pictures ({p_sentence(entry['p'])}); so are {len(beyond)} of {len(p_values)} metrics, corrected for as many.",
    )
    yield from _retrieval(metrics)


def _retrieval(metrics: Mapping[str, Any]) -> Iterator[Conclusion]:
    """Compare reconstructions with the training pictures that are nearest to the decoded features."""
    name = "nearest_training_picture"
    rivals = {key: entry for key, entry in metrics.items() if name in entry["baselines"]}
    if not rivals:
        return
    better = [entry["label"] for entry in rivals.values() if _is_above(entry, name)]
    others = [entry["label"] for entry in rivals.values() if not _is_above(entry, name)]
    if better:
        yield Conclusion(
            "beyond_retrieval",
            "supported",
            f"More is drawn than a training picture: the nearest one by decoded features scores less on {join(better)}"
            f"{f', but not on {join(others)}' if others else ''}.",
        )
    else:
        yield Conclusion(
            "no_better_than_retrieval",
            "limited",
            "On no metric do reconstructions clearly score more than the training picture that is nearest to the decoded "
            "features, so they are no evidence of more than retrieval.",
        )


def _is_above(entry: Mapping[str, Any], baseline: str) -> bool:
    """Return whether the reconstructions' interval lies beyond the baseline's, on the better side."""
    own, other = entry["ci95"], entry["baselines_ci95"][baseline]
    return bool(own[0] > other[1] if entry["higher_is_better"] else own[1] < other[0])


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


def _have(count: int, verb: str = "have") -> str:
    return verb if count != 1 else {"have": "has", "show": "shows"}[verb]


def _ends(entry: Mapping[str, Any]) -> str:
    low, high = entry["ci95"]
    return f"{number(100 * low, 1)} – {number(100 * high, 1)}"


def verdict_section(
    found: Sequence[Conclusion], headlines: Headlines | None = None, gallery: Gallery | None = None
) -> Section:
    """Show conclusions under their headings, the headline numbers and a row of pictures of each part of the gallery.

    Args:
        found: as `conclusions` draws them.
        headlines: of the section on scores, if there is one.
        gallery: of the page, if it has one.
    """
    parts: dict[Kind, tuple[str, Literal["plain", "muted", "alarm"]]] = {
        "wrong": ("Look here first", "alarm"),
        "supported": ("What the data support", "plain"),
        "limited": ("What they do not show", "muted"),
    }
    lists = [
        Sentences(
            heading=heading,
            sentences=own,
            style=style,
        )
        for kind, (heading, style) in parts.items()
        if (own := tuple(each.sentence for each in found if each.kind == kind))
    ]
    shown = (
        []
        if gallery is None
        else [gallery.model_copy(update={"rows": {name: rows[:1] for name, rows in gallery.rows.items()}})]
    )
    blocks = (*lists, *([] if headlines is None else [headlines]), *shown)
    return Section(name="verdict", title="Verdict", blocks=blocks)
