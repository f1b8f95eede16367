"""One self-contained HTML page: sections one after the other, pictures as data URIs, nothing fetched, no script."""

from __future__ import annotations

import base64
import html
import io
import math
import re
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braindiffuser.arrays import Pictures, RawPictures
from braindiffuser.files import replacing
from braindiffuser.images import batch_slices, resize, to_uint8
from braindiffuser.report.sections import ContactSheet, PictureRef, Section

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

ReadPictures = Callable[[str, Sequence[int]], Pictures]
"""Kind and numbers of pictures to (n, 3, height, width)."""

SHOWN_SIDE = 192
"""Larger pictures are shrunk to this many pixels."""
CONTACT_SIDES = (24, 48)
"""Smallest and largest side of a picture in the contact sheet, in pixels."""
CONTACT_BYTES = 3_500_000
"""About how much the contact sheet may weigh; more pictures make each of them smaller."""
GAP = 2


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands above the sections.

    Attributes:
        experiment: name of the experiment.
        subject: whom the responses came from, such as "subj01"; "" if it has no name.
        simulated: True if no brain was recorded; the page then says so first.
        version: of this package.
        n_subjects: number of subjects; of several, `subject` is empty.
        title: heading of a page that is not on what a subject saw; empty: made of the above.
        lead: first paragraph below it.
    """

    experiment: str
    subject: str
    simulated: bool
    version: str
    n_subjects: int = 1
    title: str = ""
    lead: str = ""


class Report:
    """A page that shows itself in a notebook, saves, and opens in a browser.

    Attributes:
        html: the whole page, one HTML document.
    """

    def __init__(self, document: str) -> None:
        """Hold a page.

        Args:
            document: the HTML document.
        """
        self.html = document

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own."""
        return (
            f'<iframe srcdoc="{html.escape(self.html, quote=True)}" sandbox="" title="Report" '
            'style="width: 100%; height: 800px; border: 1px solid #ccc"></iframe>'
        )

    def save(self, path: Path | str) -> Path:
        """Write the page to a file, whole or not at all, and return where it is."""
        path = Path(path)
        with replacing(path) as beside:
            beside.write_text(self.html, encoding="utf-8")
        return path

    def open_in_browser(self) -> Path:
        """Open the page in the default browser, from a temporary file, and return where it is."""
        path = self.save(Path(tempfile.mkdtemp(prefix="braindiffuser-")) / "report.html")
        webbrowser.open(path.as_uri())
        return path


def render_page(header: Header, sections: Sequence[Section], read: ReadPictures) -> str:
    """Return a page as one HTML document; the same sections give the same characters.

    Args:
        header: what stands above.
        sections: in order, appendices last; their names must differ.
        read: reads pictures that sections refer to; asked for a few at a time.

    Raises:
        ValueError: if two sections have one name.
    """
    names = [section.name for section in sections]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two sections of the page have the name {twice[0]}: give one of them another")
    in_order = sorted(sections, key=lambda section: section.appendix)
    page: str = _template().render(
        header=header,
        sections=in_order,
        picture=lambda ref: _shown(read, ref),
        picture_of=lambda kind, number: _shown(read, PictureRef(kind=kind, number=number)),
        strips=lambda sheet: _strips(read, sheet),
    )
    return page


@cache
def _template() -> jinja2.Template:
    """Return the template of a page, which autoescapes and refuses what it is not given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("braindiffuser.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = _with_code
    return environment.get_template("page.html.jinja")


def _with_code(text: str) -> Markup:
    """Escape a text, and set what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  it was escaped


def _shown(read: ReadPictures, ref: PictureRef) -> str:
    """Write one picture as a data URI, shrunk if it is large."""
    picture = read(ref.kind, [ref.number])
    return _png_uri(to_uint8(resize(picture, min(SHOWN_SIDE, max(picture.shape[-2:]))))[0])


@dataclass(frozen=True)
class _Strips:
    """The pictures of a contact sheet: a data URI for each stimulus, all of one size."""

    uris: list[str]
    width: int
    height: int


def _strips(read: ReadPictures, sheet: ContactSheet) -> _Strips:
    """Put the kinds of each stimulus side by side, small; pictures are read a batch at a time."""
    side = int(np.clip(math.sqrt(CONTACT_BYTES / (4 * max(1, len(sheet.strips) * len(sheet.kinds)))), *CONTACT_SIDES))
    numbers = [strip.number for strip in sheet.strips]
    shrunk = [_shrunk(read, kind, numbers, side) for kind in sheet.kinds]
    uris = [_png_uri(_strip(np.stack([pictures[place] for pictures in shrunk]))) for place in range(len(numbers))]
    return _Strips(uris, width=len(sheet.kinds) * (side + GAP) - GAP, height=side)


def _shrunk(read: ReadPictures, kind: str, numbers: Sequence[int], side: int) -> RawPictures:
    return np.concatenate([to_uint8(resize(read(kind, numbers[rows]), side)) for rows in batch_slices(len(numbers))])


def _strip(pictures: RawPictures) -> NDArray[np.uint8]:
    """Put square pictures side by side, with a transparent gap between them: (side, width, 4)."""
    n_pictures, side = pictures.shape[:2]
    strip = np.zeros((side, n_pictures * (side + GAP) - GAP, 4), np.uint8)
    for place, picture in enumerate(pictures):
        left = place * (side + GAP)
        strip[:, left : left + side, :3], strip[:, left : left + side, 3] = picture, 255
    return strip


def _png_uri(raw: NDArray[np.uint8]) -> str:
    """Write one 8-bit picture (height, width, 3 or 4) as a PNG inside a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(raw).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
