"""The figures of the benchmark: medians, ratios, table, JSON, qemu-img's answer."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from benchlib import bench, catalogue, cli, disk_requests, figures
from benchlib.disk_requests import MEASURES, Taken
from benchlib.figures import Row
from testbedlib import TestbedError

QEMU_BENCH = """\
Sending 20000 read requests, 4096 bytes each, 32 in parallel (starting at offset 0)
Run completed in 2.373 seconds.
"""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which runs on nodes with its directory first on the path."""
    monkeypatch.syspath_prepend(str(Path(catalogue.__file__).with_name("node")))
    return importlib.import_module("idle")


def samples(ours: list[float], peer: list[float]) -> dict[str, list[float]]:
    return {figures.OURS: ours, figures.PEER: peer}


def test_a_row_has_medians_in_its_unit_and_their_ratio() -> None:
    found = figures.row("create", "ms", 1e3, "stock", samples([0.05, 9.0, 0.04], [0.2, 0.1, 0.4]))
    assert found == Row("create", "ms", 50.0, 200.0, "stock", 0.25, 3)


def test_the_ratio_is_that_of_the_medians_before_rounding() -> None:
    found = figures.row("size", "s", 1.0, "stock", samples([0.123456], [0.654321]))
    assert (found.ours, found.peer, found.ratio) == (0.1235, 0.6543, 0.1887)


def test_the_smaller_number_of_runs_counts() -> None:
    assert figures.row("x", "s", 1.0, "p", samples([1.0, 1.0], [1.0])).runs == 1


@pytest.mark.parametrize(
    "given", [{}, samples([], [1.0]), samples([1.0], []), samples([1.0], [0.0]), {"ours": [1.0]}]
)
def test_a_side_without_a_time_is_refused(given: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match=r"create: (ours|peer): not a list of figures"):
        figures.row("create", "ms", 1e3, "stock", given)


def test_the_table_has_a_header_and_a_line_a_row() -> None:
    rows = [
        Row("create", "ms", 55.1, 174.8, "stock, not mounted before", 0.3152, 20),
        Row("fuse-read-4k", "us/request", 118.65, 1437.2, "FUSE mount", 0.0826, 5),
    ]
    assert figures.table_lines(rows) == [
        "name          unit        ours  peer  peer_name                   ratio  runs",
        "create        ms          55.1   175  stock, not mounted before   0.315    20",
        "fuse-read-4k  us/request   119  1437  FUSE mount                 0.0826     5",
    ]


def test_a_table_of_nothing_is_its_header() -> None:
    assert figures.table_lines([]) == ["name  unit  ours  peer  peer_name  ratio  runs"]


def test_the_json_is_a_list_of_objects() -> None:
    row = Row("grow", "ms", 49.4, 27.7, "stock, mounted", 1.783, 20)
    assert json.loads(figures.to_json([row])) == [
        {
            "name": "grow",
            "unit": "ms",
            "ours": 49.4,
            "peer": 27.7,
            "peer_name": "stock, mounted",
            "ratio": 1.783,
            "runs": 20,
        }
    ]


@pytest.mark.parametrize("before", ["", "qemu-img: warning: 'gluster' is deprecated\n"])
@pytest.mark.parametrize("after", ["", "[2026-01-01] E [inode.c:1574] Assertion failed\n"])
def test_the_time_of_qemu_img_is_found(before: str, after: str) -> None:
    assert figures.qemu_seconds(before + QEMU_BENCH + after) == 2.373


@pytest.mark.parametrize(
    "output", ["", "qemu-img: Could not open 'x'\n", QEMU_BENCH.replace("Run completed", "Failed")]
)
def test_an_answer_of_qemu_img_without_a_time_is_refused(output: str) -> None:
    with pytest.raises(ValueError, match="does not tell its time"):
        figures.qemu_seconds(output)


