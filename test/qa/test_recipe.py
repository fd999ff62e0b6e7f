"""What a root tree is made of, and when it is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbedlib import TestbedError, command, image, layout, recipe

CHECK = """if (not os.path.isdir("/proc/sys") or
        not os.path.isfile("/proc/sysrq-trigger")):
  complain()
"""


def test_the_package_list_is_one_name_a_line() -> None:
    names = recipe.packages()
    assert {"ganeti", "glusterfs-server", "qemu-block-extra"} <= set(names)
    assert len(names) == len(set(names))
    assert all(name and " " not in name and "#" not in name for name in names)


@pytest.mark.parametrize("suite", layout.SUITES)
def test_no_mirror_is_named(suite: str) -> None:
    argv = recipe.build_argv(suite, Path("/t"))
    assert argv[-2:] == [suite.partition("+")[0], "/t"]
    assert not any("://" in word for word in argv)
    assert any("-backports" in word for word in argv) == ("+" in suite)


SOURCES = """\
deb [signed-by="/k.gpg"] http://mirror.example/debian trixie main
deb http://mirror.example/debian trixie-updates main
deb http://security.example/debian-security trixie-security main
"""


@pytest.mark.allow_process  # a shell runs the hook, as mmdebstrap has one do
def test_qemu_alone_is_taken_from_backports_of_the_same_mirror(tmp_path: Path) -> None:
    etc = tmp_path / "a b/etc/apt"
    for name in ("sources.list.d", "preferences.d"):
        (etc / name).mkdir(parents=True)
    (hook,) = (
        word.partition("=")[2]
        for word in recipe.build_argv("trixie+backports", Path("/t"))
        if word.startswith("--setup-hook=")
    )
    argv = ["sh", "-c", hook, "exec", str(tmp_path / "a b")]

    (etc / "sources.list").write_text("deb http://mirror.example/debian sid main\n")
    assert command.run(argv, timeout=10, check=False).exit_code != 0

    (etc / "sources.list").write_text(SOURCES)
    command.run(argv, timeout=10)
    assert (etc / "sources.list.d/backports.list").read_text() == (
        'deb [signed-by="/k.gpg"] http://mirror.example/debian trixie-backports main\n'
    )
    assert (etc / "preferences.d/qemu").read_text().splitlines() == [
        "Package: src:qemu src:seabios",
        "Pin: release n=trixie-backports",
        "Pin-Priority: 500",
    ]


def test_no_tree_is_taken_for_another_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    trees = {suite: image.tree_path(suite) for suite in layout.SUITES}
    assert len(set(trees.values())) == len(layout.SUITES)
    for tree in trees.values():
        tree.mkdir()
    assert image.ensure("trixie+backports", set(), print) == trees["trixie+backports"]

    old = tmp_path / "trixie+backports-0"
    old.mkdir()
    image.remove_unused({str(trees["trixie"]), str(trees["sid"])}, print)
    assert sorted(path for path in tmp_path.iterdir()) == sorted([trees["trixie"], trees["sid"]])


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


REQUEST = "  req = OpenSSL.crypto.X509Req()\n"


@pytest.mark.parametrize(
    ("library", "changed"), [("X509Req = _deprecated", False), ("class X509: ...", True)]
)
def test_certificates_are_made_without_what_pyopenssl_has_no_more(
    library: str, changed: bool, tmp_path: Path
) -> None:
    crypto = tmp_path / "usr/lib/python3/dist-packages/OpenSSL/crypto.py"
    x509 = tmp_path / "usr/share/ganeti/3.1/ganeti/utils/x509.py"
    for path, text in ((crypto, library), (x509, REQUEST)):
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    assert recipe.adapt_certificates(tmp_path) == changed
    wanted = REQUEST.replace("X509Req", "X509") if changed else REQUEST
    assert x509.read_text(encoding="utf-8") == wanted
    assert not recipe.adapt_certificates(tmp_path)


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
