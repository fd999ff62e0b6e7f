"""What has to be true after each cell, whatever the fault and the operation were."""

from __future__ import annotations

import json
import os
import re
import uuid

from demolib import guest
from testbedlib import layout, wait_for

from ..conftest import SERVERS
from ..evidence import RecordsMissing
from .world import GUEST, MASTER, PATIENCE, World

#: Where record 0 would be on the guest's disk (qa/os/guest).
BASE = 133120 * 512
RECORD = 4096

_HOLDERS = """
import json, os, sys
from ganeti_gluster.core.serve.holder import holders_of
from ganeti_gluster.core.volume import VolumeSpec, connect
hosts, nodes, paths = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
with connect(VolumeSpec.from_params({"host": hosts, "volume": "gv0"})) as volume:
    found = {path: sorted("%s (%s)" % (holder.name(nodes), holder.mode)
                          for holder in holders_of(volume, path)) for path in paths}
print(json.dumps(found), flush=True)
os._exit(0)
"""


def line_of(number: int) -> bytes:
    """What the guest writes as a record."""
    return b"record %d %d" % (number, (number * 7919 + 13) % 1000003)


def missing(data: bytes, last: int) -> list[int]:
    """The numbers up to `last` whose records are not in the guest's area of records."""
    return [
        number
        for number in range(1, last + 1)
        if data[RECORD * number : RECORD * number + 40].split(b"\n")[0] != line_of(number)
    ]


def consoles(world: World) -> None:
    """No boot of the guest has a gap, and each found all that was acknowledged before."""
    before = 0
    for boot in world.boots:
        boot.check()
        events = boot.events()
        for event in events:
            if event.kind == guest.RECORDS and event.number < before:
                raise RecordsMissing(
                    "the guest found %d records, and %d had been acknowledged"
                    % (event.number, before),
                    list(range(event.number + 1, before + 1)),
                )
        before = max(before, guest.last_acknowledged(events))


def records(world: World) -> None:
    """Every record that was acknowledged is on every brick, once all is healed."""
    last = world.acknowledged()
    assert last < guest.LAST_RECORD, "the guest has begun anew, which hides a loss"
    records_of(world, world.image, last)


def records_of(world: World, image: str, last: int) -> None:
    """All records up to `last` are in an image on every brick, once all is healed."""
    found: dict[str, list[int]] = {}

    def whole() -> bool:
        world.help_heal()
        for node in world.brick_nodes:
            data = world.pieces(node, image).read(RECORD * (last + 1), BASE)
            found[node] = missing(data, last)
        return not any(found[node] for node in world.brick_nodes)

    try:
        wait_for(whole, PATIENCE, "all %d records of %s are on all bricks" % (last, image))
    except AssertionError as err:
        lacking = {node: numbers[:20] for node, numbers in found.items() if numbers}
        numbers = sorted({number for each in lacking.values() for number in each})[:20]
        raise RecordsMissing(
            "missing of %d records in %s: %s" % (last, image, lacking), numbers
        ) from err


def copies(world: World) -> None:
    """No brick waits for a heal."""
    argv = ["gluster", "volume", "heal", "gv0", "statistics", "heal-count"]
    counts: list[str] = []

    def healed() -> bool:
        world.help_heal()
        done = world.testbed.exec(MASTER, argv, timeout=60)
        lines = [line for line in done.stdout.splitlines() if line.startswith("Number of e")]
        counts[:] = [line.split()[-1] for line in lines]
        return counts == ["0"] * len(world.brick_nodes)

    try:
        wait_for(healed, PATIENCE, "all is healed")
    except AssertionError as err:
        raise AssertionError("%s: entries by brick: %s" % (err, counts)) from err
    world.end_help()


