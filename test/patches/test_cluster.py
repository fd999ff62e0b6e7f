"""Checks of the template's parameters, and cluster init."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import cluster


class OpPrereqError(Exception):
    """Ganeti's."""


def common_module() -> SimpleNamespace:
    return SimpleNamespace(
        constants=SimpleNamespace(DT_GLUSTER="gluster"),
        errors=SimpleNamespace(OpPrereqError=OpPrereqError, ECODE_INVAL="wrong_input"),
        CheckDiskAccessModeValidity=lambda parameters: checked.append(parameters),
    )


checked: list[Any] = []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"volume": "default"},
        {"host": "node1,node2:24008,[2001:db8::1]"},
        {"preallocation": "falloc", "volume": "vms", "port": 24007},
        {"locking": "off", "patience": "60"},
        {"patience": "0"},
        {"locking": "default", "patience": "default"},
    ],
)
def test_good_values_pass(given: dict[str, Any]) -> None:
    module = common_module()
    cluster.extend_common(module)
    module.CheckDiskAccessModeValidity({"gluster": given, "plain": {"stripes": 1}})
    assert checked.pop()["gluster"] == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preallocation": "some"}, "preallocation 'some': it is not one of off, falloc, full"),
        ({"volume": "../x"}, "volume name '../x': only letters"),
        ({"host": "a b"}, "host 'a b': it is neither a host name nor an address"),
        ({"host": "node1,,node2"}, "host '': it is empty"),
        ({"port": 0}, "port 0: it is not between 1 and 65535"),
        ({"locking": "maybe"}, "locking 'maybe': it is not one of on, off"),
        ({"patience": "long"}, "patience in seconds 'long': it is not a whole number"),
        ({"patience": 86401}, "patience in seconds 86401: it is not between "),
    ],
)
def test_bad_values_are_refused_with_the_reason(given: dict[str, Any], message: str) -> None:
    module = common_module()
    cluster.extend_common(module)
    with pytest.raises(OpPrereqError) as caught:
        module.CheckDiskAccessModeValidity({"gluster": given})
    assert caught.value.args[0].startswith("Disk parameter of template gluster: " + message)
    assert caught.value.args[1] == "wrong_input"


def test_cluster_init_accepts_the_directory_that_we_do_not_use() -> None:
    def _PrepareGlusterStorage(templates: Any, path: str, acceptance_fn: Any = None) -> Any:
        return acceptance_fn(path), path

    module = SimpleNamespace(_PrepareGlusterStorage=_PrepareGlusterStorage)
    cluster.extend_bootstrap(module)
    assert module._PrepareGlusterStorage(["gluster"], "/x") == (None, "/x")


def test_another_bootstrap_is_refused() -> None:
    module = SimpleNamespace(_PrepareGlusterStorage=lambda templates, path: None)
    with pytest.raises(PatchRefused, match="_PrepareGlusterStorage"):
        cluster.extend_bootstrap(module)
