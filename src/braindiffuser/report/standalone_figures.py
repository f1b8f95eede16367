"""Figures of a page as SVG files of their own, with real colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from braindiffuser.report.figures import CSS_COLOURS

_VARIABLE = re.compile(r"var\(--([a-z-]+)\)")


def standalone_svg(svg: str) -> str:
    """Return a figure of a page as an SVG document of its own, in the colours of the page's light mode.

    Args:
        svg: as `figures.as_svg` returns it.

    Raises:
        ValueError: it names a colour that the page does not have, or does not say its size.
    """
    unknown = sorted(set(_VARIABLE.findall(svg)) - CSS_COLOURS.keys())
    if unknown:
        raise ValueError(f"a figure has the colour {unknown[0]}, but pages have {', '.join(CSS_COLOURS)}")
    own = _VARIABLE.sub(lambda match: CSS_COLOURS[match[1]], svg)
    numbers = ElementTree.fromstring(own).get("viewBox", "").split()  # noqa: S314  a section has checked it
    if len(numbers) != 4:
        raise ValueError("a figure says no size: its <svg> element needs a viewBox of four numbers")
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    own = own.replace("<svg", f'<svg {spaces} width="{float(numbers[2]):g}" height="{float(numbers[3]):g}"', 1)
    own = re.sub(r'(?<=\s)href="', 'xlink:href="', own)  # programs older than SVG 2 know no other
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{own}\n'
