"""The manual: `make doc` builds it without a warning; here, that no page is left out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_index_has_all_pages() -> None:
    pages = {path.stem for path in (ROOT / "doc").glob("*.rst")} - {"index"}
    listed = re.findall(r"^   ([a-z-]+)$", (ROOT / "doc" / "index.rst").read_text(), re.M)
    assert sorted(listed) == sorted(pages)


def test_pages_name_pages_that_exist() -> None:
    for path in (ROOT / "README.rst", ROOT / "NEWS", *(ROOT / "doc").glob("*.rst")):
        for name in re.findall(r"doc/[a-z-]+\.rst", path.read_text()):
            assert (ROOT / name).exists(), "%s names %s" % (path.name, name)