STAT = "305 (a) (b c) S 1 305 305 0 -1 4194560 1 2 3 4 {user} {system} 9 9 20 0 12 0 77"
ROLLUP = """\
5581e000-7ffd3000 ---p 00000000 00:00 0                                  [rollup]
Rss:               16120 kB
Pss:                5520 kB
Pss_Dirty:          5400 kB
"""


def test_the_processor_time_is_that_of_user_and_system() -> None:
    assert figures.processor_seconds(STAT.format(user=150, system=27), 100) == 1.77


def test_shared_memory_counts_by_its_part() -> None:
    assert figures.memory_bytes(ROLLUP) == 5520 * 1024


@pytest.mark.parametrize("text", ["", ROLLUP.replace("Pss:", "Uss:")])
def test_a_process_without_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the memory of a process is not told"):
        figures.memory_bytes(text)


def test_the_command_asks_for_the_requests() -> None:
    assert disk_requests.argv("nbd+unix:///?socket=/s", MEASURES["write-4k-d32"]) == [
        *("stdbuf", "--output=L", "qemu-img", "bench", "-f", "raw", "-t", "none"),
        *("-d", "32", "-s", "4096", "-S", "4182016", "-c", "5000", "-w", "nbd+unix:///?socket=/s"),
    ]


def test_reads_do_not_write() -> None:
    for name, measure in MEASURES.items():
        assert ("-w" in disk_requests.argv("image", measure)) == name.startswith("write")


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_every_block_is_met_before_one_is_met_again(measure: disk_requests.Measure) -> None:
    blocks = (256 << 20) // measure.request
    met = {index * measure.stride % blocks for index in range(min(measure.count, blocks))}
    assert len(met) == min(measure.count, blocks)


OURS_TAKEN, DRIVER_TAKEN, FUSE_TAKEN = Taken(1.0, 2.0), Taken(3.0, 4.0), Taken(5.0, 6.0)


def test_the_same_runs_of_ours_stand_against_driver_and_mount() -> None:
    found = {"ours": [OURS_TAKEN], "disk": [DRIVER_TAKEN], "fuse": [FUSE_TAKEN]}
    assert disk_requests.samples(found, "read-1m") == {
        "disk-read-1m": samples([1.0], [3.0]),
        "disk-cpu-read-1m": samples([2.0], [4.0]),
        "fuse-read-1m": samples([1.0], [5.0]),
    }


def test_without_the_driver_there_is_the_mount_alone() -> None:
    found = {"ours": [OURS_TAKEN], "fuse": [FUSE_TAKEN]}
    assert list(disk_requests.samples(found, "read-1m")) == ["fuse-read-1m"]


@pytest.mark.parametrize(
    ("why", "rows", "lines"),
    [
        ("", ["disk-read-4k-d32", "fuse-read-4k-d32", "disk-cpu-read-4k"], []),
        (
            "qemu-img version 11.1.3 has no gluster driver",
            ["fuse-read-4k-d32"],
            [
                "%s: not measured: qemu-img version 11.1.3 has no gluster driver" % row
                for row in ("disk-read-4k-d32", "disk-cpu-read-4k")
            ],
        ),
    ],
)
def test_what_was_not_measured_is_said(why: str, rows: list[str], lines: list[str]) -> None:
    name = "read-4k-d32"
    ((_, measured),) = catalogue.wanted(
        ["disk-read-4k-d32", "fuse-read-4k-d32", "disk-cpu-read-4k"]
    )
    found = {"ours": [OURS_TAKEN], "fuse": [FUSE_TAKEN]}
    if not why:
        found["disk"] = [DRIVER_TAKEN]
    answer = {**disk_requests.samples(found, name), "skipped": disk_requests.skipped(name, why)}
    given, said = bench.rows_of(answer, measured)
    assert [row.name for row in given] == rows
    assert said == lines


def test_memory_is_told_in_mebibytes() -> None:
    ((_, measured),) = catalogue.wanted(["memory-open-image"])
    ((row,), _) = bench.rows_of({"memory-open-image": samples([3 << 20], [6 << 20])}, measured)
    assert (row.unit, row.ours, row.peer, row.ratio) == ("MiB", 3.0, 6.0, 0.5)


