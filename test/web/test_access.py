"""Logging in, sessions, rights and forged requests, through the application."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from ganeti_gluster.web import access, attempts, sessions

from .conftest import Page, token_of

VIEWS = ["/", "/overview", "/swift", "/hosts", "/hosts/node1"]
STOP = {"action": "stop", "node": "node1", "confirmed": "yes"}


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic authentication."""
    pair = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
    return {"Authorization": "Basic " + pair}


def test_a_stranger_sees_the_login_form_and_nothing_else(page: Page) -> None:
    for path in [*VIEWS, "/actions/1", "/nothing"]:
        answer = page.browser.get(path)
        assert answer.status_code == 303, path
        assert answer.location.startswith("/login")
        assert "node1" not in answer.text or path == "/hosts/node1"
    assert "cluster1" in page.browser.get("/login").text


@pytest.mark.parametrize("path", ["/api/v1/swift", "/api/openapi.json", "/metrics", "/api/x"])
def test_a_program_without_a_password_is_challenged(page: Page, path: str) -> None:
    answer = page.browser.get(path)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Ganeti Remote API"'


def test_every_view_needs_a_right_unless_it_is_listed_here(page: Page) -> None:
    public = {
        name
        for name, view in page.app.view_functions.items()
        if getattr(view, "access", "") == "public"
    }

    assert public == {"login.show", "login.enter", "login.leave"}


def test_every_change_is_for_writers(page: Page) -> None:
    for rule in page.app.url_map.iter_rules():
        if rule.methods and rule.methods & {"POST", "PUT", "DELETE", "PATCH"}:
            access = getattr(page.app.view_functions[rule.endpoint], "access", "")
            assert access == "writer" or rule.endpoint in ("login.enter", "login.leave")


def test_login_leads_to_the_page_that_was_asked_for(page: Page) -> None:
    assert page.login("root", next="/hosts").location == "/hosts"
    assert page.browser.get("/hosts").status_code == 200


@pytest.mark.parametrize("target", ["https://evil.test/", "//evil.test", "/\\evil.test", "x"])
def test_login_leads_to_no_other_site(page: Page, target: str) -> None:
    assert page.login("root", next=target).location == "/"


@pytest.mark.parametrize(
    ("user", "password"), [("root", "wrong"), ("nobody", "secret"), ("root", ""), ("", "")]
)
def test_wrong_passwords_do_not_log_in(page: Page, user: str, password: str) -> None:
    answer = page.login(user, password)

    assert answer.status_code == 403
    assert "Unknown user, wrong password" in answer.text
    assert page.browser.get("/").status_code == 303


def test_the_login_form_needs_its_own_token(page: Page) -> None:
    page.browser.get("/login")
    answer = page.browser.post("/login", data={"user": "root", "password": "secret", "token": "x"})

    assert answer.status_code == 400
    assert page.browser.get("/").status_code == 303


def test_cookies_are_for_this_page_alone(make_page: Callable[..., Page]) -> None:
    plain = make_page().login("root").headers.getlist("Set-Cookie")[0]
    secure = make_page(secure=True)
    got = secure.browser.get("/login", base_url="https://localhost")
    fields = {"user": "root", "password": "secret", "token": token_of(got)}
    answer = secure.browser.post("/login", data=fields, base_url="https://localhost")
    tls = answer.headers.getlist("Set-Cookie")[0]

    for cookie in (plain, tls):
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert "Secure" not in plain
    assert tls.startswith("__Host-") and "Secure" in tls


def test_too_many_failures_lock_the_user_out_for_a_while(page: Page) -> None:
    for _ in range(attempts.USER_LIMIT):
        page.login("root", "wrong")
    answer = page.login("root")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == str(int(attempts.WINDOW) + 1)
    assert page.login("guest").status_code == 303  # others are not locked out
    page.clock.now += attempts.WINDOW
    page.browser = page.new_browser()
    assert page.login("root").status_code == 303


def test_too_many_failures_lock_the_address_out_for_programs_too(page: Page) -> None:
    for number in range(attempts.ADDRESS_LIMIT):
        header = basic("user%d" % number, "x")
        assert page.browser.get("/api/v1/swift", headers=header).status_code == 401

    answer = page.browser.get("/api/v1/swift", headers=basic("root", "secret"))
    assert answer.status_code == 429
    assert answer.json and "Too many failed attempts" in answer.json["error"]


