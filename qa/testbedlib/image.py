"""The cached root tree: built once per suite, then only ever read.

A tree is keyed by its suite and a digest of everything that shaped it, built
under a temporary name and renamed, so that an interrupted build is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import command, layout
from .errors import TestbedError, tail
from .state import exclusive

HERE = Path(__file__).resolve().parent
PROGRESS_SECONDS = 5
BUILD_SECONDS = 1200
SYSRQ = "/proc/sysrq-trigger"
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "fstrim.timer", "logrotate.timer", "man-db.timer", "console-getty.service",
    "lvm2-monitor.service", "lvm2-lvmpolld.socket", "dm-event.socket", "e2scrub_reap.service",
    "systemd-networkd-wait-online.service", "systemd-udevd.service", "ldconfig.service",
    "systemd-journal-catalog-update.service", "systemd-update-done.service",
)
ENABLED = ("ssh.service", "glusterd.service", "testbed-devices.service",
           "testbed-network.service")


def packages() -> list[str]:
    """The packages of packages.txt."""
    lines = (line.partition("#")[0].strip()
             for line in (HERE / "packages.txt").read_text(encoding="ascii").splitlines())
    return [line for line in lines if line]


def digest(adapt_sysrq: bool) -> str:
    """What stands for the content of a tree: its package list and this code."""
    total = hashlib.sha256(b"sysrq" if adapt_sysrq else b"")
    for path in [HERE / "packages.txt", HERE / "image.py", *sorted((HERE / "tree").iterdir())]:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    total.update(layout.hosts_file().encode())
    return total.hexdigest()[:12]


def tree_path(suite: str) -> Path:
    """Where the tree of this suite is, or will be."""
    return layout.cache_dir() / ("%s-%s" % (suite, digest(not os.path.exists(SYSRQ))))


def build_argv(suite: str, directory: Path) -> list[str]:
    """The mmdebstrap command; without a mirror it takes the distribution's own."""
    return [
        # In namespaces of its own that die with us: a killed build leaves neither a
        # process nor a mount.
        "setpriv", "--pdeathsig=KILL",
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "mmdebstrap", "--verbose", "--variant=apt", "--mode=root", "--include=" + ",".join(packages()),
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\"",
        suite, str(directory)]


def ensure(suite: str, say: Callable[[str], None]) -> Path:
    """The root tree of `suite`, built now if it is not cached."""
    final = tree_path(suite)
    if final.is_dir():
        return final
    lock = layout.cache_dir() / (".%s.lock" % suite)
    with exclusive(lock, lambda: say("waiting for another command that builds the %s tree"
                                     % suite)):
        if final.is_dir():  # another process built it while we waited
            return final
        for leftover in layout.cache_dir().glob("%s-*.building" % suite):
            remove_tree(leftover)
        building = final.with_name(final.name + ".building")
        say("building the %s tree, once (about a minute): %s" % (suite, final))
        started = time.monotonic()
        _bootstrap(suite, building, say)
        prepare(building)
        building.rename(final)
        say("the %s tree is built: %.0f s" % (suite, time.monotonic() - started))
    return final


def remove_unused(used: set[str], say: Callable[[str], None]) -> None:
    """Remove all trees but those in `used` and those that are being built."""

    def busy() -> None:
        raise TestbedError("another command builds a tree")

    for suite in layout.SUITES:
        lock = layout.cache_dir() / (".%s.lock" % suite)
        try:
            with exclusive(lock, busy):
                for tree in layout.cache_dir().glob("%s-*" % suite):
                    if str(tree) not in used:
                        say("removing %s" % tree)
                        remove_tree(tree) if tree.is_dir() else tree.unlink()
                lock.unlink()
        except TestbedError as err:
            say("the %s trees stay: %s" % (suite, err))
    with contextlib.suppress(OSError):
        layout.cache_dir().rmdir()


