"""The objects that the application works with, passed to it when it is created."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from ganeti_gluster.web.accounts import Accounts
from ganeti_gluster.web.actions import Actions
from ganeti_gluster.web.attempts import Attempts
from ganeti_gluster.web.commands import CommandOrder
from ganeti_gluster.web.facts import Board
from ganeti_gluster.web.sessions import Sessions

_KEY = "ganeti_gluster"


@dataclass
class Site:
    """The parts of the page; `secure` where it is reached by TLS.

    `begin` has a command begun and returns its number, or raises OrderFailed.  `loopback`: it is
    for this machine alone.  `look` is called when somebody looks at it.
    """

    board: Board
    accounts: Accounts
    actions: Actions
    begin: Callable[[CommandOrder], int]
    secure: bool = False
    loopback: bool = False
    sessions: Sessions = field(default_factory=Sessions)
    attempts: Attempts = field(default_factory=Attempts)
    look: Callable[[], None] = lambda: None


def attach(extensions: dict[str, object], site: Site) -> None:
    """Make `site` the one of an application, by its table of extensions."""
    extensions[_KEY] = site


def site() -> Site:
    """The site of the application that handles this request."""
    current = current_app.extensions[_KEY]
    assert isinstance(current, Site)
    return current
