"""Figures of a page as files of their own: SVG with real colours, and PNG of the same drawing.

A page's figures are SVG that matplotlib drew, whose colours follow the page (see `figures.as_svg`). Outside the page they have
those of its light mode. For PNG the few elements that matplotlib writes (paths, copies of markers, hatches, texts, images,
clips) are drawn again by matplotlib; a figure with any other element is refused, never drawn in part.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from braindiffuser.report.sections import EMBEDDED

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch

LIGHT: Mapping[str, str] = {
    "paper": "#fdfdfc",
    "ink": "#1b1e22",
    "muted": "#5a6068",
    "rule": "#d8dade",
    "reconstruction": "#0a5c9e",
    "ceiling": "#00734f",
    "baseline": "#a34d00",
    "low-level": "#7d5a00",
    "diffusion": "#96386f",
}
"""CSS variable → its colour in the page's light mode."""
DPI = 200
"""Of PNG: an inch of a figure is 72 of its units."""
_VARIABLE = re.compile(r"var\(--([a-z-]+)\)")
_TOKEN = re.compile(r"[MLQCZz]|-?\d+\.?\d*(?:e-?\d+)?")
_LENGTHS = {"M": 2, "L": 2, "Q": 4, "C": 6, "z": 0}
_PATTERN = re.compile(r"url\(#([^)]+)\)")
_TRANSFORM = re.compile(r"(translate|rotate|scale|matrix)\(([^)]*)\)")
_GROUPS = ("g", "svg")
_SKIPPED = ("defs", "style", "title", "desc", "metadata")


def standalone_svg(svg: str) -> str:
    """Return a figure of a page as an SVG document of its own, in the colours of the page's light mode.

    Args:
        svg: as `figures.as_svg` returns it.

    Raises:
        ValueError: it names a colour that the page does not have, or does not say its size.
    """
    own = _with_colours(svg)
    _, _, width, height = _view(ElementTree.fromstring(own))  # noqa: S314  a section has checked it
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    own = own.replace("<svg", f'<svg {spaces} width="{width:g}" height="{height:g}"', 1)
    own = re.sub(r'(?<=\s)href="', 'xlink:href="', own)  # programs older than SVG 2 know no other
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{own}\n'


def figure_png(svg: str, dpi: int = DPI) -> bytes:
    """Draw a figure of a page as PNG, on the page's light ground.

    Args:
        svg: as `figures.as_svg` returns it.
        dpi: pixels to 72 units of the figure.

    Raises:
        ValueError: it holds an element or a transformation that matplotlib does not write.
    """
    root = ElementTree.fromstring(_with_colours(svg))  # noqa: S314  a section has checked it
    figure = _canvas(root)
    shapes = _Shapes(root)
    for drawn in _elements(root, _Place("", _identity())):
        _draw(figure, drawn, shapes)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=dpi, metadata={"Software": None})
    return written.getvalue()


def _with_colours(svg: str) -> str:
    unknown = sorted(set(_VARIABLE.findall(svg)) - LIGHT.keys())
    if unknown:
        raise ValueError(f"a figure has the colour {unknown[0]}, but pages have {', '.join(LIGHT)}")
    return _VARIABLE.sub(lambda match: LIGHT[match[1]], svg)


def _view(root: ElementTree.Element) -> tuple[float, float, float, float]:
    numbers = [float(number) for number in root.get("viewBox", "").split()]
    if len(numbers) != 4:
        raise ValueError("a figure says no size: its <svg> element needs a viewBox of four numbers")
    x, y, width, height = numbers
    return x, y, width, height


