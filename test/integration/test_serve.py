"""The server of an open image, on a real volume: its clients, its death, its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

nbd = pytest.importorskip("nbd")

from nbd_clients import (  # noqa: E402
    BLOCK,
    FAR,
    HERE,
    SIZE,
    Writer,
    client,
    kill,
    main_pid,
)

from ganeti_gluster.core import image  # noqa: E402
from ganeti_gluster.core.serve import control, files  # noqa: E402
from ganeti_gluster.core.serve.files import SHARED  # noqa: E402
from ganeti_gluster.core.serve.holder import (  # noqa: E402
    LastUser,
    LockHolder,
    OpenElsewhere,
    holder_of,
    new_owner,
    word_of,
)
from ganeti_gluster.core.serve.server import PROGRAM, ImageHasClients, ImageServer  # noqa: E402
from ganeti_gluster.core.volume import connect  # noqa: E402
from ganeti_gluster.tools.gfapi import Volume  # noqa: E402
from ganeti_gluster.tools.gfapi.brick import ask_each  # noqa: E402

from .conftest import ANOTHER_NODE, MIB, VOLUME, GlusterVolume, gluster  # noqa: E402

THERE = 2288


def bricks_of(volume: str) -> list[Path]:
    done = subprocess.run(
        ["gluster", "volume", "info", volume], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("Brick")]
    return [Path(line.rsplit(":", 1)[1]) for line in lines[1:]]


def piece(brick: Path, path: str, offset: int) -> tuple[Path, int]:
    """The file on a brick that has an offset of a sharded image, and the offset in it."""
    shard = 64 * MIB
    if offset < shard:
        return brick / path, offset
    gfid = os.getxattr(brick / path, "trusted.gfid").hex()
    name = "-".join((gfid[:8], gfid[8:12], gfid[12:16], gfid[16:20], gfid[20:]))
    return brick / ".shard" / ("%s.%d" % (name, offset // shard)), offset % shard


def on_brick(brick: Path, path: str, offset: int) -> bytes:
    file, place = piece(brick, path, offset)
    with file.open("rb") as stream:
        stream.seek(place)
        return stream.read(BLOCK)


def test_the_program_explains_itself() -> None:
    done = subprocess.run(
        [PROGRAM, "--help"], capture_output=True, text=True, check=True, timeout=10
    )
    assert done.stdout.startswith("Usage: %s KEY\n" % PROGRAM)


# -- what it serves -----------------------------------------------------------


def test_what_is_written_is_read(spec, path, opened, volume) -> None:
    server = opened(spec, path)
    handle = client(server, meta=True)
    assert handle.get_size() == SIZE
    data = os.urandom(MIB)
    for offset in (0, 64 * MIB - 512 * 1024, FAR + BLOCK):
        handle.pwrite(data, offset, nbd.CMD_FLAG_FUA)
        assert handle.pread(MIB, offset) == data
        with volume.open(path) as file:
            assert file.pread(MIB, offset) == data
    handle.zero(MIB, FAR + BLOCK)
    assert handle.pread(MIB, FAR + BLOCK) == bytes(MIB)
    handle.trim(64 * 1024, 0)
    handle.flush()
    with pytest.raises(nbd.Error, match="Operation not supported"):
        handle.zero(BLOCK, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
    handle.zero(BLOCK, 0, nbd.CMD_FLAG_FAST_ZERO)
    assert handle.can_multi_conn() and handle.can_fua() and handle.can_fast_zero()


def test_where_there_is_data_is_told(spec, path, opened, wait) -> None:
    server = opened(spec, path)
    handle = client(server, meta=True)
    handle.pwrite(b"x" * MIB, FAR)
    found: list[tuple[int, bool]] = []

    def add(_context: str, _offset: int, entries: list[int], _error: Any) -> int:
        found.extend(zip(entries[::2], [bool(flag & 1) for flag in entries[1::2]], strict=True))
        return 0

    offset = 0
    while offset < SIZE:
        found.clear()
        handle.block_status(SIZE - offset, offset, add)
        for length, hole in found:
            if offset <= FAR < offset + length:
                assert not hole
            offset += length
        assert found

    def hole() -> bool:
        found.clear()
        handle.block_status(32 * MIB, 160 * MIB, add)
        return found == [(32 * MIB, True)]

    # On a busy node who tells may take longer to start than is waited for.
    wait("a hole is told", hole, seconds=90)


def test_bad_input_ends_that_connection_alone(spec, path, opened) -> None:
    server = opened(spec, path)
    good = client(server)
    random.seed(7)
    for garbage in (b"", b"x", b"\0" * 28, random.randbytes(5000), b"NBDMAGIC" * 100):
        for option in (False, True):
            with socket.socket(socket.AF_UNIX) as bad:
                bad.connect(server.socket_path)
                bad.settimeout(20)
                bad.recv(18)
                with contextlib.suppress(OSError):
                    bad.sendall((b"\0\0\0\3" if option else b"") + garbage)
                    bad.shutdown(socket.SHUT_WR)
                    while bad.recv(4096):
                        pass
    for offset, size in ((SIZE, BLOCK), (SIZE - 512, BLOCK), (1 << 62, BLOCK), (0, 0), (1, 512)):
        raw = client(server)
        raw.set_strict_mode(0)
        with pytest.raises(nbd.Error):
            raw.pread(size, offset)
        with pytest.raises(nbd.Error):
            raw.pwrite(b"x" * size, offset)
    many = []
    for _ in range(1000):
        one = socket.socket(socket.AF_UNIX)
        many.append(one)
        one.connect(server.socket_path)
    good.pwrite(b"y" * BLOCK, 0)
    assert good.pread(BLOCK, 0) == b"y" * BLOCK
    for one in many:
        one.close()
    found = server.status()
    assert found is not None and found.state == "serving"
    assert len(os.listdir("/proc/%d/task" % main_pid(server))) < 100


# -- its death ----------------------------------------------------------------


@pytest.mark.parametrize(
    "kills", [20, pytest.param(200, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_acknowledged_byte_is_lost_when_it_is_killed(spec, path, opened, volume, kills) -> None:
    server = opened(spec, path)
    random.seed(kills)
    with Writer(server, 60 * MIB, 4000) as writer:
        for _ in range(kills):
            time.sleep(random.uniform(0.02, 0.4))
            before = writer.count
            with contextlib.suppress(ProcessLookupError):
                pid = main_pid(server)
                if pid:
                    os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while writer.count == before and time.monotonic() < deadline:
                time.sleep(0.01)
        assert not writer.errors
    server.flush()
    server.close(force=True)
    assert writer.count > kills
    for brick in bricks_of(VOLUME):
        if not brick.exists():
            continue  # of another host
        for offset, number in writer.acknowledged.items():
            assert on_brick(brick, path, offset) == Writer.record(number)
    with volume.open(path) as file:
        for offset, number in writer.acknowledged.items():
            assert file.pread(BLOCK, offset) == Writer.record(number)


@pytest.fixture
def one_brick(make_volume) -> GlusterVolume:
    made: GlusterVolume = make_volume(
        "unflushed", 1, features__shard="on", features__shard_block_size="64MB"
    )
    return made


def test_a_flush_reaches_what_a_killed_server_wrote(one_brick, opened) -> None:
    """GlusterFS flushes those of an image's files alone that the same process wrote to."""
    with connect(one_brick.spec) as volume:
        image.create(volume, "disk.0", SIZE)
    server = opened(one_brick.spec, "disk.0")
    with gluster_profile(one_brick.spec.name) as flushed:
        handle = client(server)
        handle.pwrite(b"x" * BLOCK, FAR)
        handle.pwrite(b"x" * BLOCK, 2 * FAR)
        assert flushed() == 0
        kill(server)
        client(server).flush()
        assert flushed() == 3  # the image's first file, and two others
        kill(server)
        client(server).flush()
        assert flushed() == 4


