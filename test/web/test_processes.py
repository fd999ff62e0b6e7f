"""The two processes: what the one that serves has, and what it cannot do to the other."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from ganeti_gluster.web import processes
from ganeti_gluster.web.orders import obey

ROOT = Path(__file__).resolve().parents[2]

# Runs both, as the command does; what serves writes what it has into a file.
PROGRAM = """
import json, os, sys
sys.path.insert(0, %r)
import conftest
from ganeti_gluster.web import processes

class Nothing:
    def start(self):
        pass
    stop = start

def terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True

def serve(channel):
    has = {
        "leads": os.getsid(0) == os.getpid(),
        "terminals": [os.isatty(stream) for stream in range(3)],
        "terminal": terminal(),
        "input": os.read(0, 1).decode(),
    }
    with open(sys.argv[1], "w") as stream:
        json.dump(has, stream)
    os.write(2, b"so\\x1b[2J\\xff it is\\n")
    channel.recv(1)

assert terminal()
try:
    processes.run(
        serve,
        lambda send: Nothing(),
        obey=lambda line, send: None,
        is_master=lambda: True,
    )
except processes.Stopped:
    assert terminal()
""" % str(ROOT / "test")


@pytest.mark.allow_process  # it is what is tested
def test_what_serves_has_no_terminal_of_roots(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    found = tmp_path / "found"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(found)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    said = b""
    while not said.endswith(b"it is\r\n"):
        assert select.select([ours], [], [], 20)[0], said
        # The end of a terminal that nobody has any more is an error.
        said += os.read(ours, 1024)
    process.terminate()
    assert process.wait(20) == 0
    os.close(ours)
    assert json.loads(found.read_text()) == {
        "leads": True,
        "terminals": [False] * 3,
        "terminal": False,
        "input": "",
    }
    # What it says is shown, as text.
    assert said.decode().splitlines() == ["so�[2J� it is"]


def test_whatever_is_ordered_the_next_order_is_heard() -> None:
    ours, theirs = socket.socketpair()
    done: list[str] = []

    def carry_out(line: bytes, send: object) -> None:
        if line == b"bad":
            raise RuntimeError("a fault of ours")
        obey(
            line,
            lambda order, report: done.append(order.verb),
            send,  # type: ignore[arg-type]
            begin=lambda order: 7,
            known_nodes=lambda: ["node1"],
            known_services=lambda type: [],
        )

    broken = threading.Event()
    hearing = threading.Thread(
        target=processes._hear,
        args=(ours, None, ours.sendall, carry_out, broken),
    )
    hearing.start()
    lines = [
        b'{"id": 1e999, "verb": "start", "nodes": ["node1"], "services": []}',
        b"[" * 20000,
        b"bad",
        b'{"id": 5, "verb": "start", "nodes": ["node1"], "services": []}',
    ]
    theirs.sendall(b"".join(line + b"\n" for line in lines))
    with theirs.makefile("rb") as answers:
        told = [json.loads(answers.readline()) for _ in range(3)]
    theirs.close()
    hearing.join(10)
    ours.close()
    assert sorted((one["id"], one["error"]) for one in told) == [
        (0, "not an order"),
        (0, "not an order"),
        (5, ""),
    ]
    assert done == ["start"] and broken.is_set()
