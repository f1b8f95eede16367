"""The section on ROI ablation: what each score loses without a region, or with it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
HEADINGS = {"without": "without the region", "only": "with the region alone"}


def no_ablation_section(name: str, empty: Sequence[str]) -> Section:
    """Return a section that says why nothing is left out."""
    which = f" ({', '.join(empty)})" if empty else ""
    text = f"The recording has no voxel in any region that could be left out{which}, so nothing was."
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
    blocks: list[Any] = [Text(text=_how(facts)), *map(_verdict, *_said(facts, ways))]
    figures = [Figure(svg=_draw(name, facts, way), title=_heading(way), note=_note(facts)) for way in ways]
    if figures:
        blocks.append(Figures(figures=tuple(figures)))
    blocks += [_table(facts, way) for way in ways]
    blocks += [_examples(facts, kinds, way, n_examples) for way in ways if kinds.get(way)]
    if facts["empty"]:
        blocks.append(Text(text=f"No voxel in: {', '.join(facts['empty'])}.", style="note"))
    return Section(name=name, title=TITLE, blocks=tuple(blocks))


def _how(facts: Mapping[str, Any]) -> str:
    layout, content = facts["layout"]["label"], facts["content"]["label"]
    text = (
        f"{facts['n_images']} test pictures were decoded, drawn and scored again without the voxels of a region, and with these "
        f"alone. A share of 0 % means that nothing is lost, 100 % that no more is left than without any voxel. {layout} stands "
        f"for layout and {content} for content; features are compared before anything is drawn. A large region loses more by "
        "its size alone, so each is shown beside random sets of equally many voxels. Intervals (95 %) are over pictures, paired."
    )
    if facts["calibration"] == "inductive":
        text += (
            " Masked responses vary less, and the whole decoder's calibration does not stretch them again: part of a loss by "
            "masking is that pictures come nearer to the mean one."
        )
    return text


def _said(facts: Mapping[str, Any], ways: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return way and sentence of what the intervals say."""
    found = [(way, _sentence(facts, way, "without" in way)) for way in ways]
    return [way for way, said in found if said], [said for _, said in found if said]


def _sentence(facts: Mapping[str, Any], way: str, is_without: bool) -> str:
    sides: dict[str, list[str]] = {"layout": [], "content": []}
    for region in facts["regions"]:
        difference = (region["ablations"].get(way) or {}).get("layout_minus_content")
        if difference and (difference["low"] > 0 or difference["high"] < 0):
            sides["layout" if (difference["low"] > 0) == is_without else "content"].append(region["name"])
    if not any(sides.values()):
        return "no region's interval tells layout from content"
    said = [
        f"{' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)} "
        f"{'carries' if len(names) == 1 else 'carry'} {side} more than {'content' if side == 'layout' else 'layout'}"
        for side, names in sides.items()
        if names
    ]
    return "; ".join(said)


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
        caption=f"Share of each score that is lost {_heading(way)}; below it, the interval and the mean of random sets",
        corner="Region",
        columns=(
            "Voxels",
            *(key.removeprefix("features.") + (" (features)" if "features." in key else "") for key in keys),
        ),
        rows=tuple(rows),
        fold="All scores",
    )


def _cell(lost: Mapping[str, Any]) -> Cell:
    if lost["share"] is None:
        return Cell(value="–", interval=f"{lost['value']:.3f}; no gain to share")
    random = "" if lost["random"] is None else f"; random {_percent(lost['random']['mean'])}"
    return Cell(value=_percent(lost["share"]), interval=f"{_percent(lost['low'])} to {_percent(lost['high'])}{random}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


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
