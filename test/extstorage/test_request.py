"""Ganeti's environment for a provider's scripts, read and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.extstorage import actions, request
from ganeti_gluster.extstorage.request import ExtStorageRequest

NAME = "0f1e2d3c.ext.disk0"
ENVIRON = {
    "PATH": "/usr/bin",
    "VOL_NAME": NAME,
    "VOL_SIZE": "1024",
    "EXTP_PROVIDER": "gluster",
    "EXTP_ACCESS": "userspace",
    "EXTP_VOLUME": "gv0",
    "EXTP_HOST": "node1,node2:24008",
}
PROVIDER = Path(__file__).resolve().parents[2] / "extstorage" / "gluster"


def read(**changed: str) -> ExtStorageRequest:
    """The request of `ENVIRON` with changes; an empty value leaves a variable out."""
    environ = {name: value for name, value in {**ENVIRON, **changed}.items() if value}
    return ExtStorageRequest.from_environ(environ)


def test_a_disk_is_an_image_in_a_directory_of_the_providers_own() -> None:
    disk = read()
    assert disk.path == "ganeti-ext/" + NAME
    assert disk.size == 1 << 30
    assert disk.spec.servers == (("node1", 24007), ("node2", 24008))
    assert (disk.access, disk.preallocation, disk.patience) == ("userspace", "off", 900)
    disk.check_parameters()


def test_what_is_not_given_has_ganetis_defaults() -> None:
    disk = read(EXTP_HOST="", EXTP_ACCESS="")
    assert disk.spec.servers == (("127.0.0.1", 24007),)
    assert disk.access == "kernelspace"
    assert disk.parameters == {"volume": "gv0", "host": "127.0.0.1"}


def test_what_opens_an_image_is_told_the_parameters_as_they_are_given() -> None:
    disk = read(EXTP_PORT="24008", EXTP_LOCKING="off", EXTP_PATIENCE="60")
    assert disk.patience == 60
    assert disk.parameters == {
        "volume": "gv0",
        "host": "node1,node2:24008",
        "port": "24008",
        "locking": "off",
        "patience": "60",
    }
    disk.check_parameters()
    assert read(EXTP_PATIENCE="0").patience == 0


def test_both_ends_of_a_migration_open_a_disk_and_else_one_node() -> None:
    assert read(VOL_OPEN_EXCLUSIVE="True").exclusive
    assert read().exclusive
    assert not read(VOL_OPEN_EXCLUSIVE="False").exclusive


def test_qemu_reaches_disks_itself_and_not_their_snapshots() -> None:
    assert read().in_userspace
    assert not read(EXTP_ACCESS="kernelspace").in_userspace
    assert not read(VOL_NAME=NAME + ".snap").in_userspace


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"VOL_NAME": ""}, "image name None: it is not text"),
        ({"VOL_NAME": "../ganeti/x.0"}, "it must not begin with '.', nor contain '/'"),
        ({"VOL_NAME": ".shard"}, "it must not begin with '.'"),
        ({"VOL_NAME": "a\nb"}, "it has control characters"),
        ({"EXTP_VOLUME": ""}, "the disk names no volume; set volume=NAME"),
        ({"EXTP_VOLUME": "a/b"}, "volume name 'a/b': only letters"),
        ({"EXTP_HOST": "a;b"}, "host 'a;b': it is neither a host name nor an address"),
        ({"EXTP_PORT": "0"}, "port '0': it is not between 1 and 65535"),
        ({"EXTP_ACCESS": "any"}, "access 'any': it is not one of userspace, kernelspace"),
        ({"EXTP_LOCKING": "maybe"}, "locking 'maybe': it is not one of on, off"),
        ({"EXTP_PREALLOCATION": "most"}, "it is not one of off, falloc, full"),
        ({"EXTP_PATIENCE": "ever"}, "patience in seconds 'ever': it is not a whole number"),
    ],
)
def test_bad_input_is_refused_with_the_reason(changed: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(**changed)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", ["", "0", "-1", "1.5", "1G"])
def test_a_bad_size_is_refused(size: str) -> None:
    with pytest.raises(InvalidParameter, match="size in MiB"):
        _ = read(VOL_SIZE=size).size


def test_a_parameter_that_would_not_be_heeded_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="unknown parameter color, pool; 'gnt-storage info"):
        read(EXTP_POOL="a", EXTP_COLOR="b").check_parameters()


@pytest.mark.parametrize("name", [NAME, "other", ".snap", "a/b.snap"])
def test_a_snapshot_takes_no_name_that_a_disk_can_have(name: str) -> None:
    assert read(VOL_SNAPSHOT_NAME=NAME + ".snap").snapshot == "ganeti-ext/%s.snap" % NAME
    with pytest.raises(InvalidParameter):
        _ = read(VOL_SNAPSHOT_NAME=name).snapshot


def test_a_refusal_names_action_and_disk_and_has_a_code_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert actions.main("create", {**ENVIRON, "EXTP_VOLUME": "a/b"}) == actions.INVALID
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("gluster create %s: volume name 'a/b': " % NAME)


def test_there_is_a_script_for_each_action_and_nothing_else() -> None:
    entries = {path.name for path in PROVIDER.iterdir() if path.name != "__pycache__"}
    assert entries == {*actions.ACTIONS, "run", "parameters.list"}
    for action in actions.ACTIONS:
        assert (PROVIDER / action).resolve() == PROVIDER / "run"
    assert (PROVIDER / "run").stat().st_mode & 0o111 == 0o111


def test_the_list_of_parameters_is_what_is_known() -> None:
    lines = (PROVIDER / "parameters.list").read_text().splitlines()
    listed = {line.split(None, 1)[0].upper() for line in lines}
    # These two are Ganeti's own.
    assert listed | {"ACCESS", "PROVIDER"} == request._KNOWN
