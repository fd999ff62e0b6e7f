"""What this node's Ganeti can do, and what it says where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from ganeti_gluster.extstorage import node
from ganeti_gluster.extstorage.request import ExtStorageRequest

REQUEST = ExtStorageRequest.from_environ(
    {
        "VOL_NAME": "x",
        "VOL_OPEN_EXCLUSIVE": "False",
        "EXTP_VOLUME": "gv0",
        "EXTP_PATIENCE": "60",
    }
)


class HypervisorError(Exception):
    """Ganeti's."""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`module(name, **members)`: put a module in place; Ganeti's errors are there already."""
    monkeypatch.setattr(node, "use_ganeti", lambda: None)

    def put(name: str, **members: Any) -> None:
        made = ModuleType(name)
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, name, made)

    errors = ModuleType("ganeti.errors")
    vars(errors).update(HypervisorError=HypervisorError)
    put("ganeti", errors=errors)
    return put


def refuse(uri: str) -> dict[str, Any]:
    raise HypervisorError("Unsupported storage URI scheme: %s" % uri)


@pytest.mark.parametrize(
    ("members", "starts"),
    [
        ({}, True),  # Ganeti 3.0 hands the URI on
        ({"kvm_utils": ModuleType("kvm_utils")}, True),
        ({"kvm_utils": {"ParseStorageUriToBlockdevParam": refuse}}, False),
        ({"kvm_utils": {"ParseStorageUriToBlockdevParam": lambda uri: {"driver": "nbd"}}}, True),
    ],
)
def test_a_ganeti_that_makes_structures_of_uris_has_to_know_ours(
    module: Callable[..., None], members: dict[str, Any], starts: bool
) -> None:
    found = members.get("kvm_utils")
    if isinstance(found, dict):
        made = ModuleType("kvm_utils")
        vars(made).update(found)
        members = {"kvm_utils": made}
    module("ganeti.hypervisor")
    module("ganeti.hypervisor.hv_kvm", **members)
    assert node.starts_in_userspace() is starts


def test_an_image_is_opened_as_the_template_opens_its_own(module: Callable[..., None]) -> None:
    opened: list[Any] = []
    module(
        "ganeti_gluster.storage.one_writer",
        open_image=lambda params, path, *, exclusive: opened.append((params, path, exclusive)),
    )
    node.open_image(REQUEST)
    params = {"volume": "gv0", "host": "127.0.0.1", "patience": "60"}
    assert opened == [(params, "ganeti-ext/x", False)]
