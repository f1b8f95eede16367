"""Sections: what a stage or an analysis leaves for the page, as data.

A section is a title and blocks: texts, tables, figures, pictures. It is stored as JSON in the run's folder. The page and the
notebook loop over sections, and nothing else knows what is on a page.

Texts are escaped when they are shown. Figures are SVG and are shown as they are, after `Figure` has checked that all of their
elements only draw and that they refer to nothing outside; make one of a matplotlib figure with `figures.as_svg`. Pictures are
references, such as picture 7 of kind "final": they are read when the page is made.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar
from xml.etree import ElementTree

from pydantic import Field, field_validator, model_serializer, model_validator

from braindiffuser.errors import reason
from braindiffuser.part import Settings

DRAWING = re.compile(
    "svg|g|defs|symbol|use|path|rect|circle|ellipse|line|polyline|polygon|text|tspan|textpath|image|clippath|mask|pattern"
    "|marker|lineargradient|radialgradient|stop|style|title|desc"
)
"""Elements that a figure may have, in lower case; none makes an HTML parser leave the <svg>."""
TEXT_ONLY = ("style", "title", "desc")
"""Of these, those that may hold text only: HTML and XML parse their content differently."""
EMBEDDED = "data:image/png;base64,"
"""Beginning of an embedded image: the only one allowed is a PNG in base64."""
REFERS_OUTSIDE = re.compile(r"""\\|@import|\b(?:image|image-set|src)\s*\(|url\((?!\s*["']?#)""", re.IGNORECASE)
"""What a style may not hold: references other than to the figure itself, and the backslashes that would hide one."""
INTERVALS = "95 %"
"""What stands beside or below the values of a table, unless it says otherwise."""

KindName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")]
"""Kind of picture, a folder's name, such as "final" or "seen"."""
PagePath: TypeAlias = Annotated[str, Field(pattern=r"^(\.\./)*([A-Za-z0-9_-][A-Za-z0-9_.-]*/)+[A-Za-z0-9_-]+\.html$")]
"""Path of a page in a folder below or beside, such as "fold-0/report/index.html" or "../subj01/report/index.html"."""
Word = TypeVar("Word")
Tag: TypeAlias = Annotated[Word, Field(description="Type of the block, stored in JSON.")]


class Sparse(Settings):
    """A block that is stored without what has its default, so that fields added later leave stored sections as they are."""

    always: ClassVar[tuple[str, ...]] = ()
    """Names of fields that are stored in any case."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialise: Any) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in dict(serialise(self)).items()
            if name in self.always or fields[name].is_required() or getattr(self, name) != fields[name].default
        }


class PictureRef(Settings):
    """One picture of the run: `reconstructions/<kind>/<number>.png`."""

    kind: KindName = Field(description="Kind, such as final or seen.")
    number: int = Field(ge=0, description="Number of the picture.")
    label: str = Field("", description="Alternative text.")


class Text(Settings):
    """A paragraph."""

    type: Tag[Literal["text"]] = "text"
    text: str = Field(description="Plain text.")
    style: Literal["plain", "note", "verdict"] = Field(
        "plain", description="Style; verdict: a conclusion from the numbers."
    )


Style: TypeAlias = Literal["plain", "muted", "alarm"]
"""Style of sentences; muted: what limits conclusions; alarm: the numbers themselves are in doubt."""


class Sentences(Settings):
    """Conclusions under a heading, one below the other."""

    type: Tag[Literal["sentences"]] = "sentences"
    heading: str = Field(description="What they have in common.")
    sentences: tuple[str, ...] = Field(min_length=1, description="In order.")
    style: Style = Field(
        "plain", description="Style; muted: what limits conclusions; alarm: the numbers themselves are in doubt."
    )


class Headline(Settings):
    """One large number."""

    label: str = Field(description="What it is.")
    value: str = Field(description="The number as printed.")
    notes: tuple[str, ...] = Field((), description="Lines below it, such as its interval.")


class Headlines(Settings):
    """Large numbers side by side."""

    type: Tag[Literal["headlines"]] = "headlines"
    items: tuple[Headline, ...] = Field(description="Numbers, four at most look well.")


class Cell(Settings):
    """A cell of a table."""

    value: str = Field(description="Value as printed.")
    interval: str = Field("", description="Interval as printed, or what else stands below the value.")


class Row(Settings):
    """A row of a table."""

    label: str = Field(description="Name of the row.")
    cells: tuple[Cell, ...] = Field(description="One for each column.")


class Table(Sparse):
    """A table with a name for every row."""

    always: ClassVar = ("type", "corner", "main", "fold")

    type: Tag[Literal["table"]] = "table"
    caption: str = Field(description="What the table holds.")
    corner: str = Field("", description="Heading of the rows' names.")
    columns: tuple[str, ...] = Field(description="Headings of the columns.")
    rows: tuple[Row, ...] = Field(description="Rows.")
    main: str = Field("", description="Column that stands out.")
    fold: str = Field("", description="Summary line; if given, the table is collapsed below it.")
    beside: str = Field(INTERVALS, description="What stands in the cells' intervals, such as SEM; heads them in CSV.")

    @model_validator(mode="after")
    def _is_full(self) -> Table:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {row.label!r} has {len(row.cells)} cells, the table {len(self.columns)} columns")
        return self


class Figure(Settings):
    """A drawn figure."""

    svg: str = Field(description="An <svg> element.")
    title: str = Field("", description="Title above it.")
    note: str = Field("", description="Note below it.")
    drawing: Any = Field(
        None, exclude=True, repr=False, description="The matplotlib figure that it was made of, while it is in memory."
    )

    def __eq__(self, other: object) -> bool:
        """Compare what is stored."""
        return isinstance(other, Figure) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        """Hash what is stored."""
        return hash((self.svg, self.title, self.note))

    @field_validator("svg")
    @classmethod
    def _is_harmless(cls, svg: str) -> str:
        """Refuse what is no SVG, does more than draw, or refers to anything outside."""
        if "<!" in svg or "<?" in svg or not re.match(r"\s*<svg[\s/>]", svg):
            raise ValueError(
                "a figure must be one <svg> element without prefix, document type, comments or instructions; "
                f"it begins with {svg[:40]!r}"
            )
        try:
            root = ElementTree.fromstring(svg)  # noqa: S314 - without a document type there are no entities to expand
        except ElementTree.ParseError as error:
            raise ValueError(f"a figure must be one <svg> element: {reason(error)}") from error
        faults = [fault for element in root.iter() if (fault := _fault(element))]
        if faults:
            raise ValueError(f"a figure may only draw, run nothing and refer to nothing outside: {faults[0]}")
        return svg


class Figures(Settings):
    """Figures side by side."""

    type: Tag[Literal["figures"]] = "figures"
    figures: tuple[Figure, ...] = Field(description="From left to right.")


class PictureGroup(Settings):
    """A few pictures that belong together, side by side, with a name."""

    name: str = Field(description="Name, in bold.")
    note: str = Field("", description="Text after the name.")
    pictures: tuple[PictureRef, ...] = Field(description="From left to right.")


class PictureGroups(Sparse):
    """Groups of pictures in a grid."""

    always: ClassVar = ("type",)

    type: Tag[Literal["pictures"]] = "pictures"
    groups: tuple[PictureGroup, ...] = Field(description="Groups in order.")
    map: Figure | None = Field(
        None, description="Map above them; its elements with `data-region` belong to the group of that name."
    )


class GalleryRow(Sparse):
    """One stimulus of a gallery, with its pictures from left to right."""

    number: int = Field(ge=0, description="Number of the test picture.")
    stimulus_id: int = Field(description="Stimulus id, from 0.")
    name: str = Field("", description="Name of the stimulus, if it has one.")
    place: int = Field(description="Place in the ranking, from 1.")
    scores: dict[str, str] = Field(description="Label of each metric → score as printed.")


class Gallery(Sparse):
    """Ranked stimuli with their pictures."""

    always: ClassVar = ("type",)

    type: Tag[Literal["gallery"]] = "gallery"
    kinds: dict[KindName, str] = Field(description="Kind of picture → heading, from left to right.")
    rows: dict[str, tuple[GalleryRow, ...]] = Field(description="Heading, such as Best → rows.")
    n_ranked: int = Field(description="Number of ranked stimuli.")
    ranking: str = Field(description="Label of the metric that ranks.")
    by_name: bool = Field(False, description="Whether stimuli are called by their names alone, as files are.")


class Strip(Sparse):
    """One stimulus of a contact sheet."""

    number: int = Field(ge=0, description="Number of the test picture.")
    stimulus_id: int = Field(description="Stimulus id, from 0.")
    score: str = Field(description="Score as printed.")
    name: str = Field("", description="Name of the stimulus, if it is called by that alone.")
    stimulus_name: str = Field("", description="Name of the stimulus, if it has one beside its number.")
    scores: tuple[float | None, ...] = Field((), description="Score by each metric of the sheet; null: not known.")
    flags: tuple[str, ...] = Field((), description="What is doubtful about the picture, in words.")
    neighbours: tuple[int, ...] = Field(
        (), description="Numbers of the test pictures that the decoded features resemble most, the nearest first."
    )


class SheetMetric(Settings):
    """A score by which the pictures of a contact sheet can be ordered."""

    label: str = Field(description="Label of the metric.")
    in_percent: bool = Field(
        False, description="Whether it is identification: a share of the other pictures of the test set, in percent."
    )
    higher_is_better: bool = Field(True, description="Whether more is better.")


class ContactSheet(Sparse):
    """All pictures, small, folded away; with a script they can be ordered, chosen from and looked at one by one."""

    always: ClassVar = ("type",)

    type: Tag[Literal["contact_sheet"]] = "contact_sheet"
    kinds: dict[KindName, str] = Field(min_length=1, description="Kind of picture → name, from left to right.")
    strips: tuple[Strip, ...] = Field(min_length=1, description="Stimuli in order.")
    ranking: str = Field(description="Label of the score below each.")
    metrics: tuple[SheetMetric, ...] = Field((), description="Metrics whose scores the strips hold, in their order.")
    scored: KindName | Literal[""] = Field("", description="Kind of picture that the scores are of; empty: not known.")
    scores_of: str = Field("", description="What the scores are of, in words; empty: not known.")
    n_pictures: int = Field(0, ge=0, description="Pictures that the strips were taken from; 0: they are all.")
    profile: str = Field("", description="Evaluation profile that the metrics are of; empty: not known.")

    @model_validator(mode="after")
    def _has_all_scores(self) -> ContactSheet:
        for strip in self.strips:
            if len(strip.scores) != len(self.metrics):
                raise ValueError(
                    f"picture {strip.number} has {len(strip.scores)} scores, the sheet {len(self.metrics)} metrics"
                )
        return self


class Facts(Settings):
    """Names and what they are, such as the settings of a run or the terms of a page."""

    type: Tag[Literal["facts"]] = "facts"
    facts: dict[str, str] = Field(description="Name → text.")
    style: Literal["compact", "explained"] = Field("compact", description="Texts beside names, or below.")


class Code(Settings):
    """Text of a file, folded."""

    type: Tag[Literal["code"]] = "code"
    text: str = Field(description="The text as it stands.")
    fold: str = Field(description="Summary line; the text is collapsed below it.")


class Links(Settings):
    """Links to other pages that lie in folders below this one or beside it."""

    type: Tag[Literal["links"]] = "links"
    links: dict[str, PagePath] = Field(description="Text → path of the page, relative to this one.")


class Summary(Settings):
    """Conclusions, and beside them large numbers and small pictures: what a page says at a glance."""

    type: Tag[Literal["summary"]] = "summary"
    conclusions: tuple[Sentences, ...] = Field(description="Under their headings, from the gravest.")
    headlines: Headlines | None = Field(None, description="Large numbers.")
    gallery: Gallery | None = Field(None, description="Stimuli with their pictures, shown small.")


Block: TypeAlias = Annotated[
    Text
    | Sentences
    | Headlines
    | Table
    | Figures
    | PictureGroups
    | Gallery
    | ContactSheet
    | Facts
    | Code
    | Links
    | Summary,
    Field(discriminator="type"),
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
    test_set: str = Field("", description="Test set that it is on; empty: on none, or on several.")
    appendix: bool = Field(False, description="Whether it comes after all sections that are no appendix.")


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower()


def _fault(element: ElementTree.Element) -> str:
    """Name what an element of a figure may not be or have, if anything."""
    tag = _local(element.tag)
    if not DRAWING.fullmatch(tag):
        return f"<{tag}> is no element of a drawing"
    if tag in TEXT_ONLY and len(element):
        return f"<{tag}> may hold text only"
    if tag == "style" and REFERS_OUTSIDE.search(element.text or ""):
        return f"<style> refers to more than the figure: {element.text}"
    outside = [name for name, value in element.attrib.items() if _leads_outside(_local(name), value)]
    return f"<{tag}> has {outside[0]}={element.attrib[outside[0]][:80]!r}" if outside else ""


def _leads_outside(name: str, value: str) -> bool:
    """Return whether an attribute runs code or refers to something that is not in the figure itself."""
    refers = name in ("href", "src") and not value.startswith(("#", EMBEDDED))
    return name.startswith("on") or refers or (name != "aria-label" and REFERS_OUTSIDE.search(value) is not None)
