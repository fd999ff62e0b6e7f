"""Answers that the gluster command gave, saved by its version."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(params=["10.3", "11.1"])
def text(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`text(name)`: an answer as it was printed."""

    def read(name: str) -> str:
        return (DATA / request.param / name).read_text()

    return read


@pytest.fixture
def answer(text: Callable[[str], str]) -> Callable[[str], ET.Element]:
    """`answer(name)`: the root element of an answer."""
    return lambda name: ET.fromstring(text(name + ".xml"))
