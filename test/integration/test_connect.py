"""Connecting: every way it can fail, forks, and the end of a process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from stat import S_ISDIR

import pytest

from ganeti_gluster import errors
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec, connect
from ganeti_gluster.tools.gfapi import connection

from .conftest import HOST

MIB = 1 << 20
DEAD = VolfileServer("127.0.0.1", 1)


@pytest.fixture
def frozen():
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield VolfileServer("127.0.0.1", listener.getsockname()[1])


@pytest.fixture
def forwarder(spec):
    """glusterd under an IPv6 address."""
    connections = []

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(spec.servers[0])
                connections.extend((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield VolfileServer("::1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    for end in connections:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def at(spec, *servers):
    return VolumeSpec(spec.name, servers)


def open_root(spec, **options):
    with connect(spec, **options) as volume:
        return S_ISDIR(volume.stat("/").mode)


def test_a_process_has_one_connection_to_a_volume(spec):
    first, second = connect(spec), connect(spec)
    assert first is not second
    assert first._connection is second._connection


def test_dead_servers_before_a_live_one_cost_next_to_nothing(spec):
    # libgfapi by itself gives each of them 3 s.
    started = time.monotonic()
    assert open_root(at(spec, DEAD, VolfileServer("127.0.0.1", 2), *spec.servers))
    assert time.monotonic() - started < 2


def test_a_frozen_server_is_passed_over(spec, frozen):
    started = time.monotonic()
    assert open_root(at(spec, frozen, *spec.servers), timeout=4)
    assert time.monotonic() - started < 4


def test_ipv6(spec, forwarder):
    assert open_root(at(spec, forwarder))


@pytest.fixture
def certificate():
    """A certificate of this machine's, trusted by itself, where GlusterFS looks for it."""
    # The second is where Debian's GlusterFS 10.3 looks.
    directories = [Path("/etc/ssl"), Path("/usr/lib/ssl")]
    names = ["glusterfs.%s" % kind for kind in ("key", "pem", "ca")]
    files = [directory / name for directory in directories for name in names]
    assert not any(path.exists() for path in files)
    key, own, trusted, *others = files
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    argv += ["-subj", "/CN=tested", "-keyout", str(key), "-out", str(own)]
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        shutil.copy(own, trusted)
        for source, other in zip((key, own, trusted), others, strict=True):
            shutil.copy(source, other)
        yield "tested"
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def test_tls_to_the_bricks(make_volume, certificate, run_program):
    """In a process of its own: libgfapi reads the certificate once."""
    options = {"client__ssl": "on", "server__ssl": "on", "auth__ssl_allow": certificate}
    encrypted = make_volume("tls", 1, **options)
    text = (
        "spec = volume.VolumeSpec.from_params({'host': %r, 'volume': sys.argv[1]})\n"
        "image.create(volume.connect(spec), 'a', 4096)\n"
        "print(image.stat(volume.connect(spec), 'a').size)\n" % HOST
    )
    done = run_program(text, encrypted.name)
    assert (done.stdout, done.returncode) == ("4096\n", 0), done.stderr


def test_no_live_server_is_one_error_with_every_reason(spec):
    nobody = VolfileServer("no-such-host.invalid", 24007)
    started = time.monotonic()
    with pytest.raises(errors.VolumeUnreachable) as caught:
        connect(at(spec, DEAD, nobody))
    assert time.monotonic() - started < 10
    assert "127.0.0.1:1: Connection refused" in str(caught.value)
    assert "no-such-host.invalid:24007: " in str(caught.value)
    assert [name for name, _ in caught.value.servers] == [
        "127.0.0.1:1",
        "no-such-host.invalid:24007",
    ]


def test_only_a_frozen_server_is_an_error_in_time(spec, frozen):
    started = time.monotonic()
    with pytest.raises(
        errors.VolumeUnreachable, match="accepts the connection, but does not answer"
    ):
        connect(at(spec, frozen), timeout=1.5)
    assert 1 < time.monotonic() - started < 3


def test_a_missing_volume(spec):
    missing = VolumeSpec("no_such_volume", spec.servers)
    with pytest.raises(errors.VolumeNotFound, match="no volume no_such_volume"):
        connect(missing)


def test_a_volume_that_is_stopped_and_started_again(make_volume, gluster_command):
    made = make_volume("stopped", 1)
    gluster_command("volume", "stop", made.name)
    with pytest.raises(errors.VolumeNotServing, match="stopped, or lost quorum"):
        connect(made.spec)
    gluster_command("volume", "start", made.name)
    assert open_root(made.spec)


def test_without_quorum_a_new_connection_is_refused(make_volume, run_program):
    made = make_volume("lame", 3, "replica", "3", cluster__quorum_type="auto")
    assert open_root(made.spec)
    made.kill(0, 1)
    done = run_program(
        "from ganeti_gluster import errors\n"
        "try:\n    connect(sys.argv[1])\n"
        "except errors.VolumeNotServing as err:\n    print('refused:', err)",
        made.name,
    )
    assert "refused: too few bricks" in done.stdout, done.stderr


