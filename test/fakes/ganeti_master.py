"""A master daemon as far as modules of ours ask it: what there is, and the opcodes they send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

GLUSTER = "gluster"


class Op:
    """An opcode: its fields, and the kind of it, which is the last word of its class's name."""

    def __init__(self, kind: str, **fields: Any) -> None:
        self.kind = kind
        self.fields = fields


def ops() -> dict[str, Callable[..., Op]]:
    """What modules of ours call by these names in `ganeti.opcodes`."""

    def maker(kind: str) -> Callable[..., Op]:
        # Some opcodes have a field called kind.
        return lambda **fields: Op(kind, **{"of" if k == "kind" else k: fields[k] for k in fields})

    names = (
        *("ClusterSetParams", "GroupSetParams", "NodeSetParams", "TagsSet", "TagsDel"),
        *("InstanceQueryData", "InstanceMigrate", "InstanceFailover", "InstanceSetParams"),
    )
    return {"Op%s" % name: maker(name) for name in names}


class Master:
    """A cluster of three nodes in the group default, which uses plain and drbd disks."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {
            "name": "cluster.example.org",
            "enabled_disk_templates": ["drbd", "plain"],
            "ipolicy": {"disk-templates": ["drbd", "plain"]},
            "diskparams": {},
            "hvparams": {},
            "default_iallocator": "hail",
        }
        #: By group: its own parameters of disks and its own policy.
        self.groups: dict[str, dict[str, Any]] = {"default": {"params": {}, "policy": {}}}
        self.nodes = {name: self.node(name) for name in ("node1", "node2", "node3")}
        self.instances: dict[str, dict[str, Any]] = {}
        self.jobs: list[list[Any]] = []
        self.tags: set[str] = set()
        #: The configuration's file.
        self.config: dict[str, Any] = {
            "cluster": {},
            "nodegroups": {"g-default": {"name": "default"}},
            "nodes": {"u-%s" % name: {"name": name, "group": "g-default"} for name in self.nodes},
            "instances": {},
            "disks": {},
        }
        #: The kinds of opcodes that were carried out.
        self.done: list[str] = []
        #: What happens in place of the next opcode.
        self.fail: Exception | None = None

    @staticmethod
    def node(name: str, **fields: Any) -> dict[str, Any]:
        """A node that is online, unless these fields say another thing."""
        usual = {
            "name": name,
            "tags": [],
            "offline": False,
            "pip": "192.0.2.%s" % name[-1],
            "sip": "198.51.100.%s" % name[-1],
            "master_candidate": True,
            "group": "default",
            "vm_capable": True,
            "role": "C",
            "mfree": 1024,
        }
        return {**usual, **fields}

    def add_instance(
        self, name: str, *disks: dict[str, Any], state: str = "up", **fields: Any
    ) -> None:
        """An instance on node1 with these disks, by the fields that they have in the file."""
        uuids = []
        for index, disk in enumerate(disks):
            uuid = "%s-disk%d" % (name, index)
            usual = {
                "dev_type": GLUSTER,
                "size": 1024,
                "logical_id": ["gluster", "ganeti/%s.%d" % (name, index)],
            }
            self.config["disks"][uuid] = {**usual, **disk}
            uuids.append(uuid)
        self.config["instances"]["u-%s" % name] = {
            "name": name,
            "uuid": "u-%s" % name,
            "primary_node": "u-node1",
            "disks": uuids,
        }
        self.instances[name] = {
            "name": name,
            "uuid": "u-%s" % name,
            "admin_state": state,
            "oper_state": state == "up",
            "disk_template": GLUSTER,
            "pnode": "node1",
            "pnode.group": "default",
            **fields,
        }

    # -- questions -----------------------------------------------------------

    def QueryClusterInfo(self) -> dict[str, Any]:
        """As luxi's."""
        return self.info

    def QueryNodes(self, names: Sequence[str], fields: Sequence[str], lock: bool) -> Any:
        """As luxi's."""
        return [[row[field] for field in fields] for row in self.nodes.values()]

    def QueryInstances(self, names: Sequence[str], fields: Sequence[str], lock: bool) -> Any:
        """As luxi's."""
        return [
            [row[field] for field in fields]
            for name, row in self.instances.items()
            if not names or name in names
        ]

    def QueryGroups(self, names: Sequence[str], fields: Sequence[str], lock: bool) -> Any:
        """As luxi's."""
        rows = []
        for name, own in self.groups.items():
            row = {
                "name": name,
                "custom_diskparams": own["params"],
                "custom_ipolicy": own["policy"],
                "ipolicy": {**self.info["ipolicy"], **own["policy"]},
            }
            if not names or name in names:
                rows.append([row[field] for field in fields])
        return rows

    def QueryTags(self, kind: str, name: str) -> list[str]:
        """As luxi's."""
        return sorted(self.tags)

    def QueryJobs(self, numbers: Sequence[int], fields: Sequence[str]) -> list[list[Any]]:
        """As luxi's."""
        return self.jobs

    # -- opcodes -------------------------------------------------------------

    def carry_out(self, op: Op, client: Any = None) -> Any:
        """Do what an opcode says."""
        if self.fail:
            fail, self.fail = self.fail, None
            raise fail
        self.done.append(op.kind)
        return getattr(self, "_%s" % op.kind)(**op.fields)

    def _ClusterSetParams(self, **change: Any) -> None:
        self.info["ipolicy"] = {**self.info["ipolicy"], **change.pop("ipolicy", {})}
        for template, params in change.pop("diskparams", {}).items():
            self.info["diskparams"].setdefault(template, {}).update(params)
        self.info.update(change)

    def _GroupSetParams(self, group_name: str, **change: Any) -> None:
        group = self.groups[group_name]
        for template, params in change.get("diskparams", {}).items():
            own = group["params"].setdefault(template, {})
            own.update(params)
            for name in [name for name, value in own.items() if value == "default"]:
                del own[name]
        for name, value in change.get("ipolicy", {}).items():
            if value == ["default"]:
                group["policy"].pop(name, None)
            else:
                group["policy"][name] = value

    def _TagsSet(self, of: str, tags: Sequence[str], name: str = "") -> None:
        if of == "node":
            self.nodes[name]["tags"] = [*self.nodes[name]["tags"], *tags]
        else:
            self.tags |= set(tags)

    def _TagsDel(self, of: str, tags: Sequence[str], name: str = "") -> None:
        if of == "node":
            left = [tag for tag in self.nodes[name]["tags"] if tag not in tags]
            assert len(left) + len(tags) == len(self.nodes[name]["tags"])
            self.nodes[name]["tags"] = left
        else:
            self.tags -= set(tags)

    def _NodeSetParams(self, node_name: str, drained: bool, auto_promote: bool = False) -> None:
        self.nodes[node_name]["role"] = "D" if drained else "C"

    def _InstanceMigrate(self, instance_name: str, target_node: str | None = None) -> None:
        self.instances[instance_name]["pnode"] = target_node or "node1"

    _InstanceFailover = _InstanceMigrate
