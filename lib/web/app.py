"""The WSGI application: its parts put together, its headers, its errors."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from ganeti_gluster.web import access, api, charts, login, pages, storage, words
from ganeti_gluster.web.site import Site, attach, site

#: No form of the page and no call of the API is longer, in bytes.
MAX_BODY = 64 * 1024

# There is no HSTS header: Ganeti's certificate is self-signed, and with HSTS a browser would
# not let anybody continue.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

log = logging.getLogger(__name__)


def create_app(parts: Site) -> Flask:
    """The application for one site."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["isotime"] = words.isotime
    attach(app.extensions, parts)
    access.install(app)
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _show_error)
    app.register_error_handler(Exception, _show_failure)
    app.context_processor(_common)
    for blueprint in (login.blueprint, pages.blueprint, storage.blueprint, api.blueprint):
        app.register_blueprint(blueprint)
    return app


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    # Also what is static: a node with another release of this package may be master next.
    response.headers["Cache-Control"] = (
        "private, max-age=300" if request.endpoint == "static" else "no-store"
    )
    response.headers.pop("Server", None)
    return response


def _common() -> dict[str, Any]:
    """What every template has."""
    who = access.caller()
    return {
        "caller": who,
        "csrf": who.session.csrf if who and who.session else "",
        "may_write": bool(who and who.account.write),
        "snapshot": site().board.snapshot,
        "now": site().board.clock(),
        "words": words,
        "title_of": pages.title_of,
        "url_of": pages.url_of,
        "charts": charts,
    }


def _show_error(error: HTTPException) -> tuple[Response | str, int]:
    code = error.code or 500
    return _answer(code, error.description or "", error.name)


def _show_failure(error: Exception) -> tuple[Response | str, int]:
    """A fault of ours: the log has it whole, the user hears that there was one."""
    log.error("%s %s", request.method, request.path, exc_info=error)
    return _answer(500, "The page failed; see its log (journalctl).", "Internal error")


def _answer(code: int, text: str, name: str) -> tuple[Response | str, int]:
    if access.is_api():
        answer: Response = jsonify(error=text)
    else:
        page = render_template(
            "error.html", title=name, text=text, code=code, home=url_for("pages.cluster")
        )
        answer = Response(page, mimetype="text/html")
    if code == 429:
        answer.headers["Retry-After"] = str(g.get("retry_after", 60))
    return answer, code