def _bootstrap(suite: str, directory: Path, say: Callable[[str], None]) -> None:
    """Run mmdebstrap, saying every few seconds how far it is."""
    argv = build_argv(suite, directory)
    log = directory.with_name(directory.name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command.trace(argv)
    started = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=command.environment(), start_new_session=True)
        try:
            while True:
                try:
                    process.wait(PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - started
                    if seconds > BUILD_SECONDS:
                        raise TestbedError("mmdebstrap %s took more than %d s" % (
                            suite, BUILD_SECONDS), hint="see %s" % log) from None
                    say("  %3.0f s: %s" % (seconds, progress(log.read_text("utf-8", "replace"))))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        raise TestbedError("mmdebstrap %s failed (exit code %d): %s" % (
            suite, process.returncode, tail(log.read_text("utf-8", "replace"), 600)),
            hint="see %s" % log)
    log.unlink()


def progress(log: str) -> str:
    """What mmdebstrap is doing, from its log so far."""
    lines = [line for line in log.splitlines() if line.strip()]
    stages = [line for line in lines if line.startswith("I: ")]
    unpacked = sum(line.startswith("Unpacking ") for line in lines)
    set_up = sum(line.startswith("Setting up ") for line in lines)
    counts = "; %d packages unpacked, %d set up" % (unpacked, set_up) if unpacked else ""
    return (stages[-1][3:] if stages else "starting").rstrip(".")[:60] + counts


def prepare(tree: Path) -> None:
    """Make a node of a plain Debian tree; what differs between nodes comes later."""
    _ssh(tree)
    (tree / "etc/hosts").write_text(layout.hosts_file())
    for name in ("etc/hostname", "etc/machine-id", "etc/resolv.conf"):
        (tree / name).unlink(missing_ok=True)
    (tree / "etc/resolv.conf").write_text("")
    (tree / "etc/fstab").write_bytes((HERE / "tree/fstab").read_bytes())
    units = tree / "etc/systemd/system"
    for unit in ("testbed-devices.service", "testbed-network.service"):
        shutil.copy(HERE / "tree" / unit, units / unit)
    (units / "glusterd.service.d").mkdir()
    shutil.copy(HERE / "tree/glusterd-after-brick.conf", units / "glusterd.service.d")
    helper = tree / "usr/local/lib/testbed/make-loop-nodes"
    helper.parent.mkdir(parents=True)
    shutil.copy(HERE / "tree/make-loop-nodes", helper)
    helper.chmod(0o755)
    for point in (layout.BRICK_MOUNT, layout.BRICK_IMAGES, layout.SOURCE_MOUNT):
        (tree / point.lstrip("/")).mkdir(parents=True, exist_ok=True)
    root = "--root=%s" % tree
    command.run(["systemctl", root, "mask", *MASKED], timeout=30)
    command.run(["systemctl", root, "enable", *ENABLED], timeout=30)
    if not os.path.exists(SYSRQ):
        adapt_sysrq_check(tree)
        # or every node would compile it anew
        command.run(["chroot", str(tree), "/usr/bin/python3", "-m", "compileall", "-q",
                     "/usr/share/ganeti"], timeout=120, check=False)


def _ssh(tree: Path) -> None:
    """One root key and one set of host keys, known to all nodes."""
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    command.run(["chroot", str(tree), "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "",
                 "-C", "root@testbed", "-f", "/root/.ssh/id_rsa"], timeout=60)
    shutil.copy(ssh / "id_rsa.pub", ssh / "authorized_keys")
    names = layout.node_names(layout.MAX_NODES)
    hosts = ",".join([*names, *map(layout.node_address, names), layout.CLUSTER_NAME,
                      layout.CLUSTER_ADDRESS])
    keys = sorted((tree / "etc/ssh").glob("ssh_host_*_key.pub"))
    if not keys:
        raise TestbedError("the new tree has no SSH host keys")
    (tree / "etc/ssh/ssh_known_hosts").write_text("".join(
        "%s %s\n" % (hosts, " ".join(key.read_text().split()[:2])) for key in keys))


def adapt_sysrq_check(tree: Path) -> None:
    """Drop the one check of verify that this kernel, without sysrq, can never pass."""
    old = '(not os.path.isdir("/proc/sys") or\n        not os.path.isfile("/proc/sysrq-trigger"))'
    new = 'not os.path.isdir("/proc/sys")'
    found = list(tree.glob("usr/share/ganeti/*/ganeti/backend.py"))
    if len(found) != 1 or found[0].read_text(encoding="utf-8").count(old) != 1:
        raise TestbedError("Ganeti's check of %s is not where it was: %s" % (SYSRQ, found),
                           hint="adapt image.adapt_sysrq_check to this Ganeti")
    found[0].write_text(found[0].read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def remove_tree(directory: Path) -> None:
    """Remove a tree, unless something is mounted in it."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if (point + "/").startswith(str(directory) + "/"):
            command.run(["umount", "--lazy", point], timeout=20)
    shutil.rmtree(directory)
