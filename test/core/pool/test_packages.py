"""What a node's apt and dpkg say of GlusterFS's packages, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ganeti_gluster.core.pool import packages
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, systemd
from ganeti_gluster.tools.command import CommandFailed, CommandResult

OLD, NEW = "11.1-6", "11.2-1"
LIBRARY, SERVER = "libgfapi0", "glusterfs-server"


class Debian:
    """A node with two packages of GlusterFS and one of its own, as its programs show them."""

    def __init__(self) -> None:
        #: By package: its source, its state and its version.
        self.installed = {
            LIBRARY: ["glusterfs", "installed", OLD],
            SERVER: ["glusterfs", "installed", OLD],
            "libglusterd0": ["glusterfs", "config-files", "10.3-5"],
            "cpio": ["cpio", "installed", "2.15"],
        }
        self.candidates = {LIBRARY: NEW, SERVER: NEW}
        #: What apt says of a simulation, beside the packages that it is given.
        self.simulated = ""
        #: What programs say as they fail, by a word of theirs.
        self.failing: dict[str, str] = {}
        self.units = ["inactive"]
        self.processes: list[tuple[int, list[bytes]]] = []
        self.done: list[str] = []

    def run(
        self, argv: Sequence[str], *, timeout: float, check: bool = True, **more: Any
    ) -> CommandResult:
        """Do what a program does."""
        words = [word for word in argv if word != "env" and "=noninteractive" not in word]
        program = next(word for word in words if "=" not in word)
        for word, reason in self.failing.items():
            if word in argv and (word != "install" or "download" in self.done):
                if check:
                    raise CommandFailed(argv, reason)
                return CommandResult(tuple(argv), 100, reason, "")
        out = getattr(self, "_" + program.replace("-", "_"))(list(argv))
        return CommandResult(tuple(argv), 0, out, "")

    def _dpkg_query(self, argv: list[str]) -> str:
        return "".join(
            "%s\t%s\t%s\t%s\n" % (source, state, name, version)
            for name, (source, state, version) in self.installed.items()
        )

    def _apt_cache(self, argv: list[str]) -> str:
        return "".join(
            "%s:\n  Installed: %s\n  Candidate: %s\n  Version table:\n *** 1 100\n"
            % (name, self.installed[name][2], self.candidates[name])
            for name in argv[2:]
        )

    def _apt_get(self, argv: list[str]) -> str:
        words = argv[argv.index("install") + 1 :]
        wanted = [word.split("=") for word in words if not word.startswith("--")]
        if "--simulate" in argv:
            return self.simulated + "".join(
                "Inst %s [%s] (%s Debian)\nConf %s (%s Debian)\n" % (name, OLD, new, name, new)
                for name, new in wanted
            )
        self.done.append("download" if "--download-only" in argv else "install")
        if self.done[-1] == "install":
            for name, new in wanted:
                self.installed[name] = ["glusterfs", "installed", new]
        return ""

    def _dpkg(self, argv: list[str]) -> str:
        self.done.append("configure")
        for row in self.installed.values():
            row[1] = "installed" if row[1] != "config-files" else row[1]
        return ""

    def _systemctl(self, argv: list[str]) -> str:
        return self.units.pop(0) if len(self.units) > 1 else self.units[0]

    def _systemd_run(self, argv: list[str]) -> str:
        self.done.append(" ".join(argv[argv.index("--") + 1 :]))
        return ""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Debian:
    found = Debian()
    monkeypatch.setattr(command, "run", found.run)
    monkeypatch.setattr(packages, "_PAUSE", 0)
    monkeypatch.setattr(packages.tls, "stop", lambda: found.done.append("stop"))
    monkeypatch.setattr(packages.tls, "start_unit", lambda: found.done.append("start"))
    found.processes = [(7, [b"/usr/lib/ganeti-gluster/image-server"]), (8, [b"/bin/sh"])]
    monkeypatch.setattr(packages, "command_lines", lambda: found.processes)
    monkeypatch.setattr(packages, "uses_replaced", lambda pid, name: True)
    return found


def test_what_is_there_and_what_apt_has(node: Debian) -> None:
    node.simulated = "Inst libnew0 (1.0 Debian)\nRemv libgfapi-old [1]\n"
    node.installed["libgfapi-old"] = ["glusterfs", "installed", OLD]
    node.candidates["libgfapi-old"] = "(none)"
    facts = packages.look()
    assert (facts.version, facts.candidate) == (OLD, NEW)
    assert facts.wanted == {LIBRARY: NEW, SERVER: NEW}
    # A library of GlusterFS that a newer release does not have may go.
    assert (facts.along, facts.problem) == (("libnew0",), "")
    assert (facts.current, facts.busy, facts.stale, facts.serving) == (False, False, 1, False)
    node.processes.append((9, [b"/usr/sbin/glusterfsd", b"-s", b"node1"]))
    assert packages.look().serving


def test_a_node_that_has_the_newest(node: Debian) -> None:
    node.candidates = {LIBRARY: OLD, SERVER: OLD}
    assert packages.look().current
    node.units = ["active"]
    # What is there in the middle of an upgrade of ours is no problem.
    node.installed["cpio"][1] = "unpacked"
    assert (packages.look().current, packages.look().problem) == (False, "")
    del node.installed[LIBRARY], node.installed[SERVER]
    node.units = ["inactive"]
    assert (packages.look().version, packages.look().current) == ("", False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("halfway", "packages are not completely installed: cpio; run dpkg --configure -a there"),
        ("removed", "apt would remove cpio"),
        ("unmet", "E: Unable to correct problems, you have held broken packages."),
    ],
)
def test_why_apt_cannot_upgrade(node: Debian, change: str, said: str) -> None:
    if change == "halfway":
        node.installed["cpio"][1] = "unpacked"
    elif change == "removed":
        node.simulated = "Remv cpio [2.15]\n"
    else:
        node.failing["--simulate"] = "Some words\n" + said
    assert packages.look().problem == said
    # It looks again in the unit, which is active then.
    node.units = ["active"]
    assert packages.main([NEW, "member"]) == 1
    assert node.done == []


def test_glusterd_is_stopped_while_files_are_replaced(node: Debian) -> None:
    assert packages.main([NEW, "member"]) == 0
    assert node.done == ["download", "stop", "install", "start"]
    assert packages.look().current
    node.done.clear()
    assert packages.main([NEW, "member"]) == 0
    assert node.done == ["start"]


def test_a_node_without_bricks_of_a_pool(node: Debian) -> None:
    assert packages.main([NEW]) == 0
    assert node.done == ["download", "install"]


@pytest.mark.parametrize("state", ["half-configured", "unpacked"])
def test_it_goes_on_after_an_interruption(node: Debian, state: str) -> None:
    node.installed[SERVER] = ["glusterfs", state, NEW]
    if state == "unpacked":
        # It needs the new library, which is not there yet.
        node.failing["--configure"] = "dpkg: dependency problems prevent configuration"
    node.installed["ganeti-gluster"] = ["ganeti-gluster", "triggers-pending", "0.1.0"]
    node.installed["cpio"][1] = "triggers-pending"
    assert packages.look().unfinished == (SERVER, "ganeti-gluster")
    assert packages.main([NEW, "member"]) == 0
    configured = [] if state == "unpacked" else ["configure"]
    assert node.done == [*configured, "download", "stop", "install", "start"]
    assert node.installed[SERVER] == ["glusterfs", "installed", NEW]


@pytest.mark.parametrize(
    ("word", "done"),
    [("--download-only", []), ("install", ["download", "stop", "start"])],
)
def test_an_error_of_apt(
    node: Debian, capsys: pytest.CaptureFixture[str], word: str, done: list[str]
) -> None:
    node.failing[word] = (
        "dpkg: error processing package glusterfs-server (--configure):\n more\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    assert packages.main([NEW, "member"]) == 1
    assert capsys.readouterr().err == (
        "dpkg: error processing package glusterfs-server (--configure):;"
        " E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    assert node.done == done


def test_it_runs_in_a_unit_of_its_own(node: Debian, monkeypatch: pytest.MonkeyPatch) -> None:
    node.units = ["active", "deactivating", "inactive"]
    packages.upgrade(version=NEW, member=True)
    assert node.done == [
        "/usr/bin/python3 -I -m ganeti_gluster.core.pool.packages %s member" % NEW
    ]
    node.failing["systemd-run"] = ""
    monkeypatch.setattr(systemd, "last_words", lambda unit, run: "E: no space")
    with pytest.raises(GanetiGlusterError, match="E: no space; see /var/log/apt"):
        packages.upgrade(version=NEW, member=False)


def test_another_version_than_was_asked_for_is_not_installed(
    node: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    node.candidates = dict.fromkeys(node.candidates, "12.0-1")
    assert packages.main([NEW, "member"]) == 1
    assert capsys.readouterr().err == "apt has GlusterFS 12.0-1 by now, and not 11.2-1\n"
    assert node.done == []


def test_packages_are_downloaded_while_glusterd_runs(node: Debian) -> None:
    node.units = ["active", "inactive"]
    packages.download()
    assert node.done == ["download"]
    # dpkg has to finish what it has begun first.
    node.installed[SERVER][1] = "unpacked"
    packages.download()
    assert node.done == ["download"]


def test_glusterd_is_started_again_where_bricks_do_not_end(
    node: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise GanetiGlusterError("processes of glusterd do not end: [9]")

    monkeypatch.setattr(packages.tls, "stop", stop)
    assert packages.main([NEW, "member"]) == 1
    assert capsys.readouterr().err == "processes of glusterd do not end: [9]\n"
    assert node.done == ["download", "start"]
