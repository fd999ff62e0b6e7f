"""What is measured: for each script within a node, the rows that come of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MILLISECONDS = ("ms", 1e3)
SECONDS = ("s", 1.0)
MICROSECONDS = ("us/request", 1e6)
MEBIBYTES = ("MiB", 1 / (1 << 20))
SECONDS_A_MINUTE = ("s/minute", 1.0)

VOLUME = "gv0"
ONE_BRICK = "gv1"
IMAGES = 10_000
SCRIPT_SECONDS = 1200

FUSE = "stock, FUSE mount"
QEMU = "QEMU's gluster driver"


@dataclass(frozen=True)
class Measured:
    """A name in a script's answer, and the row that it becomes."""

    name: str
    row: str
    peer_name: str
    unit: tuple[str, float] = MILLISECONDS


@dataclass(frozen=True)
class Benchmark:
    """A script under qa/benchlib/node: its words, where RUNS stands for the number.

    `before` and `after` are further calls of it, not measured.  `healed` is for
    one that needs a volume with nothing to heal: a client lists otherwise there.
    """

    script: str
    arguments: tuple[str, ...]
    rows: tuple[Measured, ...]
    runs: int
    quick: int
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    healed: bool = False

    def argv(self, quick: bool) -> list[str]:
        """The measured call."""
        count = str(self.quick if quick else self.runs)
        return [count if word == RUNS else word for word in self.arguments]


RUNS = "RUNS"


def _disks(state: str, suffix: str, where: dict[str, str]) -> Benchmark:
    rows = tuple(Measured(name, name + suffix, where[name]) for name in where)
    return Benchmark("disks.py", (VOLUME, RUNS, state), rows, runs=15, quick=3)


def _qemu(name: str, processor: str = "") -> Benchmark:
    """Requests of one kind; `processor` is the row of their processor time, if it has one."""
    rows = [
        Measured("disk-" + name, "disk-" + name, QEMU, MICROSECONDS),
        Measured("fuse-" + name, "fuse-" + name, "FUSE mount, aio=threads", MICROSECONDS),
    ]
    if processor:
        rows.append(Measured("disk-cpu-" + name, processor, QEMU, MICROSECONDS))
    return Benchmark("qemu.py", (VOLUME, RUNS, name), tuple(rows), runs=5, quick=1)


def _copy(peer: str, peer_name: str) -> Benchmark:
    name = "copy-vs-%s" % peer
    rows = (Measured(name, name, peer_name, SECONDS),)
    return Benchmark("copies.py", (VOLUME, RUNS, peer), rows, runs=3, quick=1)


def _copy_on_one_brick(peer: str, peer_name: str) -> Benchmark:
    name = "copy-vs-%s-one-brick" % peer
    rows = (Measured(name, name, peer_name, SECONDS),)
    return Benchmark(
        "copies.py",
        (ONE_BRICK, RUNS, peer, "-one-brick"),
        rows,
        runs=3,
        quick=1,
        before=(("make", ONE_BRICK),),
        after=(("delete", ONE_BRICK),),
    )


def _switched(name: str, peer_name: str, runs: int, quick: int) -> Benchmark:
    rows = (Measured(name, name, peer_name),)
    return Benchmark("switched.py", (name, RUNS), rows, runs, quick)


BENCHMARKS = (
    _disks(
        "cold",
        "",
        {
            "create": "stock, not mounted before",
            "attach": "stock, mounted",
            "size": "stock, mounted",
            "grow": "stock, mounted",
            "remove": "stock, not mounted before",
            "request": "stock: fork and lock memory only",
        },
    ),
    _disks(
        "mounted",
        "-in-use",
        dict.fromkeys(("create", "remove"), "stock, mounted and in use"),
    ),
    _disks("open", "-open", dict.fromkeys(("attach", "size"), "stock, mounted")),
    Benchmark(
        "listing.py",
        ("compare", VOLUME, RUNS),
        (Measured("list-10000", "list-10000", FUSE, SECONDS),),
        runs=5,
        quick=2,
        before=(("fill", VOLUME, str(IMAGES)),),
        after=(("clear", VOLUME),),
        healed=True,
    ),
    Benchmark(
        "verify.py",
        ("limit", VOLUME, RUNS),
        tuple(
            Measured(name, name, "what it may take", SECONDS)
            for name in ("verify-10000", "verify-10000-cpu")
        ),
        runs=5,
        quick=1,
        before=(("fill", VOLUME, str(IMAGES)),),
        after=(("clear", VOLUME),),
        healed=True,
    ),
    _switched("gnt-instance-list", "plugin off", runs=15, quick=3),
    _qemu("read-4k-d1"),
    _qemu("read-4k-d32", "disk-cpu-read-4k"),
    _qemu("write-4k-d1"),
    _qemu("write-4k-d32", "disk-cpu-write-4k"),
    _qemu("read-1m"),
    _qemu("write-1m"),
    Benchmark(
        "open_images.py",
        (VOLUME, RUNS),
        (
            Measured("memory-open-image", "memory-open-image", QEMU, MEBIBYTES),
            Measured("stop-qemu", "stop-qemu", QEMU, SECONDS),
        ),
        runs=5,
        quick=1,
    ),
    _copy("cp", "cp --sparse=always on the FUSE mount"),
    _copy("convert", "qemu-img convert -W -m 16"),
    _copy_on_one_brick("cp", "cp --sparse=always on the FUSE mount"),
    _copy_on_one_brick("convert", "qemu-img convert -W -m 16"),
    Benchmark(
        "live.py",
        (VOLUME, RUNS),
        (Measured("live-snapshot-p99", "live-snapshot-p99", "no snapshot"),),
        runs=5,
        quick=1,
    ),
    Benchmark(
        "changed_blocks.py",
        (VOLUME, RUNS),
        (
            Measured(
                "changed-blocks-write-4k",
                "changed-blocks-write-4k",
                "no point",
                MICROSECONDS,
            ),
        ),
        runs=9,
        quick=1,
    ),
    # The others leave nothing behind that a node has to do: this is an idle cluster.
    Benchmark(
        "idle.py",
        ("compare", RUNS),
        tuple(
            Measured(name, name, "Ganeti and Gluster alone", SECONDS_A_MINUTE)
            for name in ("idle", "idle-master")
        ),
        runs=6,
        quick=1,
    ),
    _switched("python-start", "no .pth file", runs=200, quick=20),
    _switched("ganeti-import", "no .pth file", runs=40, quick=3),
)


def names() -> list[str]:
    """The names of all rows, in the order of the table."""
    return [row.row for benchmark in BENCHMARKS for row in benchmark.rows]


def wanted(only: Iterable[str]) -> list[tuple[Benchmark, list[Measured]]]:
    """The benchmarks that give a row named in `only` (all if empty), each with those rows."""
    chosen = set(only) or set(names())
    found = []
    for benchmark in BENCHMARKS:
        rows = [row for row in benchmark.rows if row.row in chosen]
        if rows:
            found.append((benchmark, rows))
    return found
