"""The result of the registration on a node, as nodes report it to each other."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Name, NotUnderstood, OneOf

OURS = "ganeti-gluster"
STOCK = "stock"
STOPPED = "stopped"
# For nodes that do not answer.
OFFLINE = "offline"
UNKNOWN = "unknown"


class PluginState(TypedDict, total=False):
    """A node's state, as plain data::

        {"version": "0.1.0", "ganeti": "3.1.0", "template": "ganeti-gluster",
         "reasons": [], "noded": "ganeti-gluster", "noded_reasons": []}

    `template` is whose class new processes use for the gluster template, `noded`
    whose the running node daemon uses ("stopped" when none runs); the reasons
    say why it is the stock one.
    """

    version: Name
    ganeti: Name
    template: Annotated[str, OneOf((OURS, STOCK))]
    reasons: list[str]
    noded: Annotated[str, OneOf((OURS, STOCK, STOPPED))]
    noded_reasons: list[str]


def parse(success: bool, output: str) -> dict[str, Any]:
    """The state in a node's answer; where there is none, "unknown" and the reason."""
    if not success:
        return unanswered(UNKNOWN, decode.printable(output))
    try:
        state: dict[str, Any] = decode.value(PluginState, decode.plain(output))
        if "template" not in state:
            raise NotUnderstood("template", "it is missing")
    except NotUnderstood as err:
        return unanswered(UNKNOWN, str(err))
    return {"reasons": [], **state}


def unanswered(template: str, reason: str) -> dict[str, Any]:
    """The state of a node that does not report its own."""
    return {"template": template, "reasons": [reason]}
