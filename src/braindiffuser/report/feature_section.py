"""The section on decoded features: whether pictures are told apart by them, and whether that means what it seems to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance
from braindiffuser.report.chance_alarm import are_same_for_all, chance_alarm
from braindiffuser.report.numbers import MISSING, interval, join, number, p_sentence, p_value, percent, percent_interval
from braindiffuser.report.sections import Block, Cell, Row, Section, Table, Text

TITLE = "Are pictures told apart by their decoded features?"
COLLAPSED = 0.5
"""Share of the true features' directions below which a sentence says how few the decoded ones have."""
REACH = 0.9
"""Correlation of the best linear prediction with the truth below which a sentence names it."""
HOW_TO_READ = (
    "Before any picture is drawn: decoded features of each test picture against the pictures' own, both less the mean of "
    "the training features, compared by Pearson's correlation within a picture. Two-way: how often the own picture wins "
    "against one other test picture (chance 50 %). Novelty: share of pictures nearer to their own features than to those of "
    "every training picture; a decoder that only finds the most similar training picture, or knows only the category, "
    "scores near 0 here, if categories of test pictures train too, and high in two-way. Among all: share of pictures whose own "
    "is the best of all test pictures. "
    "Directions: participation ratio of the covariance over test pictures, decoded and true; decoders of few categories "
    "have few. Linear limit: how well the best possible prediction of a linear decoder, the projection of the truth on the "
    "training features, correlates with the truth. p: share of random permutations of the test pictures that score two-way "
    "as high. Intervals of identification count pictures as targets and as distractors (jackknife); all are of one subject and "
    "one fit."
)


def feature_section(content: Mapping[str, Mapping[str, Any]]) -> Section:
    """Show scores of decoded features, test set by test set.

    Args:
        content: of `feature_scores.json`.
    """
    blocks: list[Block] = []
    for place, (name, own) in enumerate(content.items()):
        groups = own["groups"]
        if place == 0:
            blocks += [Text(text=line, style="verdict") for line in feature_sentences(own)]
        if groups:
            of_set = "" if place == 0 else f"Test set {name}: decoded features of {own['n_images']} pictures"
            blocks.append(_table(own, fold=of_set))
            among = join([f"{n:,}" for n in _choices(own)])
            blocks.append(
                _further(own, f"More on test set {name}: identification among {among}, other direction, ranks")
            )
        blocks += [Text(text=line, style="note") for line in own["remarks"]]
    blocks.append(Text(text=HOW_TO_READ, style="note"))
    return Section(name="features", title=TITLE, blocks=tuple(blocks))


def feature_sentences(own: Mapping[str, Any]) -> list[str]:
    """Return what the scores of one test set say: an alarm if no group is beyond chance, and a sentence for each group.

    Args:
        own: entry of one test set in `feature_scores.json`.
    """
    groups = own["groups"]
    if not groups:
        return ["There are no scores of features: see the notes below."]
    alarm = chance_alarm(
        {name: made["p"] for name, made in groups.items()},
        own["n_images"],
        "groups of features",
        are_same_for_all(groups),
    )
    told = beyond_chance({name: made["p"] for name, made in groups.items()})
    return ([alarm] if alarm else []) + [
        _sentence(name, made) if name in told else _chance_sentence(name, made, len(groups))
        for name, made in groups.items()
    ]


def _chance_sentence(group: str, made: Mapping[str, Any], n_groups: int) -> str:
    two_way = made["two_way"]
    together = f", too large where {n_groups} groups are tested" if made["p"] <= ALPHA else ""
    return (
        f"{group}: not told apart beyond chance. The own picture wins against another in {percent(two_way['value'], 1)} of "
        f"comparisons ({_ends(two_way)}, {p_sentence(made['p'])}{together})."
    )


