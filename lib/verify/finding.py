"""What a check found, and the one table of all that checks can find."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from ganeti_gluster import decode
from ganeti_gluster.decode import LONGEST_SENTENCE, Matches, Sentence


class Severity(enum.Enum):
    """ERROR: data or the running of virtual machines is at risk; WARNING: all else."""

    ERROR = "ERROR"
    WARNING = "WARNING"


ERROR = Severity.ERROR
WARNING = Severity.WARNING


@dataclass(frozen=True)
class Code:
    """A kind of finding: its stable name, usual severity, meaning and remedy.

    `remedy` may name `%(volume)s`, `%(node)s`, `%(option)s` and the like, which the
    finding fills.
    """

    name: str
    severity: Severity
    meaning: str
    remedy: str


#: What the hook of `gnt-cluster verify` puts before findings that it hands on as JSON.
MARK = "ganeti-gluster-findings: "

# doc/verify.rst has a section for each, in this order.
_TABLE = (
    # the plugin
    Code(
        "NODE_SILENT",
        WARNING,
        "A node that is not marked offline did not tell its state.",
        "see whether its node daemon runs: gnt-node list -o name,role,mtotal",
    ),
    Code(
        "PLUGIN_ABSENT",
        ERROR,
        "The package ganeti-gluster is not installed on a node, or is too old to be asked.",
        "install the package there; gnt-gluster plugin status shows all nodes",
    ),
    Code(
        "PLUGIN_OFF",
        ERROR,
        "The plugin is switched off on a node, which therefore mounts the volume as stock"
        " Ganeti does.",
        "on the node: gnt-gluster plugin enable, then systemctl restart ganeti",
    ),
    Code(
        "PLUGIN_REFUSED",
        ERROR,
        "The plugin left stock Ganeti in place on a node, or a part of it.",
        "gnt-gluster plugin status tells the reason; Ganeti's logs on the node have it too",
    ),
    Code(
        "GANETI_UNSUPPORTED",
        ERROR,
        "A node runs a release of Ganeti that this package does not know.",
        "install a release of ganeti-gluster that supports it",
    ),
    Code(
        "PLUGIN_VERSION",
        WARNING,
        "Nodes have different versions of the package.",
        "install the same version on every node",
    ),
    Code(
        "NODED_STALE",
        WARNING,
        "The running node daemon does not use what is installed.",
        "on the node: systemctl restart ganeti",
    ),
    Code(
        "SERVER_BROKEN",
        ERROR,
        "The server of images does not run on a node, so that no disk can be opened there.",
        "see the reason; libgfapi0 is from the release of GlusterFS that the node has",
    ),
    Code(
        "IMAGE_WAITS",
        ERROR,
        "The requests of a running guest wait, since its image cannot be reached at present.",
        "see the reason, and the findings on the volume; the guest goes on by itself",
    ),
    Code(
        "IMAGE_LOST",
        ERROR,
        "A node has lost an image that it had open to another node, and serves it no more.",
        "see that the instance runs on one node alone; on the node that has lost it:"
        " systemctl stop %(unit)s",
    ),
    # glusterd and the pool
    Code(
        "GLUSTERD_DOWN",
        ERROR,
        "glusterd does not run on a node of the pool.",
        "on the node: systemctl start glusterd",
    ),
    Code(
        "GLUSTERD_SILENT",
        ERROR,
        "glusterd on a node does not answer in time.",
        "see /var/log/glusterfs/glusterd.log there; systemctl restart glusterd leaves bricks"
        " running",
    ),
    Code(
        "PEER_REJECTED",
        ERROR,
        "A node's glusterd has rejected another: their ideas of the volumes differ.",
        "compare gluster volume info on both; on the one that is wrong stop glusterd, move"
        " /var/lib/glusterd/vols away and start it, and it takes the other's",
    ),
    Code(
        "PEER_DISCONNECTED",
        ERROR,
        "A node's glusterd has no connection to another.",
        "see whether glusterd runs there, and TCP port 24007 is open both ways",
    ),
    Code(
        "PEER_STATE",
        WARNING,
        "A peer is not wholly a member of the pool.",
        "systemctl restart glusterd on both; where that does not help, stop it on %(node)s, put"
        " state=3 into /var/lib/glusterd/peers/%(uuid)s and start it",
    ),
    Code(
        "NODE_OUTSIDE_POOL",
        WARNING,
        "A node runs glusterd, but does not belong to the cluster's pool.",
        "on a member of the pool: gluster peer probe %(node)s; where the pool knows it by another"
        " UUID, as after a new installation, first put that into /var/lib/glusterd/glusterd.info"
        " there, and restart it; stop and disable glusterd where it is not wanted",
    ),
    Code(
        "OP_VERSION_MIXED",
        WARNING,
        "The nodes run different releases of GlusterFS.",
        "finish the upgrade of all nodes",
    ),
    Code(
        "OP_VERSION_LOW",
        WARNING,
        "The pool works below what all of its members could, as before an upgrade.",
        "when no old node or client is left: gluster volume set all cluster.op-version %(value)s",
    ),
    Code(
        "POOL_SETTINGS",
        WARNING,
        "The cluster's tags that say how a volume's pool is kept are not valid: nothing is done"
        " by them when a node is added.",
        "gnt-gluster pool modify --brick-dir DIRECTORY %(volume)s",
    ),
    # volumes
    Code(
        "VOLUME_MISSING",
        ERROR,
        "The cluster's configuration names a volume that the pool does not have.",
        "see gluster volume list, and gluster:volume in gnt-cluster info",
    ),
    Code(
        "VOLUME_STOPPED",
        ERROR,
        "A volume of the cluster is not started.",
        "gluster volume start %(volume)s",
    ),
    Code(
        "VOLUME_NO_QUORUM",
        ERROR,
        "Too few bricks of a set run: its images cannot be written, or not be read.",
        "bring the bricks back: gluster volume start %(volume)s force",
    ),
    Code(
        "VOLUME_UNREACHABLE",
        ERROR,
        "A node cannot reach a volume through libgfapi; nothing of it can start there.",
        "gluster:host in gnt-cluster info must name servers that the node can reach",
    ),
    Code(
        "VOLUME_SHAPE",
        WARNING,
        "A volume's shape loses data, or stops, when one brick is gone.",
        "make it replica 3, or replica 3 with arbiter 1",
    ),
    Code(
        "BRICK_DOWN",
        ERROR,
        "A brick's process does not run.",
        "gluster volume start %(volume)s force; its log is in /var/log/glusterfs/bricks",
    ),
    Code(
        "HEAL_DAEMON_DOWN",
        ERROR,
        "The self-heal daemon of a node with bricks does not run: nothing is healed.",
        "gluster volume start %(volume)s force",
    ),
    Code(
        "BRICK_UNREADABLE",
        ERROR,
        "A brick's file system gives errors.",
        "see the kernel's log on the node; repair or replace the disk, then the brick",
    ),
    Code(
        "BRICK_NOT_MOUNTED",
        ERROR,
        "A brick's file system is not mounted, or is another; never force-start the brick in"
        " this state.",
        "mount it on the node, then: gluster volume start %(volume)s force",
    ),
    Code(
        "BRICK_READ_ONLY",
        ERROR,
        "A brick's file system is mounted read-only.",
        "see the kernel's log on the node, repair the file system and mount it anew",
    ),
    Code(
        "BRICK_FULL",
        WARNING,
        "A brick's file system is nearly full of data or of inodes.  An ERROR where what is"
        " left is no more than the volume's reserve, or 5 per cent.",
        "remove what is not needed (gnt-gluster verify names orphans), or add bricks",
    ),
    Code(
        "SHARD_OFF",
        ERROR,
        "Sharding was switched off on a volume with sharded images: of each only the first"
        " piece is visible.",
        "stop what uses it, then: gluster volume set %(volume)s features.shard on",
    ),
    Code(
        "OPTION_DANGEROUS",
        ERROR,
        "An option has a value that can lose data.",
        "gluster volume set %(volume)s %(option)s %(value)s",
    ),
    Code(
        "OPTION_DIFFERS",
        WARNING,
        "An option differs from the profile for virtual machine images.",
        "gluster volume set %(volume)s %(option)s %(value)s",
    ),
    Code(
        "HEAL_BACKLOG",
        WARNING,
        "Copies wait for a heal.  An ERROR when that has lasted for more than a day.",
        "gluster volume heal %(volume)s info; all bricks and self-heal daemons must run",
    ),
    Code(
        "SPLIT_BRAIN",
        ERROR,
        "The copies of an image contradict each other, and it cannot be used.",
        "stop the instance and choose the brick with the good copy: gluster volume heal"
        " %(volume)s split-brain source-brick SERVER:PATH FILE",
    ),
    # images
    Code(
        "IMAGE_UNREADABLE",
        ERROR,
        "The bricks that answer have no good copy of an image, or of a piece of it: its guest"
        " waits, or meets errors.",
        "start the bricks that do not run, or their nodes; gluster volume heal %(volume)s info."
        "  No brick may be replaced before that",
    ),
    Code(
        "IMAGE_MISSING",
        ERROR,
        "An instance's image is not on the volume.",
        "restore it from a backup, or gnt-instance recreate-disks",
    ),
    Code(
        "IMAGE_SIZE",
        ERROR,
        "An image has another size than Ganeti's configuration says.  Larger is a WARNING.",
        "gnt-cluster repair-disk-sizes takes the image's size for the true one",
    ),
    Code(
        "IMAGE_OWNER",
        WARNING,
        "An image belongs to another user than the volume's root directory, which names QEMU's.",
        "gnt-gluster disk info shows it; correct it on a mount of the volume with chown",
    ),
    Code(
        "IMAGE_MODE",
        WARNING,
        "An image can be read or written by others than its owner.",
        "correct it on a mount of the volume with chmod 600",
    ),
    Code(
        "IMAGE_ORPHAN",
        WARNING,
        "An image belongs to no instance of this cluster.",
        "gnt-gluster disk remove-orphans shows such images and removes them",
    ),
    Code(
        "LEFTOVER",
        WARNING,
        "A copy that never became whole, or a snapshot for a backup, is older than a day.",
        "gnt-gluster disk remove-orphans shows such images and removes them",
    ),
    Code(
        "NAME_UNREADABLE",
        WARNING,
        "A name in the directory of images is not UTF-8; no image of Ganeti has such a one.",
        "remove it on a mount of the volume",
    ),
    Code(
        "EXPORT_STALE",
        WARNING,
        "A block device of the kernel for an image is left over, or its exporter has died.",
        "shut the instance down (gnt-instance shutdown), which ends its exports",
    ),
    # access
    Code(
        "TLS_FILES",
        ERROR,
        "A node uses TLS for Gluster and lacks files for it.",
        "give it glusterfs.pem, glusterfs.key and glusterfs.ca in /etc/ssl (GlusterFS 10 of Debian"
        " 12: /usr/lib/ssl)",
    ),
    Code(
        "TLS_INCONSISTENT",
        ERROR,
        "Only some nodes use TLS for Gluster's management, or they trust different authorities.",
        "make /var/lib/glusterd/secure-access and glusterfs.ca alike on all nodes",
    ),
    # services
    Code(
        "SERVICES_DOWN",
        ERROR,
        "Services that /etc/ganeti/gluster-services.conf expects to run on a node do not.  A"
        " WARNING where the node does not tell.",
        "gnt-gluster services start --type=%(type)s --node=%(node)s",
    ),
    # what is not known
    Code(
        "NOT_UNDERSTOOD",
        WARNING,
        "What a node told does not have the form that it should, and nothing of it is used.",
        "see that the same release is installed there: gnt-gluster plugin status; if it is, find"
        " out what answers in the node's name",
    ),
    Code(
        "NOT_CHECKED",
        WARNING,
        "Something could not be found out in time.",
        "try again: gnt-gluster verify",
    ),
)

CODES = {code.name: code for code in _TABLE}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: code, severity, the object, one sentence, what to do.

    `object` is a node's, volume's, brick's (server:path) or image's name.
    """

    code: Annotated[str, Matches("[A-Z][A-Z0-9_]{0,63}")]
    severity: Severity
    object: Sentence
    text: Sentence
    remedy: Sentence

    def __str__(self) -> str:
        """One line: severity, code and sentence."""
        return "%s: %s: %s" % (self.severity.value, self.code, self.sentence)

    @property
    def sentence(self) -> str:
        """The object, what is wrong with it, and what to do."""
        return "%s: %s; %s" % (self.object, self.text, self.remedy)

    def concerns(self, node: str) -> bool:
        """Whether it is about a node, or about a brick of it."""
        return self.object == node or self.object.startswith(node + ":")

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "object": self.object,
            "text": self.text,
            "remedy": self.remedy,
        }


def from_json(text: str) -> list[Finding]:
    """Findings from a JSON list of `to_dict`'s data; raises NotUnderstood."""
    findings: list[Finding] = decode.value(list[Finding], decode.plain(text), "findings")
    return findings


def found(
    code: str, subject: str, text: str, *, severity: Severity | None = None, **names: Any
) -> Finding:
    """A finding of a code in the table; `names` fill its remedy.

    Each part can be printed whatever is in it: names of files on volumes are anybody's.
    """
    entry = CODES[code]
    remedy = entry.remedy % names if "%(" in entry.remedy else entry.remedy
    parts = (decode.printable(part, longest=LONGEST_SENTENCE) for part in (subject, text, remedy))
    return Finding(code, severity or entry.severity, *parts)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once: errors first, then by code, object and text."""
    return sorted(
        set(findings),
        key=lambda f: (f.severity is not ERROR, f.code, f.object, f.text),
    )


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of them is an ERROR."""
    return any(finding.severity is ERROR for finding in findings)