def one_writer(world: World, images: set[str]) -> None:
    """By the bricks' own word the guest's node alone has its image, and nobody another one."""
    running = world.where()
    assert running == [world.home], "QEMUs of the guest: %s" % running
    wanted = {path: [] for path in sorted(images)}
    wanted[world.image] = ["node %s (exclusive)" % world.home]
    argv = ["/usr/bin/python3", "-P", "-c", _HOLDERS, SERVERS, ",".join(world.cluster.nodes)]
    said = ""

    def as_wanted() -> bool:
        nonlocal said
        done = world.testbed.exec(MASTER, [*argv, *wanted], timeout=90)
        said = done.stdout or done.stderr
        return done.exit_code == 0 and json.loads(done.stdout) == wanted

    try:
        wait_for(as_wanted, PATIENCE, "the locks are as they should be")
    except AssertionError as err:
        raise AssertionError("%s: %s, not %s" % (err, said, wanted)) from err


def nothing_left(world: World, images: set[str], seconds: float = 120) -> None:
    """Nothing is there but these images and what the running guest needs."""
    left: list[str] = []

    def none() -> bool:
        world.help_heal()
        left[:] = leftovers(world, images)
        return not left

    try:
        wait_for(none, seconds, "nothing is left")
    except AssertionError as err:
        raise AssertionError("left: %s" % "; ".join(left)) from err
    shown = world.cluster.run("gnt-debug", "locks", "-o", "name,owner", "--no-headers").stdout
    held = [line for line in shown.splitlines() if len(line.split()) > 1]
    assert not held, "locks of Ganeti's: %s" % held


def leftovers(world: World, images: set[str]) -> list[str]:
    """What is too much, or missing, in words."""
    found = ["job %d, %s, is %s" % job for job in world.jobs()]
    for node in world.alive:
        found += ["%s: %s" % (node, each) for each in _on_node(world, node)]
    for node in world.brick_nodes:
        found += ["%s: %s" % (node, each) for each in _on_brick(world, node, images)]
    return found


def _on_node(world: World, node: str) -> list[str]:
    own = int(node == world.home)
    found = []
    for directory in (
        "/var/lib/ganeti-gluster/fleecing",
        "/run/ganeti-gluster/exports",
        "/run/ganeti-gluster/snapshots",
    ):
        found += ["%s/%s" % (directory, name) for name in world.names(node, directory)]
    found += world.names(node, "/run/systemd/transient", "ganeti-gluster-")
    open_images = {
        name.rpartition(".")[0]
        for directory in ("/run/ganeti-gluster/images", "/run/ganeti-gluster-nbd")
        for name in world.names(node, directory)
        if not name.startswith(".")
    }
    if len(open_images) != own:
        found.append("open images %s" % sorted(open_images))
    servers = world.processes(node, "/usr/lib/ganeti-gluster/image-server")
    if len(servers) != own:
        found.append("%d servers of images" % len(servers))
    others = [
        *world.processes(node, "qemu-system-x86_64", "-pidfile"),
        *world.processes(node, "snapshot_worker run"),
        *world.processes(node, "ganeti_gluster.core.copy.program"),
        *world.processes(node, "ganeti/import-export"),
        *world.processes(node, "ganeti/jqueue/exec"),
        *world.processes(node, "qemu-nbd"),
    ]
    found += [line[:100] for line in others if "-name %s " % GUEST not in line]
    return found


def _on_brick(world: World, node: str, images: set[str]) -> list[str]:
    there = world.on_brick(node)
    found = ["the image %s" % name for name in sorted(there - images)]
    found += ["no image %s" % name for name in sorted(images - there)]
    gfids = set()
    for name in sorted(there & images):
        path = world.pieces(node, name).path(0)
        gfids.add(str(uuid.UUID(bytes=os.getxattr(path, "trusted.gfid"))))
        attributes = os.listxattr(path)
        if name != world.image and "user.ganeti-gluster.holder" in attributes:
            found.append("a holder's word on %s" % name)
    # What GlusterFS notes of removals in .remove_me has no bytes, and goes with its next client.
    shards = layout.BRICK_MOUNT + "/gv0/.shard"
    for name in world.names(node, shards):
        if re.fullmatch(r"[0-9a-f-]{36}\.\d+", name) and name.partition(".")[0] not in gfids:
            found.append("a piece %s of no image" % name)
    return found
