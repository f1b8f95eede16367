"""Texts in Markdown, so that names of methods, pictures and categories are read as they are written."""

from __future__ import annotations

import re


def markdown_text(text: str) -> str:
    r"""Keep a text from ending its cell, and from being read as a link, as markup, as HTML or as a line of its own.

    >>> print(markdown_text("[a|b](http://x) *c* <d>"))
    \[a\|b\](http://x) \*c\* &lt;d>
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", plain)
