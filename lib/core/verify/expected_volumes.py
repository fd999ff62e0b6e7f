"""The volumes that a node should reach, according to the master's last message.

A node that is not the master does not know Ganeti's disk parameters.  The hook of `gnt-cluster
verify` passes them in its environment, and `gnt-gluster verify` copies this file, which has them
by node; all checks of a node find them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import private

PATH = constants.STATE_DIR + "/volumes.json"

#: The variable of the hook's environment, without and with Ganeti's prefix.
VARIABLE = "GLUSTER_VOLUMES"
ENVIRONMENT = "GANETI_" + VARIABLE
#: The variable that says that all groups of nodes are verified, the master's among them.
WHOLE_VARIABLE = "GLUSTER_WHOLE_CLUSTER"
# Ganeti tells the hook each node of the group.
_MEMBER = "GANETI_NODE_TAGS_"


def plain(params: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of Ganeti's disk parameters only what says where a volume is; each once."""
    result: list[dict[str, Any]] = []
    for each in params:
        part = {name: each[name] for name in constants.VOLUME_PARAMETERS if name in each}
        if part not in result:
            result.append(part)
    return result


def specs(params: Iterable[Mapping[str, Any]]) -> list[VolumeSpec]:
    """The volumes that parameters name, without those that are not valid."""
    result = []
    for each in params:
        try:
            spec = VolumeSpec.from_params(each)
        except InvalidParameter:
            continue
        if spec not in result:
            result.append(spec)
    return result


def parse(text: str) -> list[dict[str, Any]]:
    """The parameters in the hook's variable or in the file; raises ValueError."""
    data = json.loads(text)
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise ValueError("not a list of disk parameters")
    return plain(data)


def master_looks(environment: Mapping[str, str], master: str) -> bool:
    """Whether the master's hook runs in this verification too, by a hook's environment."""
    return _MEMBER + master in environment or "GANETI_" + WHOLE_VARIABLE in environment


def load(node: str, path: str = PATH) -> list[dict[str, Any]]:
    """The master's last message; nothing if there was none."""
    return plain(_load_all(path).get(node, ()))


def _load_all(path: str) -> dict[str, list[dict[str, Any]]]:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return {str(node): parse(json.dumps(params)) for node, params in data.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def save(node: str, params: Sequence[Mapping[str, Any]], path: str = PATH) -> None:
    """Store the master's message on this node."""
    save_all({**_load_all(path), node: list(params)}, path)


def save_all(params: Mapping[str, Sequence[Mapping[str, Any]]], path: str = PATH) -> None:
    """Store the message for each node; nothing is written if nothing changed."""
    if _load_all(path) != params:
        private.write_json(path, params)
