"""The page's parts on a node: Ganeti's users file, the server, the two processes."""

from __future__ import annotations

import hashlib
import http.client
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# As Ganeti's own programs do.
sys.path.insert(0, "/usr/share/ganeti/default")

from ganeti_gluster.web import connections, processes
from ganeti_gluster.web.accounts import REALM, GanetiAccounts
from ganeti_gluster.web.server import CannotListen, Listen, WebServer, bind, tls_context

HA1 = hashlib.md5(b"hashed:%s:s3cret" % REALM.encode()).hexdigest()
USERS = """
# a comment
plain secret write
marked {CLEARTEXT}se{cret read
hashed {HA1}%s read,write
upper {ha1}%s write
neither secret
other secret admin
unknown {SHA}abc write
short
""" % (HA1, HA1.upper())


@pytest.fixture
def accounts(tmp_path: Path) -> GanetiAccounts:
    (tmp_path / "users").write_text(USERS)
    return GanetiAccounts(str(tmp_path / "users"))


@pytest.mark.parametrize(
    ("user", "password", "write"),
    [("plain", "secret", True), ("marked", "se{cret", False), ("hashed", "s3cret", True)],
)
def test_passwords_in_each_form_of_ganetis_users_file(
    accounts: GanetiAccounts, user: str, password: str, write: bool
) -> None:
    account = accounts.check(user, password)

    assert account is not None and account.write == write
    assert accounts.check(user, password + "x") is None
    assert accounts.check(user, "") is None


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("neither", "secret"),  # no right
        ("other", "secret"),
        ("unknown", "abc"),  # a form that Ganeti does not know
        ("unknown", "{SHA}abc"),
        ("hashed", HA1),
        ("hashed", "s3crét"),
        ("upper", "s3cret"),  # another user's hash
        ("short", ""),
        ("nobody", "secret"),
        ("#", "a"),
        ("", ""),
    ],
)
def test_who_does_not_get_in(accounts: GanetiAccounts, user: str, password: str) -> None:
    assert accounts.check(user, password) is None


def test_the_realm_is_that_of_ganetis_remote_api() -> None:
    # Its module is not imported for a constant: it brings the whole API along.
    from ganeti.server import rapi

    assert rapi.RemoteApiHandler.AUTH_REALM == REALM


def test_a_change_of_the_file_is_noticed(accounts: GanetiAccounts) -> None:
    before = accounts.find("plain")
    # The same size, and another time.
    Path(accounts.path).write_text(USERS.replace("plain secret write", "plain secret read "))
    os.utime(accounts.path, ns=(1, 1))
    after = accounts.find("plain")

    assert before and after and not after.write
    assert before.fingerprint != after.fingerprint
    os.unlink(accounts.path)
    assert accounts.find("plain") is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    program = "from ganeti import utils; utils.GenerateSelfSignedSslCert(%r, 1)" % str(path)
    library = "/usr/share/ganeti/default"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": library}, check=True)
    return str(path)


@pytest.fixture
def tls_server(certificate: str) -> Iterator[int]:
    def app(environ: dict[str, str], start: object) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        return [environ["wsgi.url_scheme"].encode()]

    listening = bind(Listen("127.0.0.1", 0, certificate))
    server = WebServer(listening, tls_context(certificate), app)
    threading.Thread(target=server.serve, daemon=True).start()
    yield listening.getsockname()[1]
    server.stop()


def _get(port: int, context: ssl.SSLContext) -> bytes:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=8, context=context)
    connection.request("GET", "/")
    answer = connection.getresponse().read()
    connection.close()
    return answer


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("shaken", [False, True])
def test_many_that_say_a_byte_now_and_then_stop_nobody(tls_server: int, shaken: bool) -> None:
    clients = []
    for _ in range(40):
        client = socket.create_connection(("127.0.0.1", tls_server), timeout=8)
        if shaken:
            # Its handshake may be the end of another one's connection, never of its own.
            client = _trusting().wrap_socket(client)
        # The first of a handshake, or of a request.
        client.sendall(b"\x16" if not shaken else b"G")
        clients.append(client)
    assert _get(tls_server, _trusting()) == b"https"
    for client in clients:
        client.close()


