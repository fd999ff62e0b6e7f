"""The page as a person has it, in a real browser: mouse, keyboard, phone, dark, no scripts."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from testbedlib import layout, wait_for

from .chromium import PACKAGES, Browser
from .conftest import ROOT, Cluster
from .packages import removed
from .webpage import GUEST, SERVICES, URL, ask, is_active, knows_all, served, sync
from .webpage import ROOT as ADMIN

pytestmark = pytest.mark.slow

PICTURES = ROOT / "build" / "pictures"
VIEWS = {
    "cluster": "/",
    "storage": "/storage",
    "volume": "/volumes/gv0",
    "services": "/services/GLUSTER",
    "swift": "/swift",
    "hosts": "/hosts",
    "host": "/hosts/node2",
    "overview": "/overview",
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"width": 390},
    "phone-dark": {"width": 390, "dark": True},
}
# WCAG 2's AA for text; what is not seen does not count.
CONTRASTS = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.closest(".unseen, .skip, script")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(e.tagName + " " + e.innerText + " " + ratio.toFixed(2));
  }
  return poor;
})()"""


@pytest.fixture(scope="module")
def page(cluster: Cluster) -> Iterator[Cluster]:
    subprocess.run([".ci/need", *PACKAGES], cwd=ROOT, check=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(cluster, cluster.nodes):
        yield cluster


@pytest.fixture
def browser(page: Cluster) -> Iterator[Browser]:
    with Browser(["nsenter", "--net=%s" % page.testbed.layout.netns_file, "--"]) as browser:
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)
        browser.look()
        yield browser


def login(browser: Browser, user: str = "root", password: str = "secret") -> None:
    """By keyboard alone: the form's first field has the focus."""
    browser.open(URL + "/")
    browser.type(user)
    browser.press("Tab")
    browser.type(password)
    browser.press("Enter", leaves=True)
    assert browser.script("location.pathname") == "/"


