"""The faults of the matrix: how each is produced on a node, and how it is undone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbedlib import CompletedCommand, wait_for

from .operation import Operation
from .world import GUEST, MASTER, World

BRICK = "/srv/gluster/brick1"
_FULL = BRICK + "/full"
#: Leaves some MiB, far less than a brick keeps in reserve.
_FILL = "free=$(df --output=avail -B1 %s | tail -n 1); fallocate -l $((free - (16 << 20))) %s" % (
    BRICK,
    _FULL,
)
_REMOUNT = (
    "pkill -9 -x glusterfsd; for _ in $(seq 100); do pgrep -x glusterfsd >/dev/null || break;"
    " sleep 0.1; done; mount -o remount,%%s %s" % BRICK
)
_START = ["gluster", "--mode=script", "volume", "start", "gv0", "force"]
#: A brick's row of `gluster volume status`: its node, port and process.
_BRICK = re.compile(r"Brick (node\d+):\S+ +(N/A|\d+) +\S+ +[YN] +(N/A|\d+)")
#: For so long a brick that starts may have no port.
_NO_PORT_SECONDS = 20
_SKEW = "/usr/local/lib/skew.so"
_OTHER_MASTER = "node3"

Step = Callable[[World, Operation], None]


def _nothing(world: World, operation: Operation) -> None:
    """It needs no undoing."""


@dataclass(frozen=True)
class Fault:
    """A fault; it lasts for `hold` seconds, or until the operation has ended if that is sooner.

    An `early` one is there before the operation begins, and one for the `whole` time is not
    undone sooner.
    """

    what: str
    produce: Step
    undo: Step = _nothing
    hold: float = 0
    early: bool = False
    whole: bool = False


class Missed(Exception):
    """What should be killed has ended already, or never began."""


def _kill(world: World, node: str, *words: str) -> None:
    """SIGKILL to the processes of a node whose command line has these words, at least one."""
    try:
        found = wait_for(lambda: world.pids(node, *words), 20, "it runs")
    except AssertionError as err:
        raise Missed("%s does not run on %s" % (" ".join(words), node)) from err
    for pid, _ in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _start_bricks(world: World) -> None:
    world.tries("gluster", "volume", "start", "gv0", "force")
    _wait_volume(world)


def _wait_volume(world: World) -> None:
    """Wait until the bricks of nodes that have power are online, and found by their clients.

    One that glusterd has started twice has no port (BRICK_NO_PORT of `gnt-gluster verify`,
    whose advice is followed): GlusterFS does not mend that by itself.
    """
    began = time.monotonic()

    def online() -> bool:
        told = world.testbed.exec(MASTER, ["gluster", "volume", "info", "gv0"], timeout=60).stdout
        hosts = set(re.findall(r"^Brick\d+: (\w+):", told, re.MULTILINE)) & set(world.alive)
        argv = ["gluster", "volume", "status", "gv0"]
        shown = world.testbed.exec(MASTER, argv, timeout=60).stdout.split("Self-heal")[0]
        rows = _BRICK.findall(shown.replace("\n", " "))
        for node, port, pid in rows:
            if port == "N/A" and pid != "N/A" and time.monotonic() > began + _NO_PORT_SECONDS:
                world.notes.append("BRICK_NO_PORT")
                world.testbed.exec(node, ["kill", "-9", pid], timeout=30)
                world.testbed.exec(MASTER, _START, timeout=120)
                break
        return bool(hosts) and hosts <= {node for node, port, _ in rows if port != "N/A"}

    world.until(online, "all bricks are online")


def _kill_brick(world: World, operation: Operation) -> None:
    _kill(world, operation.hit, "glusterfsd", "--brick-name")


def _bricks_again(world: World, operation: Operation) -> None:
    _start_bricks(world)


def _kill_glusterd(world: World, operation: Operation) -> None:
    _kill(world, operation.hit, "/usr/sbin/glusterd ")


def _glusterd_again(world: World, operation: Operation) -> None:
    _glusterd_runs(world, operation.hit, "restart")
    _wait_volume(world)


def _glusterd_runs(world: World, node: str, verb: str) -> None:
    """Have glusterd run, by the advice of `gnt-gluster verify` where it cannot start.

    What it was writing when it ended it may lack then.
    """
    done = world.testbed.exec(node, ["systemctl", verb, "glusterd"], timeout=180)
    if done.exit_code != 0:
        advice = world.until(lambda: world.advice("GLUSTERD_FILES", node), done.describe())
        world.notes.append("GLUSTERD_FILES")
        world.say(advice)
        command = advice.partition(": ")[2].partition(". It copies")[0]
        world.cluster.run("sh", "-ec", command, node=node, max_seconds=180)


def _kill_noded(world: World, operation: Operation) -> None:
    _kill(world, operation.hit, "ganeti-noded")


def _noded_again(world: World, operation: Operation) -> None:
    again = "U stop ganeti-noded || true; U start ganeti-noded"
    command = again.replace("U", "/usr/lib/ganeti/daemon-util")
    world.cluster.run("sh", "-ec", command, node=operation.hit)
    world.until(lambda: world.cluster.status_known(operation.hit), "the node daemon answers")


def _kill_job(world: World, operation: Operation) -> None:
    """The job's process, or where there is no job that of the command.

    It is Ganeti that sends the signal: what dies by another's it notices after five minutes.
    """
    if not operation.opcode:
        return _kill(world, MASTER, *operation.argv(world)[:4])
    running = [number for number, opcode, _ in world.jobs() if opcode == operation.opcode]
    if not running:
        raise Missed("no job of %s" % operation.opcode)
    argv = ("gnt-job", "cancel", "--kill", "--yes-do-it", str(running[0]))
    world.testbed.exec(MASTER, list(argv), timeout=120)


def _kill_qemu(world: World, operation: Operation) -> None:
    _kill(world, world.home, "-name %s " % GUEST, "-pidfile")


def _kill_server(world: World, operation: Operation) -> None:
    node = world.home if operation.name == "pool replace" else operation.hit
    _kill(world, node, "/usr/lib/ganeti-gluster/image-server")


def _kill_worker(world: World, operation: Operation) -> None:
    _kill(world, operation.hit, *operation.worker)


def _lose_power(world: World, operation: Operation) -> None:
    world.testbed.kill(operation.hit)


def _boot(world: World, operation: Operation) -> None:
    world.testbed.boot(operation.hit)
    _glusterd_runs(world, operation.hit, "start")
    _wait_volume(world)


def _freeze(world: World, operation: Operation) -> None:
    world.testbed.freeze(operation.hit)


def _thaw(world: World, operation: Operation) -> None:
    world.testbed.thaw(operation.hit)
    _wait_volume(world)


def _two(operation: Operation) -> list[str]:
    """Two nodes that are not the master's."""
    return [operation.hit, "node2" if operation.hit == "node3" else "node3"]


