"""The first section of a page: the verdict, the headline numbers and a few pictures, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from braindiffuser.report.sections import Gallery, Headlines, Section, Sentences, Style, Summary
from braindiffuser.report.verdict import Conclusion, Kind

PARTS: dict[Kind, tuple[str, Style]] = {
    "wrong": ("Look here first", "alarm"),
    "supported": ("What the data support", "plain"),
    "limited": ("What they do not show", "muted"),
}


def verdict_section(
    found: Sequence[Conclusion], headlines: Headlines | None = None, gallery: Gallery | None = None
) -> Section:
    """Show conclusions under their headings, beside the headline numbers and one row of each part of the gallery.

    Args:
        found: as `conclusions` draws them.
        headlines: of the section on scores, if there is one.
        gallery: of the page, if it has one.
    """
    lists = tuple(
        Sentences(heading=heading, sentences=own, style=style)
        for kind, (heading, style) in PARTS.items()
        if (own := tuple(each.sentence for each in found if each.kind == kind))
    )
    first = gallery and gallery.model_copy(update={"rows": {name: rows[:1] for name, rows in gallery.rows.items()}})
    return Section(
        name="verdict", title="Verdict", blocks=(Summary(conclusions=lists, headlines=headlines, gallery=first),)
    )
