"""One self-contained HTML page: sections one after the other, pictures as data URIs, nothing fetched.

The page is whole without scripts. Its one script, joined of `SCRIPTS`, lets a reader sort pictures and look at them one by one;
the page's own policy names the hash of that script, so a browser runs no other and asks nothing of any network.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import tempfile
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braindiffuser.files import replacing
from braindiffuser.images import resize, to_uint8
from braindiffuser.report.region_map import region_hue
from braindiffuser.report.sections import ContactSheet, PictureRef, Section
from braindiffuser.report.strips import ReadPictures, make_strips

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

SHOWN_SIDE = 192
"""Larger pictures are shrunk to this many pixels."""
SCRIPTS = ("sheet.js", "other_page.js", "viewer.js", "region_map.js")
"""Files in `assets` that are joined, in this order, to the script of a page."""
CONTACT_BYTES = 4_500_000
"""About how much the contact sheets of a page may weigh together; more pictures make each of them smaller."""


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
            f'<iframe srcdoc="{html.escape(self.html, quote=True)}" sandbox="allow-scripts" title="Report" '
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
    sheets = [block for section in in_order for block in section.blocks if isinstance(block, ContactSheet)]
    n_strips = sum(len(sheet.strips) for sheet in sheets)
    page: str = _template().render(
        header=header,
        sections=in_order,
        picture=lambda ref: _shown(read, ref),
        picture_of=lambda kind, number: _shown(read, PictureRef(kind=kind, number=number)),
        strips=lambda sheet: make_strips(read, sheet, CONTACT_BYTES * len(sheet.strips) / n_strips),
        has_sheet=bool(sheets),
        script=_script(),
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
    environment.globals["region_hue"] = region_hue
    return environment.get_template("page.html.jinja")


@cache
def _script() -> _Script:
    """Join the script of a page."""
    from markupsafe import Markup

    assets = resources.files("braindiffuser.report") / "assets"
    text = "\n".join((assets / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return _Script(Markup(text), f"sha256-{digest}")  # noqa: S704  it is a file of this package


def _with_code(text: str) -> Markup:
    """Escape a text, and set what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  it was escaped


def _shown(read: ReadPictures, ref: PictureRef) -> str:
    """Write one picture as a data URI, shrunk if it is large."""
    picture = read(ref.kind, [ref.number])
    return _png_uri(to_uint8(resize(picture, min(SHOWN_SIDE, max(picture.shape[-2:]))))[0])


@dataclass(frozen=True)
class _Script:
    """The script of a page, and its hash as a content security policy names it."""

    text: Markup
    hash: str


def _png_uri(raw: NDArray[np.uint8]) -> str:
    """Write one 8-bit picture (height, width, 3) as a PNG inside a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(raw).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
