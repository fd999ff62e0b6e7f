"""The application on facts of a small cluster, with users and services of the test's own."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ganeti_gluster.core.pool.state import BrickState, Condition, PeerState, PoolState, VolumeState
from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.control import DONE, Outcome
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServerService,
    ServiceStatus,
    TypeServices,
)
from ganeti_gluster.core.verify.codes import ERROR
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.web import facts
from ganeti_gluster.web.accounts import Account
from ganeti_gluster.web.actions import Actions, Order
from ganeti_gluster.web.app import create_app
from ganeti_gluster.web.attempts import Attempts
from ganeti_gluster.web.commands import CommandOrder
from ganeti_gluster.web.facts import Part
from ganeti_gluster.web.sessions import Sessions
from ganeti_gluster.web.site import Site, attach

NOW = 1_800_000_000.0
SERVICES = ("account", "container", "object", "proxy")
NODES = ("node1", "node2", "node3")
#: user -> (password, may write)
USERS = {"root": ("secret", True), "guest": ("look", False)}


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Users:
    """Accounts in memory."""

    users: dict[str, tuple[str, bool]] = field(default_factory=lambda: dict(USERS))

    def find(self, user: str) -> Account | None:
        if user not in self.users:
            return None
        password, write = self.users[user]
        return Account(user, write, "%s %s" % (password, write))

    def check(self, user: str, password: str) -> Account | None:
        return self.find(user) if self.users.get(user, ("", 0))[0] == password else None


def services_facts() -> facts.ServicesFacts:
    """Gluster Swift, and GlusterFS whose daemon runs on all nodes."""
    found = ClusterServices(
        NOW - 70,
        tuple(ServerService("GLUSTER", "glusterd", node, ServiceStatus.RUNNING) for node in NODES),
    )
    other = facts.ShownType(**vars(found.of_type(config.BUILT_IN[1])), title="GlusterFS")
    swift = facts.ShownType(**vars(swift_facts()), title="Gluster Swift")
    return facts.ServicesFacts((swift, other))


def swift_facts() -> TypeServices:
    """One node that runs, one that does not, one that does not tell."""
    statuses = (ServiceStatus.RUNNING, ServiceStatus.STOPPED, ServiceStatus.UNKNOWN)
    found = ClusterServices(
        NOW - 70,
        tuple(
            ServerService(
                "GLUSTER_SWIFT",
                name,
                node,
                status,
                "no answer within 8 s" if status is ServiceStatus.UNKNOWN else "",
            )
            for node, status in zip(NODES, statuses, strict=True)
            for name in SERVICES
        ),
    )
    return found.of_type(config.BUILT_IN[0])


def disks_facts() -> facts.DisksFacts:
    """The one disk, open on node1, and a snapshot of it."""
    return facts.DisksFacts(
        (facts.ShownImage("gv0", "ganeti/x", 1 << 30, 1 << 29, True, False, "node3 is absent"),),
        (facts.ShownSnapshot("vm<1>", "s1", NOW - 7200, 1 << 28, True, True),),
        (facts.ShownHolder("gv0/ganeti/x", "node1", "exclusive"),),
    )


def known() -> facts.Known:
    """What the page knows of the cluster."""
    bricks = tuple(
        BrickState(node, "/srv/b", node != "node3", False, 8 << 30, 6 << 30, 2, 0)
        for node in NODES
    )
    return facts.Known(
        {
            "cluster": Part(
                facts.ClusterFacts(
                    "cluster1",
                    "node1",
                    tuple(facts.ShownNode(name, "regular", False, "default") for name in NODES),
                    (facts.ShownDisk("vm<1>", 0, "gv0", "ganeti/x", 1 << 30, "node1", "running"),),
                ),
                NOW - 3,
            ),
            "pool": Part(
                PoolState(
                    (PeerState("node2", True, "Peer in Cluster"),),
                    (
                        VolumeState(
                            "gv0",
                            "Replicate",
                            "Started",
                            bricks,
                            ("Not running: node3:/srv/b.",),
                            8 << 30,
                            6 << 30,
                            Condition.DEGRADED,
                            shape="replica 3",
                            differences=("network.ping-timeout is 42, not 20: guests wait",),
                        ),
                    ),
                ),
                NOW - 3,
            ),
            "swift": Part(swift_facts(), NOW - 70),
            "services": Part(services_facts(), NOW - 70),
            "disks": Part(disks_facts(), NOW - 3),
            "events": Part(
                facts.EventsFacts(
                    (
                        facts.ShownEvent(
                            id=2,
                            time=NOW - 60,
                            at=NOW - 60,
                            kind="node-status",
                            type="GLUSTER_SWIFT",
                            title="Gluster Swift",
                            node="node2",
                            old="RUNNING",
                            new="STOPPED",
                        ),
                    )
                ),
                NOW - 3,
            ),
            "findings": Part(
                facts.FindingsFacts(
                    (
                        Finding(
                            "BRICK_DOWN",
                            ERROR,
                            "node3:/srv/b",
                            "the brick of gv0 does not run",
                            "gluster volume start gv0 force",
                        ),
                    )
                ),
                NOW - 3600,
            ),
            "history": Part(
                facts.HistoryFacts(
                    (facts.Sample(NOW - 600, 1 << 30, 8 << 30, 0), facts.Sample(NOW - 300))
                ),
                NOW - 3,
            ),
        }
    )


@dataclass
class Page:
    """A browser that has the page, and what is behind it."""

    app: Flask
    site: Site
    users: Users
    clock: Clock
    orders: list[Order]
    commands: list[CommandOrder]
    browser: FlaskClient

    def new_browser(self) -> FlaskClient:
        """Another browser, without cookies."""
        return self.app.test_client()

    def token(self, path: str = "/swift") -> str:
        """The token in the forms of a page."""
        return token_of(self.browser.get(path))

    def login(self, user: str, password: str | None = None, **form: str) -> TestResponse:
        """Fill the form in."""
        fields = {
            "user": user,
            "password": USERS.get(user, ("", 0))[0] if password is None else password,
            "token": self.token("/login"),
            **form,
        }
        return self.browser.post("/login", data=fields)

    def finish(self) -> None:
        """Wait for the latest action's end."""
        for thread in threading.enumerate():
            if thread.name.startswith("action-"):
                thread.join(5)


