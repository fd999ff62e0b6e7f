"""The master list: what is built in, and what the administrator's file makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.services.config import (
    BUILT_IN,
    GLUSTER_SWIFT,
    ServicesConfig,
    digest,
    load,
    parse,
)
from ganeti_gluster.core.services.model import Service
from ganeti_gluster.tools.ini import InvalidConfiguration


def test_without_a_file_there_is_what_is_built_in(tmp_path: Path) -> None:
    found = load(str(tmp_path / "none.conf"))
    assert found == ServicesConfig()
    swift = found.type("gluster_swift")
    assert [service.name for service in swift.services] == [
        "account",
        "container",
        "object",
        "proxy",
    ]
    assert swift.services[3].units == (
        "gluster-swift-proxy",
        "openstack-swift-proxy",
        "swift-proxy",
    )
    assert swift.service("openstack-swift-object") == swift.services[2]
    assert swift.service("nonsense") is None


def test_a_section_of_a_built_in_type_says_only_what_differs() -> None:
    found = parse("[GLUSTER_SWIFT]\nnodes = tag:swift\nverify = on\n").type(GLUSTER_SWIFT)
    assert (str(found.nodes), found.verify) == ("tag:swift", True)
    assert found.services == BUILT_IN[0].services


def test_a_type_of_the_administrators() -> None:
    found = parse(
        "[NFS]\ntitle = NFS on Gluster\nnodes = node1, node2\n"
        "service.rpcbind = rpcbind\nservice.ganesha = nfs-ganesha.service ganesha.nfsd\n"
        "[settings]\nhistory = 200\nhook_seconds = 5\ninterval = 300\n"
    )
    assert (found.history, found.hook_seconds, found.interval) == (200, 5, 300)
    nfs = found.type("NFS")
    assert nfs.services == (
        Service("rpcbind", ("rpcbind",)),
        Service("ganesha", ("nfs-ganesha", "ganesha.nfsd")),
    )
    assert str(nfs.nodes) == "node1 node2"
    assert [each.name for each in found.types] == ["GLUSTER_SWIFT", "GLUSTER", "NFS"]


def test_the_digest_is_of_the_services_and_their_order() -> None:
    base = parse("[A]\nservice.a = a\nservice.b = b").type("A")
    same = parse("[A]\nnodes = none\nverify = on\nservice.a = a\nservice.b = b").type("A")
    other = parse("[A]\nservice.b = b\nservice.a = a").type("A")
    assert digest(base) == digest(same) != digest(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes = all", "File contains no section headers"),
        ("[A]\n[A]", "section 'A' already exists"),
        ("[nfs]\nservice.a = a", "section [nfs]: 'nfs' is not a valid type name"),
        ("[NFS]", "section [NFS]: a type needs at least one line 'service.NAME = UNIT ...'"),
        ("[NFS]\nservice.a =", "service a has no unit"),
        ("[NFS]\nservice.A = a", "'A' is not a valid service name"),
        ("[NFS]\nservice.a = ../../etc/passwd", "'../../etc/passwd' is not a valid unit name"),
        ("[NFS]\nservice.a = --root=/tmp", "'--root=/tmp' is not a valid unit name"),
        ("[NFS]\nservice.a = x\nservice.b = x", "unit x is named twice"),
        ("[GLUSTER]\nnodes =", "'nodes' is empty"),
        ("[GLUSTER]\nnodes = node1;reboot", "'node1;reboot' is not a valid node name"),
        ("[GLUSTER]\nnodes = tag:a b", "'a b' is not a valid tag"),
        ("[GLUSTER]\nverify = yes", "verify must be on or off, not 'yes'"),
        ("[GLUSTER]\ncolour = red", "section [GLUSTER]: unknown line 'colour'"),
        ("[GLUSTER]\ntitle =", "the title must be one line"),
        ("[settings]\nhistory = 1", "history must be a number from 100 to 1000000, not '1'"),
        (
            "[settings]\ninterval = 5",
            "interval must be a number from 60 to 86400, not '5'",
        ),
        ("[settings]\nhook_seconds = -5", "hook_seconds must be a number from 1 to 60, not '-5'"),
        ("[settings]\nx = 1", "section [settings]: unknown line 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_section(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "gluster-services.conf"
    path.write_text(text)
    with pytest.raises(InvalidConfiguration) as caught:
        load(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        load(str(tmp_path))
    assert str(caught.value) == "%s cannot be read: Is a directory" % tmp_path
    path = tmp_path / "gluster-services.conf"
    path.write_bytes(b"\xff")
    with pytest.raises(InvalidConfiguration) as caught:
        load(str(path))
    assert str(caught.value) == "%s cannot be read: it is not UTF-8" % path


def test_an_unknown_type_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidConfiguration, match="the known types are GLUSTER_SWIFT, GLUSTER"):
        ServicesConfig().type("NFS")
