"""Logging in and out."""

from __future__ import annotations

import secrets

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from ganeti_gluster.web import access
from ganeti_gluster.web.sessions import same
from ganeti_gluster.web.site import site

blueprint = Blueprint("login", __name__)


def _nonce_name() -> str:
    return access.cookie_name() + "-login"


@blueprint.get("/login")
@access.public
def show() -> BaseResponse:
    """The form; users who are logged in are redirected."""
    target = access.local_path(request.args.get("next", "/"))
    if access.caller():
        return redirect(target, 303)
    return _form(target=target)


@blueprint.post("/login")
@access.public
def enter() -> BaseResponse:
    """Take a user's name and password."""
    target = access.local_path(request.form.get("next", "/"))
    nonce = request.cookies.get(_nonce_name(), "")
    if not nonce or not same(
        request.form.get(access.TOKEN_FIELD, ""), site().sessions.form_token(nonce)
    ):
        return _form(
            target=target, code=400, error="The form was out of date. Please log in again."
        )
    user = request.form.get("user", "")
    account = access.check_password(user, request.form.get("password", ""))
    if account is None:
        return _form(
            target=target,
            code=403,
            user=user[:64],
            error="Unknown user, wrong password, or no read permission.",
        )
    site().sessions.end(request.cookies.get(access.cookie_name(), ""))
    response = redirect(target, 303)
    _set_cookie(
        response,
        access.cookie_name(),
        site().sessions.start(account.user, account.fingerprint),
    )
    _drop_cookie(response, _nonce_name())
    return response


@blueprint.post("/logout")
@access.public
def leave() -> BaseResponse:
    """End the session of the cookie, at the request of its own page."""
    who = access.caller()
    if who and who.session:
        if not same(request.form.get(access.TOKEN_FIELD, ""), who.session.csrf):
            abort(400, "This form is out of date. Go back, reload the page and try again.")
        site().sessions.end(request.cookies.get(access.cookie_name(), ""))
    response = redirect("/login", 303)
    _drop_cookie(response, access.cookie_name())
    return response


def _form(*, target: str, code: int = 200, user: str = "", error: str = "") -> Response:
    nonce = request.cookies.get(_nonce_name(), "")
    fresh = nonce if 20 <= len(nonce) <= 64 else secrets.token_urlsafe(24)
    response = make_response(
        render_template(
            "login.html",
            token=site().sessions.form_token(fresh),
            next=target,
            user=user,
            error=error,
        ),
        code,
    )
    _set_cookie(response, _nonce_name(), fresh)
    return response


def _set_cookie(response: BaseResponse, name: str, value: str) -> None:
    response.set_cookie(
        name, value, path="/", secure=site().secure, httponly=True, samesite="Strict"
    )


def _drop_cookie(response: BaseResponse, name: str) -> None:
    response.delete_cookie(name, path="/", secure=site().secure, httponly=True, samesite="Strict")
