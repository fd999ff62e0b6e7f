"""What of a gluster disk's status reaches people, through Ganeti's own functions."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import disk_states

CONSTANTS = SimpleNamespace(DT_GLUSTER="gluster", LDS_FAULTY=2, LDS_UNKNOWN=1)


@pytest.mark.parametrize(
    ("degraded", "ldisk", "words"),
    [
        (False, 0, "status ok"),
        (True, 0, "status *DEGRADED*"),
        (True, 2, "status *SPLIT-BRAIN*"),
        (True, 1, "status *UNCERTAIN STATE*"),
        (None, 0, "status not known"),
    ],
)
def test_gnt_instance_info_tells_the_state(degraded, ldisk, words) -> None:
    def stock(idx, top_level, dev, roman):
        return [("disk/0", "x"), ("on primary", "PATH (N/A:N/A)"), ("name", None)]

    module = SimpleNamespace(_FormatBlockDevInfo=stock, constants=CONSTANTS)
    disk_states.extend_info(module)
    status = ("PATH", None, None, None, None, degraded, ldisk)
    shown = module._FormatBlockDevInfo(0, True, {"dev_type": "gluster", "pstatus": status}, None)
    assert shown == [
        ("disk/0", "x"),
        ("on primary", "PATH (N/A:N/A), " + words),
        ("name", None),
    ]
    other = {"dev_type": "drbd", "pstatus": status}
    assert module._FormatBlockDevInfo(0, True, other, None) == stock(0, True, other, None)


class Unit:
    """As Ganeti's: one node that tells, one that is silent, one offline."""

    def __init__(self) -> None:
        self.warned: list[str] = []
        disk = SimpleNamespace(dev_type="gluster", iv_name="disk/0")
        self.instances = {
            name: SimpleNamespace(name=name, uuid=name, primary_node="node-" + name[-1])
            for name in ("vm1", "vm2", "vm3")
        }
        answers = {
            "node-1": ([(True, SimpleNamespace(is_degraded=True, ldisk_status=0))], "", False),
            "node-2": (None, "no answer", False),
            "node-3": (None, "", True),
        }
        self.cfg = SimpleNamespace(GetInstanceDisks=lambda _: [disk], GetNodeName=str.upper)
        self.rpc = SimpleNamespace(
            call_blockdev_getmirrorstatus_multi=lambda nodes, disks: {
                node: SimpleNamespace(payload=p, fail_msg=m, offline=o)
                for node, (p, m, o) in answers.items()
            }
        )

    def LogWarning(self, message: str, *args: Any) -> None:
        self.warned.append(message % args)

    def Exec(self, feedback_fn: Any) -> str:
        return "result"


def test_verify_disks_warns_and_its_result_stays() -> None:
    class Own(Unit):
        pass

    disk_states.extend_verify_disks(SimpleNamespace(LUGroupVerifyDisks=Own, constants=CONSTANTS))
    unit = Own()
    assert unit.Exec(None) == "result"
    assert unit.warned == [
        "Gluster disk disk/0 of instance vm1: *DEGRADED*",
        "Gluster disks on node NODE-2: no answer",
    ]


@pytest.mark.parametrize(
    "payload", [None, "x", [], [1], [(True, None)], [(True, "x")], [(True, None), (True, None)]]
)
def test_states_that_are_none_are_told_of_that_node_alone(payload) -> None:
    class Own(Unit):
        pass

    disk_states.extend_verify_disks(SimpleNamespace(LUGroupVerifyDisks=Own, constants=CONSTANTS))
    unit = Own()
    call = unit.rpc.call_blockdev_getmirrorstatus_multi
    unit.rpc.call_blockdev_getmirrorstatus_multi = lambda nodes, disks: {
        **call(nodes, disks),
        "node-2": SimpleNamespace(payload=payload, fail_msg="", offline=False),
    }
    assert unit.Exec(None) == "result"
    assert unit.warned == [
        "Gluster disk disk/0 of instance vm1: *DEGRADED*",
        "Gluster disks on node NODE-2: its answer is not understood: not the states of its disks",
    ]


def test_the_watcher_logs_what_the_job_warned_of(caplog) -> None:
    def poll(job, *, cl, feedback_fn):
        feedback_fn((0, "message", " - WARNING: Gluster disk disk/0 of instance vm1: *DEGRADED*"))
        feedback_fn((0, "message", "something else"))
        return "result"

    module = SimpleNamespace(cli=SimpleNamespace(PollJob=poll, other=7), logging=logging)
    disk_states.extend_watcher(module)
    passed: list[Any] = []
    assert module.cli.other == 7
    with caplog.at_level(logging.WARNING):
        assert module.cli.PollJob(1, cl=None, feedback_fn=passed.append) == "result"
    assert caplog.messages == ["- WARNING: Gluster disk disk/0 of instance vm1: *DEGRADED*"]
    assert passed == [(0, "message", "something else")]


@pytest.mark.parametrize(
    "extend",
    [disk_states.extend_info, disk_states.extend_verify_disks, disk_states.extend_watcher],
)
def test_another_shape_of_ganeti_is_left_alone(extend) -> None:
    with pytest.raises(PatchRefused):
        extend(SimpleNamespace(constants=CONSTANTS))
