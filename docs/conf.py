"""How Sphinx builds the documentation (`make docs`): no network, and every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import braindiffuser

project = "braindiffuser"
author = "The braindiffuser authors"
copyright = author  # noqa: A001 (Sphinx's name)
version = release = braindiffuser.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "generated_reference",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "sg_execution_times.rst",
    "**/sg_execution_times.rst",
]  # the latter load scripts from elsewhere
myst_heading_anchors = 4
napoleon_use_ivar = True  # attributes as text: those of named tuples are members, too
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "examples",
    "only_warn_on_example_error": False,
    "show_memory": False,
    "download_all_examples": False,
    "within_subsection_order": "example_order.ExampleOrder",
    "capture_repr": (),  # what an example prints is enough
}
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"braindiffuser {release}"
smartquotes = False  # entries and commands are quoted as they are typed