def _cut_one(world: World, operation: Operation) -> None:
    world.testbed.cut(operation.hit)


def _cut_two(world: World, operation: Operation) -> None:
    for node in _two(operation):
        world.testbed.cut(node)


def _heal(world: World, operation: Operation) -> None:
    for node in _two(operation):
        world.testbed.heal(node)
    _wait_volume(world)


def _slow(world: World, operation: Operation) -> None:
    world.testbed.slow(operation.hit, 4000)


def _quicken(world: World, operation: Operation) -> None:
    world.testbed.quicken(operation.hit)


def _fill(world: World, operation: Operation) -> None:
    for node in world.alive:
        world.cluster.run("sh", "-c", _FILL, node=node)


def _make_room(world: World, operation: Operation) -> None:
    for node in world.alive:
        world.cluster.run("rm", "-f", _FULL, node=node)


def _read_only(world: World, operation: Operation) -> None:
    world.cluster.run("sh", "-c", _REMOUNT % "ro", node=operation.hit)
    world.tries("gluster", "volume", "start", "gv0", "force")


def _writable(world: World, operation: Operation) -> None:
    world.cluster.run("sh", "-c", _REMOUNT % "rw", node=operation.hit)
    _start_bricks(world)


def _set_clock(world: World, operation: Operation) -> None:
    library = Path(__file__).parents[3] / "build" / "skew.so"
    source = Path(__file__).with_name("skew.c")
    library.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    world.testbed.push(operation.hit, library, _SKEW)
    preload = "echo %s >/etc/ld.so.preload" % _SKEW
    world.cluster.run("sh", "-c", preload, node=operation.hit)
    ahead = int(world.cluster.run("date", "+%s", node=operation.hit).stdout)
    assert ahead > int(world.cluster.run("date", "+%s").stdout) + 3000
    _noded_again(world, operation)


