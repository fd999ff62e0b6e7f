"""Which processes have an image open for writing."""

from __future__ import annotations

import pytest

from ganeti_gluster.export import nbd, unit
from ganeti_gluster.lock import writers
from ganeti_gluster.volume import Server, VolumeSpec

PATH = "ganeti/37d8da78-12da-4bfa-9518-bda3212e281b.0"
QEMU = "/usr/bin/qemu-system-x86_64"


@pytest.mark.parametrize(
    "command",
    [
        # Ganeti 3.0, 3.1, an export; a name with a blank, as a URI has it
        [QEMU, "-drive", "file=gluster://node1:24007/gv0/%s,format=raw,if=none" % PATH],
        [QEMU, "-blockdev", "driver=raw,file.driver=gluster,file.path=%s,file.volume=gv0" % PATH],
        ["qemu-storage-daemon", "--blockdev", '{"file": {"path": "%s", "volume": "gv0"}}' % PATH],
    ],
)
def test_a_qemu_with_the_image_is_found(command: list[str]) -> None:
    assert writers.has_image([part.encode() for part in command], PATH)


def test_the_exporter_of_the_image_is_found() -> None:
    spec = VolumeSpec("gv0", (Server("node1", 24007),))
    exporter = [part.encode() for part in unit.exporter_argv(spec, PATH, "/run/x.1")]
    assert writers.has_image(exporter, PATH)
    assert not writers.has_image(exporter, PATH + "1")
    assert writers.has_image(
        [part.encode() for part in nbd.server_argv("/dev/nbd0", spec, PATH)], PATH
    )


def test_a_name_is_found_as_a_uri_writes_it() -> None:
    assert writers.has_image([QEMU.encode(), b"file=gluster://a:1/gv0/a%20b.0"], "a b.0")


@pytest.mark.parametrize(
    "command",
    [
        [QEMU, "-drive", "file=gluster://node1:24007/gv0/%s1,format=raw" % PATH],
        [QEMU, "-drive", "file=gluster://node1:24007/gv0/x%s,format=raw" % PATH],
        ["/usr/bin/qemu-img", "info", "gluster://node1:24007/gv0/%s" % PATH],
        ["vi", PATH],
        [""],
    ],
)
def test_nothing_else_is(command: list[str]) -> None:
    assert not writers.has_image([part.encode() for part in command], PATH)