def test_failures_from_one_place_lock_nobody_out_elsewhere(page: Page) -> None:
    for _ in range(attempts.USER_LIMIT):
        page.login("root", "wrong")
    assert page.login("root").status_code == 429

    page.browser = page.new_browser()
    page.browser.environ_base["REMOTE_ADDR"] = "192.0.2.9"
    assert page.login("root").status_code == 303


def test_what_somebody_tries_who_is_signed_in_locks_nobody_else_out(reader: Page) -> None:
    form = reader.new_browser().get("/login")
    nonce = form.headers["Set-Cookie"].split(";")[0].partition("=")[2]
    reader.browser.set_cookie("ganeti-gluster-login", nonce)
    fields = {"user": "root", "password": "wrong", "token": token_of(form)}
    codes = [
        reader.browser.post("/login", data=fields).status_code
        for _ in range(attempts.USER_LIMIT + 1)
    ]
    assert codes == [403] * attempts.USER_LIMIT + [429]

    # From the same address.
    reader.browser = reader.new_browser()
    assert reader.login("root", "wrong").status_code == 403
    assert reader.login("root").status_code == 303


@pytest.mark.parametrize("path", ["/login", "/api/v1/swift", "/nothing"])
@pytest.mark.parametrize(
    ("named", "refused"),
    [
        ("localhost", False),
        ("LOCALHOST:5083", False),
        ("127.0.0.1:5083", False),
        ("127.1.2.3", False),
        ("[::1]:8080", False),
        ("evil.example.com", True),
        ("localhost.example.com", True),
        ("127.0.0.1.example.com:5083", True),
        ("192.0.2.2", True),
        ("[2001:db8::1]", True),
        ("0.0.0.0", True),
        ("127.1", True),
        ("x@localhost", True),
        ("", True),
    ],
)
def test_behind_loopback_another_name_is_refused(
    make_page: Callable[..., Page], named: str, refused: bool, path: str
) -> None:
    answer = make_page(loopback=True).browser.get(path, headers={"Host": named})
    assert (answer.status_code == 400) == refused
    if refused:
        assert "Use localhost" in answer.text


@pytest.mark.parametrize(
    "named",
    ["localhost:1:2", "localhost:", "localhost:x", "::1", "[::1", "localhost\n", "[localhost]"],
)
def test_what_is_no_name_is_not_loopbacks(named: str) -> None:
    assert not access.is_loopback(named)


def test_elsewhere_the_certificate_tells_which_name_is_right(page: Page) -> None:
    answer = page.browser.get("/login", headers={"Host": "cluster1.example.com"})
    assert answer.status_code == 200


def test_a_session_ends_when_it_is_not_used(writer: Page) -> None:
    writer.clock.now += sessions.IDLE - 1
    assert writer.browser.get("/").status_code == 200
    writer.clock.now += sessions.IDLE
    assert writer.browser.get("/").status_code == 303


def test_the_pages_own_requests_keep_no_session_alive(writer: Page) -> None:
    writer.clock.now += sessions.IDLE - 1
    assert writer.browser.get("/", headers={"X-Live": "1"}).status_code == 200
    writer.clock.now += 1
    assert writer.browser.get("/").status_code == 303


def test_a_session_ends_after_its_lifetime(writer: Page) -> None:
    for _ in range(int(sessions.LIFETIME / (sessions.IDLE / 2))):
        assert writer.browser.get("/").status_code == 200
        writer.clock.now += sessions.IDLE / 2
    assert writer.browser.get("/").status_code == 303


@pytest.mark.parametrize("change", [("other", True), ("secret", False), None])
def test_a_session_ends_when_the_users_file_says_something_else(
    writer: Page, change: tuple[str, bool] | None
) -> None:
    if change is None:
        del writer.users.users["root"]
    else:
        writer.users.users["root"] = change

    assert writer.browser.get("/").status_code == 303


def test_logging_out_ends_the_session_on_the_server(writer: Page) -> None:
    cookie = writer.browser.get_cookie("ganeti-gluster")
    assert cookie is not None
    token = writer.token()
    assert writer.browser.post("/logout", data={"token": token}).status_code == 303
    writer.browser.set_cookie("ganeti-gluster", cookie.value)

    assert writer.browser.get("/").status_code == 303


def test_logging_out_needs_the_token(writer: Page) -> None:
    assert writer.browser.post("/logout", data={"token": "x"}).status_code == 400
    assert writer.browser.get("/").status_code == 200