def _clock_again(world: World, operation: Operation) -> None:
    if operation.hit in world.alive:
        world.cluster.run("rm", "-f", "/etc/ld.so.preload", node=operation.hit)
        _noded_again(world, operation)


def _make_master(world: World, node: str) -> None:
    """Have a node become the master.

    Ganeti exits with 1 although it has done so if the master's address was still up: the new
    master's luxid may have set it up on the old one, by the configuration before.
    """

    def said(*argv: str) -> CompletedCommand:
        return world.testbed.exec(node, ["gnt-cluster", *argv], timeout=180)

    def is_master() -> bool:
        if said("getmaster").stdout.strip() != node:
            said("master-failover")
        return said("getmaster").stdout.strip() == node and said("command", "true").exit_code == 0

    world.until(is_master, "%s is the master" % node)


def _fail_master_over(world: World, operation: Operation) -> None:
    _make_master(world, _OTHER_MASTER)


def _master_back(world: World, operation: Operation) -> None:
    _make_master(world, MASTER)


FAULTS: dict[str, Fault] = {
    "brick killed": Fault(
        "its brick, by SIGKILL; started again", _kill_brick, _bricks_again, hold=15
    ),
    "glusterd killed": Fault("its glusterd", _kill_glusterd, _glusterd_again, hold=15),
    "node daemon killed": Fault("Ganeti's node daemon", _kill_noded, _noded_again, hold=5),
    "job killed": Fault(
        "the job, by ``gnt-job cancel --kill``, or the command where there is none", _kill_job
    ),
    "QEMU killed": Fault("the guest's QEMU; the guest is started again", _kill_qemu),
    "server killed": Fault("the servers of open images", _kill_server),
    "worker killed": Fault("the process that copies", _kill_worker),
    "power lost": Fault(
        "all of the node, with what was not synced; it boots again", _lose_power, _boot, hold=15
    ),
    "node frozen": Fault(
        "all processes stand still for 75 s", _freeze, _thaw, hold=75, whole=True
    ),
    "one node cut off": Fault("no network for 45 s", _cut_one, _heal, hold=45, whole=True),
    "two nodes cut off": Fault(
        "the same, with a second one: the master is alone, without quorum",
        _cut_two,
        _heal,
        hold=45,
        whole=True,
    ),
    "slow network": Fault(
        "4 Mbit/s each way, and drops what waits for more than 300 ms", _slow, _quicken, hold=90
    ),
    "bricks full": Fault("all bricks, for 20 s", _fill, _make_room, hold=20),
    "brick read-only": Fault(
        "its file system, for 20 s; the brick was restarted on it", _read_only, _writable, hold=20
    ),
    "clock ahead": Fault(
        "its processes see the clock an hour ahead", _set_clock, _clock_again, hold=120, early=True
    ),
    "master failover": Fault(
        "node3 becomes the master, and then node1 again", _fail_master_over, _master_back, hold=5
    ),
}
_NO_QEMU = "no QEMU takes part: the instance stands still"
_NO_WORKER = "no process of its own copies"
_ELSEWHERE = "the guest's node is another, and its QEMU has no part in it"
#: What makes no sense, and why.
STRUCK: dict[tuple[str, str], str] = {
    **{
        ("QEMU killed", each): _NO_QEMU
        for each in ("create", "remove", "restore", "import", "convert")
    },
    **{
        ("worker killed", each): _NO_WORKER
        for each in ("create", "remove", "grow", "migrate", "failover", "pool replace")
    },
    ("worker killed", "convert"): "the node daemon copies by itself",
    ("QEMU killed", "pool replace"): _ELSEWHERE,
    ("node daemon killed", "pool replace"): "no node daemon is asked, but Ganeti's SSH",
}
