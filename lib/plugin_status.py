"""The result of the registration on this node, in a new process and in the node daemon."""

from __future__ import annotations

import importlib
import json

from ganeti import constants as ganeti_constants
from ganeti import utils

from ganeti_gluster import __version__, constants, hook, plugin
from ganeti_gluster.plugin_state import OURS, STOCK, STOPPED, PluginState


def local_status() -> PluginState:
    """This node's state, as plain data for JSON."""
    template, reasons = _own_state()
    noded, noded_reasons = _noded_state()
    return {
        "version": __version__,
        "ganeti": ganeti_constants.RELEASE_VERSION,
        "template": template,
        "reasons": reasons,
        "noded": noded,
        "noded_reasons": noded_reasons,
    }


def _own_state() -> tuple[str, list[str]]:
    """Whose class a process started now uses, and why if not ours."""
    if not hook.installed():
        return STOCK, ["ganeti-gluster.pth is not in Python's site directory"]
    for name in plugin.EXTENSIONS:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as err:
            # Not every release of Ganeti has every module.
            if err.name != name:
                raise
    return _judge(plugin.extended(), plugin.refusals())


def _judge(extended: list[str], refusals: dict[str, str]) -> tuple[str, list[str]]:
    template = OURS if plugin.TEMPLATE_MODULE in extended else STOCK
    return template, sorted(set(refusals.values()))


def _noded_state() -> tuple[str, list[str]]:
    """Whose class the running node daemon uses, and why if not ours."""
    pid = utils.ReadPidFile(utils.DaemonPidFileName(ganeti_constants.NODED))
    if not (pid and utils.IsProcessAlive(pid)):
        return STOPPED, ["ganeti-noded is not running"]
    try:
        with open(constants.NODED_STATE_FILE, encoding="utf-8") as stream:
            state = json.load(stream)
    except FileNotFoundError:
        state = {}
    if state.get("pid") != pid:
        return STOCK, [
            "ganeti-noded was started before this package was installed; restart it:"
            " systemctl restart ganeti"
        ]
    template, reasons = _judge(state["extended"], state["refusals"])
    if template == OURS and state["version"] != __version__:
        reasons.append(
            "ganeti-noded still runs version %s; restart it: systemctl restart ganeti"
            % state["version"]
        )
    return template, reasons