def test_a_writer_stops_services(writer: Page) -> None:
    answer = writer.browser.post("/swift/actions", data={**STOP, "token": writer.token()})
    writer.finish()

    assert answer.status_code == 303 and answer.location == "/actions/1"
    assert [(one.verb, one.nodes, one.services) for one in writer.orders] == [
        ("stop", ("node1",), ())
    ]


@pytest.mark.parametrize("token", [None, "", "x"])
def test_a_form_without_the_sessions_token_does_nothing(writer: Page, token: str | None) -> None:
    form = STOP if token is None else {**STOP, "token": token}
    answer = writer.browser.post("/swift/actions", data=form)

    assert answer.status_code == 400
    assert not writer.orders


def test_the_token_of_another_session_does_nothing(writer: Page) -> None:
    other = writer.token()
    writer.browser = writer.new_browser()
    writer.login("root")
    answer = writer.browser.post("/swift/actions", data={**STOP, "token": other})

    assert answer.status_code == 400
    assert not writer.orders


@pytest.mark.parametrize(
    "header",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.test"},
        {"Origin": "https://localhost"},
    ],
)
def test_what_another_site_sends_is_refused(writer: Page, header: dict[str, str]) -> None:
    form = {**STOP, "token": writer.token()}
    answer = writer.browser.post("/swift/actions", data=form, headers=header)

    assert answer.status_code == 403
    assert not writer.orders


def test_a_reader_has_no_buttons(reader: Page) -> None:
    for path in VIEWS:
        text = reader.browser.get(path).text
        assert 'name="action"' not in text and "/swift/actions" not in text


def test_a_reader_cannot_act_by_hand_made_requests(reader: Page) -> None:
    token = reader.token("/")
    json = {"action": "stop", "nodes": ["node1"]}
    answers = [
        reader.browser.post("/swift/actions", data={**STOP, "token": token}),
        reader.browser.post("/api/v1/actions", json=json, headers={"X-CSRF-Token": token}),
        reader.new_browser().post("/api/v1/actions", json=json, headers=basic("guest", "look")),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert not reader.orders


def test_a_password_that_a_browser_remembers_is_not_enough_for_a_form(page: Page) -> None:
    answer = page.browser.post(
        "/api/v1/actions",
        data='{"action": "stop", "nodes": ["node1"]}',
        headers=basic("root", "secret"),
        content_type="text/plain",
    )

    assert answer.status_code == 415
    assert not page.orders


def test_the_api_takes_a_session_only_with_its_token(writer: Page) -> None:
    json = {"action": "stop", "nodes": ["node1"]}
    assert writer.browser.post("/api/v1/actions", json=json).status_code == 400
    header = {"X-CSRF-Token": writer.token()}
    answer = writer.browser.post("/api/v1/actions", json=json, headers=header)
    writer.finish()

    assert answer.status_code == 202
    assert len(writer.orders) == 1


def test_a_password_does_not_open_the_pages_for_people(page: Page) -> None:
    assert page.browser.get("/", headers=basic("root", "secret")).status_code == 303


def test_every_answer_has_the_headers(writer: Page) -> None:
    paths = ["/", "/login", "/nothing", "/api/v1/swift", "/static/style.css", "/metrics"]
    for path in paths:
        headers = writer.browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert path.startswith("/static") or headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [*VIEWS, "/actions/1", "/swift/actions", "/nothing"])
def test_no_page_has_inline_scripts_or_styles(writer: Page, path: str) -> None:
    writer.browser.post("/swift/actions", data={**STOP, "token": writer.token()})
    writer.finish()
    if path == "/swift/actions":
        form = {**STOP, "confirmed": "", "token": writer.token()}
        text = writer.browser.post(path, data=form).text
        assert "Stop now" in text
    else:
        text = writer.browser.get(path).text
    assert "<style" not in text and " style=" not in text and " onclick" not in text
    assert text.count("<script") == 1 and "live.js" in text


def test_a_long_body_is_refused(writer: Page) -> None:
    form = {**STOP, "token": writer.token(), "x": "y" * 70000}
    assert writer.browser.post("/swift/actions", data=form).status_code == 413


def test_a_fault_of_ours_says_nothing_of_its_inside(
    writer: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer.site.actions, "latest", lambda: 1 / 0)
    answer = writer.browser.get("/swift")

    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text and "Traceback" not in answer.text
