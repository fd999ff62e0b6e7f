"""The files in which this node's glusterd keeps its volumes and peers, without asking it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from ganeti_gluster.core.verify.stamps import GLUSTERD_DIR

_BRICK = "brick-"


def checksums(directory: Path = GLUSTERD_DIR) -> dict[str, str]:
    """A checksum of each volume's configuration, of its sorted lines as glusterd's own."""
    return {
        path.parent.name: hashlib.sha256(b"".join(sorted(path.open("rb")))).hexdigest()
        for path in sorted(directory.glob("vols/*/info"))
    }


def is_member(directory: Path = GLUSTERD_DIR) -> bool:
    """Whether this node belongs to a pool, by the files of its glusterd."""
    return any(_entries(directory / "peers")) or any(_entries(directory / "vols"))


def incomplete(directory: Path = GLUSTERD_DIR) -> tuple[str, ...]:
    """The files that are empty or missing, below `directory`, without which it does not start.

    It creates each file empty and then renames the complete one onto it (`gf_store_handle_new`,
    `gf_store_rename_tmppath`), so a node that loses its power in between is left with the first.
    """
    wanted = [path for path in _entries(directory / "peers") if _is_uuid(path.name)]
    for volume in _entries(directory / "vols"):
        info = volume / "info"
        wanted.append(info)
        if _size(info):
            lines = info.read_text("utf-8", "replace").splitlines()
            names = (line.partition("=")[2] for line in lines if line.startswith(_BRICK))
            wanted += [volume / "bricks" / name for name in names]
    return tuple(str(path.relative_to(directory)) for path in wanted if not _size(path))


def _entries(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except OSError:
        return


def _is_uuid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