@pytest.mark.parametrize("shaken", [False, True])
def test_handshake_and_header_have_an_end(
    tls_server: int, monkeypatch: pytest.MonkeyPatch, shaken: bool
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 1.0)
    client = socket.create_connection(("127.0.0.1", tls_server), timeout=8)
    if shaken:
        client = _trusting().wrap_socket(client)
    # The record that it begins has 16383 bytes, which never come.
    parts = [b"G"] * 3000 if shaken else [b"\x16\x03\x01\x3f\xff", *([b"\0"] * 3000)]
    ended = False
    with client:
        for part in parts:
            try:
                client.sendall(part)
                ended = bool(select.select([client], [], [], 0.02)[0])
            except OSError:
                ended = True
            if ended:
                break
    assert ended
    monkeypatch.undo()
    assert _get(tls_server, _trusting()) == b"https"


def test_a_client_that_says_nothing_keeps_no_other_waiting(tls_server: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", tls_server)) for _ in range(5)]
    assert _get(tls_server, _trusting()) == b"https"
    for one in silent:
        one.close()


def test_clients_that_speak_no_good_tls_leave_it_running(
    tls_server: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", tls_server)) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        plain.settimeout(8)
        assert b"200" not in plain.recv(100)
    with pytest.raises(ssl.SSLCertVerificationError):
        _get(tls_server, ssl.create_default_context())
    old = _trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _get(tls_server, old)

    assert _get(tls_server, _trusting()) == b"https"
    assert not [record for record in caplog.records if record.exc_info]


def test_a_port_that_is_taken_and_a_certificate_that_is_none() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotListen, match="choose others with --bind and --port"),
    ):
        bind(Listen("127.0.0.1", taken.getsockname()[1]))
    with pytest.raises(CannotListen, match="/etc/hostname cannot be used as the certificate"):
        tls_context("/etc/hostname")


def test_rights_are_dropped_for_good(tmp_path: Path) -> None:
    program = (
        "import os; from ganeti_gluster.web import processes;"
        "processes.drop_rights('gnt-rapi');"
        "print(os.getresuid(), os.getgroups());"
        "os.setresuid(0, 0, 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    uid = done.stdout.split(",")[0].lstrip("(")
    assert uid != "0" and done.stdout == "(%s, %s, %s) []\n" % (uid, uid, uid)
    assert "PermissionError" in done.stderr


class _Background:
    def __init__(self) -> None:
        self.stopped = False

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


def _run(serve: object, *, is_master: object = lambda: True) -> None:
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        processes.run(
            serve,  # type: ignore[arg-type]
            lambda send: _Background(),  # type: ignore[arg-type,return-value]
            obey=lambda line, send: send(line.upper()),
            is_master=is_master,  # type: ignore[arg-type]
        )
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def test_the_end_of_the_serving_process_ends_the_other() -> None:
    def serve(channel: socket.socket) -> None:
        channel.sendall(b"ord")
        channel.sendall(b"er\n")
        assert channel.recv(100) == b"ORDER"
        os._exit(7)

    with pytest.raises(processes.ServerEnded, match="status 7"):
        _run(serve)


def test_it_serves_no_longer_where_the_master_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_MASTER_EVERY", 0.1)
    path = tmp_path / "pid"

    def serve(channel: socket.socket) -> None:
        path.write_text(str(os.getpid()))
        while channel.recv(100):
            pass

    _run(serve, is_master=lambda: not path.exists())
    assert not os.path.exists("/proc/%s" % path.read_text())


def test_a_signal_ends_both(tmp_path: Path) -> None:
    def serve(channel: socket.socket) -> None:
        os.kill(os.getppid(), signal.SIGTERM)
        channel.settimeout(20)
        while channel.recv(100):
            pass

    with pytest.raises(processes.Stopped):
        _run(serve)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
