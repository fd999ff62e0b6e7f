"""How a request of the node daemon locks its memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import noded

calls: list[Any] = []

# As in Ganeti: the names are the module's, which the mend looks at.
SOURCE = """
class MlockallRequestExecutor(http.server.HttpServerRequestExecutor):
    def __init__(self, *args, **kwargs):
        utils.Mlockall()
        http.server.HttpServerRequestExecutor.__init__(self, *args, **kwargs)
"""


class HttpServerRequestExecutor:
    """Ganeti's, which serves the request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, instead of modules that need Ganeti's."""
    done: list[str] = []
    monkeypatch.setattr(noded, "_preload", lambda: done.append("all"))
    return done


def module() -> SimpleNamespace:
    """What `ganeti.server.noded` has of it."""
    names: dict[str, Any] = {
        "utils": SimpleNamespace(Mlockall=lambda: calls.append("all")),
        "http": SimpleNamespace(
            server=SimpleNamespace(HttpServerRequestExecutor=HttpServerRequestExecutor)
        ),
        "__name__": "ganeti.server.noded",
    }
    exec(SOURCE, names)  # noqa: S102 - the text above, for names of a module
    return SimpleNamespace(**names)


@pytest.mark.parametrize(("works", "expected"), [(True, []), (False, ["all"])])
def test_pages_are_locked_when_used_or_else_as_before(
    monkeypatch: pytest.MonkeyPatch, works: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(noded, "lock_all_as_used", lambda: works)
    ganeti = module()
    noded.extend(ganeti)
    calls.clear()
    ganeti.MlockallRequestExecutor("socket", timeout=3)
    assert calls == [*expected, (("socket",), {"timeout": 3})]


def test_a_class_that_does_more_is_left_alone() -> None:
    ganeti = module()

    def more(self: Any) -> None:
        ganeti.utils.SomethingElse()

    ganeti.MlockallRequestExecutor.__init__ = more
    with pytest.raises(PatchRefused, match="MlockallRequestExecutor is not as expected"):
        noded.extend(ganeti)
    assert ganeti.MlockallRequestExecutor.__init__ is more


def test_a_ganeti_without_the_class_is_left_alone() -> None:
    with pytest.raises(PatchRefused, match="MlockallRequestExecutor is not as expected"):
        noded.extend(SimpleNamespace())


def test_what_is_loaded_late_elsewhere_is_loaded_even_if_the_mend_is_refused(
    loaded: list[str],
) -> None:
    with pytest.raises(PatchRefused):
        noded.extend(SimpleNamespace())
    assert loaded == ["all"]
