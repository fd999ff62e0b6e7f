"""Access control: every request is checked here before its view.

A view is for users with read access, unless it says otherwise; one that changes something is for
users with write access.  The page's forms carry the session's token; the API uses HTTP basic
authentication, as Ganeti's remote API does.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, abort, current_app, g, make_response, redirect, request, url_for
from werkzeug.wrappers import Response

from ganeti_gluster.web.accounts import REALM, Account
from ganeti_gluster.web.sessions import Session, same
from ganeti_gluster.web.site import Site, site

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC = "public"
READER = "reader"
WRITER = "writer"

TOKEN_FIELD = "token"
TOKEN_HEADER = "X-CSRF-Token"
#: The page's script says so when it asks for news: that does not keep a session alive.
LIVE_HEADER = "X-Live"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# A name or address and a port; an address of IPv6 stands in brackets.
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::[0-9]{1,5})?")
_MAX_NAME = 256
_MAX_PASSWORD = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who sent the request; no session where it came with a password."""

    account: Account
    session: Session | None


def public(view: View) -> View:
    """For anybody; the view does its own checks."""
    view.access = PUBLIC  # type: ignore[attr-defined]
    return view


def writer(view: View) -> View:
    """For users who may write."""
    view.access = WRITER  # type: ignore[attr-defined]
    return view


def caller() -> Caller | None:
    """Who sent this request, None if that is not known."""
    current: Caller | None = g.get("caller")
    return current


def cookie_name() -> str:
    """The session's cookie; under TLS browsers see to it that it is this host's own."""
    return "__Host-ganeti-gluster" if site().secure else "ganeti-gluster"


def is_api() -> bool:
    """Whether a program is asking."""
    return request.path.startswith("/api/") or request.path == "/metrics"


def guard() -> Response | None:
    """Before each request: find the caller, and refuse what is not theirs."""
    here = site()
    if here.loopback:
        _refuse_other_names()
    _refuse_other_sites()
    g.caller = _by_cookie(here) or (_by_password(here) if is_api() else None)
    if g.caller:
        here.look()
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:
        # No such page, or not with this method; to strangers all are alike.
        return None if g.caller else _challenge()
    needed = getattr(view, "access", READER)
    if needed == PUBLIC or request.endpoint == "static":
        return None
    if g.caller is None:
        return _challenge()
    if request.method not in _SAFE_METHODS:
        _check_token(g.caller)
    if needed == WRITER and not g.caller.account.write:
        log.warning("%s has no write permission: %s", g.caller.account.user, request.path)
        abort(
            403,
            "Your account has read access only. Write access is granted in Ganeti's users file.",
        )
    return None


def _refuse_other_names() -> None:
    """Refuse requests that reach this machine's loopback address by another host's name.

    A site may have its own name resolve to a loopback address, and then its pages count
    for a browser as those of the same site as this one's.
    """
    named = request.headers.get("Host")
    # Browsers always send one.
    if named is not None and not is_loopback(named):
        abort(400, "Use localhost or the loopback address to open this page.")


def is_loopback(named: str) -> bool:
    """Whether a Host header, with or without a port, names a loopback address.

    >>> is_loopback("[::1]:5083"), is_loopback("localhost.example.com")
    (True, False)
    """
    match = _HOST.fullmatch(named)
    if match is None:
        return False
    name = (match["v6"] or match["name"]).lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse_other_sites() -> None:
    """Refuse a change that another site's page sends; browsers say where it comes from."""
    if request.method in _SAFE_METHODS:
        return
    fetch_site = request.headers.get("Sec-Fetch-Site", "none")
    # With no-referrer, forms send the origin "null".
    origin = request.headers.get("Origin", "null")
    if fetch_site not in ("none", "same-origin") or origin not in ("null", _own_origin()):
        abort(403, "This request was sent by a page of another site.")


def _own_origin() -> str:
    return "%s://%s" % ("https" if site().secure else "http", request.host)


def _by_cookie(here: Site) -> Caller | None:
    cookie = request.cookies.get(cookie_name(), "")
    session = here.sessions.find(cookie, touch=LIVE_HEADER not in request.headers)
    if session is None:
        return None
    account = here.accounts.find(session.user)
    # A password or right that changed, or a user who is gone, ends the session.
    if account is None or not same(account.fingerprint, session.fingerprint):
        here.sessions.end(cookie)
        return None
    return Caller(account, session)


def _by_password(here: Site) -> Caller | None:
    given = request.authorization
    if given is None or (given.type or "").lower() != "basic":
        return None
    account = check_password(given.username or "", given.password or "")
    return Caller(account, None) if account else None


def check_password(user: str, password: str) -> Account | None:
    """The account of this user and password; aborts with 429 after too many failures."""
    here = site()
    address = request.remote_addr or ""
    # What somebody tries who is signed in already is their own affair: it must not keep
    # others off who come from the same address.
    who = caller()
    signed_in = who.account.user if who and who.session else ""
    wait = here.attempts.wait(user, address, signed_in=signed_in)
    if wait > 0:
        g.retry_after = int(wait) + 1
        abort(429, "Too many failed attempts. Try again in %d s." % (int(wait) + 1))
    account = None
    if len(user) <= _MAX_NAME and len(password) <= _MAX_PASSWORD:
        account = here.accounts.check(user, password)
    if account is None:
        here.attempts.failed(user, address, signed_in=signed_in)
        log.warning("failed login of %.64r from %s", user, address)
    else:
        here.attempts.succeeded(user, address)
    return account


def _check_token(who: Caller) -> None:
    if who.session is None:
        # A browser may send a password that it remembers along with another site's form;
        # a form cannot send JSON.
        if request.mimetype != "application/json":
            abort(415, "Send JSON: Content-Type: application/json.")
        return
    sent = request.headers.get(TOKEN_HEADER) or request.form.get(TOKEN_FIELD, "")
    if not same(sent, who.session.csrf):
        abort(400, "This form is out of date. Go back, reload the page and try again.")


def _challenge() -> Response:
    if is_api():
        response = make_response({"error": "Log in with a user of Ganeti's remote API."}, 401)
        response.headers["WWW-Authenticate"] = 'Basic realm="%s"' % REALM
        return response
    if request.method in _SAFE_METHODS and request.path != "/":
        return redirect(url_for("login.show", next=request.path), 303)
    return redirect(url_for("login.show"), 303)


def local_path(path: str) -> str:
    """A path to go to after login: one of this page, "/" for anything else."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"


def install(app: Flask) -> None:
    """Let every request of `app` pass here first."""
    app.before_request(guard)
