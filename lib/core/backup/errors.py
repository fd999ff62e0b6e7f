"""What goes wrong with backups."""

from __future__ import annotations

from ganeti_gluster.errors import GanetiGlusterError


class NoRepository(GanetiGlusterError):
    """There is no repository at that place, or one that this release does not know."""


class NoSuchBackup(GanetiGlusterError):
    """The repository has no backup of that name."""


class BackupExists(GanetiGlusterError):
    """The instance has a backup of that name already."""


class Damaged(GanetiGlusterError):
    """A file of the repository is missing, or is not what was written."""


class RepositoryLocked(GanetiGlusterError):
    """Somebody else uses the repository in a way that excludes this one."""


class RepositoryLockLost(GanetiGlusterError):
    """The lock on the repository could not be kept; others may have changed it since."""
