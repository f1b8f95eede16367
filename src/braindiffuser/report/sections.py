"""Sections: what a stage or an analysis leaves for the page, as data.

A section is a title and blocks: texts, tables, figures, pictures. It is stored as JSON in the run's folder. The page and the
notebook loop over sections, and nothing else knows what is on a page.

Texts are escaped when they are shown. Figures are SVG and are shown as they are, after `Figure` has checked that they hold no
script and refer to nothing outside; make one of a matplotlib figure with `figures.as_svg`. Pictures are references, such as
picture 7 of kind "final": they are read when the page is made.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias
from xml.etree import ElementTree

from pydantic import Field, field_validator

from braindiffuser.part import Settings

FORBIDDEN = ("script", "foreignobject", "iframe", "object", "embed", "a", "animate", "set", "handler")
"""Elements that a figure may not have: they run code, show other documents, or change what was checked."""
EMBEDDED = "data:image/png;base64,"
"""How a figure may hold pixels."""


class PictureRef(Settings):
    """One picture of the run: `reconstructions/<kind>/<number>.png`."""

    kind: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Kind, such as final or seen.")
    number: int = Field(ge=0, description="Its number.")
    label: str = Field("", description="What it is, for those who cannot see it.")


class Text(Settings):
    """A paragraph."""

    type: Literal["text"] = "text"
    text: str = Field(description="Plain text.")
    style: Literal["plain", "note", "verdict"] = Field("plain", description="verdict: what the numbers say.")


class Headline(Settings):
    """One large number."""

    label: str = Field(description="What it is.")
    value: str = Field(description="The number as printed.")
    notes: tuple[str, ...] = Field((), description="Lines below it, such as its interval.")


class Headlines(Settings):
    """Large numbers side by side."""

    type: Literal["headlines"] = "headlines"
    items: tuple[Headline, ...] = Field(description="Numbers, four at most look well.")


class Cell(Settings):
    """A cell of a table."""

    value: str = Field(description="Value as printed.")
    interval: str = Field("", description="Interval as printed.")


class Row(Settings):
    """A row of a table."""

    label: str = Field(description="Name of the row.")
    cells: tuple[Cell, ...] = Field(description="One for each column.")


class Table(Settings):
    """A table with a name for every row."""

    type: Literal["table"] = "table"
    caption: str = Field(description="What the table holds.")
    corner: str = Field("", description="Heading of the rows' names.")
    columns: tuple[str, ...] = Field(description="Headings of the columns.")
    rows: tuple[Row, ...] = Field(description="Rows.")
    main: str = Field("", description="Column that stands out.")
    fold: str = Field("", description="If given, the table is folded behind these words.")


class Figure(Settings):
    """A drawn figure."""

    svg: str = Field(description="An <svg> element.")
    title: str = Field("", description="Title above it.")
    note: str = Field("", description="Note below it.")

    @field_validator("svg")
    @classmethod
    def _is_harmless(cls, svg: str) -> str:
        """Refuse what is no SVG, runs code, or refers to anything outside."""
        if "<!" in svg or "<?" in svg:
            raise ValueError("a figure must be one <svg> element, without document type, comments or instructions")
        try:
            root = ElementTree.fromstring(svg)  # noqa: S314 - without a document type there are no entities to expand
        except ElementTree.ParseError as error:
            raise ValueError(f"a figure must be one <svg> element: {error}") from error
        if _local(root.tag) != "svg":
            raise ValueError(f"a figure must be one <svg> element, got <{_local(root.tag)}>")
        for element in root.iter():
            outside = [name for name, value in element.attrib.items() if _leads_outside(_local(name), value)]
            if _local(element.tag) in FORBIDDEN or outside or _styles_outside(element.text or ""):
                raise ValueError(
                    "a figure may hold no script and refer to nothing outside, and this one does in "
                    f"<{_local(element.tag)} {' '.join(outside)}>"
                )
        return svg


class Figures(Settings):
    """Figures side by side."""

    type: Literal["figures"] = "figures"
    figures: tuple[Figure, ...] = Field(description="From left to right.")


class PictureGroup(Settings):
    """A few pictures that belong together, side by side, with a name."""

    name: str = Field(description="Name, in bold.")
    note: str = Field("", description="Words behind the name.")
    pictures: tuple[PictureRef, ...] = Field(description="From left to right.")


class Pictures(Settings):
    """Groups of pictures in a grid."""

    type: Literal["pictures"] = "pictures"
    groups: tuple[PictureGroup, ...] = Field(description="Groups in order.")


class GalleryRow(Settings):
    """One stimulus of a gallery, with its pictures from left to right."""

    number: int = Field(description="Number of the test picture.")
    stimulus_id: int = Field(description="0-based stimulus id.")
    place: int = Field(description="Place in the ranking, from 1.")
    scores: dict[str, str] = Field(description="Label of each metric → score as printed.")


class Gallery(Settings):
    """Ranked stimuli with their pictures."""

    type: Literal["gallery"] = "gallery"
    kinds: dict[str, str] = Field(description="Kind of picture → heading, from left to right.")
    rows: dict[str, tuple[GalleryRow, ...]] = Field(description="Heading, such as Best → rows.")
    n_ranked: int = Field(description="Number of ranked stimuli.")
    ranking: str = Field(description="Label of the metric that ranks.")


class Strip(Settings):
    """One stimulus of a contact sheet."""

    number: int = Field(description="Number of the test picture.")
    stimulus_id: int = Field(description="0-based stimulus id.")
    score: str = Field(description="Score as printed.")


class ContactSheet(Settings):
    """All pictures, small, folded away."""

    type: Literal["contact_sheet"] = "contact_sheet"
    kinds: dict[str, str] = Field(description="Kind of picture → name, from left to right.")
    strips: tuple[Strip, ...] = Field(description="Stimuli in order.")
    ranking: str = Field(description="Label of the score below each.")


class Facts(Settings):
    """Names and what they are, such as the settings of a run or the terms of a page."""

    type: Literal["facts"] = "facts"
    facts: dict[str, str] = Field(description="Name → text.")
    style: Literal["compact", "explained"] = Field("compact", description="compact: side by side; explained: below.")


class Code(Settings):
    """Text of a file, folded."""

    type: Literal["code"] = "code"
    text: str = Field(description="The text as it stands.")
    fold: str = Field(description="Words that it is folded behind.")


Block: TypeAlias = Annotated[
    Text | Headlines | Table | Figures | Pictures | Gallery | ContactSheet | Facts | Code, Field(discriminator="type")
]


class Section(Settings):
    """A section of a page.

    Example:
        >>> section = Section(name="colour", title="Colour", blocks=(Text(text="Mean red is 0.4."),))
        >>> Section.model_validate_json(section.model_dump_json()) == section
        True
    """

    name: str = Field(pattern=r"^[a-z0-9_.-]+$", description="Unique on the page; becomes the anchor.")
    title: str = Field(description="Heading.")
    blocks: tuple[Block, ...] = Field(description="Content in order.")
    appendix: bool = Field(False, description="Whether it comes after all sections that are no appendix.")


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower()


def _leads_outside(name: str, value: str) -> bool:
    """Tell if an attribute runs code or refers to something that is not in the figure itself."""
    refers = name in ("href", "src") and not value.startswith(("#", EMBEDDED))
    return name.startswith("on") or refers or _styles_outside(value) or "javascript:" in value.lower()


def _styles_outside(style: str) -> bool:
    """Tell if a style refers to something that is not in the figure itself."""
    targets = re.findall(r"url\(([^)]*)\)?", style, re.IGNORECASE)
    return "@import" in style.lower() or any(not target.strip("'\" ").startswith("#") for target in targets)
