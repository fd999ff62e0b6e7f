"""Starting, changing and ending the server of an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.serve import control, files, server
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import LastUser, LockHolder, OpenElsewhere
from ganeti_gluster.core.serve.server import (
    ImageGone,
    ImageHasClients,
    ImageServer,
    ServerFailed,
    qemu_blockdev,
    qemu_uri,
)
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, VolumeNotFound
from ganeti_gluster.tools.command import CommandFailed, CommandResult

from .conftest import Serve, status

SPEC = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
IMAGE = "ganeti/x.0"
KEY = ImageServer(SPEC, IMAGE).key
UNIT = "ganeti-gluster-image@%s.service" % KEY
START = ("systemctl", "start", UNIT)
STOP = ("systemctl", "--quiet", "stop", UNIT)
RESET = ("systemctl", "--quiet", "reset-failed", UNIT)
SEE = "see journalctl --unit=%s" % UNIT


class Systemd:
    """Takes commands; `on_start` is what the start of a server does."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.options: list[dict[str, Any]] = []
        self.wanted: list[dict[str, str]] = []
        self.on_start: Callable[[], object] = lambda: None

    def __call__(self, argv: Sequence[str], **options: Any) -> CommandResult:
        self.commands.append(tuple(argv))
        self.options.append(options)
        if "start" in argv:
            self.wanted.append(files.read(KEY, "conf"))
            self.on_start()
        return CommandResult(tuple(argv), 0, "", "")


@pytest.fixture
def systemd(directory: Path) -> Systemd:
    return Systemd()


@pytest.fixture
def image(systemd: Systemd) -> ImageServer:
    return ImageServer(SPEC, IMAGE, run=systemd)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's program, which is there."""
    path = tmp_path / "image-server"
    path.touch()
    monkeypatch.setattr(server, "PROGRAM", str(path))
    return path


# -- names ---------------------------------------------------------------------


def test_all_of_a_server_is_named_for_its_image(image: ImageServer, directory: Path) -> None:
    assert image.key.startswith("gv0-")
    assert image.unit == UNIT
    assert image.socket_path == "%s/%s.nbd" % (constants.IMAGE_SOCKET_DIR, KEY)
    assert image.journal == "journalctl --unit=%s" % UNIT
    assert ImageServer(SPEC, "ganeti/x.1").key != image.key


# -- open ----------------------------------------------------------------------


def test_a_server_is_started_with_what_it_is_to_serve(
    image: ImageServer, systemd: Systemd
) -> None:
    image.open(number=7, mode=SHARED, locking=False, patience=60, take="abc")
    assert systemd.commands == [STOP, RESET, START]
    assert systemd.options == [
        {"timeout": server.STOP_SECONDS, "check": False},
        {"timeout": server.STOP_SECONDS, "check": False},
        {"timeout": server.START_SECONDS},
    ]
    (wanted,) = systemd.wanted
    word = wanted.pop("word")
    assert len(word) == 24
    assert wanted == {
        "volume": "gv0",
        "image": IMAGE,
        "server": "node1 24007",
        "number": "7",
        "take": "abc",
        "mode": SHARED,
        "locking": "off",
        "patience": "60",
    }


def test_no_two_uses_of_an_image_have_the_same_word(image: ImageServer, systemd: Systemd) -> None:
    image.open(number=7)
    image.open(number=7)
    first, second = systemd.wanted
    assert first["word"] != second["word"]


def failing(systemd: Systemd, left: str | None) -> None:
    """Let the start fail, with `left` as what the server left of its reasons."""

    def fail() -> None:
        if left is not None:
            Path(files.path(KEY, "error")).write_text(left)
        raise CommandFailed(START, "exit status 1", exit_code=1)

    systemd.on_start = fail


@pytest.mark.parametrize(
    ("left", "holder"),
    [
        ("held=1177 shared\n", LockHolder(1177, SHARED)),
        ("held=1177 exclusive\n", LockHolder(1177, EXCLUSIVE)),
        ("held=0 exclusive\n", None),  # it has let go meanwhile
    ],
)
def test_an_image_that_another_has_is_held(
    image: ImageServer, systemd: Systemd, left: str, holder: LockHolder | None
) -> None:
    failing(systemd, left)
    with pytest.raises(OpenElsewhere) as caught:
        image.open(number=7)
    assert (caught.value.path, caught.value.holder) == (IMAGE, holder)


