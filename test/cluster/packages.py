"""Debian packages of a node that are removed, upgraded or repacked for a while.

A node has no way to a mirror: what it had is kept and put back, and newer packages are
fetched on this machine.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .conftest import Cluster

# The packages' files, and what dpkg knows; called for the first of the packages.
_KEEP = """{
  for name; do dpkg -L $name; ls /var/lib/dpkg/info/$name[.:]*; done
  echo /var/lib/dpkg/status
} | while read -r path; do [ ! -e $path ] || echo $path; done |
tar -cPf /var/tmp/$1.tar --no-recursion --files-from=-"""
_RESTORE = """tar -xPf /var/tmp/$1.tar; rm /var/tmp/$1.tar; ldconfig; systemctl daemon-reload"""

# Makes each installed package of a source package anew, with a higher version.
_REPACK = r"""
set -eu
source=$0 folder=$1
rm -rf $folder && mkdir $folder
dpkg-query -Wf '${source:Package} ${db:Status-Status} ${Package} ${Version}\n' |
while read -r from status name version; do
  [ $from = $source ] && [ $status = installed ] || continue
  root=$folder/$name
  mkdir -p $root/DEBIAN
  dpkg -L $name | while read -r path; do
    if [ -f $path ] || [ -L $path ]; then cp -a --parents $path $root; fi
  done
  for file in /var/lib/dpkg/info/$name[.:]*; do
    case $file in
      *.list | *.md5sums) ;;
      *) cp -p $file $root/DEBIAN/${file##*.} ;;
    esac
  done
  quoted=$(printf %s "$version" | sed 's/[.+]/\\&/g')
  dpkg-query -s $name |
    sed "/^Status:/d; /^Conffiles:/,/^[^ ]/{/^Conffiles:/d; /^ /d}; s/$quoted/$version+again1/g" \
      > $root/DEBIAN/control
  dpkg-deb --build --root-owner-group -Znone $root $folder/$name.deb > $folder/log
  rm -r $root
done
"""


# Makes the packages in a folder a repository of apt's, which has no other one then.
_OFFER = r"""
set -eu
cd $1
for deb in *.deb; do
  dpkg-deb --field $deb
  echo "Filename: ./$deb\nSize: $(stat -c %s $deb)\nSHA256: $(sha256sum $deb | cut -c -64)\n"
done > Packages
mv /etc/apt/sources.list /etc/apt/sources.list.away
echo "deb [trusted=yes] file:$1 ./" > /etc/apt/sources.list.d/test.list
apt-get --quiet update
"""
_WITHDRAW = r"""
mv /etc/apt/sources.list.away /etc/apt/sources.list
rm -r /etc/apt/sources.list.d/test.list "$1"
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
"""


@contextlib.contextmanager
def kept(cluster: Cluster, node: str, *packages: str) -> Iterator[None]:
    """Have packages as they were again after the block."""
    cluster.run("sh", "-c", _KEEP, "sh", *packages, node=node, max_seconds=120)
    try:
        yield
    finally:
        cluster.run("sh", "-c", _RESTORE, "sh", *packages, node=node, max_seconds=120)


@contextlib.contextmanager
def removed(cluster: Cluster, package: str, node: str) -> Iterator[None]:
    """Remove a package with one service of the same name, whatever depends on it."""
    with kept(cluster, node, package):
        try:
            cluster.run("dpkg", "--remove", "--force-depends", package, node=node, max_seconds=60)
            yield
        finally:
            cluster.run("systemctl", "unmask", "--quiet", package, node=node)


def installed(cluster: Cluster, node: str, source: str) -> list[str]:
    """The packages of a source package that a node has."""
    form = "${source:Package} ${Package}\n"
    lines = cluster.run("dpkg-query", "-Wf", form, node=node).stdout.splitlines()
    return [line.split()[1] for line in lines if line.split()[0] == source]


def repack(cluster: Cluster, node: str, source: str, folder: str) -> None:
    """Make a node's packages of a source package anew in a folder there, as an upgrade."""
    cluster.run("sh", "-c", _REPACK, source, folder, node=node, max_seconds=300)


def fetch(
    cluster: Cluster, node: str, release: str, folder: Path, names: tuple[str, ...]
) -> list[Path]:
    """What a node lacks to have packages from another release of Debian's, as files."""
    inside = cluster.testbed.node(node).inside
    sources = Path(inside("/etc/apt/sources.list")).read_text()
    own = release.partition("-")[0]
    first = next(line for line in sources.splitlines() if line.endswith(" %s main" % own))
    (folder / "sources.list").write_text(
        sources + first.replace(" %s main" % own, " %s main\n" % release)
    )
    for name in ("lists/partial", "archives/partial", "none"):
        (folder / name).mkdir(parents=True)
    # apt would resolve a path into the node to one of this machine's own.
    shutil.copy(inside("/var/lib/dpkg/status"), folder)
    shutil.copytree(inside("/etc/apt/trusted.gpg.d"), folder / "trusted")
    values = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": folder / "none",
        "Dir::Etc::PreferencesParts": folder / "none",
        "Dir::Etc::TrustedParts": folder / "trusted",
        "Dir::State::status": folder / "status",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "-qq", *("--option=%s=%s" % pair for pair in values.items())]
    install = ["--yes", "--download-only", "--no-install-recommends", "-t", release, "install"]
    for argv in (["update"], [*install, *names]):
        subprocess.run([*apt, *argv], check=True, timeout=300, stdin=subprocess.DEVNULL)
    return sorted((folder / "archives").glob("*.deb"))


@contextlib.contextmanager
def offered(cluster: Cluster, source: str, folder: str) -> Iterator[None]:
    """Have apt on all nodes know newer packages of a source package for a while.

    The nodes have the packages that they had again after the block.
    """
    first, *others = cluster.nodes
    repack(cluster, first, source, folder)
    for node in others:
        inside = (Path(cluster.testbed.node(each).inside(folder)) for each in (first, node))
        shutil.copytree(*inside)
    names = installed(cluster, first, source)
    with contextlib.ExitStack() as stack:
        for node in cluster.nodes:
            stack.enter_context(kept(cluster, node, *names))
        for node in cluster.nodes:
            stack.callback(cluster.run, "sh", "-c", _WITHDRAW, "sh", folder, node=node)
            cluster.run("sh", "-c", _OFFER, "sh", folder, node=node, max_seconds=120)
        yield