def _canvas(root: ElementTree.Element) -> Figure:
    from matplotlib.figure import Figure

    x, y, width, height = _view(root)
    figure = Figure(figsize=(width / 72, height / 72), facecolor=LIGHT["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(x, x + width)
    axes.set_ylim(y + height, y)
    return figure


class _Place(NamedTuple):
    """What an element inherits: the id of its clip, and its transformation as a 3 × 3 array."""

    clip: str
    transform: Any


class _Drawn(NamedTuple):
    """One element to draw, with its style and place."""

    tag: str
    element: ElementTree.Element
    style: Mapping[str, str]
    place: _Place


class _Shapes:
    """Paths and clips by their ids."""

    def __init__(self, root: ElementTree.Element) -> None:
        named = {element.get("id"): element for element in root.iter() if element.get("id")}
        self._named = {str(name): element for name, element in named.items()}

    def path(self, reference: str) -> ElementTree.Element:
        """Return the path that a copy refers to."""
        element = self._named.get(reference.removeprefix("#"))
        if element is None or _tag(element) != "path":
            raise ValueError(f"a figure copies {reference}, which is no path of it")
        return element

    def clip(self, reference: str) -> ElementTree.Element:
        """Return the shape of a clip."""
        element = self._named.get(reference)
        shapes = [] if element is None else list(element)
        if len(shapes) != 1 or _tag(shapes[0]) not in ("rect", "path"):
            raise ValueError(f"a figure is clipped by {reference}, which is no rectangle and no path")
        return shapes[0]

    def pattern(self, reference: str) -> ElementTree.Element:
        """Return the pattern that fills a shape."""
        element = self._named.get(reference)
        if element is None or _tag(element) != "pattern" or element.get("patternUnits") != "userSpaceOnUse":
            raise ValueError(f"a figure is filled with {reference}, which is no pattern of it")
        return element


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _style(element: ElementTree.Element) -> dict[str, str]:
    pairs = (entry.partition(":") for entry in element.get("style", "").split(";") if entry.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _elements(element: ElementTree.Element, place: _Place) -> Iterator[_Drawn]:
    """Yield what is to be drawn, in order, with what it inherits."""
    for child in element:
        tag = _tag(child)
        if tag in _SKIPPED or tag == "clipPath":
            continue
        clip = child.get("clip-path", "").removeprefix("url(#").removesuffix(")") or place.clip
        if tag == "text":  # its own transformation is read where it is drawn
            yield _Drawn(tag, child, _style(child), _Place(clip, place.transform))
            continue
        own = _Place(clip, place.transform @ _matrix(child.get("transform", "")))
        if tag in _GROUPS:
            if _style(child).keys() - {"opacity"}:
                raise ValueError(f"a group of a figure has a style of its own: {child.get('style')}")
            yield from _elements(child, own)
        elif tag in ("path", "use", "image"):
            yield _Drawn(tag, child, _style(child), own)
        else:
            raise ValueError(f"<{tag}> of a figure cannot be drawn as PNG")


def _identity() -> Any:
    import numpy as np

    return np.eye(3)


def _matrix(text: str) -> Any:
    """Read a list of transformations as one 3 × 3 array."""
    import numpy as np

    whole = np.eye(3)
    if re.sub(r"[\s,]", "", _TRANSFORM.sub("", text)):
        raise ValueError(f"transformation {text!r} of a figure cannot be drawn as PNG")
    for name, listed in _TRANSFORM.findall(text):
        numbers = [float(number) for number in re.split(r"[\s,]+", listed.strip())]
        whole = whole @ _single(name, numbers)
    return whole


def _single(name: str, numbers: list[float]) -> Any:
    import numpy as np

    if name == "matrix":
        a, b, c, d, e, f = numbers
        return np.array([[a, c, e], [b, d, f], [0, 0, 1]])
    if name == "translate":
        return np.array([[1, 0, numbers[0]], [0, 1, (*numbers, 0.0)[1]], [0, 0, 1]])
    if name == "scale":
        return np.diag([numbers[0], numbers[-1], 1])
    angle, (x, y) = np.deg2rad(numbers[0]), (numbers[1:] or [0.0, 0.0])
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return _single("translate", [x, y]) @ turned @ _single("translate", [-x, -y])


def _draw(figure: Figure, drawn: _Drawn, shapes: _Shapes) -> None:
    axes = figure.axes[0]
    if drawn.tag == "text":
        artist: Any = _text(figure, drawn)
    elif drawn.tag == "image":
        artist = _image(figure, drawn)
    else:
        artist = axes.add_patch(_patch(drawn, shapes))
        _fill(figure, drawn, artist, shapes)
    artist.set_zorder(len(axes.get_children()))
    if drawn.place.clip:
        artist.set_clip_path(_clip(figure, shapes.clip(drawn.place.clip)))
    else:
        artist.set_clip_on(False)


def _points(text: str) -> Any:
    """Read the data of a path as a matplotlib path."""
    from matplotlib.path import Path

    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"[\s,]", "", text):
        raise ValueError(f"path {text[:40]!r} of a figure cannot be drawn as PNG")
    codes = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    vertices: list[tuple[float, float]] = []
    kinds: list[Any] = []
    place = 0
    while place < len(tokens):
        letter = tokens[place].replace("Z", "z")
        length = _LENGTHS[letter]
        numbers = [float(number) for number in tokens[place + 1 : place + 1 + length]]
        if letter == "z":
            vertices.append((0.0, 0.0))
            kinds.append(Path.CLOSEPOLY)
        else:
            vertices += list(zip(numbers[::2], numbers[1::2], strict=True))
            kinds += [codes[letter]] * (length // 2)
        place += 1 + length
    return Path(vertices, kinds)


def _patch(drawn: _Drawn, shapes: _Shapes) -> PathPatch:
    from matplotlib.patches import PathPatch

    element, style, whole = drawn.element, dict(drawn.style), drawn.place.transform
    if drawn.tag == "use":
        x, y = (float(element.get(side, "0")) for side in ("x", "y"))
        whole = whole @ _single("translate", [x, y])
        element = shapes.path(element.get("href", ""))
        style = {**style, **_style(element)}
    width = float(style.get("stroke-width", "1"))
    stroke, fill = style.get("stroke", "none"), style.get("fill", "#000000")
    dashes = [
        float(number) / max(width, 1e-9) for number in re.split(r"[\s,]+", style.get("stroke-dasharray", "")) if number
    ]
    offset = float(style.get("stroke-dashoffset", "0")) / max(width, 1e-9)
    opacity = float(style.get("opacity", "1"))
    return PathPatch(
        _turned(_points(element.get("d", "")), whole),
        facecolor=_colour(fill, opacity * float(style.get("fill-opacity", "1"))),
        edgecolor=_colour(stroke, opacity * float(style.get("stroke-opacity", "1"))),
        linewidth=0 if stroke == "none" else width,
        linestyle=(offset, dashes) if dashes else "solid",
        capstyle={"square": "projecting", "round": "round"}.get(style.get("stroke-linecap", "butt"), "butt"),
        joinstyle={"miter": "miter", "bevel": "bevel"}.get(style.get("stroke-linejoin", "round"), "round"),
    )


def _fill(figure: Figure, drawn: _Drawn, patch: PathPatch, shapes: _Shapes) -> None:
    """Fill a shape with the tiles of a pattern, as matplotlib writes hatches, if it is filled so."""
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import TransformedBbox

    reference = _PATTERN.fullmatch(drawn.style.get("fill", ""))
    if reference is None:
        return
    pattern, axes, shape = shapes.pattern(reference[1]), figure.axes[0], patch.get_path()
    for part in pattern:
        style = _style(part)
        if _tag(part) == "rect":  # the ground of a tile
            parts = [PathPatch(shape, facecolor=_colour(part.get("fill", "none"), 1.0), linewidth=0)]
        else:
            parts = [
                PathPatch(
                    _turned(_points(part.get("d", "")), _single("translate", list(corner))),
                    facecolor=_colour(style.get("fill", "none"), 1.0),
                    edgecolor=_colour(style.get("stroke", "none"), 1.0),
                    linewidth=float(style.get("stroke-width", "1")),
                )
                for corner in _corners(pattern, shape.get_extents())
            ]
        for each in parts:
            axes.add_patch(each).set_zorder(len(axes.get_children()))
            each.set_clip_path(shape, axes.transData)
            if drawn.place.clip:
                box = _clip(figure, shapes.clip(drawn.place.clip)).get_path().get_extents()
                each.set_clip_box(TransformedBbox(box, axes.transData))


def _corners(pattern: ElementTree.Element, box: Any) -> Iterator[tuple[float, float]]:
    """Yield by how much each tile of a pattern that reaches into a box is moved from the first."""
    import numpy as np

    x, y, width, height = (float(pattern.get(side, "0")) for side in ("x", "y", "width", "height"))
    for column in range(int(np.floor((box.x0 - x) / width)), int(np.floor((box.x1 - x) / width)) + 1):
        for row in range(int(np.floor((box.y0 - y) / height)), int(np.floor((box.y1 - y) / height)) + 1):
            yield column * width, row * height


def _turned(path: Any, whole: Any) -> Any:
    from matplotlib.transforms import Affine2D

    return path.transformed(Affine2D(whole))


def _colour(name: str, opacity: float) -> Any:
    from matplotlib.colors import to_rgba

    is_drawn = name != "none" and not _PATTERN.fullmatch(name)
    return to_rgba(name, opacity) if is_drawn else (0, 0, 0, 0)


def _text(figure: Figure, drawn: _Drawn) -> Any:
    """Write a text where SVG has it: x, y are the baseline's, moved and turned by the transformation."""
    import numpy as np

    element, style = drawn.element, drawn.style
    if len(element):
        raise ValueError(
            f"a text of a figure has parts, which cannot be drawn as PNG: {''.join(element.itertext())[:40]}"
        )
    whole = drawn.place.transform @ _matrix(element.get("transform", ""))
    x, y, _ = whole @ np.array([float(element.get("x", "0")), float(element.get("y", "0")), 1.0])
    turn = -float(np.rad2deg(np.arctan2(whole[1, 0], whole[0, 0])))
    anchors = {"middle": "center", "end": "right"}
    return figure.axes[0].text(
        x,
        y,
        element.text or "",
        fontsize=_font_size(style),
        fontweight=style.get("font-weight", "normal"),
        fontstyle=style.get("font-style", "normal"),
        color=_colour(style.get("fill", "#000000"), float(style.get("opacity", "1"))),
        ha=anchors.get(style.get("text-anchor", "start"), "left"),
        va="baseline",
        rotation=turn,
        rotation_mode="anchor",
        parse_math=False,
    )


def _font_size(style: Mapping[str, str]) -> float:
    """Return the size of a text; a unit of a figure is a point of matplotlib's."""
    found = re.search(r"([\d.]+)px", style.get("font-size") or style.get("font", ""))
    return float(found[1]) if found else 10.0


def _image(figure: Figure, drawn: _Drawn) -> Any:
    """Draw an embedded picture: its first row is the upper one where the transformation mirrors nothing."""
    import numpy as np
    from matplotlib.transforms import Affine2D
    from PIL import Image

    element = drawn.element
    content = element.get("href", "")
    x, y, width, height = (float(element.get(side, "0")) for side in ("x", "y", "width", "height"))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content.removeprefix(EMBEDDED)))).convert("RGBA"))
    axes = figure.axes[0]
    shown = axes.imshow(picture, extent=(x, x + width, y + height, y), aspect="auto", interpolation="nearest")
    view = axes.get_xlim(), axes.get_ylim()
    shown.set_transform(Affine2D(drawn.place.transform) + axes.transData)
    axes.set_xlim(view[0])
    axes.set_ylim(view[1])
    return shown


def _clip(figure: Figure, shape: ElementTree.Element) -> PathPatch:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    axes = figure.axes[0]
    if _tag(shape) == "path":
        return PathPatch(_points(shape.get("d", "")), transform=axes.transData)
    x, y, width, height = (float(shape.get(side, "0")) for side in ("x", "y", "width", "height"))
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    return PathPatch(Path(corners, closed=True), transform=axes.transData)
