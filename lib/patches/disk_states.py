"""Commands of Ganeti that ignore the status of gluster disks (`GetSyncStatus`).

`gnt-instance info` shows the state of DRBD and plain disks only, and `gnt-cluster verify-disks`
only checks those.  The watcher, which does the same every few minutes, logs the output of a job
only for debugging.  `gnt-cluster verify` shows faulty disks by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.tools.decode import NotUnderstood, printable

#: Words of ours in the warnings, by which the watcher's log gets them.
MARK = "Gluster disk"
# What is read of a disk's state.
_STATE = ("is_degraded", "ldisk_status")


def extend_info(module: Any) -> None:
    """Let `gnt-instance info` say how a gluster disk is (`ganeti.client.gnt_instance`)."""
    original = getattr(module, "_FormatBlockDevInfo", None)
    if original is None:
        raise PatchRefused("gnt_instance._FormatBlockDevInfo is missing")
    constants = module.constants

    def _FormatBlockDevInfo(idx: int, top_level: bool, dev: dict[str, Any], roman: Any) -> Any:
        data = original(idx, top_level, dev, roman)
        if dev["dev_type"] != constants.DT_GLUSTER or not dev["pstatus"]:
            return data
        words = status_words(
            dev["pstatus"][5],
            faulty=dev["pstatus"][6] == constants.LDS_FAULTY,
            unknown=dev["pstatus"][6] == constants.LDS_UNKNOWN,
        )
        return [
            ("on primary", "%s, status %s" % (entry[1], words))
            if isinstance(entry, tuple) and entry[0] == "on primary"
            else entry
            for entry in data
        ]

    module._FormatBlockDevInfo = _FormatBlockDevInfo


def status_words(degraded: bool | None, *, faulty: bool, unknown: bool) -> str:
    """A disk's state in Ganeti's way of writing: ok, or what it is not, in capitals."""
    if faulty:
        return "*SPLIT-BRAIN*"
    if unknown:
        return "*UNCERTAIN STATE*"
    if degraded is None:
        return "not known"
    return "*DEGRADED*" if degraded else "ok"


def check_group(module: Any) -> None:
    """Raise `PatchRefused` where `extend_verify_disks` could not extend a module."""
    if getattr(getattr(module, "LUGroupVerifyDisks", None), "Exec", None) is None:
        raise PatchRefused("LUGroupVerifyDisks is not as expected")


def extend_verify_disks(module: Any) -> None:
    """Let `gnt-cluster verify-disks` warn of gluster disks (`ganeti.cmdlib.group`)."""
    check_group(module)
    unit = module.LUGroupVerifyDisks
    original = unit.Exec
    constants = module.constants

    def Exec(self: Any, feedback_fn: Any) -> Any:
        result = original(self, feedback_fn)
        for warning in _warnings(self, constants):
            self.LogWarning("%s", warning)
        return result

    unit.Exec = Exec


def _warnings(unit: Any, constants: Any) -> list[str]:
    """What is wrong with the gluster disks of the unit's instances, a sentence each."""
    disks: dict[str, list[tuple[Any, Any]]] = {}
    for instance in unit.instances.values():
        for disk in unit.cfg.GetInstanceDisks(instance.uuid):
            if disk.dev_type == constants.DT_GLUSTER:
                disks.setdefault(instance.primary_node, []).append((disk, instance))
    if not disks:
        return []
    lines = []
    answers = unit.rpc.call_blockdev_getmirrorstatus_multi(list(disks), disks)
    for node, answer in answers.items():
        if answer.offline:
            continue
        reason = printable(str(answer.fail_msg or "")) or _misfit(answer.payload, disks[node])
        if reason:
            lines.append("%ss on node %s: %s" % (MARK, unit.cfg.GetNodeName(node), reason))
            continue
        for (disk, instance), (success, status) in zip(disks[node], answer.payload, strict=True):
            words = printable(str(status))
            if success:
                words = status_words(
                    status.is_degraded,
                    faulty=status.ldisk_status == constants.LDS_FAULTY,
                    unknown=status.ldisk_status == constants.LDS_UNKNOWN,
                )
                if words in ("ok", "not known"):
                    continue
            lines.append("%s %s of instance %s: %s" % (MARK, disk.iv_name, instance.name, words))
    return sorted(lines)


def _misfit(payload: Any, disks: Sequence[Any]) -> str:
    """Why a node's answer cannot be one about these disks; "" if it can."""
    states = payload if isinstance(payload, list | tuple) else ()
    fits = len(states) == len(disks) and all(
        isinstance(state, list | tuple)
        and len(state) == 2
        and (not state[0] or all(hasattr(state[1], name) for name in _STATE))
        for state in states
    )
    return "" if fits else str(NotUnderstood("", "not the states of its disks"))


def extend_watcher(module: Any) -> None:
    """Let the watcher write those warnings to its log (`ganeti.watcher`)."""
    if not callable(getattr(getattr(module, "cli", None), "PollJob", None)):
        raise PatchRefused("ganeti.watcher does not use cli.PollJob")
    module.cli = _Cli(module.cli, module.logging)


class _Cli:
    """Ganeti's `cli` as the watcher sees it: what jobs say of gluster disks is a warning."""

    def __init__(self, original: Any, logging: Any) -> None:
        self._original = original
        self._logging = logging

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def PollJob(self, *args: Any, feedback_fn: Any = None, **kwargs: Any) -> Any:
        def feedback(entry: Any) -> None:
            text = str(entry[2]) if isinstance(entry, tuple) and len(entry) == 3 else ""
            if MARK in text:
                self._logging.warning("%s", text.strip())
            elif feedback_fn is not None:
                feedback_fn(entry)

        return self._original.PollJob(
            *args, feedback_fn=feedback if feedback_fn is not None else None, **kwargs
        )
