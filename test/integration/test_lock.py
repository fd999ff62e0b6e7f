"""Locks on images, with real keepers, systemd and bricks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ganeti_gluster import image
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.gfapi.brick import ask_each
from ganeti_gluster.lock.client import Lock, LockFailed
from ganeti_gluster.lock.image_lock import EXCLUSIVE, SHARED, Held, Holder, ImageLock, holder_of

from .conftest import ANOTHER_NODE, HOST, VOLUME, GlusterVolume

HERE, THERE = 1001, 1002


@pytest.fixture
def path(volume: Volume, directory: str) -> str:
    path = directory + "/x.0"
    image.create(volume, path, 1 << 20)
    return path


@pytest.fixture
def lock(path: str) -> Iterator[Lock]:
    lock = Lock({"host": HOST, "volume": VOLUME}, path)
    yield lock
    lock.give_back()


@pytest.fixture
def elsewhere(
    start_program: Callable[..., subprocess.Popen[str]], path: str
) -> Callable[[str], subprocess.Popen[str]]:
    """Hold the lock elsewhere."""

    def hold(mode: str) -> subprocess.Popen[str]:
        other = start_program(ANOTHER_NODE, VOLUME, path, str(THERE), mode)
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        return other

    return hold


@pytest.fixture
def taken_away(
    lock: Lock, path: str, volume: Volume, elsewhere: Callable[[str], subprocess.Popen[str]]
) -> Callable[[str], subprocess.Popen[str]]:
    """Have the lock held elsewhere that its keeper has, which was stopped meanwhile."""

    def signal_keeper(name: str) -> None:
        argv = ["systemctl", "kill", "--signal=" + name, lock.unit]
        subprocess.run(argv, check=True, timeout=10)

    def take(mode: str) -> subprocess.Popen[str]:
        signal_keeper("STOP")
        volume.clear_locks(path)
        other = elsewhere(mode)
        signal_keeper("CONT")
        return other

    return take


def main_pid(lock: Lock) -> int:
    argv = ["systemctl", "show", "--value", "--property=MainPID", lock.unit]
    return int(subprocess.run(argv, capture_output=True, check=True, timeout=10).stdout)


@contextlib.contextmanager
def writer(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """What has the name and an argument of a QEMU that has the image, and waits for input."""
    script = 'exec -a qemu-system-test bash -c read "$1"'
    command = ["bash", "-c", script, "bash", "file=gluster://a:1/b/" + path]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process


def state(process: subprocess.Popen[bytes]) -> str:
    """The letter that ps shows: T where it is stopped."""
    with open("/proc/%d/stat" % process.pid, encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]


#: Asks for the lock again and again until its input ends, and says how often it was
#: refused and how often it had it.  Arguments: volume, path, the node's number.
CONTENDER = """
import errno, fcntl, select
held = connect(sys.argv[1])
count = {"refused": 0, "had": 0}
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    try:
        file = held.open(sys.argv[2], write=True)
    except OSError:  # while too few bricks answer
        continue
    file.set_lock_owner(os.urandom(16))
    try:
        file.lock(fcntl.F_WRLCK, pid=int(sys.argv[3]))
        count["had"] += 1
    except OSError as err:
        count["refused"] += err.errno == errno.EAGAIN
    file.abandon()
