"""For whom an image is opened, and who is refused."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core.serve import opening
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import (
    LastUser,
    LockHolder,
    OpenElsewhere,
    node_number,
    work_number,
)
from ganeti_gluster.core.serve.server import ServerFailed
from ganeti_gluster.errors import GanetiGlusterError

PARAMS = {"host": "node1", "volume": "gv0"}
IMAGE = "ganeti/x.0"
OWN = node_number("node1")
OTHER = node_number("node2")


class Clock:
    """Time goes on where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Servers:
    """Stands for the class of servers; each opening ends with the next of `outcomes`."""

    def __init__(self) -> None:
        self.outcomes: list[Exception | None] = []
        self.opened: list[dict[str, Any]] = []
        self.state: str | None = None
        self.path = IMAGE

    def __call__(self, spec: Any, path: str) -> Servers:
        assert (spec.name, path) == ("gv0", IMAGE)
        self.spec = spec
        return self

    def status(self) -> Any:
        return None if self.state is None else SimpleNamespace(state=self.state)

    def open(self, **wanted: Any) -> None:
        self.opened.append(wanted)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servers() -> Servers:
    return Servers()


class OnVolume:
    """The word on the image, and who has it open at a time, by the bricks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.word = ("", 0)
        self.holders: list[tuple[float, float, LockHolder]] = []
        self.asked: list[float] = []

    def holders_of(self, volume: Any, path: str) -> set[LockHolder]:
        assert path == IMAGE
        now = self._clock.now - 100.0
        self.asked.append(now)
        return {holder for begin, end, holder in self.holders if begin <= now < end}


@pytest.fixture
def on_volume(clock: Clock) -> OnVolume:
    return OnVolume(clock)


@pytest.fixture
def one_writer(
    ganeti: SimpleNamespace,
    clock: Clock,
    servers: Servers,
    on_volume: OnVolume,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    module = ganeti.load("one_writer")
    monkeypatch.setattr(opening, "connect", lambda spec: contextlib.nullcontext("volume"))
    monkeypatch.setattr(opening, "word_of", lambda volume, path: on_volume.word)
    monkeypatch.setattr(opening, "holders_of", on_volume.holders_of)
    monkeypatch.setattr(opening, "time", clock)
    monkeypatch.setattr(module, "ImageServer", servers)
    return module


@pytest.fixture
def refused(ganeti: SimpleNamespace) -> type[Exception]:
    found: type[Exception] = ganeti.errors.BlockDeviceError
    return found


@pytest.mark.parametrize(("exclusive", "mode"), [(True, EXCLUSIVE), (False, SHARED)])
def test_an_image_is_opened_in_the_nodes_name(
    one_writer: Any, servers: Servers, exclusive: bool, mode: str
) -> None:
    one_writer.open_image(PARAMS, IMAGE, exclusive=exclusive)
    assert servers.opened == [{"number": OWN, "mode": mode, "locking": True, "patience": 900}]


def test_the_disks_parameters_are_heeded(one_writer: Any, servers: Servers) -> None:
    params = {**PARAMS, "locking": "off", "patience": "60"}
    one_writer.open_image(params, IMAGE, exclusive=True)
    (wanted,) = servers.opened
    assert (wanted["locking"], wanted["patience"]) == (False, 60)


@pytest.mark.parametrize("name", ["locking", "patience", "volume"])
def test_a_bad_parameter_opens_nothing(
    one_writer: Any, servers: Servers, refused: type[Exception], name: str
) -> None:
    with pytest.raises(refused, match="'': it is "):
        one_writer.open_image({**PARAMS, name: ""}, IMAGE, exclusive=True)
    assert servers.opened == []


def test_what_this_node_had_before_it_restarted_is_waited_for(
    one_writer: Any, servers: Servers, on_volume: OnVolume, clock: Clock
) -> None:
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(OWN, EXCLUSIVE))]
    on_volume.holders = [(0, 20, LockHolder(OWN, EXCLUSIVE))]
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    first, second = servers.opened
    assert first == second
    assert "wait" not in first  # that would be a place in the bricks' queue
    assert clock.now == 100.0 + 20 + opening.RETURN_SECONDS


LEFT = ("5fe0", OWN)


@pytest.mark.parametrize("word", [LEFT, ("", 0)])
@pytest.mark.parametrize(
    "others",
    [
        [(0, 99)],
        [(20, 99)],  # hidden for as long as the own one is there
        [(25, 99)],  # it was locking again just then
        [(29, 30)],
    ],
)
def test_the_other_end_of_a_migration_keeps_its_image(
    one_writer: Any,
    servers: Servers,
    on_volume: OnVolume,
    refused: type[Exception],
    others: list[tuple[float, float]],
    word: tuple[str, int],
) -> None:
    """The node lost its power just after a migration, and is told to start the instance."""
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(OWN, SHARED))]
    on_volume.word = word
    on_volume.holders = [
        (0, 20, LockHolder(OWN, SHARED)),
        *((begin, end, LockHolder(OTHER, SHARED)) for begin, end in others),
    ]
    with pytest.raises(refused, match=r"is open on node node2 \(shared\)"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert len(servers.opened) <= 1
    assert all("wait" not in wanted for wanted in servers.opened)


def test_work_of_this_node_that_ended_with_it_is_waited_for(
    one_writer: Any, servers: Servers, on_volume: OnVolume
) -> None:
    work = LockHolder(work_number("node1"), SHARED)
    servers.outcomes = [OpenElsewhere(IMAGE, work)]
    on_volume.holders = [(0, 20, work)]
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert len(servers.opened) == 2


def test_work_of_this_node_on_an_image_that_it_has_open_is_not_waited_for(
    one_writer: Any, servers: Servers, on_volume: OnVolume, refused: type[Exception], clock: Clock
) -> None:
    servers.state = "serving"
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(work_number("node1"), SHARED))]
    with pytest.raises(refused, match="node node1 for a snapshot, copy or removal"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert (len(servers.opened), clock.now) == (1, 100.0)


def test_a_lock_of_this_node_that_stays_is_an_error(
    one_writer: Any, servers: Servers, on_volume: OnVolume, refused: type[Exception]
) -> None:
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(OWN, EXCLUSIVE))]
    on_volume.holders = [(0, 999, LockHolder(OWN, EXCLUSIVE))]
    with pytest.raises(refused, match="is open on node node1"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert len(servers.opened) == 1


def test_a_word_of_this_node_alone_is_no_proof_that_nobody_has_the_image(
    one_writer: Any, servers: Servers, on_volume: OnVolume, clock: Clock
) -> None:
    on_volume.word = LEFT
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert len(servers.opened) == 1
    assert clock.now == 100.0 + opening.RETURN_SECONDS


@pytest.mark.parametrize(
    ("word", "state", "exclusive", "locking"),
    [
        (("", 0), None, True, "on"),
        (("5fe0", OTHER), None, True, "on"),
        (LEFT, "serving", True, "on"),
        (LEFT, "waiting", True, "on"),
        (LEFT, None, False, "on"),
        (LEFT, None, True, "off"),
    ],
)
def test_nobody_is_looked_for_where_no_restart_left_anything(
    one_writer: Any,
    servers: Servers,
    on_volume: OnVolume,
    word: tuple[str, int],
    state: str | None,
    exclusive: bool,
    locking: str,
) -> None:
    on_volume.word, servers.state = word, state
    one_writer.open_image({**PARAMS, "locking": locking}, IMAGE, exclusive=exclusive)
    assert on_volume.asked == []


@pytest.mark.parametrize(
    ("holder", "message"),
    [
        (
            LockHolder(OTHER, EXCLUSIVE),
            "Image ganeti/x.0 is open on node node2 (exclusive): stop the instance there; if"
            " that node is dead or cannot be reached, mark it offline (gnt-node modify"
            " --offline=yes) and fail the instance over, or take the image from it (gnt-gluster"
            " disk evict)",
        ),
        (
            LockHolder(7, SHARED),
            "Image ganeti/x.0 is open on an unknown node (7) (shared): stop the instance there;"
            " if that node is dead or cannot be reached, mark it offline (gnt-node modify"
            " --offline=yes) and fail the instance over, or take the image from it (gnt-gluster"
            " disk evict)",
        ),
        (None, "Image ganeti/x.0 was being opened by another node at the same time"),
    ],
)
def test_an_image_of_another_node_is_refused(
    one_writer: Any,
    servers: Servers,
    refused: type[Exception],
    holder: LockHolder | None,
    message: str,
) -> None:
    servers.outcomes = [OpenElsewhere(IMAGE, holder)]
    with pytest.raises(refused) as caught:
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert str(caught.value) == message
    assert len(servers.opened) == 1


def test_work_on_an_image_is_waited_for_by_who_reads_it(
    one_writer: Any, servers: Servers, refused: type[Exception]
) -> None:
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(work_number("node2"), SHARED))]
    with pytest.raises(refused) as caught:
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert str(caught.value) == (
        "Image ganeti/x.0 is open on node node2 for a snapshot, copy or removal (shared): wait"
        " until it has finished, or stop it there (systemctl stop 'ganeti-gluster-snapshot-*'); if"
        " that node cannot be reached, take the image from it (gnt-gluster disk evict)"
    )


@pytest.mark.parametrize("locking", ["on", "off"])
def test_an_image_is_kept_from_others(
    one_writer: Any, refused: type[Exception], tmp_path: Path, locking: str
) -> None:
    volume: Any = LocalVolume(tmp_path)
    params = {**PARAMS, "locking": locking}
    with one_writer.holding(params, volume, IMAGE):
        pass  # there is no such image
    volume.write(IMAGE, b"content")
    with one_writer.holding(params, volume, IMAGE), volume.open(IMAGE, write=True) as file:
        assert bool(file.conflicting_lock(fcntl.F_RDLCK)) == (locking == "on")
    with volume.elsewhere(IMAGE, OTHER):
        if locking == "off":
            with one_writer.holding(params, volume, IMAGE):
                pass
            return
        with (
            pytest.raises(refused, match=r"is open on node node2 \(exclusive\)"),
            one_writer.holding(params, volume, IMAGE),
        ):
            pytest.fail("another has it")


def test_a_refusal_is_one_of_ours_as_well(one_writer: Any, servers: Servers) -> None:
    servers.outcomes = [OpenElsewhere(IMAGE, LockHolder(node_number("node2"), EXCLUSIVE))]
    with pytest.raises(GanetiGlusterError, match=r"^Image ganeti/x\.0 is open on node node2 "):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)


def test_any_other_failure_is_ganetis_with_its_reason(
    one_writer: Any, servers: Servers, refused: type[Exception]
) -> None:
    servers.outcomes = [ServerFailed("cannot serve image x", hint="see y")]
    with pytest.raises(refused, match=r"^cannot serve image x; see y$"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)


def test_an_image_whose_last_user_is_gone_is_taken_once_it_had_time_to_come_back(
    one_writer: Any, servers: Servers, clock: Clock
) -> None:
    left = LastUser(IMAGE, OTHER, "word1")
    tries = int(opening.RETURN_SECONDS)
    servers.outcomes = [left] * (tries + 1)
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    *before, last = servers.opened
    assert len(before) == tries + 1
    assert all("take" not in wanted for wanted in before)
    assert last == {**before[0], "take": "word1"}
    assert clock.now == 100.0 + opening.RETURN_SECONDS


def test_the_word_that_is_there_at_last_is_the_one_that_is_taken(
    one_writer: Any, servers: Servers
) -> None:
    words = ["word1"] * 5 + ["word2"] * 6
    servers.outcomes = [LastUser(IMAGE, OTHER, word) for word in words]
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert servers.opened[-1]["take"] == "word2"


def test_a_last_user_that_comes_back_keeps_its_image(
    one_writer: Any, servers: Servers, refused: type[Exception]
) -> None:
    servers.outcomes = [
        *[LastUser(IMAGE, OTHER, "word1")] * 3,
        OpenElsewhere(IMAGE, LockHolder(OTHER, EXCLUSIVE)),
    ]
    with pytest.raises(refused, match=r"is open on node node2 \(exclusive\)"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert all("take" not in wanted for wanted in servers.opened)


def test_a_last_user_that_ends_in_order_leaves_nothing_to_take(
    one_writer: Any, servers: Servers, clock: Clock
) -> None:
    servers.outcomes = [LastUser(IMAGE, OTHER, "word1"), LastUser(IMAGE, OTHER, "word1")]
    one_writer.open_image(PARAMS, IMAGE, exclusive=True)
    assert len(servers.opened) == 3
    assert all("take" not in wanted for wanted in servers.opened)
    assert clock.now < 100.0 + opening.RETURN_SECONDS


def test_an_image_that_another_takes_first_is_refused(
    one_writer: Any, servers: Servers, refused: type[Exception]
) -> None:
    servers.outcomes = [
        *[LastUser(IMAGE, OTHER, "word1")] * 11,
        OpenElsewhere(IMAGE, LockHolder(node_number("node3"), EXCLUSIVE)),
    ]
    with pytest.raises(refused, match="is open on node node3"):
        one_writer.open_image(PARAMS, IMAGE, exclusive=True)
