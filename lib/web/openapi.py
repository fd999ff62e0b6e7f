"""The description of the JSON API, in OpenAPI 3, from the facts' own classes."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import Any

from ganeti_gluster import __version__
from ganeti_gluster.core.services.control import VERBS, Outcome
from ganeti_gluster.core.services.model import Host
from ganeti_gluster.web import facts
from ganeti_gluster.web.commands import FIELDS, KINDS

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}

#: Path -> the part of the snapshot that it answers with, and the summary.
PARTS = {
    "/api/v1/cluster": ("cluster", "The cluster's nodes and its instances' gluster disks"),
    "/api/v1/pool": ("pool", "The Gluster pool: servers, volumes, bricks"),
    "/api/v1/disks": ("disks", "Health, allocated space and holders of disks, and snapshots"),
    "/api/v1/swift": ("swift", "The Gluster Swift services: as one, by service, by node"),
    "/api/v1/services": ("services", "The services of all types, as those of Gluster Swift"),
    "/api/v1/events": ("events", "The latest changes of services, the newest first"),
    "/api/v1/findings": ("findings", "What the last verification of the cluster found"),
    "/api/v1/history": ("history", "Space and heals over time, the oldest first"),
}


def describe() -> dict[str, Any]:
    """The whole description."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for path, (part, summary) in PARTS.items():
        data = _schema(facts.KINDS[part], schemas)
        paths[path] = {"get": _operation(part, summary, _part_schema(data))}
    schemas.update(_actions(schemas))
    schemas.update(_commands())
    host = _schema(Host, schemas)
    paths["/api/v1/hosts/{name}"] = {
        "parameters": [_parameter("name", {"type": "string"})],
        "get": _operation("host", "The services of one node", host, errors=("404",)),
    }
    action = {"$ref": "#/components/schemas/Action"}
    paths["/api/v1/actions"] = {
        "get": _operation(
            "actions",
            "The latest actions, the newest first",
            {"type": "array", "items": action},
        ),
        "post": {
            **_operation(
                "begin",
                "Start, stop or restart services; for users who may write",
                action,
                code="202",
                errors=("400", "403", "409", "415"),
            ),
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
                },
            },
        },
    }
    paths["/api/v1/actions/{number}"] = {
        "parameters": [_parameter("number", {"type": "integer"})],
        "get": _operation("action", "One action and its outcomes", action, errors=("404",)),
    }
    command = {"$ref": "#/components/schemas/Command"}
    paths["/api/v1/commands"] = {
        "get": _operation(
            "commands",
            "The latest commands, the newest first",
            {"type": "array", "items": command},
        ),
        "post": {
            **_operation(
                "begin_command",
                "Begin a command; for users who may write",
                {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "integer"}},
                },
                code="202",
                errors=("400", "403", "409", "415"),
            ),
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/CommandOrder"}}
                },
            },
        },
    }
    paths["/api/v1/commands/{number}"] = {
        "parameters": [_parameter("number", {"type": "integer"})],
        "get": _operation("command", "One command and its output", command, errors=("404",)),
    }
    paths["/api/openapi.json"] = {
        "get": _operation("openapi", "This description", {"type": "object"})
    }
    metrics = _operation("metrics", "Measurements, for Prometheus", {}, errors=("404",))
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    paths["/metrics"] = {"get": metrics}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "ganeti-gluster",
            "version": __version__,
            "description": "Facts are gathered in the background: `at` says when.",
        },
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A user of Ganeti's remote API with the right read or write",
                }
            },
            "schemas": schemas,
        },
    }


