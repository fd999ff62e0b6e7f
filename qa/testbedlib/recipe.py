"""What makes a node's root tree of Debian's packages.

Everything in this file, in packages.txt and in tree/ shapes the tree: a change
here means that it is built anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from . import command, layout
from .errors import TestbedError

HERE = Path(__file__).resolve().parent
SYSRQ = "/proc/sysrq-trigger"
# INITRD=No: nodes never boot the kernel in the tree, and making Debian's initial
# RAM disk takes ten seconds.
BUILD_ENVIRONMENT = {"INITRD": "No"}
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "logrotate.timer",
    "man-db.timer",
    "console-getty.service",
    "lvm2-monitor.service",
    "lvm2-lvmpolld.socket",
    "dm-event.socket",
    "e2scrub_reap.service",
    "systemd-networkd-wait-online.service",
    "systemd-udevd.service",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
)
# Has the new tree's apt take QEMU from the suite's backports, and the firmware that it demands;
# mmdebstrap runs it before anything is fetched.  The mirror is that of the suite's own line.
QEMU_FROM_BACKPORTS = """\
set -e
cd "$1/etc/apt"
sed -n 's/ %(suite)s main$/ %(suite)s-backports main/p' sources.list >sources.list.d/backports.list
test -s sources.list.d/backports.list
cat >preferences.d/qemu <<END
Package: src:qemu src:seabios
Pin: release n=%(suite)s-backports
Pin-Priority: 500
END
"""
ENABLED = ("ssh.service", "glusterd.service", "testbed-devices.service", "testbed-network.service")


def packages() -> list[str]:
    """The packages of packages.txt."""
    lines = (
        line.partition("#")[0].strip()
        for line in (HERE / "packages.txt").read_text(encoding="ascii").splitlines()
    )
    return [line for line in lines if line]


def digest(adapt_sysrq: bool) -> str:
    """What stands for the content of a tree: its package list and this recipe."""
    total = hashlib.sha256(b"sysrq" if adapt_sysrq else b"")
    for path in [HERE / "packages.txt", HERE / "recipe.py", *sorted((HERE / "tree").iterdir())]:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    total.update(layout.hosts_file().encode())
    return total.hexdigest()[:12]


def build_argv(suite: str, directory: Path) -> list[str]:
    """The mmdebstrap command; without a mirror it takes the distribution's own."""
    suite, _, qemu = suite.partition("+")
    return [
        # In namespaces of its own that die with us: a killed build leaves neither a
        # process nor a mount.
        "setpriv",
        "--pdeathsig=KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "mmdebstrap",
        "--verbose",
        "--variant=apt",
        "--mode=root",
        "--include=" + ",".join(packages()),
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "3"',
        *(["--setup-hook=" + QEMU_FROM_BACKPORTS % {"suite": suite}] if qemu else []),
        suite,
        str(directory),
    ]


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
    adapted = adapt_certificates(tree)
    if not os.path.exists(SYSRQ):
        adapt_sysrq_check(tree)
        adapted = True
    if adapted:  # or every node would compile it anew
        command.run(
            [
                "chroot",
                str(tree),
                "/usr/bin/python3",
                "-m",
                "compileall",
                "-q",
                "/usr/share/ganeti",
            ],
            timeout=120,
            check=False,
        )


def _ssh(tree: Path) -> None:
    """One root key and one set of host keys, known to all nodes."""
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    command.run(
        [
            "chroot",
            str(tree),
            "ssh-keygen",
            "-q",
            "-t",
            "rsa",
            "-b",
            "2048",
            "-N",
            "",
            "-C",
            "root@testbed",
            "-f",
            "/root/.ssh/id_rsa",
        ],
        timeout=60,
    )
    shutil.copy(ssh / "id_rsa.pub", ssh / "authorized_keys")
    names = layout.node_names(layout.MAX_NODES)
    hosts = ",".join(
        [*names, *map(layout.node_address, names), layout.CLUSTER_NAME, layout.CLUSTER_ADDRESS]
    )
    keys = sorted((tree / "etc/ssh").glob("ssh_host_*_key.pub"))
    if not keys:
        raise TestbedError("the new tree has no SSH host keys")
    (tree / "etc/ssh/ssh_known_hosts").write_text(
        "".join("%s %s\n" % (hosts, " ".join(key.read_text().split()[:2])) for key in keys)
    )


def adapt_sysrq_check(tree: Path) -> None:
    """Drop the one check of verify that this kernel, without sysrq, can never pass."""
    old = '(not os.path.isdir("/proc/sys") or\n        not os.path.isfile("/proc/sysrq-trigger"))'
    new = 'not os.path.isdir("/proc/sys")'
    found = list(tree.glob("usr/share/ganeti/*/ganeti/backend.py"))
    if len(found) != 1 or found[0].read_text(encoding="utf-8").count(old) != 1:
        raise TestbedError(
            "Ganeti's check of %s is not where it was: %s" % (SYSRQ, found),
            hint="adapt image.adapt_sysrq_check to this Ganeti",
        )
    found[0].write_text(found[0].read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def adapt_certificates(tree: Path) -> bool:
    """Let Ganeti make certificates with a pyOpenSSL that has no requests for them any more.

    Without it `gnt-cluster init` fails on Debian unstable.  Ganeti's request only carries a
    name and a key, which a certificate does as well.  Returns whether anything was changed.
    """
    gone = "OpenSSL.crypto.X509Req()"
    library = tree / "usr/lib/python3/dist-packages/OpenSSL/crypto.py"
    if "X509Req" in library.read_text(encoding="utf-8"):
        return False
    changed = False
    for path in tree.glob("usr/share/ganeti/*/ganeti/utils/x509.py"):
        text = path.read_text(encoding="utf-8")
        if gone in text:
            path.write_text(text.replace(gone, "OpenSSL.crypto.X509()"), encoding="utf-8")
            changed = True
    return changed
