"""What this machine must have, checked before anything starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import command, layout
from .errors import TestbedError, UnexpectedExit

# tool -> the Debian package that has it
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "mkfs.xfs": "xfsprogs",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "losetup": "mount",
}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

#: How many inotify instances one user may have, all containers together.
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED_WATCHES = 1024

_LOCK = "/run/lock/ganeti-gluster-testbed"


def missing_packages(
    which: Callable[[str], str | None] = shutil.which,
    exists: Callable[[str], bool] = os.path.exists,
) -> list[str]:
    """The packages whose tools are not on this machine."""
    packages = {package for tool, package in TOOLS.items() if not which(tool)}
    if not exists(KEYRING):
        packages.add("debian-archive-keyring")
    return sorted(packages)


@dataclass(frozen=True)
class Machine:
    """What was seen of this machine; `problem` judges it."""

    root: bool
    apt: bool
    fuse: bool
    loop: bool
    tun: bool
    netns: str = ""  # empty if network and mount namespaces work, else why not
    overlay: bool = True
    state_filesystem: str = "ext4"

    def problem(self, packages: list[str]) -> TestbedError | None:
        """The first reason why a testbed cannot run here."""
        if not self.root:
            return TestbedError(
                "the testbed needs root (containers, mounts, namespaces)", hint="run it as root"
            )
        if packages and not self.apt:
            return TestbedError(
                "missing on this machine: %s" % ", ".join(packages),
                hint="the testbed installs them on Debian only",
            )
        for there, what, how in (
            (self.fuse, "FUSE (/dev/fuse)", "load the fuse module"),
            (self.loop, "loop devices (/dev/loop-control)", "load the loop module"),
            (self.tun, "TUN (/dev/net/tun)", "load the tun module"),
            (self.overlay, "overlayfs", "load the overlay module"),
        ):
            if not there:
                return TestbedError("this machine has no %s" % what, hint=how)
        if self.netns:
            return TestbedError(
                "this machine gives no network namespaces (%s)" % self.netns,
                hint="a container must be privileged",
            )
        if self.state_filesystem in ("overlay", "tmpfs", "nfs", "nfs4"):
            return TestbedError(
                "%s is on %s, which cannot hold a node's root"
                % (layout.state_base(), self.state_filesystem),
                hint="set TESTBED_STATE to a directory on ext4, xfs or btrfs",
            )
        return None


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def filesystem_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`, from /proc/self/mountinfo."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        holds = point == "/" or (str(path) + "/").startswith(point + "/")
        if holds and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def look() -> Machine:
    """See what this machine has; starts nothing but a short-lived `unshare`."""
    netns = ""
    root = os.geteuid() == 0
    if root:
        try:
            command.run(["unshare", "--net", "--mount", "true"], timeout=10)
        except (UnexpectedExit, OSError) as err:
            netns = str(err).splitlines()[-1].strip()
    return Machine(
        root=root,
        apt=bool(shutil.which("apt-get")),
        fuse=_is_device("/dev/fuse"),
        loop=_is_device("/dev/loop-control"),
        tun=_is_device("/dev/net/tun"),
        netns=netns,
        overlay="\toverlay\n" in Path("/proc/filesystems").read_text(encoding="ascii")
        or _load_overlay(root),
        state_filesystem=filesystem_of(
            layout.state_base().absolute(),
            Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
        ),
    )


def _load_overlay(root: bool) -> bool:
    modprobe = shutil.which("modprobe")
    return bool(
        root
        and modprobe
        and not command.run([modprobe, "overlay"], timeout=10, check=False).exit_code
    )


def require(say: Callable[[str], None]) -> None:
    """Refuse, or install what is missing and say so in one line."""
    problem = look().problem(missing_packages())
    if problem:
        raise problem
    with open(_LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two testbeds may be made at once
        packages = missing_packages()
        if packages:
            say("installing on this machine: %s" % " ".join(packages))
            install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
            env = command.environment({"DEBIAN_FRONTEND": "noninteractive"})
            if command.run(install, timeout=600, env=env, check=False).exit_code:
                command.run(["apt-get", "update", "-q"], timeout=300, env=env)
                command.run(install, timeout=600, env=env)
    allow_watches(WATCHES, say)


def allow_watches(path: Path, say: Callable[[str], None]) -> None:
    """Let root have enough inotify instances for the systemd of every node.

    The nodes' root is the machine's, and the kernel's 128 do for some eight nodes.
    The value stays until the machine is started anew.
    """
    present = int(path.read_text())
    if present < NEEDED_WATCHES:
        say("fs.inotify.max_user_instances is %d: made %d" % (present, NEEDED_WATCHES))
        path.write_text("%d\n" % NEEDED_WATCHES)
