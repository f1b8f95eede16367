"""The section on ROI ablation: what each score loses without a region, or with it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.beyond_chance import beyond_chance
from braindiffuser.report.numbers import MISSING, join, number, p_sentence, percent
from braindiffuser.report.sections import (
    Cell,
    Figure,
    Figures,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.share_figure import Share, draw_shares

TITLE = "What is lost without a region"
FEWEST_SETS = 10
"""Random sets of voxels that must be drawn before it is said what a region carries."""
HEADINGS = {"without": "without the region", "only": "with the region alone"}


def no_ablation_section(name: str, remarks: Sequence[str]) -> Section:
    """Return a section that says why nothing is left out."""
    text = " ".join(["The recording has no voxel in any region that could be left out, so nothing was.", *remarks])
    return Section(name=name, title=TITLE, blocks=(Text(text=text),))


def ablation_section(
    name: str, facts: Mapping[str, Any], kinds: Mapping[str, Sequence[str]], n_examples: int
) -> Section:
    """Show shares lost by region, one figure and table for each way of leaving out.

    Args:
        name: of the section.
        facts: as `analyses/<label>.json` holds them: see `ROIAblation.run`.
        kinds: way of leaving out, "" for whole and nothing → kinds of example pictures, in the order of the regions.
        n_examples: pictures of each kind.
    """
    ways = list(dict.fromkeys(way for region in facts["regions"] for way in region["ablations"]))
    blocks: list[Any] = [Text(text=_how(facts)), *(_verdict(way, _sentence(facts, way)) for way in ways)]
    figures = [
        Figure(svg=_draw(name, facts, way), title=_heading(way), note=_note(facts))
        for way in ways
        if _has_share(facts, way)
    ]
    if figures:
        blocks.append(Figures(figures=tuple(figures)))
    blocks += [_table(facts, way) for way in ways]
    blocks += [_examples(facts, kinds, way, n_examples) for way in ways if kinds.get(way)]
    if facts["remarks"]:
        blocks.append(Text(text=" ".join(facts["remarks"]), style="note"))
    return Section(name=name, title=TITLE, blocks=tuple(blocks))


def _how(facts: Mapping[str, Any]) -> str:
    layout, content = facts["layout"]["label"], facts["content"]["label"]
    text = (
        f"{facts['n_images']} test pictures were decoded, drawn and scored again without the voxels of a region, and with these "
        f"alone. A share of 0 % means that nothing is lost, 100 % that no more is left than without any voxel. {layout} stands "
        f"for layout and {content} for content; features are compared before anything is drawn. A large region loses more by "
        "its size alone, and unequal shares of layout and content, so each is shown beside random sets of equally many voxels. "
        "Intervals (95 %) are over pictures, paired."
    )
    if facts["calibration"] == "inductive":
        text += (
            " Masked responses vary less, and the whole decoder's calibration does not stretch them again: part of a loss by "
            "masking is that pictures come nearer to the mean one."
        )
    return text


def _sentence(facts: Mapping[str, Any], way: str) -> str:
    """Say which regions carry layout or content, beyond random sets of voxels; p is corrected over regions (Holm 1979).

    A region that costs more of both scores than random sets do, or less of both, is not named, whatever the difference of shares:
    scores saturate, and where nothing or all is lost, shares are equal. Only what costs more of one and less of the other carries
    the one more on every scale (Loftus 1978, Memory & Cognition 6, 312–319). Both must be shown, since a score at its floor lies
    a little above or below random sets whatever a region carries: the larger p counts, of one side, as the sign of the one score
    leaves the other a single one that counts (intersection–union, Berger 1982, Technometrics 24, 295–300).
    """
    lost = {
        region["name"]: [region["ablations"][way]["lost"][facts[side]["key"]] for side in ("layout", "content")]
        for region in facts["regions"]
        if way in region["ablations"]
    }
    beside = {name: _beside(*both) for name, both in lost.items() if all(each["share"] is not None for each in both)}
    if not beside:
        return _no_shares(facts, lost)
    n_sets = max((own[0]["n"] for own in beside.values() if own is not None), default=0)
    known = {name: own for name, own in beside.items() if own is not None and own[0]["n"] >= FEWEST_SETS}
    if not known:
        return f"what regions carry is not said, since {n_sets} random sets of voxels were drawn and {FEWEST_SETS} are needed"
    beyond = beyond_chance(
        {name: max(1.0 if each["p"] is None else each["p"] / 2 for each in own) for name, own in known.items()}
    )
    sides: dict[str, list[str]] = {"layout": [], "content": []}
    for name in [name for name in known if name in beyond]:
        layout, content = (_direction(each) for each in known[name])
        if layout * content < 0:
            sides["layout" if (layout > 0) == ("without" in way) else "content"].append(name)
    if not any(sides.values()):
        return "no region loses more of one score and less of the other than random sets of as many voxels do"
    said = [
        f"{join(names)} {'carries' if len(names) == 1 else 'carry'} {side} more than "
        f"{'content' if side == 'layout' else 'layout'}"
        for side, names in sides.items()
        if names
    ]
    return f"{'; '.join(said)}: of one score more is lost than with random sets of as many voxels, of the other less"


def _no_shares(facts: Mapping[str, Any], lost: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Say which of both scores has no share in any region, why, and what may help."""
    lacking = [
        facts[side]
        for place, side in enumerate(("layout", "content"))
        if any(both[place]["share"] is None for both in lost.values())
    ]
    named = [
        f"{each['label']} ({number(facts['whole'][each['key']])} with all voxels, {number(facts['nothing'][each['key']])} with "
        "none)"
        for each in lacking
    ]
    gains = "its gain over no voxel is" if len(named) == 1 else "their gains over no voxel are"
    remedy = "; more of them (`n_images`) may show it" if facts["n_images"] < facts["n_test_images"] else ""
    return (
        f"what regions carry is not said, since there are no shares of {join(named)}: {gains} not above 0 in every resample of "
        f"{facts['n_images']} pictures{remedy}"
    )


