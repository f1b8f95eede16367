"""The first section of a page: the verdict, the headline numbers and a few pictures, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braindiffuser.report.sections import Gallery, Headlines, Section, Sentences, Style, Summary
from braindiffuser.report.verdict.conclusion import Conclusion, Kind

PARTS: dict[Kind, tuple[str, Style]] = {
    "wrong": ("Look here first", "alarm"),
    "supported": ("What the data support", "plain"),
    "limited": ("What they do not show", "muted"),
}


def verdict_section(
    found: Sequence[Conclusion], headlines: Headlines | None = None, gallery: Gallery | None = None
) -> Section:
    """Show conclusions under their headings, beside the headline numbers and the best, the median and the worst of the gallery.

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
    shown = None if gallery is None else _one_of_each(gallery)
    return Section(
        name="verdict", title="Verdict", blocks=(Summary(conclusions=lists, headlines=headlines, gallery=shown),)
    )


def _one_of_each(gallery: Gallery) -> Gallery:
    """Keep one row under each heading: the first place, the last place, and evenly spaced places between."""
    places = np.linspace(1, gallery.n_ranked, len(gallery.rows))
    rows = {}
    for (heading, own), place in zip(gallery.rows.items(), places, strict=True):
        if own:
            away = [abs(row.place - place) for row in own]
            rows[heading] = (own[int(np.argmin(away))],)
    return gallery.model_copy(update={"rows": rows})