def focus(browser: Browser, text: str) -> None:
    """Press Tab until what says `text` has the focus."""
    for _ in range(60):
        browser.press("Tab")
        if browser.script("document.activeElement.innerText") == text:
            outline = browser.script("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", "nobody sees that it has the focus"
            return
    raise AssertionError("not to be reached by keyboard: %s" % text)


def focus_on(browser: Browser, selector: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(60):
        browser.press("Tab")
        if browser.script("document.activeElement.matches(%r)" % selector):
            return
    raise AssertionError("not to be reached by keyboard: %s" % selector)


def test_services_are_started_and_stopped_by_mouse_and_by_keyboard(
    page: Cluster, browser: Browser
) -> None:
    login(browser)
    browser.click("nav a[href='/swift']", leaves=True)
    assert "Manage Gluster Swift" in browser.text("h1")

    browser.click("input[value=all]")
    browser.click("button.go", leaves=True)
    browser.until(
        "document.querySelector('[data-say]').innerText.includes('Done')", "started", 120
    )
    assert browser.text("#action-live").count("Up") == len(page.nodes) * len(SERVICES)
    assert all(is_active(page, node, name) for node in page.nodes for name in SERVICES)
    browser.picture(PICTURES / "action.png")

    # Without a reload, the cluster's view learns of a change; a screen reader is told.
    browser.open(URL + "/")
    aggregate = "document.querySelector('#swift-aggregate').innerText.trim()"
    browser.until(aggregate + " === 'Up'", "Up")
    browser.script("window.same = true")
    order = {"action": "stop", "nodes": ["node1"], "services": ["proxy"]}
    assert ask(page.testbed, "/api/v1/actions", ADMIN, order=order).status == 202
    browser.until(aggregate + " === 'Partially up'", "Partially up")
    assert browser.script("window.same")
    assert browser.text("#news") == "Gluster Swift: Partially up"

    # To mark a server is to choose it; a stop is confirmed.
    browser.open(URL + "/swift")
    browser.click("input[value=all]")
    browser.click("input[name=node][value=node3]")
    assert browser.script("document.querySelector('input[value=chosen]').checked")
    browser.click("button.halt", leaves=True)
    assert "node3" in browser.text("dl") and is_active(page, "node3")
    browser.picture(PICTURES / "confirm.png")
    browser.click("a.button", leaves=True)  # Cancel
    assert browser.script("location.pathname") == "/swift"
    assert is_active(page, "node3")

    browser.open(URL + "/hosts/node2")
    focus(browser, "Stop…")
    browser.press("Enter", leaves=True)
    assert browser.script("document.activeElement.innerText") == "Cancel"
    focus(browser, "Stop now")
    browser.press("Enter", leaves=True)
    browser.until(
        "document.querySelector('[data-say]').innerText.includes('Done')", "stopped", 120
    )
    assert not any(is_active(page, "node2", name) for name in SERVICES)
    assert is_active(page, "node1", "object") and is_active(page, "node3")
    assert not browser.errors


def state(browser: Browser, word: str) -> None:
    """Wait until the command on the page has ended, with this word."""
    lead = "document.querySelector('#command-live .badge').innerText.trim()"
    browser.until(lead + " !== 'In progress'", "the command's end", 180)
    assert browser.script(lead) == word, browser.text("#command-live")


def test_a_snapshot_is_taken_and_removed_by_mouse_and_by_keyboard(
    page: Cluster, browser: Browser
) -> None:
    page.add("web15", start=False)
    try:
        login(browser)
        browser.click("nav a[href='/storage']", leaves=True)
        browser.until("document.body.innerText.includes('web15')", "the disk", 60)
        browser.click("a[href='/instances/web15']", leaves=True)
        focus_on(browser, "input[name=snapshot]")
        browser.type("before")
        browser.press("Enter", leaves=True)
        assert "Take a snapshot of web15" in browser.text("h1")
        state(browser, "Done")
        assert "Took snapshot before of web15 (disk/0)" in browser.text("pre.log")
        browser.picture(PICTURES / "snapshot.png")

        browser.open(URL + "/instances/web15")
        browser.until("document.body.innerText.includes('of the stopped guest')", "it", 90)
        browser.picture(PICTURES / "instance.png")
        browser.click("#snapshots-live button.halt", leaves=True)
        state(browser, "Nothing changed yet")
        browser.until("document.querySelector('#typed') !== null", "the question")
        browser.picture(PICTURES / "plan.png")
        # What is typed stays while the page updates itself, and has to be right.
        focus_on(browser, "#typed")
        browser.type("befor")
        browser.script("window.same = true")
        age = browser.text("#command-live .muted time")
        browser.until(
            "document.querySelector('#command-live .muted time').innerText !== %r" % age, "later"
        )
        assert browser.script("document.querySelector('#typed').value") == "befor"
        browser.press("Enter", leaves=True)
        assert "type before to confirm it" in browser.text("main")
        assert "before" in page.run("gnt-gluster", "disk", "snapshots", "web15").stdout

        browser.open(URL + "/storage")
        browser.click("#latest-live a", leaves=True)
        focus_on(browser, "#typed")
        browser.type("before")
        browser.press("Enter", leaves=True)
        state(browser, "Done")
        assert "Removed snapshot before" in browser.text("pre.log")
        assert "before" not in page.run("gnt-gluster", "disk", "snapshots", "web15").stdout
        assert not [error for error in browser.errors if "400" not in error]
    finally:
        page.remove("web15")


def test_the_cluster_is_verified_and_what_is_refused_is_told(
    page: Cluster, browser: Browser
) -> None:
    login(browser)
    focus(browser, "Verify now")
    browser.press("Enter", leaves=True)
    browser.until(
        "document.querySelector('#command-live .badge').innerText.trim() !== 'In progress'",
        "verified",
        180,
    )
    assert "Failure:" not in browser.text("pre.log")
    browser.open(URL + "/storage")
    browser.script("document.querySelector('select[name=node]').value = 'node2'")
    # It has a brick of the same set.
    browser.script("document.querySelector('select[name=target]').value = 'node1'")
    focus(browser, "Evacuate…")
    browser.press("Enter", leaves=True)
    assert browser.text("h1") == "Evacuate the bricks of node2?"
    state(browser, "Failed")
    assert browser.script("document.querySelector('#typed')") is None
    browser.picture(PICTURES / "refused.png")
    assert not browser.errors


def test_a_page_that_is_no_longer_updated_says_so(page: Cluster, browser: Browser) -> None:
    login(browser)
    try:
        page.run("systemctl", "stop", "ganeti-gluster-web")
        browser.until(
            "document.querySelector('#news').innerText.includes('out of date')", "it", 60
        )
    finally:
        page.run("systemctl", "start", "ganeti-gluster-web")
        wait_for(lambda: knows_all(page.testbed), 60, "the page knows the cluster again")
    # The session was in the memory of the page that ended.
    browser.until("document.querySelector('#news').innerText.includes('logged out')", "it", 60)


def test_every_view_is_readable_for_everybody(page: Cluster, browser: Browser) -> None:
    browser.open(URL + "/")
    browser.picture(PICTURES / "login.png")
    login(browser)
    for look, options in LOOKS.items():
        browser.look(**options)
        for name, path in VIEWS.items():
            browser.open(URL + path)
            where = "%s, %s" % (name, look)
            browser.picture(PICTURES / ("%s-%s.png" % (name, look)))
            wide = browser.script("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, where
            assert browser.script(CONTRASTS) == [], where
    for path in VIEWS.values():
        browser.open(URL + path)
        check_tree(browser.tree())
    assert not browser.errors


def check_tree(tree: list[dict[str, Any]]) -> None:
    """That a screen reader finds its way, and has a name for all there is."""
    roles = [node["role"] for node in tree]
    assert roles.count("main") == 1 and roles.count("navigation") == 1
    assert roles.count("banner") == 1 and "status" in roles
    assert [node["name"] for node in tree if node["role"] == "heading"]
    for node in tree:
        if node["role"] in ("button", "link", "checkbox", "radio", "image", "img", "table"):
            assert node["name"], node


def test_what_goes_wrong_is_seen_in_the_status_in_verify_and_on_the_page(
    page: Cluster, browser: Browser
) -> None:
    testbed, conf = page.testbed, "/etc/ganeti/gluster-services.conf"
    folder = "/run/systemd/system/swift-object.service.d"
    with contextlib.ExitStack() as later:

        def run(*argv: str, node: str = "node1", undo: Sequence[str] = ()) -> None:
            if undo:
                later.callback(page.run, *undo, node=node)
            page.run(*argv, node=node, max_seconds=120)

        text = "[GLUSTER_SWIFT]\\nverify = on\\n"
        run("sh", "-c", "printf '%s' >%s" % (text, conf), undo=["rm", conf])
        run("gnt-gluster", "swift", "start")
        # A crash, a mask, a package that is removed, a node that is cut off.
        later.callback(page.run, "systemctl", "daemon-reload")
        run("mkdir", "-p", folder, undo=["rm", "-r", folder])
        run("sh", "-c", "printf '[Service]\\nRestart=no\\n' >%s/x.conf" % folder)
        run("systemctl", "daemon-reload")
        run("systemctl", "kill", "--signal=KILL", "swift-object")
        unmask = ["systemctl", "unmask", "--quiet", "swift-proxy"]
        run("systemctl", "mask", "--quiet", "--now", "swift-proxy", node="node2", undo=unmask)
        later.enter_context(removed(page, "swift-container", "node2"))
        testbed.cut("node3")
        later.callback(testbed.heal, "node3")

        killed, lost = "failed: signal, signal SIGKILL", "no connection"
        shown = testbed.exec("node1", ["gnt-gluster", "swift", "status"], timeout=60).stdout
        assert re.search("node1 +Up +Up +Down +Up +Partially up", shown)
        assert re.search("node2 +Up +Not installed +Up +Down +Partially up", shown)
        assert re.search(r"node3 +(Unknown \? +){4}Unknown \?", shown)
        assert "node1 object: " + killed in shown and "node2 proxy: masked" in shown
        assert "node3: " + lost in shown

        done = testbed.exec("node1", ["gnt-gluster", "verify"], timeout=240)
        assert done.exit_code != 0
        assert "Gluster Swift: object is down (%s)" % killed in done.stdout
        assert "container is not installed, proxy is down (masked)" in done.stdout
        assert "Gluster Swift: unknown (%s" % lost in done.stdout

        sync(page)
        login(browser)
        browser.until("document.body.innerText.includes('SERVICES_DOWN')", "what was found", 60)
        text = browser.text("#findings-live")
        assert "container is not installed, proxy is down (masked)" in text and lost in text
        assert browser.text("#swift-aggregate").strip() == "Partially up"
        browser.open(URL + "/swift")
        browser.wait_text(lost, 60)
        rows = browser.script(
            "[...document.querySelectorAll('.matrix tbody tr')].map((r) => r.innerText)"
        )
        texts = [" ".join(row.split()) for row in rows]
        words = {n: row.rpartition(n)[2].strip() for n in page.nodes for row in texts if n in row}
        assert words["node1"] == "Partially up Up Up Down %s Up" % killed
        assert words["node2"].startswith("Partially up Up Not installed ")
        assert words["node2"].endswith(" Up Down masked")
        assert words["node3"].count("Unknown") == 5
        browser.picture(PICTURES / "wrong.png")
        browser.open(URL + "/overview")
        assert "node3 no longer reports its services: " + lost in browser.text("#events-live")
        # What the agent measured on the master.
        page.run("systemctl", "start", "ganeti-gluster-monitor", max_seconds=120)
        wait_for(lambda: ask(testbed, "/metrics", GUEST).status == 200, 60, "measured")
        metrics = ask(testbed, "/metrics", GUEST)
        reachable = 'ganeti_gluster_volume_reachable{cluster="%s",node="node1",volume="gv0"} 1'
        assert reachable % layout.CLUSTER_NAME in metrics.text
    wait_for(
        lambda: testbed.exec("node1", ["gnt-gluster", "swift", "start"]).exit_code == 0,
        120,
        "all runs again",
    )


def test_without_scripts_all_is_there_and_actions_work(page: Cluster, browser: Browser) -> None:
    browser.look(scripts=False)
    browser.navigate(URL + "/login", "Log in")
    browser.type("root")
    browser.press("Tab")
    browser.type("secret")
    browser.press("Enter")
    browser.wait_text("Gluster pool")
    browser.navigate(URL + "/hosts/node2", "Gluster Swift")
    browser.click("button.go")
    # The page of the action loads itself again until it is done.
    browser.until("document.querySelector('[data-say]').innerText.includes('Done')", "done", 120)
    assert is_active(page, "node2")


def test_who_may_read_sees_no_buttons(page: Cluster, browser: Browser) -> None:
    login(browser, "guest", "look")
    for path in ("/swift", "/hosts/node2", "/storage"):
        browser.open(URL + path)
        assert "Your account has read access only" in browser.text()
        assert browser.script("document.querySelectorAll('main form[method=post]').length") == 0
    browser.click(".who button", leaves=True)
    browser.open(URL + "/swift")
    assert browser.script("location.pathname") == "/login"
