"""Volumes, disks and snapshots as people see them, and the commands that they can begin."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from ganeti_gluster.web import facts
from ganeti_gluster.web.commands import CommandOrder
from ganeti_gluster.web.facts import Part, ShownCommand
from ganeti_gluster.web.orders import OrderFailed

from .conftest import NOW, Page
from .test_access import basic

PLAN = "0123456789ab"
ROOT, GUEST = basic("root", "secret"), basic("guest", "look")


def post(page: Page, **form: Any) -> Any:
    return page.browser.post("/commands", data={"token": page.token(), **form})


def put(page: Page, name: str, data: object) -> None:
    """Let the page know other facts."""
    board = page.site.board
    board.snapshot = board.snapshot.merged(name, Part(data, NOW))


def command(order: CommandOrder, **fields: Any) -> facts.CommandsFacts:
    return facts.CommandsFacts((ShownCommand(1, order, NOW - 60, **fields),))


def test_a_volume_has_its_shape_space_and_options(writer: Page) -> None:
    pool = writer.site.board.snapshot.pool
    (volume,) = pool.volumes
    put(writer, "pool", replace(pool, volumes=(replace(volume, provisioned=20 << 30),)))
    for path in ("/storage", "/volumes/gv0"):
        text = writer.browser.get(path).text
        assert "replica 3" in text and "20.0 GiB" in text and "more than there is" in text
    assert "network.ping-timeout is 42, not 20: guests wait" in text
    assert writer.browser.get("/volumes/gv9").status_code == 404


def test_a_disk_has_its_health_space_and_holder(writer: Page) -> None:
    for path in ("/storage", "/volumes/gv0", "/instances/vm<1>"):
        text = writer.browser.get(path).text
        assert "Degraded" in text and "node3 is absent" in text
        assert "512 MiB of 1.0 GiB" in text and '"Open on"><span>node1</span>' in text
    assert writer.browser.get("/instances/vm9").status_code == 404


@pytest.mark.parametrize(
    ("image", "word"),
    [
        ({"size": None}, "Missing"),
        ({"split_brain": True}, "Split-brain"),
        ({"split_brain": True, "degraded": None}, "Split-brain"),
        ({"degraded": None}, "Unknown"),
        ({"degraded": False}, "Healthy"),
    ],
)
def test_each_health_has_its_word(writer: Page, image: dict[str, Any], word: str) -> None:
    known = writer.site.board.snapshot.disks
    put(writer, "disks", replace(known, images=(replace(known.images[0], **image),)))
    text = writer.browser.get("/instances/vm<1>").text
    badge = text.split('data-label="Health"')[1].split("</td>")[0]
    assert word in badge


def test_a_disk_that_nobody_has_open_and_one_whose_requests_wait(writer: Page) -> None:
    known = writer.site.board.snapshot.disks
    put(writer, "disks", replace(known, holders=()))
    assert "no node" in writer.browser.get("/storage").text
    waits = facts.ShownHolder("gv0/ganeti/x", "node1", "exclusive", "quorum is lost")
    put(writer, "disks", replace(known, holders=(waits,)))
    text = writer.browser.get("/storage").text
    assert "waits: quorum is lost" in text and "Waits</span>" in text
    pool = writer.site.board.snapshot.pool
    put(writer, "pool", replace(pool, no_space=("gv0/ganeti/x",)))
    assert "waits: the volume is full" in writer.browser.get("/storage").text


def test_a_volume_that_does_not_tell_is_named(writer: Page) -> None:
    put(writer, "disks", facts.DisksFacts(problems=("volume gv0: no answer after 30 s",)))
    text = writer.browser.get("/storage").text
    assert "volume gv0: no answer after 30 s" in text and "Unknown" in text


@pytest.mark.parametrize(("text", "count"), [("VM", 1), ("ganeti/x", 1), ("<b>", 0)])
def test_disks_are_searched(writer: Page, text: str, count: int) -> None:
    shown = writer.browser.get("/storage", query_string={"q": text}).text
    assert "%d of 1 disks" % count in shown and "<b>" not in shown


@pytest.mark.parametrize("path", ["/storage", "/volumes/gv0", "/instances/vm<1>"])
def test_who_may_read_has_no_buttons(reader: Page, path: str) -> None:
    main = reader.browser.get(path).text.split("<main")[1]
    assert 'method="post"' not in main


@pytest.mark.parametrize(
    ("form", "order"),
    [
        ({"command": "verify"}, CommandOrder("verify", user="root")),
        (
            {"command": "heal", "volume": "gv0"},
            CommandOrder("heal", volume="gv0", user="root"),
        ),
        (
            {"command": "snapshot", "instance": "vm<1>", "snapshot": " s2 "},
            CommandOrder("snapshot", instance="vm<1>", snapshot="s2", user="root"),
        ),
        (
            {"command": "evacuate", "node": "node1", "target": "", "dry_run": "yes"},
            CommandOrder("evacuate", node="node1", dry_run=True, user="root"),
        ),
    ],
)
def test_a_command_is_begun_and_shown(
    writer: Page, form: dict[str, str], order: CommandOrder
) -> None:
    answer = post(writer, **form)
    assert (answer.status_code, answer.location) == (303, "/commands/1")
    assert writer.commands == [order]
    text = writer.browser.get("/commands/1").text
    assert "In progress" in text and "[1/2] begun" in text and "data-fast" in text
    assert "Asked for by root" in text and 'http-equiv="refresh"' in text
    assert "by root" in writer.browser.get("/storage").text
    assert writer.browser.get("/commands").location == "/storage"


def test_what_takes_something_away_is_typed_once_its_plan_was_seen(writer: Page) -> None:
    asked = CommandOrder("evacuate", node="node1", dry_run=True, user="root")
    put(writer, "commands", command(asked, ended=NOW, status=0, lines=("Plan: x",), shows=PLAN))
    text = writer.browser.get("/commands/1").text
    assert "Nothing changed yet" in text and "All bricks of the node are moved" in text
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text.split("<main")[1]))
    assert form.pop("token") and form == {"command": "evacuate", "node": "node1", "plan": PLAN}

    for typed in ("", "node2", "NODE1"):
        wrong = post(writer, **form, typed=typed)
        assert wrong.status_code == 400 and "type node1 to confirm it" in wrong.text
    assert not writer.commands
    assert post(writer, **form, typed="node1").status_code == 303
    assert writer.commands == [CommandOrder("evacuate", node="node1", plan=PLAN, user="root")]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"ended": NOW, "status": 1, "lines": ("Failure: no",)}, "Failed"),
        ({"ended": NOW}, "Interrupted"),
        ({"lines": ("x",)}, "In progress"),
    ],
)
def test_only_a_plan_that_was_shown_can_be_agreed_to(
    writer: Page, fields: dict[str, Any], word: str
) -> None:
    asked = CommandOrder("evacuate", node="node1", dry_run=True, user="root")
    put(writer, "commands", command(asked, **fields))
    text = writer.browser.get("/commands/1").text
    assert word in text and 'name="typed"' not in text


@pytest.mark.parametrize(
    ("last", "word"), [("Failure: no", "Failed"), ("gv0: ERROR", "Errors found")]
)
def test_a_verification_that_found_errors_has_not_failed(
    writer: Page, last: str, word: str
) -> None:
    put(writer, "commands", command(CommandOrder("verify"), ended=NOW, status=1, lines=(last,)))
    assert word in writer.browser.get("/commands/1").text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"command": "reboot"}, "not a command: reboot"),
        ({"command": "heal", "volume": "../gv0"}, "no such volume here: ../gv0"),
        ({"command": "evacuate", "node": "node1"}, "evacuate needs a plan"),
        ({"command": "evacuate", "node": "node1", "typed": "node1"}, "evacuate needs a plan"),
    ],
)
def test_what_is_no_command_is_not_begun(writer: Page, form: dict[str, str], said: str) -> None:
    answer = post(writer, **form)
    assert answer.status_code == 400 and said in answer.text
    assert not writer.commands


def test_why_a_command_is_not_begun_is_said(writer: Page) -> None:
    def begin(order: CommandOrder) -> int:
        raise OrderFailed("guest has already begun it")

    writer.site.begin = begin
    answer = post(writer, command="verify")
    assert answer.status_code == 409 and "guest has already begun it" in answer.text
    answer = writer.browser.post("/api/v1/commands", headers=ROOT, json={"command": "verify"})
    assert answer.status_code in (400, 409)


def test_who_may_read_begins_nothing(reader: Page) -> None:
    assert post(reader, command="verify").status_code == 403
    answer = reader.new_browser().post(
        "/api/v1/commands", headers=GUEST, json={"command": "verify"}
    )
    assert answer.status_code == 403
    assert not reader.commands


def test_another_sites_form_begins_nothing(writer: Page) -> None:
    for data in ({"command": "verify"}, {"command": "verify", "token": "x"}):
        assert writer.browser.post("/commands", data=data).status_code == 400
    answer = writer.browser.post(
        "/commands",
        data={"token": writer.token(), "command": "verify"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403
    stranger = writer.new_browser().post("/commands", data={"command": "verify"})
    assert stranger.location == "/login"
    assert not writer.commands


def test_a_page_without_scripts_says_that_it_does_not_update_itself(writer: Page) -> None:
    text = writer.browser.get("/storage").text
    assert "does not update itself without JavaScript" in text


def test_a_command_that_runs_is_listed_however_many_came_after_it(writer: Page) -> None:
    old = command(CommandOrder("evacuate", node="node1", dry_run=True)).commands
    new = command(CommandOrder("verify"), ended=NOW, status=0).commands
    shown = [replace(new[0], number=number) for number in range(30, 9, -1)]
    put(writer, "commands", facts.CommandsFacts((*shown, *old)))
    text = writer.browser.get("/storage").text
    assert [n for n in (30, 21, 20, 1) if 'href="/commands/%d"' % n in text] == [30, 21, 1]