def test_an_image_that_was_left_open_has_a_last_user(image: ImageServer, systemd: Systemd) -> None:
    failing(systemd, "foreign=1177 0123abcd\n")
    with pytest.raises(LastUser) as caught:
        image.open(number=7)
    left = caught.value
    assert (left.path, left.number, left.word) == (IMAGE, 1177, "0123abcd")


@pytest.mark.parametrize(
    ("left", "kind", "message"),
    [
        ("gone=cannot open the image: No such file\n", ImageGone, "it does not exist"),
        (
            "error=cannot open the image: Input/output error\n",
            ServerFailed,
            "cannot open the image: Input/output error; " + SEE,
        ),
        (None, ServerFailed, "systemctl start %s: exit status 1; %s" % (UNIT, SEE)),
    ],
)
def test_another_failure_says_what_and_why(
    image: ImageServer,
    systemd: Systemd,
    program: Path,
    left: str | None,
    kind: type[ServerFailed],
    message: str,
) -> None:
    failing(systemd, left)
    with pytest.raises(ServerFailed) as caught:
        image.open(number=7)
    assert type(caught.value) is kind
    assert str(caught.value) == "cannot serve image ganeti/x.0 of volume gv0: " + message
    assert isinstance(caught.value.__cause__, CommandFailed)


def test_why_the_volume_is_away_is_found_out(
    image: ImageServer, systemd: Systemd, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(spec: VolumeSpec) -> None:
        raise VolumeNotFound(
            "there is no volume %s" % spec.name,
            volume=spec.name,
            servers=[("node1:24007", "answers")],
            hint="check its name",
        )

    failing(systemd, "error=cannot connect to the volume: No such file or directory\n")
    monkeypatch.setattr("ganeti_gluster.core.serve.server.connect", connect)
    with pytest.raises(ServerFailed) as caught:
        image.open(number=7)
    assert str(caught.value) == (
        "cannot serve image ganeti/x.0 of volume gv0: there is no volume gv0: node1:24007:"
        " answers; check its name"
    )


def test_a_program_that_is_missing_is_named(
    image: ImageServer, systemd: Systemd, program: Path
) -> None:
    program.unlink()
    failing(systemd, None)
    with pytest.raises(ServerFailed) as caught:
        image.open(number=7)
    assert str(caught.value) == (
        "cannot serve image ganeti/x.0 of volume gv0: %s is missing; install the package"
        " ganeti-gluster, or run 'make install' with a compiler available" % program
    )


def test_nothing_is_left_of_a_server_that_did_not_start(
    image: ImageServer, systemd: Systemd, directory: Path
) -> None:
    failing(systemd, "held=9 shared\n")
    with pytest.raises(OpenElsewhere):
        image.open(number=7)
    assert systemd.commands == [STOP, RESET, START, STOP, RESET]
    assert os.listdir(directory) == [".lock"]


# -- open, on an image that is served --------------------------------------------


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        ({}, EXCLUSIVE),
        ({"mode": SHARED}, SHARED),
        ({"mode": "none"}, SHARED),  # nothing is locked
        ({"state": "waiting", "why": "write: no room"}, EXCLUSIVE),
    ],
)
def test_an_image_that_is_served_so_is_left_alone(
    image: ImageServer, systemd: Systemd, serve: Serve, told: dict[str, str], mode: str
) -> None:
    served = serve(KEY, {"status": [status(**told)]})
    image.open(number=7, mode=mode)
    assert served.asked == systemd.commands == []


@pytest.mark.parametrize(("now", "wanted"), [(EXCLUSIVE, SHARED), (SHARED, EXCLUSIVE)])
def test_a_server_changes_its_mode(
    image: ImageServer, systemd: Systemd, serve: Serve, now: str, wanted: str
) -> None:
    question = "mode %s" % wanted
    served = serve(KEY, {"status": [status(mode=now)], question: ["ok\n"]})
    image.open(number=7, mode=wanted)
    assert served.asked == [question]
    assert systemd.commands == []


