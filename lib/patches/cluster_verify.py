"""`gnt-cluster verify` (`ganeti.cmdlib.cluster.verify`): show what our hook found.

Ganeti shows the output of a hook only if it failed, as one line with escaped line ends, and a hook
that fails makes verification fail.  This module tells our hook which volumes the group's nodes
should reach, and whether other groups are verified as well.  Each problem that the hook finds
becomes a line of the verification itself, for the node concerned: an ERROR that makes it fail, or
a WARNING that does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.codes import ERROR
from ganeti_gluster.core.verify.finding import MARK, Finding, from_json
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.tools.decode import NotUnderstood

HOOK = "cluster-verify-post.d/ganeti-gluster"


def extend(module: Any) -> None:
    """Extend `LUClusterVerifyGroup` in its two methods for hooks."""
    unit: Any = getattr(module, "LUClusterVerifyGroup", None)
    missing = [
        name
        for name in ("BuildHooksEnv", "HooksCallBack", "_ErrorMsgList", "ETYPE_WARNING")
        if not hasattr(unit, name)
    ]
    if missing:
        raise PatchRefused("LUClusterVerifyGroup lacks %s" % ", ".join(missing))
    constants = module.constants
    build, call_back = unit.BuildHooksEnv, unit.HooksCallBack

    def BuildHooksEnv(self: Any) -> dict[str, str]:
        env: dict[str, str] = build(self)
        params = expected_volumes.plain(_params(self, constants))
        if params:
            env[expected_volumes.VARIABLE] = json.dumps(params)
        # As part of the whole, a group waits for the verification of the configuration.
        if self.op.depends:
            env[expected_volumes.WHOLE_VARIABLE] = "yes"
        return env

    def HooksCallBack(
        self: Any, phase: str, hooks_results: Any, feedback_fn: Any, lu_result: Any
    ) -> Any:
        result = call_back(self, phase, hooks_results, feedback_fn, lu_result)
        if phase == constants.HOOKS_PHASE_POST:
            ignored = constants.CV_ENODEHOOKS[1] in self.op.ignore_errors
            names = [self.cfg.GetNodeName(node) for node in self.cfg.GetNodeList()]
            for node, finding in handed_on(hooks_results or {}, self.cfg.GetNodeName):
                is_error = finding.severity is ERROR and not ignored
                name = next(filter(finding.concerns, names), self.cfg.GetNodeName(node))
                self._ErrorMsgList(
                    (constants.CV_TNODE, finding.code, ""),
                    name,
                    [message(finding, name, with_code=not self.op.error_codes)],
                    log_type=self.ETYPE_ERROR if is_error else self.ETYPE_WARNING,
                )
                if is_error:
                    result = False
        return result

    unit.BuildHooksEnv = BuildHooksEnv
    unit.HooksCallBack = HooksCallBack


def _params(unit: Any, constants: Any) -> Iterator[Mapping[str, Any]]:
    """The parameters of volumes that the group's nodes should reach."""
    enabled = unit.cfg.GetClusterInfo().enabled_disk_templates
    if constants.DT_GLUSTER in enabled:
        yield unit.cfg.GetGroupDiskParams(unit.group_info)[constants.DT_GLUSTER]
    if constants.DT_EXT in enabled:
        # Late: it needs Ganeti's modules, and this one only its functions.
        from ganeti_gluster.storage.disks import ext_params

        for uuid in sorted(unit.my_inst_info):
            for disk in unit.cfg.GetInstanceDisks(uuid):
                params = ext_params(disk.ToDict())
                if params is not None:
                    yield params


def message(finding: Finding, node: str, *, with_code: bool) -> str:
    """A finding's words behind the node's name, which is not said twice."""
    words = [finding.code] if with_code else []
    if finding.object != node:
        words.append(finding.object)
    return ": ".join([*words, "%s; %s" % (finding.text, finding.remedy)])


def handed_on(results: Any, name_of: Callable[[str], str]) -> list[tuple[str, Finding]]:
    """What our hook found, with the UUID of the node that found it, in their order.

    `name_of` gives a node's name.  One whose findings are none is a finding itself.
    """
    findings = []
    for node, result in sorted(results.items()):
        if result.fail_msg or result.offline:
            continue
        try:
            findings += [(node, each) for each in _of_node(result.payload or ())]
        except NotUnderstood as err:
            findings.append((node, Finding.of("NOT_UNDERSTOOD", name_of(node), str(err))))
    return findings


def _of_node(payload: Any) -> list[Finding]:
    """What our hook found on a node; raises NotUnderstood."""
    findings: list[Finding] = []
    for script, _, output in _scripts(payload):
        if script == HOOK and MARK in output:
            # One line of ASCII, which Ganeti's escaping leaves as it is; libraries
            # may have written something before it or behind.
            findings += from_json(output.partition(MARK)[2].split("\\n")[0])
    return findings


def _scripts(payload: Any) -> list[tuple[str, Any, str]]:
    """The hooks that a node ran: path, status, output; raises NotUnderstood."""
    if not isinstance(payload, list | tuple) or not all(
        isinstance(ran, list | tuple)
        and len(ran) == 3
        and isinstance(ran[0], str)
        and isinstance(ran[2], str)
        for ran in payload
    ):
        raise NotUnderstood("hooks", "not a list of what ran")
    return [(path, status, output) for path, status, output in payload]
