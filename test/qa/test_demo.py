"""What the demonstration reads from a guest's console, and what it says itself."""

from __future__ import annotations

import io

import pytest

from demolib import guest, leftovers, report, steps
from demolib.cli import failure_text, main, own_name
from demolib.console import tail
from demolib.errors import DemoFailed
from testbedlib import CompletedCommand, UnexpectedExit
from testbedlib.layout import Layout

CONSOLE = b"""\
SYSLINUX 6.04 EDD 20191223 Copyright (C) 1994-2015 H. Peter Anvin et al\r
\x1b[HGUEST booted from=vda token=599f6669 size=1073741824\r
GUEST records=0\r
GUEST wrote=1 size=1073741824\r
GUEST wrote=2 size=2147483648\r
GUEST wro"""


def wrote(*numbers: int) -> list[guest.GuestEvent]:
    """The events of records, a second apart."""
    return [guest.GuestEvent(guest.WROTE, n, time=float(at)) for at, n in enumerate(numbers)]


def boot(records: int, token: str = "t") -> list[guest.GuestEvent]:
    """The events of a boot."""
    return [guest.GuestEvent(guest.BOOTED, token=token), guest.GuestEvent(guest.RECORDS, records)]


# Reading the console


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "GUEST booted from=vda token=599f6669 size=1073741824",
            guest.GuestEvent(guest.BOOTED, size=1073741824, token="599f6669"),
        ),
        ("GUEST records=17\r", guest.GuestEvent(guest.RECORDS, 17)),
        ("GUEST wrote=18 size=1048576\r", guest.GuestEvent(guest.WROTE, 18, 1048576)),
        ("\x1b[2JGUEST wrote=18 size=1048576", guest.GuestEvent(guest.WROTE, 18, 1048576)),
        ("GUEST lost=19", guest.GuestEvent(guest.LOST, 19)),
        ("GUEST failed wanted=599f6669 found=", guest.GuestEvent(guest.FAILED)),
        ("GUEST booted from=sda token=599f6669 size=1", None),
        ("GUEST booted from=vda token= size=1", None),
        ("GUEST wrote=18", None),
        ("GUEST wrote=18 size=10[    8.3] reboot: Power down", None),
        ("[    8.317198] reboot: Power down", None),
        ("", None),
    ],
)
def test_line(line: str, event: guest.GuestEvent | None) -> None:
    assert guest.parse_line(line) == event


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_stream_is_read_however_it_is_cut(size: int) -> None:
    chunks = [(0.0, CONSOLE[at : at + size]) for at in range(0, len(CONSOLE), size)]
    assert [(e.kind, e.number, e.size) for e in guest.parse(chunks)] == [
        ("booted", 0, 1073741824),
        ("records", 0, 0),
        ("wrote", 1, 1073741824),
        ("wrote", 2, 2147483648),
    ]


def test_line_that_is_cut_by_a_migration_counts_when_it_is_whole() -> None:
    source = [(1.0, b"GUEST wrote=5 size=1\r\nGUEST wro")]
    target = [(2.0, b"te=6 size=1\r\nGUEST wrote=7 size=1\r\n")]
    assert [(e.number, e.time) for e in guest.parse(source + target)] == [
        (5, 1.0),
        (6, 2.0),
        (7, 2.0),
    ]


def test_evidence_is_the_last_lines_without_control_characters() -> None:
    assert tail([(0.0, CONSOLE)], lines=2) == "GUEST wrote=2 size=2147483648\nGUEST wro"
    assert tail([(0.0, CONSOLE)], lines=5).startswith("?[HGUEST booted")


# Gaps


@pytest.mark.parametrize("numbers", [(), (1,), (7, 8, 9), (3999, 4000, 1, 2)])
def test_records_that_follow_each_other(numbers: tuple[int, ...]) -> None:
    guest.check_unbroken(wrote(*numbers))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (wrote(1, 2, 4), "record 4 follows record 2 on the guest's console"),
        (wrote(1, 2, 2), "record 2 follows record 2 on the guest's console"),
        (wrote(5, 1), "record 1 follows record 5 on the guest's console"),
        (wrote(4000, 4001), "record 4001 follows record 4000 on the guest's console"),
        (wrote(1) + [guest.GuestEvent(guest.LOST, 2)], "the guest could not write record 2"),
        (boot(0) + wrote(1, 2) + boot(2), "the guest booted again after record 2"),
        ([guest.GuestEvent(guest.FAILED)], "the guest does not run from its disk"),
    ],
)
def test_gap(events: list[guest.GuestEvent], message: str) -> None:
    with pytest.raises(DemoFailed) as caught:
        guest.check_unbroken(events)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("before", "found", "first"),
    [
        ((1, 2, 3), 3, 4),
        # written, but its line did not come through before the end
        ((1, 2, 3), 4, 5),
        # nothing is written yet
        ((1, 2, 3), 3, None),
        # the area was full, and the guest begins at its start
        ((3999, 4000, 1, 2), 4000, 1),
    ],
)
def test_reboot_finds_what_was_acknowledged(
    before: tuple[int, ...], found: int, first: int | None
) -> None:
    after = boot(found) + (wrote(first) if first else [])
    guest.check_reboot(boot(0) + wrote(*before), after)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (boot(2), "the guest found 2 records, and 3 had been acknowledged"),
        (boot(3)[:1], "the guest did not say what it found on its disk"),
        (boot(3) + wrote(5), "the guest found 3 records and wrote 5"),
        (boot(3, "other"), "the guest booted from another disk: tokens other, t"),
        (boot(3) + wrote(4, 6), "record 6 follows record 4 on the guest's console"),
    ],
)
def test_reboot_that_lost_something(after: list[guest.GuestEvent], message: str) -> None:
    with pytest.raises(DemoFailed) as caught:
        guest.check_reboot(boot(0) + wrote(1, 2, 3), after)
    assert caught.value.message == message