def token_of(response: TestResponse) -> str:
    """The first form's token."""
    found = re.search(r'name="token" value="([^"]+)"', response.text)
    assert found, response.text
    return found.group(1)


@pytest.fixture(scope="session")
def app() -> Flask:
    """The application; each page puts a site of its own into it."""
    app = create_app(Site(facts.Board(), Users(), Actions(lambda order, report: None), int))
    app.testing = True
    # A view that fails is a page that says so, here as in real life.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture
def make_page(app: Flask) -> Callable[..., Page]:
    """Make a page; one at a time is in the application."""

    def make(*, secure: bool = False, loopback: bool = False) -> Page:
        clock, users, orders = Clock(), Users(), []
        board = facts.Board(clock=lambda: NOW)
        board.snapshot = known()

        def control(order: Order, report: Callable[[Outcome], None]) -> None:
            orders.append(order)
            for node in order.nodes:
                report(Outcome(node, "GLUSTER_SWIFT", "proxy", DONE, ServiceStatus.STOPPED))

        commands: list[CommandOrder] = []

        def begin(order: CommandOrder) -> int:
            """As the other process: the page knows it by the answer's time."""
            commands.append(order)
            running = facts.ShownCommand(len(commands), order, NOW, lines=("[1/2] begun",))
            told = facts.CommandsFacts((running, *board.snapshot.commands))
            board.snapshot = board.snapshot.merged("commands", Part(told, NOW))
            return len(commands)

        site = Site(
            board,
            users,
            Actions(control, clock=lambda: NOW),
            begin,
            secure=secure,
            loopback=loopback,
            sessions=Sessions(clock=clock),
            attempts=Attempts(clock=clock),
        )
        attach(app.extensions, site)
        return Page(app, site, users, clock, orders, commands, app.test_client())

    return make


@pytest.fixture
def page(make_page: Callable[..., Page]) -> Page:
    """The page, nobody logged in."""
    return make_page()


@pytest.fixture
def writer(page: Page) -> Page:
    """The page, with a user who may write logged in."""
    assert page.login("root").status_code == 303
    return page


@pytest.fixture
def reader(page: Page) -> Page:
    """The page, with a user who may read logged in."""
    assert page.login("guest").status_code == 303
    return page