@pytest.mark.parametrize(
    ("answer", "holder"),
    [("held=1177 shared\n", LockHolder(1177, SHARED)), ("held=0 exclusive\n", None)],
)
def test_a_mode_that_another_keeps_out_is_held(
    image: ImageServer, systemd: Systemd, serve: Serve, answer: str, holder: LockHolder | None
) -> None:
    serve(KEY, {"status": [status(mode=SHARED)], "mode exclusive": [answer]})
    with pytest.raises(OpenElsewhere) as caught:
        image.open(number=7, mode=EXCLUSIVE)
    assert caught.value.holder == holder
    assert systemd.commands == []


@pytest.mark.parametrize("now", [{}, {"state": "waiting", "why": "x"}])
def test_a_server_that_replaces_itself_is_asked_again(
    image: ImageServer, systemd: Systemd, serve: Serve, now: dict[str, str]
) -> None:
    answers = ["", "", "ok\n"]
    told = status(mode=SHARED, **now)
    served = serve(KEY, {"status": [told], "mode exclusive": answers})
    image.open(number=7, mode=EXCLUSIVE)
    assert served.asked == ["mode exclusive"] * 3
    assert systemd.commands == []


@pytest.fixture
def not_asked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANEW_SECONDS", 0.2)


@pytest.mark.usefixtures("not_asked_for_long")
@pytest.mark.parametrize(
    ("now", "answer", "why"),
    [
        ({}, "error=the storage is unavailable: x\n", "the storage is unavailable: x"),
        ({"state": "waiting", "why": "x"}, "", "the storage is unavailable: x"),
        ({}, "", "its server ended"),
    ],
)
def test_a_mode_that_does_not_change_is_an_error(
    image: ImageServer, serve: Serve, now: dict[str, str], answer: str, why: str
) -> None:
    serve(KEY, {"status": [status(mode=SHARED, **now)], "mode exclusive": [answer]})
    with pytest.raises(ServerFailed) as caught:
        image.open(number=7, mode=EXCLUSIVE)
    assert str(caught.value) == (
        "image ganeti/x.0 of volume gv0 could not be opened in exclusive mode: %s; %s" % (why, SEE)
    )


def test_a_server_that_has_never_had_its_image_does_not_serve(
    image: ImageServer, systemd: Systemd, serve: Serve
) -> None:
    told = status(state="waiting", size="0", why="cannot connect to the volume: x")
    serve(KEY, {"status": [told]})
    with pytest.raises(ServerFailed) as caught:
        image.open(number=7)
    assert str(caught.value) == (
        "image ganeti/x.0 of volume gv0 is not served: cannot connect to the volume: x; " + SEE
    )
    assert systemd.commands == []


def test_a_server_that_has_lost_its_image_is_replaced(
    image: ImageServer, systemd: Systemd, serve: Serve
) -> None:
    serve(KEY, {"status": [status(state="lost")]})
    image.open(number=7)
    assert systemd.commands == [STOP, RESET, START]


def test_a_server_that_does_not_answer_is_left_alone(
    image: ImageServer, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(key: str, *, timeout: float) -> None:
        raise control.NoAnswer("its server does not answer within %g s" % timeout)

    monkeypatch.setattr(control, "status", hangs)
    with pytest.raises(control.NoAnswer):
        image.open(number=7)
    assert systemd.commands == []


# -- grow, flush, renew ------------------------------------------------------------


def test_what_is_asked_of_a_server(image: ImageServer, serve: Serve) -> None:
    answers = {question: ["ok\n"] for question in ("grow 4096", "flush")}
    served = serve(KEY, {**answers, "renew": [""]})
    assert image.grow(4096) is True
    image.flush()
    image.renew()  # its answer is that it is another
    assert served.asked == ["grow 4096", "flush", "renew"]


def test_without_a_server_nothing_grows(image: ImageServer, systemd: Systemd) -> None:
    assert image.grow(4096) is False
    image.flush()
    assert image.status() is None
    assert systemd.commands == []


@pytest.mark.usefixtures("not_asked_for_long")
@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("grow 4096", "error=the bricks do not answer\n", "grown: the bricks do not answer"),
        ("flush", "error=not flushed\n", "flushed: not flushed"),
        ("flush", "", "flushed: its server ended"),
    ],
)
def test_what_a_server_does_not_do_is_an_error(
    image: ImageServer, serve: Serve, question: str, answer: str, why: str
) -> None:
    serve(KEY, {question: [answer]})
    with pytest.raises(ServerFailed) as caught:
        if question == "flush":
            image.flush()
        else:
            image.grow(4096)
    assert str(caught.value) == ("image ganeti/x.0 of volume gv0 could not be %s; %s" % (why, SEE))