def _beside(layout: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Return how both scores lie beside random sets; None where either has none."""
    found = layout["random"], content["random"]
    return None if None in found else found


def _direction(beside: Mapping[str, Any]) -> int:
    """Return 1 where more is lost than with random sets, −1 where less is, 0 where pictures leave it open."""
    return int(beside["low"] > 0) - int(beside["high"] < 0)


def _verdict(way: str, said: str) -> Text:
    return Text(text=f"{_heading(way).capitalize()}: {said}.", style="verdict")


def _heading(way: str) -> str:
    how, _, by = way.partition(" by ")
    return f"{HEADINGS[how]}, by {by}"


def _note(facts: Mapping[str, Any]) -> str:
    layout, content = facts["layout"]["label"], facts["content"]["label"]
    return f"Filled: the region. Hollow: mean of random sets of its size. Circle: {layout}; square: {content}."


def _draw(name: str, facts: Mapping[str, Any], way: str) -> str:
    keys = [facts["layout"]["key"], facts["content"]["key"]]
    rows = {
        region["name"]: [_share(region["ablations"][way]["lost"][key]) for key in keys]
        for region in facts["regions"]
        if way in region["ablations"]
    }
    labels = [facts["layout"]["label"], facts["content"]["label"]]
    description = f"Share lost {_heading(way)}: {' and '.join(labels)}, with 95 % intervals"
    return draw_shares(rows, f"{name}-{way.replace(' ', '-')}", description)


def _has_share(facts: Mapping[str, Any], way: str) -> bool:
    """Return whether any region lost a share of layout or content; without any, there is nothing to draw."""
    return any(
        region["ablations"][way]["lost"][facts[what]["key"]]["share"] is not None
        for region in facts["regions"]
        if way in region["ablations"]
        for what in ("layout", "content")
    )


def _share(lost: Mapping[str, Any]) -> Share:
    random = lost["random"]
    return Share(lost["share"], lost["low"], lost["high"], None if random is None else random["mean"])


def _table(facts: Mapping[str, Any], way: str) -> Table:
    keys = list(facts["whole"])
    rows = [
        Row(
            label=region["name"],
            cells=(
                Cell(value=f"{region['n_voxels']:,}"),
                *(_cell(region["ablations"][way]["lost"][key]) for key in keys),
            ),
        )
        for region in facts["regions"]
        if way in region["ablations"]
    ]
    return Table(
        caption=f"Share of each score that is lost {_heading(way)}; below it, its interval, the mean of random sets, how far the "
        "region lies beyond it with the interval over pictures, and p of one more random set, two-sided and not corrected",
        corner="Region",
        columns=(
            "Voxels",
            *(facts["labels"].get(key, f"{key.removeprefix('features.')} (features)") for key in keys),
        ),
        rows=tuple(rows),
        fold=f"All scores, {_heading(way)}",
    )


def _cell(lost: Mapping[str, Any]) -> Cell:
    """Print the share, and beside it what the sentence rests on: how far it lies beyond random sets, and p of one more set."""
    if lost["share"] is None:
        why = "no share: with all voxels it is not better than with none in every resample"
        return Cell(value=MISSING, interval=f"{number(lost['value'])}; {why}")
    beside, said = lost["random"], f"{percent(lost['low'])} to {percent(lost['high'])}"
    if beside is not None:
        further, low, high = (percent(beside[end], signed=True) for end in ("further", "low", "high"))
        said += f"; random {percent(beside['mean'])}, beyond it {further} ({low} to {high})"
        said += "" if beside["p"] is None else f", {p_sentence(beside['p'])}"
    return Cell(value=percent(lost["share"]), interval=said)


def _examples(facts: Mapping[str, Any], kinds: Mapping[str, Sequence[str]], way: str, n_examples: int) -> PictureGroups:
    shown = [region["name"] for region in facts["regions"] if way in region["ablations"]]
    named = [*zip(("all voxels", "no voxel"), kinds[""], strict=True), *zip(shown, kinds[way], strict=True)]
    return PictureGroups(
        groups=tuple(
            PictureGroup(
                name=label,
                note="" if kind in kinds[""] else _heading(way),
                pictures=tuple(
                    PictureRef(kind=kind, number=k, label=f"{label}, picture {k + 1}") for k in range(n_examples)
                ),
            )
            for label, kind in named
        )
    )
