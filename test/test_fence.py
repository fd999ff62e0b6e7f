"""The `connect` that the server of images has of its own (src/fence.c)."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
#: Of this machine, and with no glusterd.
HOST = "127.43.77.9"
GLUSTERD_PORT = 24007

pytestmark = [
    pytest.mark.allow_process,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]

_STUB = """
double state_now(void) { return 0; }
static int count;
void count_denied(void) { count++; }
int denied_count(void) { return count; }
"""


@pytest.fixture
def fence(tmp_path: Path) -> ctypes.CDLL:
    """The module, loaded anew."""
    stub, library = tmp_path / "stub.c", tmp_path / "fence.so"
    stub.write_text(_STUB)
    argv = ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-I", SOURCE, "-o", library]
    subprocess.run([*argv, SOURCE / "fence.c", stub, "-ldl", "-lpthread"], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library), use_errno=True)
    loaded.fence_watch(loaded.count_denied)
    return loaded


@pytest.fixture
def glusterd() -> Iterator[socket.socket]:
    with socket.create_server((HOST, GLUSTERD_PORT)) as listening:
        yield listening


@pytest.fixture
def dead_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server((HOST, 0)) as gone:
        port: int = gone.getsockname()[1]
        return port


@pytest.fixture
def reached(fence: ctypes.CDLL) -> Callable[[int], int]:
    """Connect to a port of the host; returns the port that was reached, 0 where it is refused."""

    def connect(port: int) -> int:
        address = (
            socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(HOST)
        )
        with socket.socket() as own:
            if fence.connect(own.fileno(), address.ljust(16, b"\0"), 16) == 0:
                found: int = own.getpeername()[1]
                return found
            assert ctypes.get_errno() == errno.ECONNREFUSED, os.strerror(ctypes.get_errno())
            return 0

    return connect


def test_a_port_that_does_not_answer_is_asked_for_anew(fence, glusterd, dead_port, reached):
    fence.fence_ask_again(True)
    tried = [reached(dead_port) for _ in range(5)]
    assert tried == [0, GLUSTERD_PORT, 0, GLUSTERD_PORT, 0]


def test_so_it_is_once_bricks_are_refused(fence, glusterd, dead_port, reached):
    fence.fence_ask_again(True)
    with socket.create_server((HOST, 0)) as brick:
        port = brick.getsockname()[1]
        assert reached(port) == port
        fence.fence_seal()
        tried = [reached(dead_port), reached(dead_port), reached(port), reached(port)]
    assert tried == [0, GLUSTERD_PORT, GLUSTERD_PORT, 0]
    assert fence.denied_count() == 2


def test_bricks_have_turns_of_their_own(fence, glusterd, dead_port, reached):
    fence.fence_ask_again(True)
    fence.fence_seal()
    other = dead_port + 1 if dead_port < 65535 else dead_port - 1
    assert [reached(dead_port), reached(other), reached(dead_port), reached(other)] == [
        0,
        0,
        GLUSTERD_PORT,
        GLUSTERD_PORT,
    ]


def test_without_that_a_brick_is_tried_again_and_again(fence, glusterd, dead_port, reached):
    assert [reached(dead_port) for _ in range(3)] == [0, 0, 0]
    assert reached(GLUSTERD_PORT) == GLUSTERD_PORT