def test_longest_pause() -> None:
    events = [guest.GuestEvent(guest.WROTE, n, time=t) for n, t in ((1, 1.0), (2, 1.5), (3, 4.0))]
    assert guest.longest_pause(events) == 2.5
    assert guest.longest_pause(events[:1]) == 0.0


# What is left on a node


def test_mounts_of_gluster() -> None:
    mountinfo = (
        "30 1 0:26 / / rw - overlay overlay rw\n"
        "31 30 0:40 / /run/ganeti/gluster/gv0 rw - fuse.glusterfs node1:gv0 rw\n"
        "32 30 7:1 / /srv/gluster/brick1 rw - xfs /dev/loop1 rw\n"
        "33 30 0:41 / /run/ganeti-gluster/exports/gv0-1 rw - fuse /dev/fuse rw\n"
    )
    assert leftovers.mounts_of_gluster(mountinfo) == [
        "/run/ganeti/gluster/gv0",
        "/run/ganeti-gluster/exports/gv0-1",
    ]


def test_files_on_brick() -> None:
    names = [
        ".glusterfs/00/00/gfid",
        ".glusterfs-of-a-user",
        ".shard/.remove_me/gfid",
        ".shard/gfid.1",
        "ganeti/uuid.0",
    ]
    assert leftovers.files_on_brick(names) == [
        ".glusterfs-of-a-user",
        ".shard/gfid.1",
        "ganeti/uuid.0",
    ]


# Commands and texts


def test_servers_are_escaped_for_ganeti() -> None:
    assert steps.disk_parameters(["node1", "node2"]) == (
        "gluster:access=userspace,volume=gv0,host=node1\\,node2"
    )


@pytest.mark.parametrize(
    ("version", "shown"),
    [("1:10.0.13+ds-0+deb13u1", "10.0.13"), ("3.1.0~rc2-2+b1", "3.1.0~rc2"), ("11.1-5", "11.1")],
)
def test_upstream_version(version: str, shown: str) -> None:
    assert steps.upstream(version) == shown


def test_steps_and_parts_are_aligned() -> None:
    step = report.step_line("start it", 1.26, "nothing is mounted")
    part = report.part_line("3 nodes boot: 4.0 s")
    assert step.endswith("    1.3 s  nothing is mounted")
    assert part.endswith("    4.0 s")
    assert step.index(" s  ") == len(part) - 2


def test_line_without_seconds_is_shown_as_it_is() -> None:
    assert report.part_line("  15 s: unpacking; 7 packages") == "    15 s: unpacking; 7 packages"


def test_report_to_a_file_has_no_control_characters() -> None:
    out = io.StringIO()
    said = report.DemoReport(out)
    with said.step("first") as step:
        said.part("  15 s: unpacking")
        step.seen = "it works"
    with pytest.raises(ValueError, match="why"), said.step("second"):
        raise ValueError("why")
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [
        ["15", "s:", "unpacking"],
        ["first", "0.0", "s", "it", "works"],
        ["second", "0.0", "s", "FAILED"],
    ]
    assert not any(c < " " and c != "\n" for c in out.getvalue())


class _Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_report_bears_a_reader_that_has_gone() -> None:
    with report.DemoReport(_Gone()).step("first"):
        pass


COMMAND = CompletedCommand(("gnt-instance", "list"), "vm1 node1\n", "", 0, 1.0, "node1")


def test_failure_names_step_command_and_output() -> None:
    demo = steps.Demo(None, report.DemoReport(io.StringIO()), "trixie")  # type: ignore[arg-type]
    demo.last = COMMAND
    text = failure_text(
        report.DemoStep("migrate it live"), DemoFailed("wrong node", evidence="a\nb"), demo
    )
    assert text.splitlines() == [
        "demo: failed: migrate it live",
        "  wrong node",
        "  node1: gnt-instance list: exit code 0 after 1.0 s",
        "    stdout: vm1 node1",
        "  what was seen:",
        "    a",
        "    b",
    ]


def test_failed_command_is_said_once() -> None:
    demo = steps.Demo(None, report.DemoReport(io.StringIO()), "trixie")  # type: ignore[arg-type]
    demo.last = CompletedCommand(("gnt-instance", "add"), "", "No space\n", 1, 2.0, "node1")
    text = failure_text(report.DemoStep("add"), UnexpectedExit(demo.last), demo)
    assert text.splitlines() == [
        "demo: failed: add",
        "  node1: gnt-instance add: exit code 1 after 2.0 s",
        "    stderr: No space",
    ]


# The command line


def test_own_name_is_a_testbeds_name() -> None:
    assert Layout(own_name("/work/a")).name.startswith("demo-")
    assert own_name("/work/a") != own_name("/work/b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "testbed"], "a name that does not begin with demo may be somebody else's"),
        (["--suite", "buster"], "invalid choice: 'buster'"),
        (["--suite", "sid", "--qemu", "backports"], "suite 'sid+backports': it is one of"),
    ],
)
def test_refused_before_anything_starts(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_suite_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUITE", "buster")
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "suite 'buster': it is one of trixie, " in capsys.readouterr().err