def test_an_image_lives_on_after_a_flush_that_failed(make_volume, opened, wait) -> None:
    """QEMU's own driver gave it up until QEMU was started anew."""
    failing = make_volume(
        "failing",
        1,
        features__shard="on",
        debug__error_gen="posix",
        debug__error_fops="fsync",
        debug__error_failure="0",
    )
    with connect(failing.spec) as volume:
        image.create(volume, "disk.0", SIZE)
    server = opened(failing.spec, "disk.0")
    for number in range(4):
        handle = client(server)
        handle.pwrite(bytes([number]) * BLOCK, FAR)
        failing.set("debug.error-failure", "100")
        # The brick picks an error: the guest is given one that stays, the server
        # opens the image anew for others.
        with pytest.raises(nbd.Error):
            handle.flush()
        failing.set("debug.error-failure", "0")
        wait("it serves", lambda: server.status().state == control.SERVING)
        handle = client(server)
        handle.flush()
        assert handle.pread(BLOCK, FAR) == bytes([number]) * BLOCK


@contextlib.contextmanager
def gluster_profile(volume: str) -> Iterator[Callable[[], int]]:
    """How many files the only brick was asked to flush, as a function."""

    def flushed() -> int:
        fops = gluster("volume", "profile", volume, "info", "cumulative").iter("fop")
        return sum(
            int(fop.findtext("hits", "")) for fop in fops if fop.findtext("name") == "FSYNC"
        )

    gluster("volume", "profile", volume, "start")
    try:
        yield flushed
    finally:
        gluster("volume", "profile", volume, "stop")