def _actions(schemas: dict[str, Any]) -> dict[str, Any]:
    verb = {"type": "string", "enum": list(VERBS)}
    names = {"type": "array", "items": {"type": "string"}}
    order = {
        "type": "object",
        "required": ["action", "nodes"],
        "additionalProperties": False,
        "properties": {
            "action": verb,
            "type": {"type": "string", "description": "GLUSTER_SWIFT if left out"},
            "nodes": {**names, "minItems": 1},
            "services": {**names, "description": "all of them if left out"},
        },
    }
    outcome = _schema(Outcome, schemas)
    schemas["Outcome"]["properties"]["done"] = {"type": "boolean"}
    properties = {
        "id": {"type": "integer"},
        "action": verb,
        "type": {"type": "string"},
        "nodes": names,
        "services": names,
        "user": {"type": "string"},
        "started": {"type": "number"},
        "ended": {"type": "number", "nullable": True},
        "state": {"type": "string", "enum": ["running", "done", "partly", "failed"]},
        "error": {"type": "string"},
        "outcomes": {"type": "array", "items": outcome},
    }
    error = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    }
    return {
        "Order": order,
        "Action": {"type": "object", "required": list(properties), "properties": properties},
        "Error": error,
    }


def _commands() -> dict[str, Any]:
    text = {"type": "string"}
    kind = {
        "type": "string",
        "enum": list(KINDS),
        "description": "; ".join(
            "%s: %s%s"
            % (
                name,
                ", ".join(
                    "%s (optional)" % field if field in one.optional else field
                    for field in one.fields
                )
                or "nothing else",
                ", and either dry_run or plan" if one.typed else "",
            )
            for name, one in KINDS.items()
        ),
    }
    fields = dict.fromkeys(FIELDS, text)
    order = {
        "type": "object",
        "required": ["command"],
        "additionalProperties": False,
        "properties": {
            "command": kind,
            **fields,
            "dry_run": {"type": "boolean", "description": "only show what would be done"},
            "plan": {**text, "description": "do exactly what a dry run has shown with this plan"},
        },
    }
    properties = {
        "id": {"type": "integer"},
        "command": kind,
        **fields,
        "dry_run": {"type": "boolean"},
        "user": text,
        "started": {"type": "number"},
        "ended": {"type": "number", "nullable": True},
        "state": {"type": "string", "enum": ["running", "done", "shown", "failed", "killed"]},
        "status": {"type": "integer", "nullable": True},
        "output": {"type": "array", "items": text},
        "plan": {**text, "description": "of a dry run that has ended: what it has shown"},
    }
    return {
        "CommandOrder": order,
        "Command": {"type": "object", "required": list(properties), "properties": properties},
    }


def _operation(
    name: str,
    summary: str,
    schema: dict[str, Any],
    *,
    code: str = "200",
    errors: tuple[str, ...] = (),
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        code: {
            "description": "As asked",
            "content": {"application/json": {"schema": schema}},
        }
    }
    for error in sorted({"401", "429", *errors}):
        responses[error] = {
            "description": "The reason is in `error`",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    return {"operationId": name, "summary": summary, "responses": responses}


def _part_schema(data: dict[str, Any]) -> dict[str, Any]:
    """A part of the snapshot; `data` is null until its source answered once."""
    return {
        "type": "object",
        "required": ["data", "at", "error"],
        "properties": {
            "data": {"allOf": [data], "nullable": True},
            "at": {
                "type": "number",
                "nullable": True,
                "description": "when the data was gathered, in seconds since the epoch",
            },
            "error": {"type": "string", "description": "why there is nothing newer"},
        },
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _schema(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; a class becomes a component, named once."""
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
        return {**_schema(inner, schemas), "nullable": True}
    if typing.get_origin(hint) is tuple:
        inner, _ = typing.get_args(hint)
        return {"type": "array", "items": _schema(inner, schemas)}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"type": "string", "enum": [each.value for each in hint]}
    assert dataclasses.is_dataclass(hint) and isinstance(hint, type)
    if hint.__name__ not in schemas:
        hints = typing.get_type_hints(hint)
        names = [one.name for one in dataclasses.fields(hint)]
        schemas[hint.__name__] = {
            "type": "object",
            "required": names,
            "properties": {name: _schema(hints[name], schemas) for name in names},
        }
    return {"$ref": "#/components/schemas/%s" % hint.__name__}
