"""The HTML views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ganeti_gluster.core.services.control import VERBS
from ganeti_gluster.web import access, words
from ganeti_gluster.web.actions import ActionInProgress, InvalidOrder, Order, make_order
from ganeti_gluster.web.disk_view import disks_of
from ganeti_gluster.web.facts import SWIFT, Known, ShownNode
from ganeti_gluster.web.groups import grouped
from ganeti_gluster.web.site import site

blueprint = Blueprint("pages", __name__)

#: Seconds of the past that a timeline shows, at most and at least.
TIMELINE = 24 * 3600
TIMELINE_LEAST = 300
_EVENTS_SHOWN = 30
_ALL = "all"


@blueprint.get("/")
def cluster() -> str:
    """Cluster: volumes, pool, Gluster Swift as one."""
    return render_template("cluster.html")


@blueprint.get("/overview")
def overview() -> str:
    """Bricks, space, heals, disks, events."""
    # Those of single services are on the page of their host.
    events = [one for one in site().board.snapshot.events if not one.service][:_EVENTS_SHOWN]
    return render_template(
        "overview.html",
        events=events,
        disks=disks_of(site().board.snapshot),
        **_timeline(),
    )


@blueprint.get("/swift")
def swift() -> str:
    """Manage Gluster Swift."""
    return _manage(SWIFT)


@blueprint.get("/services/<name>")
def services(name: str) -> str:
    """Manage the services of another type."""
    if site().board.snapshot.type(name) is None:
        abort(404, "There is no such service type.")
    return _manage(name)


def _manage(type: str, *, error: str = "", chosen: Sequence[str] = ()) -> str:
    snapshot = site().board.snapshot
    kind = snapshot.type(type)
    hosts = {host.node: host for host in kind.hosts} if kind else {}
    known = {node.name: node for node in snapshot.cluster.nodes}

    def word(node: ShownNode) -> words.Word:
        return words.status_word(hosts[node.name].status)

    return render_template(
        "services.html",
        **_chosen(
            [known.get(name, ShownNode(name, "", False, "?")) for name in hosts],
            word,
            lambda node: words.TONES.index(word(node).tone),
        ),
        type=type,
        kind=kind,
        hosts=hosts,
        actions=site().actions.latest()[:5],
        error=error,
        chosen=chosen,
    )


@blueprint.get("/hosts")
def hosts() -> str:
    """All nodes, or those whose names have a text in them; by name, or the worst first."""
    snapshot = site().board.snapshot
    nodes = list(snapshot.cluster.nodes)
    return render_template(
        "hosts.html", **_chosen(nodes, words.node_word, lambda node: _state(snapshot, node))
    )


def _chosen(
    nodes: Sequence[ShownNode],
    word_of: Callable[[ShownNode], words.Word],
    badness: Callable[[ShownNode], int],
) -> dict[str, Any]:
    """The nodes that the request's query chooses, in its order and in groups."""
    text = request.args.get("q", "").strip()
    worst_first = request.args.get("sort") == "state"
    chosen = [node for node in nodes if text.lower() in node.name.lower()]
    if worst_first:
        chosen.sort(key=badness)
    return {
        "groups": grouped(chosen, word_of, searched=bool(text)),
        "count": len(chosen),
        "total": len(nodes),
        "text": text,
        "worst_first": worst_first,
    }


def _state(snapshot: Known, node: ShownNode) -> int:
    """How bad a node's state is, of it and of its services and bricks; 0 is the worst."""
    host = snapshot.host(node.name)
    bricks = [
        brick
        for volume in snapshot.pool.volumes
        for brick in volume.bricks
        if brick.node == node.name
    ]
    found = [words.node_word(node), *(words.brick_word(brick.online) for brick in bricks)]
    if host is not None:
        found.append(words.status_word(host.status))
    return min(words.TONES.index(each.tone) for each in found)