@pytest.mark.parametrize("verbs", [("restart",), ("stop", "start")], ids=" ".join)
def test_its_unit_is_restarted_under_a_client(spec, path, opened, volume, verbs) -> None:
    """As needrestart does after an upgrade of a library."""
    server = opened(spec, path)
    with Writer(server, FAR, 100) as writer:
        for _ in range(3):
            before = writer.count
            for verb in verbs:
                subprocess.run(["systemctl", verb, server.unit], check=True, timeout=60)
            deadline = time.monotonic() + 30
            while writer.count < before + 20 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert writer.count >= before + 20
    assert not writer.errors
    assert holder_of(volume, path) == LockHolder(HERE, "exclusive")
    server.close(force=True)
    assert holder_of(volume, path) is None and word_of(volume, path) == ("", 0)


def test_its_unit_is_restarted_under_a_client_that_is_not_connected(
    spec, path, opened, volume, wait
) -> None:
    """As a QEMU is, of another user, that had nothing to ask since its server was killed."""
    server = opened(spec, path)
    control.ask(server.key, "owner 4242", timeout=30)
    handle = client(server)
    kill(server)
    assert (server.status().peers, server.status().users) == ((), 1)
    subprocess.run(["systemctl", "restart", server.unit], check=True, timeout=60)
    assert os.stat(server.socket_path).st_uid == 4242
    wait("it serves", lambda: server.status().state == "serving")
    handle = client(server)  # it connects again, with its next request
    handle.pwrite(b"x" * BLOCK, 0)
    handle.shutdown()  # it is done, and lives on
    stop_in_order(server)
    assert holder_of(volume, path) is None and word_of(volume, path) == ("", 0)


def stop_in_order(server: ImageServer) -> None:
    """End the unit, with nobody who uses the image: the server gives it back."""
    subprocess.run(["systemctl", "stop", server.unit], check=True, timeout=60)
    assert not os.path.exists(server.socket_path)