def test_every_row_has_a_name_of_its_own() -> None:
    names = catalogue.names()
    assert len(set(names)) == len(names)
    assert set(names) >= {
        *("create", "attach", "size", "grow", "remove"),
        *("%s-%s" % (peer, name) for peer in ("disk", "fuse") for name in MEASURES),
        *("disk-cpu-read-4k", "disk-cpu-write-4k", "memory-open-image", "stop-qemu"),
        *("list-10000", "verify-10000", "gnt-instance-list", "attach-open", "size-open"),
    }


def test_only_what_is_named_is_run() -> None:
    found = catalogue.wanted(["size", "disk-cpu-write-4k", "attach-open"])
    assert [(benchmark.script, [part.row for part in parts]) for benchmark, parts in found] == [
        ("disks.py", ["size"]),
        ("disks.py", ["attach-open"]),
        ("qemu.py", ["disk-cpu-write-4k"]),
    ]


def test_all_is_run_where_nothing_is_named() -> None:
    rows = [part.row for _, parts in catalogue.wanted([]) for part in parts]
    assert rows == catalogue.names()


@pytest.mark.parametrize("benchmark", catalogue.BENCHMARKS, ids=lambda found: found.script)
def test_a_quick_run_is_shorter(benchmark: catalogue.Benchmark) -> None:
    assert 1 <= benchmark.quick < benchmark.runs
    assert str(benchmark.runs) in benchmark.argv(quick=False)
    assert str(benchmark.quick) in benchmark.argv(quick=True)


def test_every_script_is_there() -> None:
    node = Path(catalogue.__file__).with_name("node")
    assert all((node / benchmark.script).is_file() for benchmark in catalogue.BENCHMARKS)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["--only", "creat"])
    assert raised.value.code == 2
    assert "invalid choice: 'creat'" in capsys.readouterr().err


def test_a_missing_package_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "version.py").write_text('__version__ = "1.2.3"\n')
    monkeypatch.setattr(cli, "VERSION_FILE", tmp_path / "version.py")
    monkeypatch.setattr(cli, "BUILD", tmp_path)
    monkeypatch.setattr(cli, "LOCK", tmp_path / "lock")
    assert cli.main(["--quick"]) == 1
    assert capsys.readouterr().err == (
        "bench: there is no package %s/ganeti-gluster_1.2.3_*.deb; build it with: make deb\n"
        % tmp_path
    )


def test_a_second_run_of_one_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LOCK", tmp_path / "lock")
    with cli.alone(), pytest.raises(TestbedError, match="another qa/bench"), cli.alone():
        pass


def test_what_the_package_takes_is_without_what_all_else_does(idle: ModuleType) -> None:
    seen = {
        figures.PEER: {"node1": [0.1, 0.3], "node2": [0.1, 0.1], "node3": [0.3, 0.1]},
        figures.OURS: {"node1": [1.0, 1.2], "node2": [0.4, 0.5], "node3": [0.6, 0.5]},
    }
    found = idle.samples(seen, ["node2", "node3"])
    assert found[figures.PEER] == pytest.approx([0.2, 0.1])
    assert found[figures.OURS] == pytest.approx([0.35, 0.35])
    assert idle.samples(seen, ["node1"])[figures.OURS] == pytest.approx([0.8, 1.0])


def test_a_nodes_time_leaves_out_who_measures(idle: ModuleType, tmp_path: Path) -> None:
    def took(group: str, seconds: float) -> None:
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        text = "usage_usec %d\nuser_usec 1\n" % (seconds * 1e6)
        (tmp_path / group / "cpu.stat").write_text(text)

    took(".", 10)
    took("user.slice", 2)
    took("system.slice/ssh.service", 0.5)
    took("system.slice/glusterd.service", 1)
    assert idle.used(tmp_path) == 7.5