@blueprint.get("/hosts/<name>")
def host(name: str) -> str:
    """One node: its services, bricks and events."""
    snapshot = site().board.snapshot
    node = next((one for one in snapshot.cluster.nodes if one.name == name), None)
    if node is None:
        abort(404, "The cluster has no such node.")
    return render_template(
        "host.html",
        node=node,
        host=snapshot.host(node.name),
        bricks=[
            (volume, brick)
            for volume in snapshot.pool.volumes
            for brick in volume.bricks
            if brick.node == node.name
        ],
        findings=[one for one in snapshot.findings if one.concerns(node.name)],
        disks=[disk for disk in snapshot.cluster.disks if disk.node == node.name],
        events=[event for event in snapshot.events if event.node == node.name][:_EVENTS_SHOWN],
        **_timeline(),
    )


@blueprint.get("/swift/actions")
def act_again() -> Response:
    """For who reloads the address that a form was sent to, or comes back to it."""
    return redirect(url_for("pages.swift"), 303)


@blueprint.post("/swift/actions")
@access.writer
def act() -> Response | str | tuple[str, int]:
    """Start an action; a stop or restart only once it is confirmed."""
    snapshot = site().board.snapshot
    form = request.form
    type = form.get("type", SWIFT)
    if snapshot.type(type) is None and type != SWIFT:
        abort(400, "There is no such service type.")
    all_nodes = known_nodes(snapshot, type)
    nodes = all_nodes if _ALL in form.getlist("scope") else form.getlist("node")
    try:
        order = make_order(
            form.get("action", ""),
            nodes,
            form.getlist("service"),
            known_nodes=all_nodes,
            known_services=known_services(snapshot, type),
            type=type,
        )
    except InvalidOrder as err:
        return _manage(type, error=str(err), chosen=nodes), 400
    everywhere = _everywhere(order)
    # A yes to some of the servers is none to all of them, if the others are gone since.
    enough = ("everywhere",) if everywhere else ("everywhere", "yes")
    if order.verb != VERBS[0] and form.get("confirmed") not in enough:
        return render_template("confirm.html", order=order, everywhere=everywhere)
    who = access.caller()
    assert who is not None
    try:
        action = site().actions.begin(order, who.account.user)
    except ActionInProgress as err:
        return _manage(type, error=str(err), chosen=nodes), 409
    return redirect(url_for("pages.action", number=action.id), 303)


@blueprint.get("/actions/<int:number>")
def action(number: int) -> str:
    """What an action has done so far."""
    wanted = site().actions.find(number)
    if wanted is None:
        abort(404, "There is no such action, or it is too old.")
    return render_template("action.html", action=wanted)


def title_of(snapshot: Known, type: str) -> str:
    """What people call a type of services."""
    found = snapshot.type(type)
    return found.title if found else "Gluster Swift" if type == SWIFT else type


def url_of(type: str) -> str:
    """Where the services of a type are managed."""
    if type == SWIFT:
        return url_for("pages.swift")
    return url_for("pages.services", name=type)


def known_nodes(snapshot: Known, type: str = SWIFT) -> list[str]:
    """The nodes on which services of a type are managed."""
    found = snapshot.type(type)
    return [host.node for host in found.hosts] if found else []


def known_services(snapshot: Known, type: str = SWIFT) -> list[str]:
    """The services of a type that are managed."""
    found = snapshot.type(type)
    return [service.name for service in found.services] if found else []


def _everywhere(order: Order) -> bool:
    """Whether no node would be left that is not touched."""
    return set(order.nodes) == set(known_nodes(site().board.snapshot, order.type))


def _timeline() -> dict[str, Any]:
    board = site().board
    start = timeline_start(board.snapshot, board.clock())
    return {"timeline_start": start, "timeline_changes": changes}


def timeline_start(snapshot: Known, now: float) -> float:
    """When the timelines begin: a little before the first event that is known.

    What was before nobody has seen; a cluster that was set up this morning would
    have its whole story at the right edge.
    """
    if not snapshot.events:
        return now - TIMELINE
    known = (now - min(event.at for event in snapshot.events)) * 1.05
    return now - min(TIMELINE, max(TIMELINE_LEAST, known))


def changes(snapshot: Known, node: str) -> list[tuple[float, str, str]]:
    """The changes of a node's status in Gluster Swift as one, the oldest first."""
    kind = snapshot.swift.type if snapshot.swift else ""
    return [
        (event.at, event.old, event.new)
        for event in reversed(snapshot.events)
        if (event.type, event.node, event.service) == (kind, node, "") and event.old and event.new
    ]
