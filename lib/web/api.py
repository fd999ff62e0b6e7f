"""The views for programs: JSON, described by openapi.py, and the metrics."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, url_for

from ganeti_gluster.tools.decode import as_data
from ganeti_gluster.web import access, openapi, storage, words
from ganeti_gluster.web.actions import Action, ActionInProgress, InvalidOrder, make_order
from ganeti_gluster.web.commands import FIELDS, CommandOrder, make_command
from ganeti_gluster.web.facts import SWIFT, ShownCommand
from ganeti_gluster.web.orders import OrderFailed
from ganeti_gluster.web.pages import known_nodes, known_services
from ganeti_gluster.web.site import site

blueprint = Blueprint("api", __name__)


@blueprint.get("/api/openapi.json")
def description() -> Response:
    """The API's description."""
    return jsonify(openapi.describe())


def _part() -> Response:
    name, _ = openapi.PARTS[request.path]
    part = site().board.snapshot.part(name)
    data = None if part.data is None else as_data(part.data)
    return jsonify(data=data, at=part.at, error=part.error)


for _path, (_name, _) in openapi.PARTS.items():
    blueprint.add_url_rule(_path, _name, _part, methods=["GET"])


@blueprint.get("/api/v1/hosts/<name>")
def host(name: str) -> Response:
    """The services of one node."""
    services = site().board.snapshot.host(name)
    if services is None:
        abort(404, "The cluster has no such node, or its services are not known yet.")
    return jsonify(as_data(services))


@blueprint.get("/api/v1/actions")
def actions() -> Response:
    """The latest actions."""
    return jsonify([plain(action) for action in site().actions.latest()])


@blueprint.get("/api/v1/actions/<int:number>")
def action(number: int) -> Response:
    """One action."""
    wanted = site().actions.find(number)
    if wanted is None:
        abort(404, "There is no such action, or it is too old.")
    return jsonify(plain(wanted))


@blueprint.post("/api/v1/actions")
@access.writer
def begin() -> tuple[Response, int, dict[str, str]]:
    """Start an action."""
    said = request.get_json()
    snapshot = site().board.snapshot
    try:
        verb, nodes, services, type = _read_order(said)
        if snapshot.type(type) is None and type != SWIFT:
            raise InvalidOrder("no such service type here: %.40s" % type)
        order = make_order(
            verb,
            nodes,
            services,
            known_nodes=known_nodes(snapshot, type),
            known_services=known_services(snapshot, type),
            type=type,
        )
    except InvalidOrder as err:
        abort(400, str(err))
    who = access.caller()
    assert who is not None
    try:
        started = site().actions.begin(order, who.account.user)
    except ActionInProgress as err:
        abort(409, str(err))
    where = url_for("api.action", number=started.id)
    return jsonify(plain(started)), 202, {"Location": where}


@blueprint.get("/api/v1/commands")
def commands() -> Response:
    """The latest commands."""
    return jsonify([plain_command(one) for one in site().board.snapshot.commands])


@blueprint.get("/api/v1/commands/<int:number>")
def command(number: int) -> Response:
    """One command, with its output."""
    wanted = site().board.snapshot.command(number)
    if wanted is None:
        abort(404, "There is no such command, or it is too old.")
    return jsonify(plain_command(wanted))


@blueprint.post("/api/v1/commands")
@access.writer
def begin_command() -> tuple[Response, int, dict[str, str]]:
    """Begin a command."""
    said = request.get_json()
    try:
        number = storage.begin_command(_read_command(said))
    except InvalidOrder as err:
        abort(400, str(err))
    except OrderFailed as err:
        abort(409, str(err))
    return jsonify(id=number), 202, {"Location": url_for("api.command", number=number)}


@blueprint.get("/metrics")
def metrics() -> Response:
    """The monitoring agent's measurements."""
    measured = site().board.snapshot.part("metrics").data
    if measured is None:
        abort(404, "Nothing has been measured yet: systemctl status ganeti-gluster-agent")
    return Response(measured, content_type="text/plain; version=0.0.4; charset=utf-8")


def _read_order(said: Any) -> tuple[str, list[str], list[str], str]:
    """The parts of an order as it was sent; raises InvalidOrder if it is not one."""
    if not isinstance(said, dict) or not set(said) <= {"action", "type", "nodes", "services"}:
        raise InvalidOrder("send an object with action, nodes and, optionally, services and type")
    verb, nodes, services = said.get("action"), said.get("nodes"), said.get("services", [])
    type = said.get("type", SWIFT)
    names = [nodes, services]
    if not (isinstance(verb, str) and isinstance(type, str)) or not all(
        isinstance(part, list) and all(isinstance(name, str) for name in part) for part in names
    ):
        raise InvalidOrder("action and type are strings; nodes and services are lists of strings")
    return verb, list(nodes or []), list(services), type


def _read_command(said: Any) -> CommandOrder:
    """A command as it was sent; raises InvalidOrder if it is none."""
    if not isinstance(said, dict) or not set(said) <= {"command", "dry_run", "plan", *FIELDS}:
        raise InvalidOrder("send an object with command and its fields")
    dry_run = said.get("dry_run", False)
    texts = {name: said.get(name, "") for name in ("command", "plan", *FIELDS)}
    if not isinstance(dry_run, bool) or not all(isinstance(one, str) for one in texts.values()):
        raise InvalidOrder("dry_run is true or false; all else are strings")
    return make_command(
        texts["command"],
        {name: texts[name] for name in FIELDS},
        storage.known_names(site().board.snapshot),
        dry_run=dry_run,
        plan=texts["plan"],
    )


def plain_command(command: ShownCommand) -> dict[str, Any]:
    """A command as the API returns it."""
    order = {name: getattr(command.order, name) for name in ("dry_run", "user", *FIELDS)}
    return {
        "id": command.number,
        "command": command.order.kind,
        **order,
        "started": command.started,
        "ended": command.ended,
        "state": command.state,
        "status": command.status,
        "output": list(command.lines),
        "plan": command.shows,
    }


def plain(action: Action) -> dict[str, Any]:
    """An action as the API returns it."""
    return {
        "id": action.id,
        "action": action.order.verb,
        "type": action.order.type,
        "nodes": list(action.order.nodes),
        "services": list(action.order.services),
        "user": action.user,
        "started": action.started,
        "ended": action.ended,
        "state": action.state,
        "error": action.error,
        "outcomes": [
            {**as_data(one), "done": one.good, "message": words.outcome(one)}
            for one in list(action.outcomes)
        ],
    }
