"""The table of all findings, also the source of doc/verify.rst (`make findings-doc`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """ERROR: data or the running of virtual machines is at risk; WARNING: all else."""

    ERROR = "ERROR"
    WARNING = "WARNING"


ERROR = Severity.ERROR
WARNING = Severity.WARNING


@dataclass(frozen=True)
class Code:
    """A kind of finding: its stable name, usual severity, meaning and remedy.

    `meaning` is one sentence or several, for the documentation.  `remedy` may name
    `%(volume)s`, `%(node)s`, `%(option)s` and the like, which the finding fills.
    """

    name: str
    severity: Severity
    meaning: str
    remedy: str


#: The codes by subject, in the order of the documentation.
SECTIONS: dict[str, tuple[Code, ...]] = {
    "The plugin": (
        Code(
            "NODE_SILENT",
            WARNING,
            "A node that is not marked offline did not answer.",
            "check that its node daemon runs: gnt-node list -o name,role,mtotal",
        ),
        Code(
            "PLUGIN_ABSENT",
            ERROR,
            "The package ganeti-gluster is missing on a node, or is too old to answer.",
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
            "On a node the plugin left Ganeti, or a part of it, as it is.",
            "gnt-gluster plugin status gives the reason, and so do Ganeti's logs on the node",
        ),
        Code(
            "GANETI_UNSUPPORTED",
            ERROR,
            "A node runs a release of Ganeti that this package does not support.",
            "install a release of ganeti-gluster that supports it",
        ),
        Code(
            "PLUGIN_VERSION",
            WARNING,
            "Nodes have different versions of this package.",
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
            "The image server does not run on a node, so no disk can be opened there.",
            "see the reason given; libgfapi0 must come from the release of GlusterFS that the"
            " node has",
        ),
        Code(
            "IMAGE_WAITS",
            ERROR,
            "A running guest's requests are waiting, because its image cannot be reached or"
            " the image's server does not answer.",
            "see the reason given and the findings about the volume; the guest goes on by itself",
        ),
        Code(
            "IMAGE_NO_SPACE",
            ERROR,
            "A running guest stands still, because its writes need space on a full volume.",
            "free some space, for example of orphans (gnt-gluster disk remove-orphans) and"
            " snapshots, or add bricks; the guest goes on by itself",
        ),
        Code(
            "IMAGE_LOST",
            ERROR,
            "A node had an image open that another node has taken since; it no longer serves"
            " the image.",
            "check that the instance runs on one node only; on the node that lost the image:"
            " systemctl stop %(unit)s",
        ),
    ),
    "glusterd and the pool": (
        Code(
            "GLUSTERD_DOWN",
            ERROR,
            "glusterd does not run on a node of the pool.",
            "on the node: systemctl start glusterd",
        ),
        Code(
            "GLUSTERD_FILES",
            ERROR,
            "glusterd does not run on a node, and cannot start, because it lacks files of a volume"
            " or a peer, as may happen if the node loses its power while the pool is changed.",
            "on the node, while other members run: mkdir -p /root/glusterd.old;"
            " cd /var/lib/glusterd; mv -t /root/glusterd.old %(paths)s; systemctl reset-failed"
            " glusterd; systemctl start glusterd. It copies them from another member then and"
            " starts the bricks, whose data is not touched, and a heal follows",
        ),
        Code(
            "GLUSTERD_SILENT",
            ERROR,
            "glusterd on a node does not answer in time.",
            "see /var/log/glusterfs/glusterd.log there; then systemctl restart glusterd, which"
            " with Debian's unit restarts the bricks of the node as well, so that a heal follows",
        ),
        Code(
            "PEER_REJECTED",
            ERROR,
            "A node's glusterd has rejected another one, because they disagree about the volumes"
            ' ("Cksums of volume differ" in glusterd\'s log), as may happen after an upgrade of'
            " some nodes.  If most nodes agree, VOLUME_CONFIG names the others.",
            "see VOLUME_CONFIG; without it, compare /var/lib/glusterd/vols/VOLUME/info of the"
            " nodes, and do what VOLUME_CONFIG says on the node that is wrong",
        ),
        Code(
            "VOLUME_CONFIG",
            ERROR,
            "A node's glusterd has another configuration of a volume than most nodes, so it is"
            " rejected, and its bricks do not run.",
            "on the node: systemctl stop glusterd; mv /var/lib/glusterd/vols /root/vols.old;"
            " systemctl start glusterd. It copies the others' configuration then and starts the"
            " bricks, whose data is not touched, and a heal follows",
        ),
        Code(
            "PEER_DISCONNECTED",
            ERROR,
            "A node's glusterd is not connected to another one.",
            "check that glusterd runs there, and that TCP port 24007 is open both ways",
        ),
        Code(
            "PEER_STATE",
            WARNING,
            "A peer is not a full member of the pool.",
            "restart glusterd on both nodes; if that does not help, stop it on %(node)s, write"
            " state=3 into /var/lib/glusterd/peers/%(uuid)s and start it again",
        ),
        Code(
            "NODE_OUTSIDE_POOL",
            WARNING,
            "A node runs glusterd but does not belong to the cluster's pool.",
            "on a member of the pool: gluster peer probe %(node)s; if the pool knows the node"
            " by another UUID, as after a new installation, first write that UUID into"
            " /var/lib/glusterd/glusterd.info on the node and restart its glusterd; if glusterd"
            " is not wanted there, stop and disable it",
        ),
        Code(
            "OP_VERSION_MIXED",
            WARNING,
            "Nodes run different releases of GlusterFS.",
            "finish the upgrade of all nodes: gnt-gluster upgrade",
        ),
        Code(
            "OP_VERSION_LOW",
            WARNING,
            "The pool's op-version is lower than what all of its members support, as after an"
            " upgrade.",
            "when no old node or client is left: gluster volume set all cluster.op-version"
            " %(value)s",
        ),
        Code(
            "POOL_SETTINGS",
            WARNING,
            "The cluster's tags that say how a volume's pool is kept are not valid, so they"
            " are ignored when a node is added.",
            "gnt-gluster pool modify --brick-dir DIRECTORY %(volume)s",
        ),
        Code(
            "NODE_MAINTENANCE",
            WARNING,
            "A node is in maintenance, so nothing is placed on it, and no other node of its brick"
            " sets may be taken away.",
            "when it is back: gnt-gluster node maintenance %(node)s off; if an upgrade was"
            " interrupted: gnt-gluster upgrade",
        ),
    ),
    "Volumes and bricks": (
        Code(
            "VOLUME_MISSING",
            ERROR,
            "The cluster's configuration names a volume that the pool does not have.",
            "compare gluster volume list with gluster:volume in gnt-cluster info",
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
            "Too few bricks of a set run: its images cannot be written, and perhaps not be read.",
            "bring the bricks back: gluster volume start %(volume)s force",
        ),
        Code(
            "VOLUME_UNREACHABLE",
            ERROR,
            "A node cannot reach a volume through libgfapi, so nothing on the volume can start"
            " there.",
            "gluster:host in gnt-cluster info must name servers that the node can reach",
        ),
        Code(
            "VOLUME_SHAPE",
            WARNING,
            "The volume loses data, or stops, when one brick is gone.",
            "make it replica 3, or replica 3 with arbiter 1",
        ),
        Code(
            "BRICK_DOWN",
            ERROR,
            "A brick's process does not run.  If the pool has spare nodes for the brick, they"
            " are named (doc/pool.rst; gnt-gluster pool evacuate moves it).",
            "gluster volume start %(volume)s force; the brick's log is in"
            " /var/log/glusterfs/bricks",
        ),
        Code(
            "BRICK_NO_PORT",
            ERROR,
            "A brick's process runs, but glusterd does not know its port, and so no client finds"
            " the brick.  GlusterFS may start a brick twice at once when a server that was cut"
            " off is back; this does not resolve by itself.",
            "on the brick's node: kill -9 %(process)s; then gluster volume start %(volume)s force",
        ),
        Code(
            "HEAL_DAEMON_DOWN",
            ERROR,
            "The self-heal daemon of a node with bricks does not run: nothing is healed.",
            "gluster volume start %(volume)s force",
        ),
        Code(
            "HEAL_DAEMON_DISCONNECTED",
            ERROR,
            "The self-heal daemon of a node has no connection to a brick that is up: nothing is"
            " healed there.  GlusterFS 11 may try an old port of the brick for ever, as after a"
            " network outage.  The monitoring agent of the node restarts the daemon after two"
            " minutes, unless a brick does not run (doc/pool.rst).",
            "on the node: pkill -9 -f -- '--process-name glustershd'; then gluster volume start"
            " %(volume)s force, and the same for the other volumes with bricks there",
        ),
        Code(
            "BRICK_UNREADABLE",
            ERROR,
            "A brick's file system gives errors.",
            "see the kernel's log on the node and repair the file system; or replace the disk,"
            " and then: gnt-gluster pool replace %(node)s %(node)s",
        ),
        Code(
            "BRICK_EMPTY",
            ERROR,
            "The file system that is mounted in the place of a brick is empty, as after a disk"
            " was replaced.  Starting the brick by force does not bring it back.",
            "gnt-gluster pool replace %(node)s %(node)s fills it from the other bricks",
        ),
        Code(
            "BRICK_NOT_MOUNTED",
            ERROR,
            "A brick's file system is not mounted, or another one is mounted in its place."
            "  Never force-start the brick in this state.",
            "mount it on the node, then: gluster volume start %(volume)s force; if the disk was"
            " replaced by an empty one: gnt-gluster pool replace %(node)s %(node)s",
        ),
        Code(
            "BRICK_SECTORS",
            WARNING,
            "A brick is on a disk with larger sectors than other bricks of its volume.  Requests"
            " of guests that fit only the smaller ones fail on it, so it needs a heal again and"
            " again.",
            "move the brick to a disk with sectors of %(bytes)d bytes",
        ),
        Code(
            "BRICK_READ_ONLY",
            ERROR,
            "A brick's file system is mounted read-only.",
            "see the kernel's log on the node, repair the file system and mount it again",
        ),
        Code(
            "BRICK_FULL",
            WARNING,
            "A brick's file system is nearly out of space or inodes.  An ERROR if no more is"
            " left than the volume's reserve, or than 5 per cent.",
            "remove what is not needed (gnt-gluster verify names orphans), or add bricks",
        ),
        Code(
            "BRICK_THIN",
            WARNING,
            "The thin pool below a brick has less space left than the brick's file system shows."
            "  When it is full, the file system gives errors, which are worse than a full volume."
            "  An ERROR if less than 5 per cent of the brick's size is left.",
            "extend the thin pool (lvextend), or run fstrim on the brick's file system",
        ),
        Code(
            "SETS_UNEVEN",
            WARNING,
            "One set of bricks will be full much earlier than the others.  Images, or their"
            " pieces, are spread evenly over the sets, so guests wait for space as soon as one"
            " set is full.",
            "add bricks, or, while no instance is running on the volume: gnt-gluster pool"
            " rebalance --move-data %(volume)s",
        ),
        Code(
            "SHARD_OFF",
            ERROR,
            "Sharding was switched off on a volume with sharded images: only the first piece"
            " of each is visible.",
            "stop everything that uses the volume, then: gluster volume set %(volume)s"
            " features.shard on",
        ),
        Code(
            "OPTION_DANGEROUS",
            ERROR,
            "An option has a value with which data can be lost.",
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
            "Copies wait for a heal.  An ERROR if they have waited for more than a day.  A guest"
            " that writes all the while may keep a lock that the heal wants.",
            "make sure that all bricks and self-heal daemons run, and are connected"
            " (HEAL_DAEMON_DISCONNECTED); gluster volume heal %(volume)s info shows what is"
            " left. Where the same files stay: gluster volume set %(volume)s"
            " cluster.post-op-delay-secs 0, heal, and reset that option",
        ),
        Code(
            "SPLIT_BRAIN",
            ERROR,
            "The copies of an image contradict each other, so the image cannot be used.  FILE"
            " is what gluster volume heal VOLUME info split-brain shows; leave it out for"
            " everything on the volume.  On a replica 2 volume with quorum, GlusterFS 11"
            " reports a split-brain as a backlog (HEAL_BACKLOG).",
            "stop the instance and choose the brick with the good copy: gluster volume heal"
            " %(volume)s split-brain source-brick SERVER:PATH FILE",
        ),
    ),
    "Images": (
        Code(
            "IMAGE_UNREADABLE",
            ERROR,
            "None of the bricks that answer has a good copy of an image, or of a piece of it:"
            " its guest waits or gets errors.",
            "start the bricks that do not run, or their nodes, and see gluster volume heal"
            " %(volume)s info; do not replace any brick before that",
        ),
        Code(
            "IMAGE_MISSING",
            ERROR,
            "An instance's image is on no volume of the pool.",
            "restore it from a backup; gnt-instance recreate-disks makes an empty one",
        ),
        Code(
            "IMAGE_ELSEWHERE",
            ERROR,
            "An instance's image is on another volume than the one that the template's parameters"
            " name for the instance's node group.",
            "set gluster:volume back to %(volume)s, with gnt-cluster modify -D, or with gnt-group"
            " modify -D where the group has a volume of its own; do not recreate the disk",
        ),
        Code(
            "IMAGE_SIZE",
            ERROR,
            "An image's size differs from Ganeti's configuration.  A WARNING if the image is"
            " larger.",
            "gnt-cluster repair-disk-sizes takes the image's size as the right one",
        ),
        Code(
            "IMAGE_OWNER",
            WARNING,
            "An image has another owner than the volume's root directory, which belongs to"
            " QEMU's user.",
            "gnt-gluster disk info shows it; correct it with chown on a mount of the volume",
        ),
        Code(
            "IMAGE_MODE",
            WARNING,
            "Users other than its owner can read or write an image.",
            "correct it with chmod 600 on a mount of the volume",
        ),
        Code(
            "IMAGE_ORPHAN",
            WARNING,
            "An image belongs to no instance of this cluster.",
            "gnt-gluster disk remove-orphans shows such images and removes them, but for those"
            " that are named after an instance that exists",
        ),
        Code(
            "LEFTOVER",
            WARNING,
            "An unfinished copy or restore, or a snapshot for a backup, is more than a day old.",
            "gnt-gluster disk remove-orphans shows such images and removes them",
        ),
        Code(
            "NAME_UNREADABLE",
            WARNING,
            "A name in the directory of images is not UTF-8; no image of Ganeti's has such a"
            " name.",
            "remove it on a mount of the volume",
        ),
        Code(
            "EXPORT_STALE",
            WARNING,
            "A block device of the kernel for an image is left over, or its exporter has died.",
            "shut the instance down (gnt-instance shutdown), which ends its exports",
        ),
    ),
    "Access": (
        Code(
            "TLS_FILES",
            ERROR,
            "A node uses TLS for Gluster but lacks files for it.",
            "gnt-gluster pool modify --tls on VOLUME gives each node what it lacks, or put"
            " glusterfs.pem, glusterfs.key and glusterfs.ca into its /etc/ssl (with GlusterFS 10"
            " of Debian 12 into /usr/lib/ssl)",
        ),
        Code(
            "TLS_CERTIFICATE",
            ERROR,
            "A node's certificate for Gluster cannot be used: it has ended, does not belong to the"
            " key, or is of an authority that the node does not trust.  Connections that exist"
            " stay; new ones fail.  A WARNING if only its common name is not the node's.",
            "gnt-gluster pool modify --tls on VOLUME; where certificates were given, put new files"
            " in their places first (doc/security.rst)",
        ),
        Code(
            "TLS_EXPIRES",
            WARNING,
            "A node's certificate for Gluster ends within 30 days.  An ERROR if it ends within 7.",
            "gnt-gluster pool renew-certificates VOLUME",
        ),
        Code(
            "TLS_INCONSISTENT",
            ERROR,
            "Only some nodes use TLS for Gluster's management, or nodes trust different"
            " authorities.",
            "make /var/lib/glusterd/secure-access and glusterfs.ca the same on all nodes",
        ),
    ),
    "Services": (
        Code(
            "SERVICES_DOWN",
            ERROR,
            "Services that /etc/ganeti/gluster-services.conf expects to run on a node do not."
            "  A WARNING if the node does not answer.",
            "gnt-gluster services start --type=%(type)s --node=%(node)s",
        ),
        Code(
            "SERVICES_DISABLED",
            WARNING,
            "Services that are expected to run on a node do, but their units are disabled.  They"
            " will not start when the node boots.",
            "on %(node)s: systemctl enable %(units)s",
        ),
        Code(
            "SERVICES_NODE",
            WARNING,
            "A node in gluster-services.conf is not a node of the cluster, so nothing is expected"
            " to run there.",
            "correct the line 'nodes' of [%(type)s] in %(file)s, and copy the file to all nodes",
        ),
    ),
    "Backups": (
        Code(
            "BACKUP_FAILED",
            WARNING,
            "The last try of a schedule to back an instance up, or to take a snapshot of it, has"
            " failed.  It is tried again, each time after a longer pause.",
            "try it at once: gnt-gluster backup run --now %(schedule)s",
        ),
        Code(
            "BACKUP_MISSED",
            WARNING,
            "What a schedule should have made more than an hour ago is not there, and was not"
            " tried.",
            "systemctl status ganeti-gluster-agent ganeti-gluster-backups on the master",
        ),
        Code(
            "BACKUP_OLD",
            ERROR,
            "The last backup or snapshot of an instance by a schedule is older than the schedule"
            " allows: two of its times have passed since.",
            "gnt-gluster backup run --dry-run %(schedule)s shows why none is made",
        ),
        Code(
            "BACKUP_SCHEDULE",
            WARNING,
            "The file gluster-backup.conf cannot be used, so no schedule is carried out, or it"
            " names an instance that does not exist or has no gluster disks.",
            "correct %(file)s, and copy it to all nodes",
        ),
    ),
    "What is not known": (
        Code(
            "NOT_UNDERSTOOD",
            WARNING,
            "A node's answer does not have the form that it should, and none of it is used.",
            "check that the same release is installed there: gnt-gluster plugin status; if it"
            " is, find out what answers in the node's name",
        ),
        Code(
            "NOT_CHECKED",
            WARNING,
            "Something could not be checked, or not in time.",
            "try again: gnt-gluster verify",
        ),
    ),
}

CODES = {code.name: code for codes in SECTIONS.values() for code in codes}
