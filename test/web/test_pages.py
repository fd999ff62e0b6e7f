"""What people see and can ask for."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServerService,
    ServiceStatus,
    TypeServices,
)
from ganeti_gluster.web import facts, pages, words
from ganeti_gluster.web.facts import Part

from .conftest import NOW, Page


def post(page: Page, **form: Any) -> Any:
    return page.browser.post("/swift/actions", data={"token": page.token(), **form})


def test_the_cluster_has_the_mappings_words(writer: Page) -> None:
    text = writer.browser.get("/").text

    assert "Partially up" in text and "unknown: node3: no answer within 8 s" in text
    assert "Degraded" in text and "Not running: node3:/srv/b." in text
    assert "6.0 GiB free of 8.0 GiB" in text


@pytest.mark.parametrize(
    ("status", "word", "tone"),
    [
        ("RUNNING", "Up", "good"),
        ("STOPPED", "Down", "bad"),
        ("PARTIALLY_UP", "Partially up", "warn"),
        ("NOT_INSTALLED", "Not installed", "off"),
        ("UNKNOWN", "Unknown", "off"),
    ],
)
def test_each_status_has_its_word_and_tone(
    writer: Page, status: str, word: str, tone: str
) -> None:
    found = TypeServices(ServiceStatus(status), type="GLUSTER_SWIFT")
    writer.site.board.snapshot = facts.Known({"swift": Part(found, 1.0)})
    text = writer.browser.get("/").text

    badge = text.split('data-say="Gluster Swift"')[1].split("</p>")[0]
    assert 'class="badge tone-%s"' % tone in badge
    assert badge.replace("</span>", "").strip().endswith(word)
    assert "<path" in badge  # never colour alone


def test_a_status_of_another_release_is_not_known() -> None:
    assert words.status_word("SOMETHING") == words.status_word(ServiceStatus.UNKNOWN)


def test_pages_work_before_anything_is_known(writer: Page) -> None:
    writer.site.board.snapshot = facts.Known()
    for path in ("/", "/overview", "/swift", "/hosts"):
        answer = writer.browser.get(path)
        assert answer.status_code == 200
        assert "not asked yet" in answer.text


def test_old_facts_are_shown_with_their_age_and_the_reason(writer: Page) -> None:
    here = writer.site.board
    here.snapshot = here.snapshot.merged("pool", Part(error="no answer for 31 s"))
    text = writer.browser.get("/").text

    assert "The pool: no answer for 31 s. Shown is what was known" in text
    assert "gv0" in text


def test_names_are_escaped(writer: Page) -> None:
    text = writer.browser.get("/overview").text

    assert "vm&lt;1&gt;" in text and "vm<1>" not in text


def test_a_host_has_its_services_bricks_and_events(writer: Page) -> None:
    text = writer.browser.get("/hosts/node2").text

    assert text.count("Down") >= 4
    assert "/srv/b" in text
    assert "then Down for 1 min" in text  # the timeline's alternative text


@pytest.mark.parametrize(
    ("ages", "seconds"), [((), 86400), ((10,), 300), ((10, 1000), 1050), ((200000, 5), 86400)]
)
def test_timelines_begin_where_something_is_known(ages: tuple[int, ...], seconds: float) -> None:
    events = tuple(facts.ShownEvent(1e6 - age, "node-status", id=1, at=1e6 - age) for age in ages)
    snapshot = facts.Known({"events": Part(facts.EventsFacts(events), 1e6)})
    assert 1e6 - pages.timeline_start(snapshot, 1e6) == pytest.approx(seconds)


def test_a_node_that_does_not_tell_says_why_once(writer: Page) -> None:
    here = writer.site.board
    lost = facts.ShownEvent(
        1.0, "fetch-failed", id=1, at=1.0, node="node3", message="why", text="node3 is lost: why"
    )
    here.snapshot = here.snapshot.merged("events", Part(facts.EventsFacts((lost,)), 1.0))
    assert writer.browser.get("/overview").text.count("why") == 1


def test_the_master_is_one_of_the_pools_servers(writer: Page) -> None:
    assert "2 of 2 servers connected" in writer.browser.get("/").text


def test_what_verification_found_is_shown_where_it_belongs(writer: Page) -> None:
    for path in ("/", "/hosts/node3"):
        text = writer.browser.get(path).text
        assert "the brick of gv0 does not run" in text and "Error" in text
        assert "gluster volume start gv0 force" in text and "1 h ago" in text
    assert "the brick of gv0" not in writer.browser.get("/hosts/node2").text

    here = writer.site.board
    here.snapshot = here.snapshot.merged("findings", Part(facts.FindingsFacts(), 1.0))
    assert "Nothing was wrong then" in writer.browser.get("/").text
    here.snapshot = here.snapshot.merged("findings", Part(facts.FindingsFacts(), NOW - 60))
    assert "Nothing wrong" in writer.browser.get("/").text


@pytest.mark.parametrize("name", ["node9", "..%2f..%2fetc%2fpasswd", "node1%00", "%3Cb%3E"])
def test_an_unknown_host_is_not_found(writer: Page, name: str) -> None:
    answer = writer.browser.get("/hosts/" + name)

    assert answer.status_code == 404
    assert "<b>" not in answer.text


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_what_interrupts_service_is_confirmed_first(writer: Page, verb: str) -> None:
    first = post(writer, action=verb, scope="all")
    assert first.status_code == 200 and "%s now" % verb.capitalize() in first.text
    assert "These are all servers" in first.text
    assert not writer.orders

    # Asked for some servers, while there were more.
    again = post(writer, action=verb, node=["node1", "node2", "node3"], confirmed="yes")
    assert "These are all servers" in again.text
    assert not writer.orders

    assert 'name="confirmed" value="everywhere"' in again.text
    second = post(writer, action=verb, node=["node1", "node2", "node3"], confirmed="everywhere")
    writer.finish()
    assert second.status_code == 303
    assert writer.orders[0].nodes == ("node1", "node2", "node3")


def test_the_safe_choice_has_the_focus_and_the_address_can_be_reloaded(writer: Page) -> None:
    asked = post(writer, action="stop", node="node1").text
    (focused,) = re.findall(r"<[^>]* autofocus>[^<]*", asked)
    assert focused.endswith(">Cancel")
    again = writer.browser.get("/swift/actions")
    assert (again.status_code, again.headers["Location"]) == (303, "/swift")


@pytest.mark.parametrize(
    ("offline", "silent", "word"),
    [
        (False, "", "Online"),
        (False, "no connection", "Does not answer"),
        (True, "marked offline in Ganeti", "Marked offline"),
    ],
)
def test_a_node_that_does_not_answer_is_not_online(offline: bool, silent: str, word: str) -> None:
    node = facts.ShownNode("node1", "regular", offline, "default", silent)
    assert words.node_word(node).text == word


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["node1", "node2", "node3"]),
        ("?q=NODE2", ["node2"]),
        ("?q=%3Cb%3E", []),
        # All services of node2 are down, and a brick of node3.
        ("?sort=state", ["node2", "node3", "node1"]),
        ("?sort=other&q=1", ["node1"]),
    ],
)
def test_nodes_are_searched_and_sorted(writer: Page, query: str, names: list[str]) -> None:
    text = writer.browser.get("/hosts" + query).text
    assert re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]+)</a>', text) == names
    assert "%d of 3 nodes" % len(names) in text and "<b>" not in text


def test_only_a_verification_of_today_is_green() -> None:
    assert words.verified_word(3600.0).tone == "good"
    assert words.verified_word(2 * 86400.0).tone == words.verified_word(None).tone == "off"


@pytest.mark.parametrize(("online", "word"), [(True, "Up"), (False, "Down"), (None, "Unknown")])
def test_a_brick_has_the_words_of_services(online: bool | None, word: str) -> None:
    assert words.brick_word(online).text == word


def test_a_start_needs_no_confirmation(writer: Page) -> None:
    assert post(writer, action="start", node="node2", service="proxy").status_code == 303
    writer.finish()
    assert (writer.orders[0].nodes, writer.orders[0].services) == (("node2",), ("proxy",))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "start"}, "no node is selected"),
        ({"action": "start", "node": "node9"}, "no such node here: node9"),
        ({"action": "start", "node": "../node1"}, "no such node here: ../node1"),
        ({"action": "start", "node": "node1; reboot"}, "no such node here: node1; reboot"),
        ({"action": "start", "node": "node1", "service": "sshd"}, "no such service here: sshd"),
        ({"action": "kill", "node": "node1"}, "not an action: kill"),
        ({"node": "node1"}, "not an action: "),
    ],
)
def test_only_what_is_known_can_be_asked_for(
    writer: Page, form: dict[str, str], said: str
) -> None:
    answer = post(writer, **form)

    assert answer.status_code == 400
    assert said in answer.text
    assert not writer.orders


def test_an_action_shows_what_came_of_it(writer: Page) -> None:
    path = post(writer, action="stop", node="node1", confirmed="yes").location
    writer.finish()
    text = writer.browser.get(path).text

    assert "Done" in text and "proxy" in text
    assert "data-fast" not in text and "http-equiv" not in text


def test_while_it_runs_a_page_without_javascript_reloads_itself_and_others_wait(
    writer: Page,
) -> None:
    go = threading.Event()
    writer.site.actions._controller = lambda order, report: go.wait(5)  # type: ignore
    path = post(writer, action="start", node="node1").location
    text = writer.browser.get(path).text
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in text
    assert "In progress" in text

    second = post(writer, action="start", node="node2")
    assert second.status_code == 409
    assert "root is already doing start on node1; wait until it has finished" in second.text
    go.set()
    writer.finish()
    # It ended, and nothing was done.
    assert "Failed" in writer.browser.get(path).text


def test_an_action_that_is_not_known_is_not_found(writer: Page) -> None:
    assert writer.browser.get("/actions/7").status_code == 404


def test_services_of_another_type_are_managed_like_those_of_swift(writer: Page) -> None:
    text = writer.browser.get("/swift").text
    assert 'href="/services/GLUSTER"' in text and ">GlusterFS</a>" in text
    text = writer.browser.get("/services/GLUSTER").text
    assert "Manage GlusterFS" in text and "glusterd" in text and "proxy" not in text
    assert 'name="type" value="GLUSTER"' in text
    assert writer.browser.get("/services/NFS").status_code == 404

    form = {"action": "restart", "type": "GLUSTER", "node": "node1"}
    asked = post(writer, **form)
    assert "Restart GlusterFS?" in asked.text and 'name="type" value="GLUSTER"' in asked.text
    path = post(writer, **form, confirmed="yes").location
    writer.finish()
    (order,) = writer.orders
    assert (order.verb, order.type, order.nodes) == ("restart", "GLUSTER", ("node1",))
    assert "Restart GlusterFS" in writer.browser.get(path).text


@pytest.mark.parametrize(
    "form", [{"type": "NFS"}, {"type": "GLUSTER", "service": "proxy"}, {"type": ""}]
)
def test_only_a_types_own_services_can_be_asked_for(writer: Page, form: dict[str, str]) -> None:
    answer = post(writer, action="start", node="node1", **form)
    assert answer.status_code == 400
    assert not writer.orders


def test_a_host_has_the_services_of_all_types(writer: Page) -> None:
    text = writer.browser.get("/hosts/node1").text
    assert "GlusterFS" in text and text.count("Restart…") == 2


def hundred(page: Page, bad: str = "") -> None:
    """A hundred nodes in two groups, with services that run, but for those of one."""
    names = ["node%03d" % number for number in range(100)]
    cluster = facts.ClusterFacts(
        "cluster1",
        names[0],
        tuple(
            facts.ShownNode(name, "regular", False, "rack%d" % (number % 2))
            for number, name in enumerate(names)
        ),
    )
    found = ClusterServices(
        NOW,
        tuple(
            ServerService(
                type.name,
                type.services[0].name,
                name,
                ServiceStatus.STOPPED if name == bad else ServiceStatus.RUNNING,
            )
            for type in config.BUILT_IN
            for name in names
        ),
    )
    shown = tuple(
        facts.ShownType(**vars(found.of_type(type)), title=type.title) for type in config.BUILT_IN
    )
    swift = found.of_type(config.BUILT_IN[0])
    parts = {"cluster": cluster, "swift": swift, "services": facts.ServicesFacts(shown)}
    page.site.board.snapshot = facts.Known({name: Part(one, NOW) for name, one in parts.items()})


def folds(text: str) -> dict[str, bool]:
    """The groups on a page, and whether each is unfolded."""
    found = re.findall(r'<details id="group-(\w+)"( open)?>', text)
    return {name: bool(unfolded) for name, unfolded in found}


def test_a_hundred_nodes_are_folded_with_their_counts(writer: Page) -> None:
    hundred(writer)
    for path, word in (("/hosts", "Online"), ("/swift", "Up"), ("/services/GLUSTER", "Up")):
        text = writer.browser.get(path).text
        assert folds(text) == {"rack0": False, "rack1": False}, path
        summary = text.split('id="counts-rack1"')[1].split("</summary>")[0]
        assert "50 nodes" in summary and re.search(r"%s</span> 50" % word, summary), path
    assert 'id="fold-timelines"' in writer.browser.get("/overview").text


def test_a_group_with_something_wrong_is_unfolded_and_sorted(writer: Page) -> None:
    hundred(writer, bad="node051")
    text = writer.browser.get("/swift?sort=state").text
    assert folds(text) == {"rack0": False, "rack1": True}
    summary = text.split('id="counts-rack1"')[1].split("</summary>")[0]
    assert re.findall(r"(\w+)</span> (\d+)", summary) == [("Down", "1"), ("Up", "49")]
    rows = re.findall(r'href="/hosts/(node\d+)"', text.split('id="group-rack1"')[1])
    assert rows[:2] == ["node051", "node001"]


@pytest.mark.parametrize("path", ["/hosts", "/swift", "/services/GLUSTER"])
def test_what_is_searched_for_is_unfolded(writer: Page, path: str) -> None:
    hundred(writer)
    text = writer.browser.get(path + "?q=NODE00").text
    assert folds(text) == {"rack0": True, "rack1": True}
    assert "10 of 100" in text
    assert len(set(re.findall(r'href="/hosts/(node\d+)"', text))) == 10
    assert "has this in its name" in writer.browser.get(path + "?q=%3Cb%3E").text


@pytest.mark.parametrize("path", ["/", "/hosts", "/swift", "/overview", "/storage"])
def test_a_few_nodes_are_not_folded(writer: Page, path: str) -> None:
    text = writer.browser.get(path).text
    assert "<details id=" not in text