def _sentence(group: str, made: Mapping[str, Any]) -> str:
    two_way, novelty = made["two_way"], made["novelty"]
    but = "but" if novelty["ci95"][1] < two_way["ci95"][0] else "and"
    said = [
        f"{group}: the own picture wins against another test picture in {percent(two_way['value'], 1)} of comparisons "
        f"({_ends(two_way)}), {but} {percent(novelty['value'], 1)} of pictures ({_ends(novelty)}) are nearer to their own "
        f"features than to those of every one of {made['n_train']:,} training pictures"
    ]
    within = made.get("within_category")
    if within and within["ci95"][0] <= 0.5 <= within["ci95"][1]:
        said.append(f"among pictures of the same category nothing is shown to be left ({percent(within['value'], 1)})")
    dimension = made["effective_dimension"]
    if dimension["decoded"] < COLLAPSED * dimension["true"]:
        said.append(
            f"decoded features vary along {number(dimension['decoded'], 1)} directions where true ones vary along "
            f"{number(dimension['true'], 1)}"
        )
    best = made.get("best_linear")
    if best and best["value"] < REACH:
        said.append(
            f"no linear decoder of these training pictures can correlate more than {number(best['value'], 2)} with the truth"
        )
    return f"{'; '.join(said)}."


def _ends(entry: Mapping[str, Any]) -> str:
    return f"95 %: {percent_interval(entry['ci95'])}"


def _share(entry: Mapping[str, Any] | None, digits: int = 1) -> Cell:
    if entry is None:
        return Cell(value=MISSING)
    return Cell(value=percent(entry["value"], digits), interval=percent_interval(entry["ci95"], digits))


def _number(entry: Mapping[str, Any] | None, digits: int = 3) -> Cell:
    if entry is None:
        return Cell(value=MISSING)
    return Cell(value=number(entry["value"], digits), interval=interval(entry["ci95"], digits))


def _dimension(made: Mapping[str, Any]) -> Cell:
    found = made["effective_dimension"]
    ends = interval(found["decoded_ci95"], 1)
    return Cell(value=f"{number(found['decoded'], 1)} of {number(found['true'], 1)}", interval=f"decoded {ends}")


def _table(own: Mapping[str, Any], fold: str) -> Table:
    groups, column = own["groups"], own["category_column"]
    named = f"Same {column}" if column else "Same category"
    columns: dict[str, Callable[[Mapping[str, Any]], Cell]] = {
        "Two-way": lambda made: _share(made["two_way"]),
        "Novelty": lambda made: _share(made["novelty"]),
        f"Among all {own['n_images']}": lambda made: _share(made["top1"]),
        named: lambda made: _share(made.get("within_category")),
        "Pattern correlation": lambda made: _number(made["pattern_correlation"]),
        "Profile correlation": lambda made: _number(made["profile_correlation"]),
        "Directions": _dimension,
        "Linear limit": lambda made: _number(made.get("best_linear")),
        "p": lambda made: Cell(value=p_value(made["p"])),
    }
    if not any("within_category" in made for made in groups.values()):
        del columns[named]
    rows = [Row(label=group, cells=tuple(cell(made) for cell in columns.values())) for group, made in groups.items()]
    return Table(
        caption=f"Decoded features of {own['n_images']} test pictures",
        corner="Target group",
        columns=tuple(columns),
        rows=tuple(rows),
        main="Novelty",
        fold=fold,
    )


def _choices(own: Mapping[str, Any]) -> dict[int, str]:
    """Return among how many pictures others are identified: number → its entry in `n_way`, all once."""
    n_images, ways = own["n_images"], next(iter(own["groups"].values()))["n_way"]
    return {n_images if way == "all" else int(way): way for way in ways if way == "all" or int(way) < n_images}


def _further(own: Mapping[str, Any], fold: str) -> Table:
    groups = own["groups"]
    n_images = own["n_images"]
    ways = _choices(own)
    rows = [
        Row(
            label=group,
            cells=(
                *(_share(made["n_way"][way]) for way in ways.values()),
                _share(made["two_way_per_stimulus"]),
                _share(made["top5"]),
                _number(made["median_rank"], 1),
                _number(made["nearest_training"]),
            ),
        )
        for group, made in groups.items()
    ]
    return Table(
        caption="Share of pictures identified among so many, drawn at random from the test pictures; two-way of stimuli among "
        f"decoded features; share in the best five; median rank of {n_images}; mean correlation with the nearest training one",
        corner="Target group",
        columns=(
            *(f"1 of {n}" for n in ways),
            "Two-way, per stimulus",
            "In the best 5",
            "Median rank",
            "Nearest training",
        ),
        rows=tuple(rows),
        fold=fold,
    )