print(count["refused"], count["had"], flush=True)
os._exit(0)
"""


@pytest.fixture
def contender(
    start_program: Callable[..., subprocess.Popen[str]],
) -> Callable[[str, str], subprocess.Popen[str]]:
    """Another node that tries to get a lock all the time."""

    def start(volume: str, path: str) -> subprocess.Popen[str]:
        other = start_program(CONTENDER, volume, path, str(THERE))
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        return other

    return start


def on_bricks(volume: Volume, path: str) -> list[Holder | None]:
    """Who has the image open for each brick that answers."""

    def ask(brick: Volume) -> Holder | None:
        with brick.open(path, write=True) as file:
            file.set_lock_owner(os.urandom(16))
            found = file.conflicting_lock(fcntl.F_WRLCK)
        return found and Holder(found[1], EXCLUSIVE if found[0] else SHARED)

    return ask_each(volume, ask)


def test_a_lock_is_held_changed_and_given_back(lock: Lock, path: str, volume: Volume) -> None:
    lock.take(EXCLUSIVE, HERE)
    first = main_pid(lock)
    assert holder_of(volume, path) == Holder(HERE, EXCLUSIVE)
    lock.take(EXCLUSIVE, HERE)
    lock.take(SHARED, HERE)
    assert holder_of(volume, path) == Holder(HERE, SHARED)
    assert main_pid(lock) == first
    lock.give_back()
    assert holder_of(volume, path) is None
    assert subprocess.run(["systemctl", "is-active", lock.unit], check=False).returncode != 0
    lock.give_back()


def test_a_second_writer_is_refused_and_told_who_has_it(
    lock: Lock, elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    other = elsewhere(EXCLUSIVE)
    for mode in (EXCLUSIVE, SHARED):
        with pytest.raises(Held) as caught:
            lock.take(mode, HERE)
        assert caught.value.holder == Holder(THERE, EXCLUSIVE)
    assert lock.mode() is None
    other.communicate()
    lock.take(EXCLUSIVE, HERE)


def test_both_ends_of_a_migration_hold_it_and_then_one(
    lock: Lock, elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    source = elsewhere(SHARED)
    lock.take(SHARED, HERE)
    with pytest.raises(Held) as caught:
        lock.take(EXCLUSIVE, HERE)
    assert caught.value.holder == Holder(THERE, SHARED)
    assert lock.mode() == SHARED  # what was held still is
    source.communicate()
    lock.take(EXCLUSIVE, HERE)
    assert lock.mode() == EXCLUSIVE


def test_a_lock_is_taken_away_from_its_holder(
    lock: Lock,
    path: str,
    volume: Volume,
    elsewhere: Callable[[str], subprocess.Popen[str]],
) -> None:
    elsewhere(EXCLUSIVE)
    lock.take(EXCLUSIVE, HERE, clear=True)
    assert holder_of(volume, path) == Holder(HERE, EXCLUSIVE)


def test_a_keeper_that_dies_comes_back_with_the_lock(
    lock: Lock, path: str, volume: Volume, wait: Callable[..., Any]
) -> None:
    lock.take(EXCLUSIVE, HERE)
    lock.take(SHARED, HERE)
    first = main_pid(lock)
    os.kill(first, signal.SIGKILL)
    wait("another keeper", lambda: main_pid(lock) not in (0, first))
    wait("it has the lock", lambda: holder_of(volume, path) == Holder(HERE, SHARED))


def test_a_keeper_that_lost_it_kills_what_writes(
    lock: Lock,
    path: str,
    volume: Volume,
    taken_away: Callable[[str], subprocess.Popen[str]],
    wait: Callable[..., Any],
) -> None:
    lock.take(EXCLUSIVE, HERE)
    with writer(path) as guest:
        other = taken_away(EXCLUSIVE)
        assert guest.wait(timeout=30) == -signal.SIGKILL
    wait("the keeper has gone", lambda: lock.mode() is None)
    assert holder_of(volume, path) == Holder(THERE, EXCLUSIVE)
    other.communicate()


def test_a_lock_that_is_refused_for_a_moment_is_not_lost(
    lock: Lock,
    path: str,
    volume: Volume,
    taken_away: Callable[[str], subprocess.Popen[str]],
    wait: Callable[..., Any],
) -> None:
    lock.take(EXCLUSIVE, HERE)
    with writer(path) as guest:
        other = taken_away(EXCLUSIVE)
        wait("what writes is stopped", lambda: state(guest) == "T")
        other.communicate()
        wait("it goes on", lambda: state(guest) != "T")
        assert holder_of(volume, path) == Holder(HERE, EXCLUSIVE)
        assert guest.poll() is None


def test_to_take_it_again_leaves_no_gap(
    path: str, volume: Volume, contender: Callable[..., subprocess.Popen[str]]
) -> None:
    held = ImageLock(volume, path, HERE)
    held.take(EXCLUSIVE)
    other = contender(VOLUME, path)
    for _ in range(300):
        held.take(EXCLUSIVE)
    held.take(SHARED)
    held.take(SHARED)
    refused, had = map(int, other.communicate()[0].split())
    assert refused > 100
    assert had == 0
    assert holder_of(volume, path) == Holder(HERE, SHARED)
    held.give_back()
    assert holder_of(volume, path) is None


@pytest.mark.slow
def test_a_lock_survives_the_restart_of_every_brick(
    make_volume: Callable[..., GlusterVolume],
    contender: Callable[..., subprocess.Popen[str]],
    wait: Callable[..., Any],
) -> None:
    from ganeti_gluster.volume import connect

    own = make_volume("locks", 3, "replica", "3")
    here = Holder(HERE, EXCLUSIVE)
    with connect(own.spec) as volume, writer("x.0") as guest:
        image.create(volume, "x.0", 1 << 20)
        lock = Lock({"host": HOST, "volume": own.name}, "x.0")
        lock.take(EXCLUSIVE, HERE)
        keeper = main_pid(lock)
        other = contender(own.name, "x.0")
        try:
            for index in range(3):
                own.kill(index)
                own.revive()
                wait("it is held", lambda: on_bricks(volume, "x.0") == [here] * 3)
            refused, had = map(int, other.communicate()[0].split())
            assert refused > 100
            assert had == 0
            # The brick that replication asks has no lock; who has it is known all the same.
            os.kill(keeper, signal.SIGSTOP)
            own.kill(2)
            own.revive()
            assert on_bricks(volume, "x.0") == [here, here, None]
            assert holder_of(volume, "x.0") == here
            with pytest.raises(Held) as caught:
                ImageLock(volume, "x.0", THERE).take(SHARED)
            assert caught.value.holder == here
            os.kill(keeper, signal.SIGCONT)
            wait("it is held", lambda: on_bricks(volume, "x.0") == [here] * 3)
            assert main_pid(lock) == keeper
            assert guest.poll() is None
        finally:
            lock.give_back()


def test_what_cannot_be_locked_says_why(directory: str) -> None:
    lock = Lock({"host": HOST, "volume": VOLUME}, directory + "/none")
    with pytest.raises(LockFailed, match=r"cannot lock image .*/none: .*No such file") as caught:
        lock.take(EXCLUSIVE, HERE)
    assert isinstance(caught.value, GanetiGlusterError)
    assert lock.mode() is None
