"""What a root tree is made of, and when it is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbedlib import TestbedError, image, recipe

CHECK = """if (not os.path.isdir("/proc/sys") or
        not os.path.isfile("/proc/sysrq-trigger")):
  complain()
"""


def test_the_package_list_is_one_name_a_line() -> None:
    names = recipe.packages()
    assert {"ganeti", "glusterfs-server", "qemu-block-extra"} <= set(names)
    assert len(names) == len(set(names))
    assert all(name and " " not in name and "#" not in name for name in names)


def test_no_mirror_is_named() -> None:
    argv = recipe.build_argv("trixie", Path("/t"))
    assert argv[-2:] == ["trixie", "/t"]
    assert not any("://" in word for word in argv)


def test_the_digest_follows_the_package_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("packages.txt", "recipe.py"):
        (tmp_path / name).write_bytes((recipe.HERE / name).read_bytes())
    (tmp_path / "tree").mkdir()
    monkeypatch.setattr(recipe, "HERE", tmp_path)
    before = recipe.digest(False)
    assert before == recipe.digest(False) != recipe.digest(True)
    (tmp_path / "packages.txt").write_text("ganeti\n", encoding="ascii")
    assert recipe.digest(False) != before


def test_only_the_sysrq_check_is_dropped(tmp_path: Path) -> None:
    backend = tmp_path / "usr/share/ganeti/3.1/ganeti/backend.py"
    backend.parent.mkdir(parents=True)
    backend.write_text(CHECK, encoding="utf-8")
    recipe.adapt_sysrq_check(tmp_path)
    assert backend.read_text(encoding="utf-8").splitlines() == [
        'if not os.path.isdir("/proc/sys"):',
        "  complain()",
    ]
    with pytest.raises(TestbedError, match="not where it was"):
        recipe.adapt_sysrq_check(tmp_path)


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("", "starting"),
        ("I: extracting archives...\n", "extracting archives"),
        (
            "I: installing...\nUnpacking a\nUnpacking b\nSetting up a\nI: /initrd.img is a link\n",
            "installing; 2 packages unpacked, 1 set up",
        ),
    ],
)
def test_progress_is_read_from_the_log(log: str, shown: str) -> None:
    assert image.progress(log) == shown
