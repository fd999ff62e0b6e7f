"""What tells why a test failed whose guest writes records, kept in build/evidence.

Each failure has a directory of its own: the guest's console, QEMU's log, the jobs' logs, the
journals of the servers of images and of the workers, GlusterFS's logs, and for records that
are missing the 4-KiB blocks as each brick has them, with the attributes of the file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence

from demolib.console import Boot
from testbedlib import TestbedError, layout

from .conftest import ROOT, Cluster
from .pieces import PIECE, Pieces

DIRECTORY = ROOT / "build" / "evidence"
RECORD_BYTES = 4096
#: On every node: a name for the file, and what says it.
ON_NODES = {
    "journal": "journalctl --no-pager --output=short-precise --lines=900 --unit='ganeti-gluster*'",
    "node-daemon": "tail -n 400 /var/log/ganeti/node-daemon.log",
    "kvm": "tail -n +1 /var/log/ganeti/kvm/*.log",
    "import-export": "tail -n 100 /var/log/ganeti/os/*.log",
    "brick": "tail -n 300 /var/log/glusterfs/bricks/*.log",
    "glustershd": "tail -n 100 /var/log/glusterfs/glustershd.log",
    "glusterd": "tail -n 100 /var/log/glusterfs/glusterd.log",
    "glusterd-files": "find /var/lib/glusterd/vols /var/lib/glusterd/peers -printf '%s %p\\n'",
    "processes": "ps axo pid,stat,etimes,args; ss -tn",
    "files": "ls -lR /srv/gluster/brick1/*/ganeti /srv/gluster/brick1/*/.shard"
    " /run/ganeti-gluster /run/ganeti-gluster-nbd /var/lib/ganeti-gluster",
}
#: On the master.
ON_MASTER = {
    "instances": "gnt-instance list -o name,pnode,status; gnt-gluster disk info --json",
    "jobs": "gnt-job list; gnt-job info $(gnt-job list --no-headers -o id | tail -n 6)",
    "job-processes": "tail -n 600 /var/log/ganeti/jobs.log",
    "heal": "gluster volume status gv0; gluster volume heal gv0 info",
}
SECONDS = 40


class RecordsMissing(AssertionError):
    """Records that were acknowledged are missing; `numbers` are theirs."""

    def __init__(self, message: str, numbers: Sequence[int]) -> None:
        super().__init__(message)
        self.numbers = list(numbers)


def keep(
    cluster: Cluster,
    name: str,
    *,
    why: str = "",
    boots: Iterable[Boot] = (),
    image: str = "",
    records: Sequence[int] = (),
    base: int = 0,
) -> str:
    """Keep what there is, and return the directory; never fails.

    `records` are the numbers of those that are missing in `image`, where record 0 would be at
    `base`.
    """
    directory = DIRECTORY / re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)

    def write(file: str, text: Callable[[], str]) -> None:
        try:
            said = text()
        except Exception as err:  # the evidence must not hide what it is of
            said = "%s: %s" % (type(err).__name__, err)
        (directory / file).write_text(said, encoding="utf-8", errors="replace")

    write("why", lambda: why)
    for number, boot in enumerate(boots):
        write("console-%d" % number, lambda boot=boot: boot.text())
    if image:
        for number in records:
            write("record-%d" % number, lambda n=number: _blocks(cluster, image, base, n))
    for node in cluster.nodes:
        for file, command in ON_NODES.items():
            write("%s-%s" % (node, file), lambda n=node, c=command: _said(cluster, n, c))
    for file, command in ON_MASTER.items():
        write(file, lambda c=command: _said(cluster, "node1", c))
    return str(directory)


def _said(cluster: Cluster, node: str, command: str) -> str:
    done = cluster.testbed.exec(node, ["sh", "-c", command], timeout=SECONDS)
    return done.stdout + done.stderr


def _blocks(cluster: Cluster, image: str, base: int, number: int) -> str:
    """A record's block on each brick, with its neighbours' first words."""
    said = []
    for node in cluster.nodes:
        try:
            said.append(_block(cluster, node, image, base + RECORD_BYTES * number, number))
        except (OSError, TestbedError) as err:
            said.append("%s: %s\n" % (node, err))
    return "\n".join(said)


def _block(cluster: Cluster, node: str, image: str, offset: int, number: int) -> str:
    pieces = Pieces(cluster.testbed.node(node), image)
    first = offset // PIECE
    around = [
        "  record %d: %r" % (near, pieces.read(40, offset + RECORD_BYTES * (near - number)))
        for near in range(max(number - 3, 1), number + 4)
    ]
    path = pieces.path(first)
    inside = os.path.join(layout.BRICK_MOUNT, os.path.relpath(path, pieces.mount))
    attributes = _said(cluster, node, "getfattr --absolute-names -m . -d -e hex %s" % inside)
    status = _said(cluster, node, "stat %s" % inside)
    block = pieces.read(RECORD_BYTES, offset)
    dump = block.rstrip(b"\0").hex(" ", 2) or "%d bytes of zeroes" % len(block)
    return "\n".join(["%s: %s at %d" % (node, inside, offset % PIECE), *around, attributes,
                      status, dump, ""])  # fmt: skip
