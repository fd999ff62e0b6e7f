"""The JSON API against its own description."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ganeti_gluster.web import openapi
from ganeti_gluster.web.facts import Known, Part

from .conftest import Page
from .test_access import basic

ROOT = basic("root", "secret")
COMPONENTS = openapi.describe()["components"]["schemas"]
KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def get(page: Page, path: str) -> Any:
    return page.browser.get(path, headers=ROOT)


def check(value: Any, schema: dict[str, Any], where: str = "$") -> None:
    """That a value is as its schema says, and says no more than that."""
    if "$ref" in schema:
        schema = {**COMPONENTS[schema["$ref"].rsplit("/", 1)[1]], **schema}
    if value is None:
        assert schema.get("nullable"), where
        return
    for part in schema.get("allOf", []):
        check(value, part, where)
    if "enum" in schema:
        assert value in schema["enum"], where
    if "type" in schema:
        assert isinstance(value, KINDS[schema["type"]]), where
        assert schema["type"] == "boolean" or not isinstance(value, bool), where
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            check(item, schema["items"], "%s[%d]" % (where, number))
    if "properties" in schema:
        assert set(schema.get("required", [])) <= set(value), where
        assert set(value) <= set(schema["properties"]), where
        for name, item in value.items():
            check(item, schema["properties"][name], "%s.%s" % (where, name))


def test_every_route_is_described_and_nothing_else(page: Page) -> None:
    routes = {
        (re.sub(r"<(?:int:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in page.app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (path, method)
        for path, item in openapi.describe()["paths"].items()
        for method in item
        if method != "parameters"
    }

    assert routes == described


def test_the_description_is_served_and_its_references_lead_somewhere(page: Page) -> None:
    said = get(page, "/api/openapi.json").json
    assert said == openapi.describe()
    names = set(re.findall(r"#/components/schemas/(\w+)", str(said)))
    assert names == set(said["components"]["schemas"])
    operations = [
        operation
        for item in said["paths"].values()
        for name, operation in item.items()
        if name != "parameters"
    ]
    assert len({one["operationId"] for one in operations}) == len(operations)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("path", openapi.PARTS)
def test_answers_are_as_described(page: Page, path: str, known: bool) -> None:
    if not known:
        page.site.board.snapshot = Known()
    answer = get(page, path)
    responses = openapi.describe()["paths"][path]["get"]["responses"]

    assert answer.status_code == 200
    assert (answer.json["data"] is not None) == known
    check(answer.json, responses["200"]["content"]["application/json"]["schema"])


def test_a_hosts_services(page: Page) -> None:
    answer = get(page, "/api/v1/hosts/node2").json
    check(answer, {"$ref": "#/components/schemas/Host"})

    assert answer["status"] == "STOPPED"
    missing = get(page, "/api/v1/hosts/node9")
    assert missing.status_code == 404
    check(missing.json, {"$ref": "#/components/schemas/Error"})


def test_an_action_from_its_beginning_to_its_end(page: Page) -> None:
    order = {"action": "restart", "nodes": ["node2", "node1"], "services": ["proxy"]}
    begun = page.browser.post("/api/v1/actions", json=order, headers=ROOT)
    page.finish()
    ended = get(page, begun.location).json

    assert begun.status_code == 202
    for said in (begun.json, ended):
        check(said, {"$ref": "#/components/schemas/Action"})
    assert ended["state"] == "done" and ended["user"] == "root"
    assert ended["nodes"] == ["node1", "node2"]
    assert [one["id"] for one in get(page, "/api/v1/actions").json] == [1]
    assert get(page, "/api/v1/actions/2").status_code == 404


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        {"action": "stop"},
        {"action": "stop", "nodes": "node1"},
        {"action": "stop", "nodes": [1]},
        {"action": "stop", "nodes": []},
        {"action": "stop", "nodes": ["node1", "node9"]},
        {"action": "stop", "nodes": ["node1"], "services": ["sshd"]},
        {"action": "stop", "nodes": ["node1"], "command": "reboot"},
        {"action": ["stop"], "nodes": ["node1"]},
        {"action": "stop", "nodes": ["node1"], "services": None},
    ],
)
def test_orders_that_are_none_are_refused(page: Page, said: Any) -> None:
    answer = page.browser.post("/api/v1/actions", json=said, headers=ROOT)

    assert answer.status_code == 400
    check(answer.json, {"$ref": "#/components/schemas/Error"})
    assert not page.orders


def test_what_is_not_json_is_refused(page: Page) -> None:
    answer = page.browser.post(
        "/api/v1/actions", data="{", headers=ROOT, content_type="application/json"
    )
    assert answer.status_code == 400 and answer.json and answer.json["error"]


def test_metrics_are_the_agents_or_not_there(page: Page) -> None:
    assert get(page, "/metrics").status_code == 404
    here = page.site.board
    here.snapshot = here.snapshot.merged("metrics", Part("up 1\n", 1.0))
    answer = get(page, "/metrics")
    assert answer.text == "up 1\n" and answer.mimetype == "text/plain"


def send(page: Page, **order: Any) -> Any:
    return page.browser.post("/api/v1/commands", headers=ROOT, json=order)


def test_a_command_is_begun_and_followed(page: Page) -> None:
    begun = send(page, command="evacuate", node="node1", dry_run=True)
    assert (begun.status_code, begun.json) == (202, {"id": 1})
    assert begun.headers["Location"] == "/api/v1/commands/1"
    told = get(page, "/api/v1/commands/1").json
    check(told, COMPONENTS["Command"])
    assert (told["state"], told["user"], told["node"]) == ("running", "root", "node1")
    assert told["dry_run"] and told["output"] == ["[1/2] begun"]
    assert get(page, "/api/v1/commands").json == [told]
    assert get(page, "/api/v1/commands/2").status_code == 404


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"command": 1},
        {"command": "verify", "force": "yes"},
        {"command": "heal", "volume": ["gv0"]},
        {"command": "heal", "volume": "gv9"},
        {"command": "evacuate", "node": "node1"},
        {"command": "evacuate", "node": "node1", "dry_run": "yes"},
        {"command": "evacuate", "node": "node1", "plan": "x"},
    ],
)
def test_what_is_no_command_is_refused(page: Page, order: dict[str, Any]) -> None:
    answer = send(page, **order)
    assert answer.status_code == 400 and answer.json["error"]
    assert not page.commands


def test_services_of_another_type_are_restarted(page: Page) -> None:
    order = {"action": "restart", "type": "GLUSTER", "nodes": ["node1"], "services": ["glusterd"]}
    answer = page.browser.post("/api/v1/actions", headers=ROOT, json=order)
    page.finish()
    assert answer.status_code == 202 and answer.json["type"] == "GLUSTER"
    assert [one.type for one in page.orders] == ["GLUSTER"]
    for wrong in ({"type": "NFS"}, {"type": 1}, {"services": ["proxy"]}):
        answer = page.browser.post("/api/v1/actions", headers=ROOT, json={**order, **wrong})
        assert answer.status_code == 400
