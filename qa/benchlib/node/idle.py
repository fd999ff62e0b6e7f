"""idle.py: what a cluster that has nothing to do takes of the processor.

    idle.py compare MINUTES    on the master: without the package's units, then with them
    idle.py watch MINUTES      on a node: a list with the processor's seconds of each minute

A node's time is that of its whole system: all units, the node daemon with what it runs for
the master, glusterd and the bricks, systemd itself; without this measurement's own control
groups.  What the package takes is what the node takes more while the package's units run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sides import OURS, PEER, answer

NAME = "idle"
MASTER_NAME = "idle-master"
PACKAGE = "ganeti-gluster"
GROUPS = Path("/sys/fs/cgroup")
#: Where what measures runs, and what somebody does who has logged in.
LEFT_OUT = ("testbed.slice", "user.slice", "system.slice/ssh.service")
SSCONF = Path("/var/lib/ganeti")
MINUTE = 60.0
#: Seconds for units to have begun or ended, and done what they do first.
SETTLE_SECONDS = 150.0
ORDER_SECONDS = 60.0
#: What units that come up by themselves are.
KINDS = (".timer", ".path", ".service")


def used(root: Path = GROUPS) -> float:
    """Seconds of the processor that the node has taken since it booted."""
    return group_seconds(root) - sum(group_seconds(root / name) for name in LEFT_OUT)


def group_seconds(group: Path) -> float:
    """Those of a control group with all below it, also of what has ended; 0 if there is none."""
    try:
        text = (group / "cpu.stat").read_text()
    except FileNotFoundError:
        return 0.0
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def watch(minutes: int) -> list[float]:
    """The seconds of each of so many minutes."""
    found = []
    for _ in range(minutes):
        before, begin = used(), time.monotonic()
        time.sleep(MINUTE)
        found.append((used() - before) * MINUTE / (time.monotonic() - begin))
    return found


def on(node: str, argv: Sequence[str], myself: str) -> list[str]:
    """The command that runs `argv` on a node."""
    return list(argv) if node == myself else ["ssh", "-oBatchMode=yes", node, *argv]


def everywhere(
    nodes: Sequence[str], myself: str, argv: Sequence[str], seconds: float
) -> dict[str, str]:
    """What a command prints on each node, at the same time; it must succeed."""
    running = {
        node: subprocess.Popen(on(node, argv, myself), stdout=subprocess.PIPE, text=True)
        for node in nodes
    }
    found = {}
    for node, process in running.items():
        found[node], _ = process.communicate(timeout=seconds)
        if process.returncode:
            sys.exit("%s on %s: exit code %d" % (argv, node, process.returncode))
    return found


def units() -> list[str]:
    """The units of the package that begin with the node."""
    listed = subprocess.run(["dpkg", "-L", PACKAGE], capture_output=True, text=True, check=True)
    names = [Path(path).name for path in listed.stdout.split() if "/systemd/system/" in path]
    return [
        name
        for name in sorted(names)
        if name.endswith(KINDS) and "@" not in name and on_boot(name)
    ]


def on_boot(unit: str) -> bool:
    """Whether a unit is enabled."""
    return (
        subprocess.run(["systemctl", "--quiet", "is-enabled", unit], check=False).returncode == 0
    )


def compare(minutes: int) -> dict[str, dict[str, list[float]]]:
    """The samples of both rows: what the package takes, and what all else does."""
    nodes = (SSCONF / "ssconf_node_list").read_text().split()
    myself = (SSCONF / "ssconf_master_node").read_text().strip()
    known = units()
    seen: dict[str, Mapping[str, list[float]]] = {}
    for side, verb in ((PEER, "stop"), (OURS, "start")):
        everywhere(nodes, myself, ["systemctl", verb, *known], ORDER_SECONDS)
        time.sleep(SETTLE_SECONDS)
        argv = [sys.executable, "-B", str(Path(__file__).resolve()), "watch", str(minutes)]
        texts = everywhere(nodes, myself, argv, minutes * MINUTE + ORDER_SECONDS)
        seen[side] = {node: json.loads(text) for node, text in texts.items()}
    others = [node for node in nodes if node != myself]
    return {NAME: samples(seen, others), MASTER_NAME: samples(seen, [myself])}


def samples(
    seen: Mapping[str, Mapping[str, list[float]]], nodes: Sequence[str]
) -> dict[str, list[float]]:
    """The means of nodes in each minute; ours without the mean of what all else took."""
    mean = {
        side: [
            sum(found) / len(found) for found in zip(*(by[node] for node in nodes), strict=True)
        ]
        for side, by in seen.items()
    }
    usual = sum(mean[PEER]) / len(mean[PEER])
    return {PEER: mean[PEER], OURS: [each - usual for each in mean[OURS]]}


def main() -> None:
    action, minutes = sys.argv[1], int(sys.argv[2])
    if action == "watch":
        json.dump(watch(minutes), sys.stdout)
    else:
        answer(compare(minutes))


if __name__ == "__main__":
    main()
