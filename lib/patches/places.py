"""Gluster disks stay where they are when parameters or node groups change.

A disk of the template that was not moved has no volume of its own: it is that of the parameters
in force in the node group of the instance's primary node, and the servers always are.  Where that
becomes another one, by its name or by its servers, Ganeti looks for the images there: a guest that
is rebooted does not start, what is removed leaves its image behind, and a disk that is recreated
is empty.  So what would change it is refused while an instance has disks there:
`gnt-cluster modify -D`, `gnt-group modify -D` and
`gnt-group assign-nodes` (`CheckPrereq` of Ganeti 3.0 and 3.1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ganeti_gluster.core import presence
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused

#: Instances that a refusal names; it counts the others.
NAMED = 5

# Ganeti's word for taking a default back.
_DEFAULT = "default"

# The parameters that are in force in a group, cluster's and group's, if that changes.
Change = Callable[[Any, Any], "tuple[dict[str, Any], dict[str, Any]]"]


def extend_cluster(module: Any) -> None:
    """Check what `gnt-cluster modify` changes (`ganeti.cmdlib.cluster`)."""
    unit, check = _unit(module, "LUClusterSetParams")

    @functools.wraps(check)
    def CheckPrereq(self: Any) -> None:
        check(self)
        if self.op.diskparams:
            _check(module, self, lambda node, group: (self.new_diskparams, group.diskparams))

    unit.CheckPrereq = CheckPrereq


def extend_group(module: Any) -> None:
    """Check what `gnt-group modify` and `assign-nodes` change (`ganeti.cmdlib.group`)."""
    modify, check_modify = _unit(module, "LUGroupSetParams")
    assign, check_assign = _unit(module, "LUGroupAssignNodes")

    @functools.wraps(check_modify)
    def check_prereq_of_modify(self: Any) -> None:
        check_modify(self)
        if not self.op.diskparams:
            return
        cluster = self.cfg.GetClusterInfo().diskparams

        def after(node: Any, group: Any) -> Any:
            own = self.new_diskparams if group.uuid == self.group_uuid else group.diskparams
            return cluster, own

        _check(module, self, after)

    @functools.wraps(check_assign)
    def check_prereq_of_assign(self: Any) -> None:
        check_assign(self)
        cluster = self.cfg.GetClusterInfo().diskparams

        def after(node: Any, group: Any) -> Any:
            own = self.group if node.uuid in self.op.node_uuids else group
            return cluster, own.diskparams

        _check(module, self, after)

    modify.CheckPrereq = check_prereq_of_modify
    assign.CheckPrereq = check_prereq_of_assign


def _unit(module: Any, name: str) -> tuple[Any, Any]:
    unit = getattr(module, name, None)
    check = getattr(unit, "CheckPrereq", None)
    if check is None or not hasattr(getattr(module, "objects", None), "FillDiskParams"):
        raise PatchRefused("%s is not as expected" % name)
    return unit, check


def _check(module: Any, unit: Any, after: Change) -> None:
    """Raise `OpPrereqError` where images of instances would be looked for elsewhere."""
    template, errors = module.constants.DT_GLUSTER, module.errors
    cluster = unit.cfg.GetClusterInfo().diskparams

    def params(everywhere: Any, own: Any) -> dict[str, Any]:
        defaults = module.constants.DISK_DT_DEFAULTS[template]
        filled = module.objects.FillDiskParams(everywhere, own)[template]
        given = {name: each for name, each in filled.items() if each != _DEFAULT}
        return {**defaults, **given}

    # By the place where they are, and that where they would be looked for: the images' paths
    # with the names of their instances.
    moved: dict[tuple[VolumeSpec, VolumeSpec], dict[str, str]] = {}
    for instance in unit.cfg.GetAllInstancesInfo().values():
        for disk in unit.cfg.GetInstanceDisks(instance.uuid):
            if disk.dev_type != template:
                continue
            node = unit.cfg.GetNodeInfo(instance.primary_node)
            group = unit.cfg.GetNodeGroup(node.group)
            own = disk.params or {}
            old = VolumeSpec.from_params({**params(cluster, group.diskparams), **own})
            new = VolumeSpec.from_params({**params(*after(node, group)), **own})
            if old.name != new.name or set(old.servers) != set(new.servers):
                moved.setdefault((old, new), {})[disk.logical_id[1]] = instance.name
    for (old, new), owners in sorted(moved.items()):
        reason = _refusal(old, new, owners)
        if reason:
            raise errors.OpPrereqError(reason, errors.ECODE_STATE)


def _refusal(old: VolumeSpec, new: VolumeSpec, owners: Mapping[str, str]) -> str:
    """Why images must not be looked for in `new`, "" if none would be left behind.

    None is left behind if other servers have them too, or if the old volume does not have them
    either, after a mistake that has to be set right.
    """
    same = old.name == new.name
    known = "It is not known whether the disks of %s are on volume %s%s: %s"
    every = _list(sorted({*owners.values()}))
    by = " of %s" % new.text_of_servers() if same else ""
    try:
        left = owners.keys() - (presence.present(new, owners.keys()) if same else set())
    except GanetiGlusterError as err:
        return known % (every, new.name, by, err)
    try:
        there = presence.present(old, left) if left else set()
    except GanetiGlusterError as err:
        return known % (every, old.name, "", err)
    if not there:
        return ""
    if same:
        advice = "name servers of the volume that has them"
    elif set(old.servers) == set(new.servers):
        advice = "move them there first (gnt-gluster disk move)"
    else:
        advice = "convert these instances to another disk template first (gnt-instance modify -t)"
    return ("The disks of %s are on volume %s%s, and Ganeti would look for them on %s%s; %s") % (
        _list(sorted({owners[path] for path in there})),
        old.name,
        " of %s" % old.text_of_servers() if same else "",
        new.name,
        by,
        advice,
    )


def _list(names: list[str]) -> str:
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    kind = "instance" if len(names) == 1 else "instances"
    return "%s %s%s" % (kind, shown, " and %d more" % more if more > 0 else "")