# -- close -------------------------------------------------------------------------


def open_in_files() -> None:
    """What is there of a server that serves."""
    for suffix in ("conf", "held", "nbd"):
        Path(files.path(KEY, suffix)).touch()


def test_what_is_not_open_is_closed(image: ImageServer, systemd: Systemd, directory: Path) -> None:
    image.close()
    assert systemd.commands == []
    assert not directory.exists()


@pytest.mark.parametrize(("force", "question"), [(False, "close"), (True, "close force")])
def test_a_server_ends_and_leaves_nothing(
    image: ImageServer,
    systemd: Systemd,
    serve: Serve,
    directory: Path,
    force: bool,
    question: str,
) -> None:
    open_in_files()
    served = serve(KEY, {question: [""]})
    image.close(force=force)
    image.close(force=force)
    assert served.asked == [question]
    assert systemd.commands == [STOP, RESET]
    assert os.listdir(directory) == [".lock"]


@pytest.mark.parametrize(
    ("answer", "peers", "hint"),
    [("busy=12 345\n", (12, 345), "; by process 12, 345"), ("busy=\n", (), "")],
)
def test_an_image_with_clients_stays_open(
    image: ImageServer,
    systemd: Systemd,
    serve: Serve,
    answer: str,
    peers: tuple[int, ...],
    hint: str,
) -> None:
    open_in_files()
    serve(KEY, {"close": [answer]})
    with pytest.raises(ImageHasClients) as caught:
        image.close()
    assert caught.value.peers == peers
    assert str(caught.value) == "image ganeti/x.0 is still in use" + hint
    assert systemd.commands == []
    assert files.served() == [KEY]


def test_a_server_that_has_died_leaves_nothing(
    image: ImageServer, systemd: Systemd, serve: Serve
) -> None:
    open_in_files()
    image.close()
    assert systemd.commands == [STOP, RESET]
    assert files.served() == []


def test_a_server_that_does_not_answer_is_ended(
    image: ImageServer, systemd: Systemd, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(key: str, question: str, *, timeout: float) -> None:
        raise control.NoAnswer("its server does not answer within %g s" % timeout)

    open_in_files()
    monkeypatch.setattr(control, "ask", hangs)
    image.close()
    assert systemd.commands == [STOP, RESET]
    assert files.served() == []


# -- QEMU --------------------------------------------------------------------------


def test_qemu_waits_longer_than_the_server() -> None:
    uri = qemu_uri("/run/ganeti-gluster-nbd/gv0-01.nbd", 900)
    assert uri == (
        "nbd+unix:///?socket=/run/ganeti-gluster-nbd/gv0-01.nbd,file.reconnect-delay=960"
    )
    assert qemu_blockdev(uri) == {
        "driver": "nbd",
        "server": {"type": "unix", "path": "/run/ganeti-gluster-nbd/gv0-01.nbd"},
        "reconnect-delay": 960,
    }


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/dev/nbd0",
        "rbd:pool/image",
        "gluster://node1:24007/gv0/ganeti/x.0",
        "nbd+unix:///?socket=/run/x.nbd",
        "nbd+unix:///?socket=/run/x.nbd,file.reconnect-delay=",
        "nbd+unix:///?socket=/run/x.nbd,file.reconnect-delay=-1",
        "nbd+unix:///?socket=/run/x.nbd,file.reconnect-delay=9,x=y",
        "nbd+unix:///name?socket=/run/x.nbd,file.reconnect-delay=9",
        "nbd://node1/?socket=/run/x.nbd,file.reconnect-delay=9",
    ],
)
def test_another_uri_is_none_of_ours(uri: str) -> None:
    assert qemu_blockdev(uri) is None


def test_each_failure_is_one_that_the_edges_know() -> None:
    for error in (OpenElsewhere(IMAGE, None), LastUser(IMAGE, 1, "w"), ImageHasClients(IMAGE, ())):
        assert isinstance(error, GanetiGlusterError)