def in_child(function):
    """What `function` says in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(function()).encode())
        except BaseException as err:
            os.write(writer, ("%s: %s" % (type(err).__name__, err)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def test_a_child_never_uses_its_parents_connection(spec, directory):
    with connect(spec) as volume:
        volume.mkdir(directory)
        file = volume.create(directory + "/x")
        file.pwrite(b"parent", 0)
        for use in (lambda: volume.stat("/"), lambda: file.pread(1, 0), lambda: volume.space()):
            assert in_child(use).startswith("ConnectionOfParent: ")
        assert in_child(volume.close) == "None"
        # The child's own connection works, and so does the parent's afterwards.
        assert in_child(lambda: open_root(spec)) == "True"
        file.fsync()
        assert file.pread(6, 0) == b"parent"


def test_children_connect_while_the_parent_is_busy(spec, volume, directory):
    volume.mkdir(directory)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with volume.create(directory + "/busy") as file:
                file.pwrite(b"x" * 65536, 0)
            volume.unlink(directory + "/busy")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            assert in_child(lambda: open_root(spec)) == "True"
    finally:
        stop.set()
        worker.join()


def test_a_short_process_ends_at_once_and_well(spec, directory, run_program):
    program = (
        "v = connect(sys.argv[1])\n"
        "image.create(v, sys.argv[2], 1 << 20)\n"
        "v.open(sys.argv[2], write=True).pwrite(b'x', 0)\n"
    )
    for number in range(10):
        started = time.monotonic()
        done = run_program(program, spec.name, "%s/%d" % (directory, number))
        took = time.monotonic() - started
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert took < 2  # glfs_fini alone takes ten


def test_a_process_ends_well_while_a_connection_hangs(spec, frozen, run_program):
    done = run_program(
        "from ganeti_gluster import errors\n"
        "server = volume.VolfileServer('127.0.0.1', int(sys.argv[2]))\n"
        "spec = volume.VolumeSpec(sys.argv[1], (server,))\n"
        "try:\n    volume.connect(spec, timeout=0.5)\n"
        "except errors.VolumeUnreachable:\n    print('unreachable')",
        spec.name,
        str(frozen.port),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "unreachable\n", "")


def test_importing_loads_no_library_and_starts_no_thread(run_program):
    done = run_program(
        "import threading, ganeti_gluster.core.health\n"
        "print('libgfapi' in open('/proc/self/maps').read(), threading.active_count(),"
        " 'pyparsing' in sys.modules)"
    )
    assert done.stdout == "False 1 False\n", done.stderr


def test_libgfapi_logs_where_it_is_told_to_and_nowhere_else(spec, tmp_path, run_program):
    program = "volume.connect(volume.VolumeSpec.from_params(dict(host=%r, volume=%r)), **%r)"
    log = tmp_path / "log"
    for options, logged in (({}, False), ({"log_file": str(log), "log_level": 9}, True)):
        done = run_program(program % (spec.servers[0].host, spec.name, options), cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [p.name for p in tmp_path.iterdir()] == (["log"] if logged else [])
    assert "gfapi" in log.read_text()


def test_fini_ends_the_connection_for_all_and_the_next_is_new(make_volume):
    made = make_volume("ended", 1)
    volume, other = connect(made.spec), connect(made.spec)
    file = volume.create("x")
    file.pwrite(b"x", 0)
    volume.fini()
    with pytest.raises(ValueError, match="is closed"):
        other.stat("/")
    with connect(made.spec) as again:
        assert again.stat("x").size == 1
    assert connection._pool[again._connection.target] is again._connection


_FORKING = """
import shutil
from ganeti_gluster.tools.gfapi import library, preload
library.preload()
for path in preload.mapped() if sys.argv[3] == "upgraded" else ():
    if "/glusterfs/" in path or "libglusterfs" in path:
        shutil.copy2(path, path + ".new")
        os.replace(path + ".new", path)
inherited = library.load()
if os.fork() == 0:
    fresh = library.load() is not inherited
    spec = volume.VolumeSpec.from_params(dict(host=sys.argv[1], volume=sys.argv[2]))
    with volume.connect(spec) as opened:
        opened.stat("/")
    old = [path for path in preload.mapped() if path.endswith(" (deleted)")]
    print("fresh" if fresh else "inherited", "old" if old else "current", flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""


@pytest.mark.parametrize(
    ("change", "used"), [("nothing", "inherited current\n"), ("upgraded", "fresh current\n")]
)
def test_a_child_uses_the_library_of_its_daemon_unless_that_was_upgraded(
    spec, run_program, change, used
):
    done = run_program(_FORKING, spec.servers[0].host, spec.name, change)
    assert (done.returncode, done.stdout, done.stderr) == (0, used, "")
