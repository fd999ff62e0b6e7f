"""The manual, as `make doc` builds it with Sphinx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]

project = "ganeti-gluster"
author = "the ganeti-gluster authors"
copyright = author
release = re.findall(r'__version__ = "(.+)"', (_ROOT / "lib" / "__init__.py").read_text())[0]
version = release

extensions: list[str] = []
nitpicky = True
# Blocks that are introduced by "::" are what is typed, and what is shown.
highlight_language = "none"
html_theme = "alabaster"
html_theme_options = {"description": "GlusterFS in Ganeti", "page_width": "1050px"}
html_show_sourcelink = False

# The pages name each other as files, since most people read them as such.
_PAGE = re.compile(r"(?<![`\w/])doc/([a-z-]+)\.rst")


def _link(text: list[str]) -> None:
    text[0] = _PAGE.sub(r":doc:`/\1`", text[0])


def setup(app: Any) -> None:
    """Make links of the names of pages."""
    app.connect("source-read", lambda app, name, text: _link(text))
    app.connect("include-read", lambda app, path, name, text: _link(text))
