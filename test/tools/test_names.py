"""What is refused before anything is touched, and what is not."""

from __future__ import annotations

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import names

UUID = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3d"


def refusal(check, value):
    with pytest.raises(InvalidParameter) as caught:
        check(value)
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["ganeti/%s.0" % UUID, "a", "..a", "a..", "ü/ö b", "a" * 255, "/".join(["a" * 200] * 5)],
)
def test_an_image_path(path):
    assert names.image_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "it is empty"),
        ("/ganeti/x", "it must be relative"),
        ("..", "component"),
        ("ganeti/../x", "component"),
        ("ganeti/..", "component"),
        ("./x", "component"),
        ("ganeti//x", "component"),
        ("ganeti/", "component"),
        ("ganeti/x\0y", "control characters"),
        ("ganeti/x\ny", "control characters"),
        ("ganeti/\x7f", "control characters"),
        ("ganeti/\x85", "control characters"),
        ("a" * 256, "longer than 255 bytes"),
        ("ü" * 128, "longer than 255 bytes"),
        ("/".join(["a" * 200] * 6), "longer than 1024 bytes"),
        ("\udcff", "not valid Unicode"),
        (None, "not text"),
        (b"bytes", "not text"),
    ],
)
def test_an_odd_image_path_is_refused(path, why):
    message = refusal(names.image_path, path)
    assert message.startswith("image path ")
    assert why in message
    assert len(message) < 200
    assert "\n" not in message and "\0" not in message


@pytest.mark.parametrize("name", ["gv0", "_x", "1", "a-b_C", "v" * 255])
def test_a_volume_name(name):
    assert names.volume_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-x", "a.b", "a b", "a/b", "ä", "v" * 256, "gv0\n", None, 7]
    + [
        "all",
        "volume",
        "type",
        "subvolumes",
        "option",
        "end-volume",
        "volume_not_in_ring",
        "help",
    ],
)
def test_an_odd_volume_name_is_refused(name):
    assert refusal(names.volume_name, name).startswith("volume name ")


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("node1", "node1"),
        ("node1.example.com", "node1.example.com"),
        ("my_node", "my_node"),
        ("3com.example", "3com.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_a_host(host, normal):
    assert names.host(host) == normal


@pytest.mark.parametrize(
    "host",
    ["", "-x", "a..b", "a b", "a/b", "x" * 64, ".".join(["x" * 60] * 5), "256.1.1.1", "1.2.3"]
    + ["[node1]", "[192.0.2.1]", "2001:db8:::1", "fe80::1%eth0", "a?b", "node1.", None],
)
def test_an_odd_host_is_refused(host):
    assert refusal(names.host, host).startswith("host ")


@pytest.mark.parametrize(("value", "number"), [(1, 1), (65535, 65535), ("24007", 24007)])
def test_a_port(value, number):
    assert names.port(value) == number


@pytest.mark.parametrize(
    "value", [0, -1, 65536, "0", "", " 1", "1 ", "+1", "1.0", 1.0, True, None, "\u0661", "9" * 30]
)
def test_an_odd_port_is_refused(value):
    assert refusal(names.port, value).startswith("port ")


@pytest.mark.parametrize("value", [0, "0", 1, "900", names.PATIENCE, 86400, "86400"])
def test_a_patience(value):
    assert names.patience(value) == int(value)


@pytest.mark.parametrize("value", [-1, 86401, "86401", "", "1m", "1.5", 0.0, True, False, None])
def test_an_odd_patience_is_refused(value):
    assert refusal(names.patience, value).startswith("patience in seconds ")


def test_the_bounds_of_a_patience_are_named():
    assert refusal(names.patience, "86401") == (
        "patience in seconds '86401': it is not between 0 and 86400"
    )


@pytest.mark.parametrize("value", [1, 1024, "10240", names.SIZE_MIB])
def test_a_size(value):
    assert names.size_mib(value) == int(value)


@pytest.mark.parametrize(
    "value", [0, -1, 1.5, "1.5", "1G", True, None, names.SIZE_MIB + 1, 1 << 60]
)
def test_an_odd_size_is_refused(value):
    assert refusal(names.size_mib, value).startswith("size in MiB ")


def test_the_largest_size_fits_a_signed_offset():
    assert names.SIZE_MIB << 20 == (1 << 63) - (1 << 30)


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (names.preallocation, ("off", "falloc", "full")),
        (names.access, ("userspace", "kernelspace")),
        (names.locking, ("on", "off")),
    ],
)
def test_a_choice(check, good):
    assert tuple(map(check, good)) == good
    for bad in ("", "OFF", "none", None, 0, True, [good[0]]):
        assert ", ".join(good) in refusal(check, bad)


@pytest.mark.parametrize("name", ["a.ext.disk0", "a.snap", "ä"])
def test_good_image_names(name: str) -> None:
    assert names.image_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "/a", "a\0", 3, "x" * 256])
def test_bad_image_names(name: object) -> None:
    with pytest.raises(InvalidParameter):
        names.image_name(name)


@pytest.mark.parametrize("name", ["daily", "2026-11-21_02.00", "-x"])
def test_a_snapshot_lies_beside_its_image(name):
    path = names.snapshot_path("ganeti/uuid.0", name)
    assert path == "ganeti/uuid.0.snap." + name
    assert names.split_snapshot_path(path) == ("ganeti/uuid.0", name)


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a b", "a\n", None, "é"])
def test_a_bad_snapshot_name_is_refused(name):
    with pytest.raises(InvalidParameter, match="snapshot name"):
        names.snapshot_path("ganeti/uuid.0", name)


@pytest.mark.parametrize("path", ["ganeti/uuid.0", ".snap.x", "a.snap.", "a.snap.b/c"])
def test_other_paths_are_of_no_snapshot(path):
    assert names.split_snapshot_path(path) is None


@pytest.mark.parametrize("path", ["/srv", "/srv/gluster/bricks", "/srv/with space", "/..x/y"])
def test_a_directory(path):
    assert names.directory(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "it is empty"),
        ("srv", "not an absolute path in normal form"),
        ("/srv/", "not an absolute path in normal form"),
        ("//srv", "not an absolute path in normal form"),
        ("/srv//b", "not an absolute path in normal form"),
        ("/srv/../etc", "not an absolute path in normal form"),
        ("/srv/.", "not an absolute path in normal form"),
        ("/srv\n", "control characters"),
        ("/", "the root of the file system"),
        ("/" + "a" * 1024, "longer than 1024 bytes"),
        (None, "not text"),
    ],
)
def test_an_odd_directory_is_refused(path, why):
    assert why in refusal(names.directory, path)


def test_a_device():
    assert names.device("/dev/disk/by-id/scsi-0:0") == "/dev/disk/by-id/scsi-0:0"
    for path in ("/srv/image", "/dev", "/devices/x"):
        assert "it is not below /dev" in refusal(names.device, path)
    assert "not an absolute path in normal form" in refusal(names.device, "/dev/../srv/x")


def test_a_uuid():
    assert names.uuid(UUID) == UUID
    for text in ("", UUID[:-1], UUID.upper(), UUID.replace("-", ""), UUID + "\n", None):
        assert refusal(names.uuid, text).startswith("UUID ")