def test_a_server_that_is_left_ends_with_a_client_that_is_not_connected(
    spec, path, opened, volume, wait
) -> None:
    """As when the package is removed under a QEMU that had nothing to ask since an upgrade."""
    server = opened(spec, path)
    program = "import nbd, sys; h = nbd.NBD(); h.connect_unix(sys.argv[1]); print(); input()"
    argv = ["/usr/bin/python3", "-c", program, server.socket_path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        kill(server)
        control.ask(server.key, "leave", timeout=30)
        time.sleep(3)  # it looks every second
        assert server.status().state == "serving"
        process.kill()
    wait("the server has ended", lambda: server.status() is None)
    assert holder_of(volume, path) is None and word_of(volume, path) == ("", 0)


def test_it_goes_on_as_what_is_installed_now(spec, path, opened) -> None:
    server = opened(spec, path)
    pid = main_pid(server)
    with Writer(server, FAR, 100) as writer:
        for _ in range(5):
            before = writer.count
            server.renew()
            deadline = time.monotonic() + 30
            while writer.count < before + 20 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert writer.count >= before + 20
    assert not writer.errors
    assert main_pid(server) == pid  # in its own place


# -- the storage is away ------------------------------------------------------


@pytest.fixture(scope="module")
def replica(make_volume) -> GlusterVolume:
    made: GlusterVolume = make_volume(
        "serve",
        3,
        *("replica", "3"),
        features__shard="on",
        features__shard_block_size="64MB",
        performance__strict_o_direct="on",
        network__remote_dio="disable",
        client__strict_locks="on",
        cluster__quorum_type="auto",
        network__ping_timeout="5",
    )
    return made


@pytest.fixture
def replica_path(replica: GlusterVolume) -> Iterator[str]:
    with connect(replica.spec) as volume:
        image.create(volume, "disk.0", SIZE)
        yield "disk.0"
        image.remove(volume, "disk.0")


def test_requests_wait_for_quorum(replica, replica_path, opened, wait) -> None:
    server = opened(replica.spec, replica_path)
    with Writer(server, 60 * MIB, 2000) as writer:
        wait("records", lambda: writer.count > 20)
        replica.kill(0, 1)
        wait("they wait", lambda: (server.status() or server).state == control.WAITING)
        found = server.status()
        assert found is not None and found.why and found.waiting
        replica.revive()
        before = writer.count
        wait("they go on", lambda: writer.count > before + 20)
        assert not writer.errors
    with connect(replica.spec) as volume, volume.open(replica_path) as file:
        for offset, number in writer.acknowledged.items():
            assert file.pread(BLOCK, offset) == Writer.record(number)


def test_without_patience_an_error_is_one_at_once(replica, replica_path, opened, wait) -> None:
    server = opened(replica.spec, replica_path, patience=0)
    client(server).pwrite(b"x" * BLOCK, 0)
    replica.kill(0, 1)
    try:

        def fails() -> bool:
            try:
                client(server).pwrite(b"y" * BLOCK, 0)
            except nbd.Error as err:
                return "Input/output error" in str(err)
            return False

        wait("an error", fails)
    finally:
        replica.revive()

    def works() -> bool:
        try:
            client(server).pwrite(b"z" * BLOCK, 0)
        except nbd.Error:
            return False
        return True

    wait("it works again", works)


def test_every_brick_that_comes_back_is_used_again(replica, replica_path, opened, wait) -> None:
    server = opened(replica.spec, replica_path)
    with Writer(server, 60 * MIB, 2000) as writer:
        for brick in range(3):
            replica.kill(brick)
            wait("it is seen", lambda: server.status().connected == 2)
            before = writer.count
            wait("it goes on", lambda before=before: writer.count > before + 10)
            replica.revive()
            wait("it is used", lambda: _serves_all(server))
            with connect(replica.spec) as volume:
                assert holder_of(volume, replica_path) == LockHolder(HERE, "exclusive")
            wait(
                "it is healed",
                lambda: (
                    not any(
                        (brick_path / ".glusterfs/indices/xattrop").is_dir()
                        and len(
                            [
                                name
                                for name in os.listdir(brick_path / ".glusterfs/indices/xattrop")
                                if not name.startswith("xattrop")
                            ]
                        )
                        for brick_path in replica.bricks
                    )
                    or _heal(replica)
                ),
                seconds=120,
            )
        assert not writer.errors


@pytest.fixture
def without_healing(replica: GlusterVolume) -> Iterator[None]:
    replica.set("cluster.self-heal-daemon", "off")
    yield
    replica.set("cluster.self-heal-daemon", "on")


def test_what_an_absent_brick_lacks_is_noted_before_a_write_is_answered(
    replica, replica_path, opened, wait, without_healing
) -> None:
    """Else a brick that is back passes for whole when the server died meanwhile."""
    server = opened(replica.spec, replica_path)
    replica.kill(0)
    wait("it is seen", lambda: server.status().connected == 2)
    try:
        for first in (16 * MIB, 70 * MIB, 140 * MIB):
            with Writer(server, first, 50) as writer:
                wait("records", lambda: writer.count > 100)
                pid = main_pid(server)
                os.kill(pid, signal.SIGSTOP)  # what is there now is there when it is killed
                time.sleep(1)
                pieces = {
                    piece(brick, replica_path, offset)[0]
                    for brick in replica.bricks[1:]
                    for offset in dict(writer.acknowledged)
                }
                without = [file for file in pieces if not blamed(file, replica.name, 0)]
                os.kill(pid, signal.SIGKILL)
                wait("it goes on", lambda: writer.count > 200)
            assert not writer.errors
            assert pieces and not without
    finally:
        replica.revive()
        wait("it is used", lambda: _serves_all(server))


def blamed(file: Path, volume: str, brick: int) -> bool:
    """Whether a copy of a file says that another brick lacks writes."""
    with contextlib.suppress(OSError):
        pending = os.getxattr(file, "trusted.afr.%s-client-%d" % (volume, brick))
        return pending[:4] != bytes(4)
    return False


def _serves_all(server: ImageServer) -> bool:
    found = server.status()
    return found is not None and (found.state, found.connected) == (control.SERVING, 3)


def _heal(replica: GlusterVolume) -> bool:
    done = subprocess.run(
        ["gluster", "volume", "heal", replica.name, "info", "summary"],
        capture_output=True,
        text=True,
        check=False,
    )
    pending = [
        line for line in done.stdout.splitlines() if line.startswith("Number of entries in heal")
    ]
    return bool(pending) and all(line.endswith(" 0") for line in pending)


def test_a_stopped_volume_is_waited_for(replica, replica_path, opened, wait) -> None:
    server = opened(replica.spec, replica_path)
    with Writer(server, FAR, 100) as writer:
        wait("records", lambda: writer.count > 20)
        subprocess.run(
            ["gluster", "--mode=script", "volume", "stop", replica.name, "force"],
            check=True,
            timeout=60,
        )
        wait("they wait", lambda: server.status().state == control.WAITING)
        subprocess.run(
            ["gluster", "--mode=script", "volume", "start", replica.name], check=True, timeout=60
        )
        replica.revive()
        before = writer.count
        wait("they go on", lambda: writer.count > before + 20)
        assert not writer.errors


def test_a_full_volume_is_waited_for(make_volume, small_disk, opened, wait) -> None:
    full = make_volume("servefull", 1, under=small_disk, storage__reserve="0")
    filler = small_disk / "filler"
    with connect(full.spec) as volume:
        image.create(volume, "disk.0", SIZE)
    server = opened(full.spec, "disk.0")
    with filler.open("wb") as stream:
        with contextlib.suppress(OSError):
            while stream.write(bytes(4 * MIB)):
                pass
        with contextlib.suppress(OSError):
            stream.flush()
    with Writer(server, 0, 40000) as writer:
        wait("they wait", lambda: server.status().state == control.WAITING)
        assert server.status().why == "write: No space left on device"
        wait("that is told", lambda: server.status().requests > 0)
        filler.unlink()
        before = writer.count
        wait("they go on", lambda: writer.count > before + 20)
        wait("that is told", lambda: server.status().state == control.SERVING)
        assert not writer.errors
    server.close(force=True)


def test_a_full_volume_is_an_error_when_patience_ends(
    make_volume, small_disk, opened, wait
) -> None:
    full = make_volume("serveover", 1, under=small_disk, storage__reserve="0")
    with connect(full.spec) as volume:
        image.create(volume, "disk.0", 2048 * MIB)
    server = opened(full.spec, "disk.0", patience=4)
    try:
        with Writer(server, 0, 2047, size=MIB) as writer:
            wait("they wait", lambda: server.status().state == control.WAITING)
            assert not writer.errors
            wait("an error", lambda: writer.errors)
            assert "No space left" in writer.errors[0]
    finally:
        server.close(force=True)
        with connect(full.spec) as volume:
            image.remove(volume, "disk.0")


def test_an_image_that_was_removed_gives_errors_at_once(replica, opened, wait) -> None:
    with connect(replica.spec) as volume:
        image.create(volume, "gone.0", SIZE)
        server = opened(replica.spec, "gone.0")
        image.remove(volume, "gone.0")
    server.renew()

    def fails() -> bool:
        try:
            client(server).pread(BLOCK, 0)
        except nbd.Error as err:
            return "Input/output error" in str(err)
        return False

    wait("an error", fails)


def test_devices_with_large_sectors(make_volume, brick_root, undo, opened) -> None:
    folder = brick_root / "large"
    folder.mkdir()
    disk, mount = folder / "disk.img", folder / "mount"
    mount.mkdir()
    with disk.open("wb") as stream:
        stream.truncate(512 * MIB)
    device = subprocess.run(
        ["losetup", "--find", "--show", "--sector-size=4096", str(disk)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    undo.callback(subprocess.run, ["losetup", "--detach", device], check=True)
    subprocess.run(["mkfs.xfs", "-q", "-s", "size=4096", device], check=True)
    subprocess.run(["mount", device, str(mount)], check=True)
    undo.callback(subprocess.run, ["umount", str(mount)], check=True)
    large = make_volume(
        "serve4k", 1, under=mount, performance__strict_o_direct="on", network__remote_dio="disable"
    )
    with connect(large.spec) as volume:
        image.create(volume, "disk.0", 64 * MIB)
    server = opened(large.spec, "disk.0")
    handle = client(server)
    assert handle.get_block_size(nbd.SIZE_MINIMUM) == 4096
    handle.pwrite(b"x" * BLOCK, BLOCK)
    assert handle.pread(BLOCK, BLOCK) == b"x" * BLOCK
    server.close(force=True)


# -- its lock -----------------------------------------------------------------


def test_another_nodes_image_is_refused(spec, path, opened, volume, start_program) -> None:
    other = start_program(ANOTHER_NODE, VOLUME, path, str(THERE), "exclusive")
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(OpenElsewhere) as found:
        opened(spec, path)
    assert found.value.holder == LockHolder(THERE, "exclusive")
    assert files.served() == [] or ImageServer(spec, path).key not in files.served()
    other.kill()
    other.wait()
    # It has not said that it ended.
    with pytest.raises(LastUser) as left:
        opened(spec, path)
    assert left.value.number == THERE
    server = opened(spec, path, take=left.value.word)
    assert holder_of(volume, path) == LockHolder(HERE, "exclusive")
    server.close()
    assert word_of(volume, path) == ("", 0)
    assert holder_of(volume, path) is None


def test_both_ends_of_a_migration(spec, path, opened, volume, start_program) -> None:
    server = opened(spec, path)
    other = start_program(ANOTHER_NODE, VOLUME, path, str(THERE), "shared", "wait")
    opened(spec, path, mode=SHARED)
    assert other.stdout.readline() == "locked\n"
    assert holder_of(volume, path) is not None
    with pytest.raises(OpenElsewhere) as found:
        opened(spec, path)  # exclusive again, while the other has it
    assert found.value.holder == LockHolder(THERE, "shared")
    client(server).pwrite(b"x" * BLOCK, 0)
    other.kill()
    other.wait()
    opened(spec, path)
    assert holder_of(volume, path) == LockHolder(HERE, "exclusive")
    assert word_of(volume, path)[1] == HERE


def test_a_lock_left_by_its_own_former_connection_is_waited_for(
    spec, path, opened, volume, start_program
) -> None:
    opened(spec, path, mode=SHARED)
    left = start_program(ANOTHER_NODE, VOLUME, path, str(HERE), "shared")
    assert left.stdout.readline() == "locked\n"
    forgotten = threading.Timer(2, left.kill)
    forgotten.start()
    opened(spec, path)  # exclusive
    forgotten.join()
    assert holder_of(volume, path) == LockHolder(HERE, "exclusive")


# Another node, whose lock the last of three bricks alone knows.  Arguments as above.
ANOTHER_ON_LAST_BRICK = """
import fcntl
from ganeti_gluster.tools.gfapi.brick import ask_each
from ganeti_gluster.core.serve import holder

def lock(brick):
    if "client-2" not in brick.target.graph:
        return
    file = brick.open(sys.argv[2], write=True)
    file.set_lock_owner(holder.new_owner())
    file.lock(fcntl.F_RDLCK, pid=int(sys.argv[3]))
    print("locked", flush=True)
    sys.stdin.read()
    os._exit(0)

ask_each(connect(sys.argv[1]), lock)
"""


def test_a_lock_that_it_cannot_change_it_keeps_on_every_brick(
    replica, replica_path, opened, start_program
) -> None:
    opened(replica.spec, replica_path, mode=SHARED)
    other = start_program(ANOTHER_ON_LAST_BRICK, replica.name, replica_path, str(THERE))
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(OpenElsewhere):
        opened(replica.spec, replica_path)
    other.kill()
    other.wait()

    def lock(brick: Volume) -> tuple[int, int] | None:
        with brick.open(replica_path, write=True) as file:
            file.set_lock_owner(new_owner())
            return file.conflicting_lock(fcntl.F_WRLCK)

    with connect(replica.spec) as volume:
        assert ask_each(volume, lock) == [(fcntl.F_RDLCK, HERE)] * 3


def test_it_cannot_be_closed_under_a_client(spec, path, opened) -> None:
    server = opened(spec, path)
    handle = client(server)
    with pytest.raises(ImageHasClients) as found:
        server.close()
    assert found.value.peers == (os.getpid(),)
    handle.pwrite(b"x" * BLOCK, 0)
    handle.shutdown()
    server.close()
    server.close()
    assert server.status() is None


def cut_connections(server: ImageServer) -> None:
    """End its connections to the bricks, as where the bricks are."""
    pid = main_pid(server)
    done = subprocess.run(["ss", "-Htnp"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if "pid=%d," % pid in line and not line.split()[4].endswith(":24007"):
            local, peer = line.split()[3:5]
            subprocess.run(
                ["ss", "-K", "-t", "src", local.rsplit(":", 1)[0], "sport", "=",
                 ":" + local.rsplit(":", 1)[1], "dport", "=", ":" + peer.rsplit(":", 1)[1]],
                capture_output=True,
                check=True,
            )  # fmt: skip


def test_a_lost_image_is_never_written_again(
    spec, path, opened, volume, start_program, wait
) -> None:
    """Beyond the image's first piece, too, where the bricks know of no lock."""
    server = opened(spec, path)
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-blockdev",
         "driver=nbd,node-name=a,reconnect-delay=60,server.type=unix,server.path=%s"
         % server.socket_path],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with Writer(server, FAR, 1) as writer:
            wait("records", lambda: writer.count > 100)
            wait("QEMU is a client", lambda: qemu.pid in server.status().peers)
            other = start_program(ANOTHER_NODE, VOLUME, path, str(THERE), "exclusive", "wait")
            deadline = time.monotonic() + 60
            got = threading.Thread(target=other.stdout.readline)
            got.start()
            while got.is_alive() and time.monotonic() < deadline:
                cut_connections(server)
                got.join(0.3)
            assert not got.is_alive()
            with volume.open(path, write=True) as file:
                file.pwrite(b"the other's".ljust(BLOCK), FAR)
                file.fsync()
            wait("it knows", lambda: server.status().state == control.LOST)
            wait("its QEMU is ended", lambda: qemu.poll() == -signal.SIGKILL)
            wait("its client is told", lambda: writer.errors)
        with volume.open(path) as file:
            assert file.pread(BLOCK, FAR) == b"the other's".ljust(BLOCK)
        # Nor after a restart.
        os.kill(main_pid(server), signal.SIGKILL)
        wait("it is lost", lambda: (server.status() or server).state == control.LOST)
        with pytest.raises(nbd.Error):
            client(server).pwrite(b"x" * BLOCK, FAR)
        with volume.open(path) as file:
            assert file.pread(BLOCK, FAR) == b"the other's".ljust(BLOCK)
    finally:
        qemu.kill()
        qemu.wait()


def test_it_grows_and_its_clients_learn_that(spec, path, opened, volume, wait) -> None:
    server = opened(spec, path)
    handle = client(server)
    assert server.grow(2 * SIZE)
    with pytest.raises(nbd.Error):
        handle.pread(BLOCK, 0)
    assert client(server).get_size() == 2 * SIZE
    wait("others see it", lambda: image.stat(volume, path).size == 2 * SIZE)
    found = server.status()
    assert found is not None and found.size == 2 * SIZE
