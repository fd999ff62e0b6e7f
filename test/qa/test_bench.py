"""The figures of the benchmark: medians, ratios, table, JSON, qemu-img's answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchlib import catalogue, cli, figures
from benchlib.figures import Row
from testbedlib import TestbedError

QEMU_BENCH = """\
Sending 20000 read requests, 4096 bytes each, 32 in parallel (starting at offset 0)
Run completed in 2.373 seconds.
"""


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
    with pytest.raises(ValueError, match=r"create: (ours|peer): not a list of seconds"):
        figures.row("create", "ms", 1e3, "stock", given)


def test_the_table_has_a_header_and_a_line_a_row() -> None:
    rows = [
        Row("create", "ms", 55.1, 174.8, "stock, not mounted before", 0.3152, 20),
        Row("qemu-read-4k", "us/request", 118.65, 1437.2, "FUSE mount", 0.0826, 5),
    ]
    assert figures.table_lines(rows) == [
        "name          unit        ours  peer  peer_name                   ratio  runs",
        "create        ms          55.1   175  stock, not mounted before   0.315    20",
        "qemu-read-4k  us/request   119  1437  FUSE mount                 0.0826     5",
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


def test_every_row_has_a_name_of_its_own() -> None:
    names = catalogue.names()
    assert len(set(names)) == len(names)
    assert set(names) >= {
        *("create", "attach", "size", "grow", "remove"),
        *("list-10000", "verify-10000", "gnt-instance-list", "qemu-read-4k", "qemu-write-4k"),
    }


def test_only_what_is_named_is_run() -> None:
    found = catalogue.wanted(["size", "qemu-write-4k"])
    assert [(benchmark.script, [part.row for part in parts]) for benchmark, parts in found] == [
        ("disks.py", ["size"]),
        ("qemu.py", ["qemu-write-4k"]),
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
