"""What the volumes have of instances' disks: health, allocated space and snapshots.

`python3 -m … FILE` looks, and prints it.  It is a process of its own: libgfapi would stay in one
that runs for long, and one that hangs in a volume can be ended.  FILE says which disks there are.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core import health, image
from ganeti_gluster.core.copy.interface import PARTIAL
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.core.verify.bounded import look
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import in_words
from ganeti_gluster.tools import command, decode, names, private
from ganeti_gluster.tools.gfapi import Volume
from ganeti_gluster.tools.processes import leave
from ganeti_gluster.web.facts import DisksFacts, ShownHolder, ShownImage, ShownSnapshot

PROGRAM = ("/usr/bin/python3", "-P", "-m", "ganeti_gluster.web.disks")
FILE = constants.RUN_DIR + "/page/disks"
#: Seconds for all volumes, and for the program.
SECONDS = 30.0
_MORE_SECONDS = 15.0


@dataclass(frozen=True)
class DisksAsked:
    """What to look at: volumes as Ganeti's parameters name them, and disks by instance."""

    volumes: tuple[Mapping[str, str], ...]
    disks: Mapping[str, Mapping[str, Mapping[str, str]]]


def disks_facts(
    specs: Sequence[VolumeSpec],
    disks: Iterable[Any],
    nodes: Mapping[str, NodeFacts],
    *,
    run: command.Run = command.run,
    file: str = FILE,
) -> DisksFacts:
    """Have the program look at the disks; `nodes` tell which images they have open.

    Raises a GanetiGlusterError if it does not answer.
    """
    by_volume: dict[str, dict[str, dict[str, str]]] = {}
    for disk in disks:
        of_instance = by_volume.setdefault(disk.volume, {}).setdefault(disk.instance, {})
        of_instance[str(disk.index)] = disk.path
    volumes = [{"volume": spec.name, "host": spec.text_of_servers()} for spec in specs]
    private.write_json(file, {"volumes": volumes, "disks": by_volume})
    told = run([*PROGRAM, file], timeout=SECONDS + _MORE_SECONDS)
    found = decode.build(DisksFacts, decode.plain(told.stdout))
    return DisksFacts(found.images, found.snapshots, tuple(_holders(nodes)), found.problems)


def _holders(nodes: Mapping[str, NodeFacts]) -> Iterable[ShownHolder]:
    for name, node in sorted(nodes.items()):
        for server in node.servers:
            if server.image:
                why = server.why if server.waiting else ""
                yield ShownHolder(server.image, name, server.mode, why)


def find(wanted: DisksAsked) -> DisksFacts:
    """Look at all volumes at once."""
    jobs: dict[str, Callable[[], Any]] = {}
    for params in wanted.volumes:
        spec = VolumeSpec.from_params(params)
        disks = wanted.disks.get(spec.name, {})
        jobs.setdefault(spec.name, partial(_of_volume, spec, disks))
    images: list[ShownImage] = []
    snapshots: list[ShownSnapshot] = []
    problems = []
    for name, answer in look(jobs, seconds=SECONDS).items():
        if answer.error:
            problems.append("volume %s: %s" % (name, in_words(answer.error)))
        else:
            images += answer.value[0]
            snapshots += answer.value[1]
    return DisksFacts(tuple(images), tuple(snapshots), (), tuple(problems))


def _of_volume(
    spec: VolumeSpec, disks: Mapping[str, Mapping[str, str]]
) -> tuple[list[ShownImage], list[ShownSnapshot]]:
    with connect(spec) as volume:
        listed = _listed(volume, [path for each in disks.values() for path in each.values()])
        snapshots: dict[str, list[image.ImageInfo]] = {}
        for path, info in listed.items():
            parts = names.split_snapshot_path(path.removesuffix(PARTIAL))
            if parts is not None:
                snapshots.setdefault(parts[0], []).append(info)
        found: list[ShownSnapshot] = []
        for instance, of_instance in disks.items():
            paths = {int(index): path for index, path in of_instance.items()}
            infos = [info for path in paths.values() for info in snapshots.get(path, ())]
            for each in catalogue.find_in(volume, infos, "", paths):
                found.append(
                    ShownSnapshot(
                        instance,
                        each.name,
                        each.taken,
                        each.allocated,
                        each.complete,
                        bool(each.about and each.about.live),
                    )
                )
        shown = [
            _image(volume, path, listed.get(path))
            for of_instance in disks.values()
            for path in of_instance.values()
        ]
        return shown, found


def _listed(volume: Volume, paths: Sequence[str]) -> dict[str, image.ImageInfo]:
    listed: dict[str, image.ImageInfo] = {}
    for directory in sorted({path.rpartition("/")[0] for path in paths}):
        try:
            found = image.list_images(volume, directory)
        except FileNotFoundError:
            continue
        listed.update({info.path: info for info in found.images})
    return listed


def _image(volume: Volume, path: str, info: image.ImageInfo | None) -> ShownImage:
    if info is None:
        return ShownImage(volume.name, path)
    try:
        state = health.check(volume, path)
    except OSError as err:
        return ShownImage(volume.name, path, info.size, info.allocated, None, False, in_words(err))
    return ShownImage(
        volume.name,
        path,
        info.size,
        info.allocated,
        state.degraded,
        state.split_brain,
        state.detail,
    )


def main(argv: list[str]) -> int:
    """Look at what is in the file, and print what was found as JSON."""
    with open(argv[0], encoding="utf-8") as stream:
        wanted = decode.build(DisksAsked, json.load(stream))
    os.umask(0o077)
    print(json.dumps(decode.as_data(find(wanted))))
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
