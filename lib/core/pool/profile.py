"""The options of a volume for VM images, with the reason for each.

The one table that `pool create` sets (`OPTIONS`) and that verify compares with (`DEFAULTS`
too, whose default is right and which nothing sets).  The values
of the packaged group `virt` stand here too: a volume without copies cannot be
given the group (glusterd refuses it whole), and what was set when a volume was
made is what should still hold after the package's group has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: How values are compared: equal; a number that may also be larger, or smaller.
SAME = "same"
AT_LEAST = "at least"
AT_MOST = "at most"

REASON_VIRT = "the packaged group virt sets it for VM images"


@dataclass(frozen=True)
class Option:
    """An option of the profile, and what is wrong with another value.

    `replicated`: only for volumes whose files have copies.  `dangerous` are the
    values (in normal form) that can lose data, `danger_below` and `danger_above` the
    numbers below and above which they do; any other difference is a question of speed
    or convenience.
    `fixed`: not to be changed while there are images.  `source` documents how data can be
    lost: an address, or a page of this package's documentation.
    """

    name: str
    value: str
    why: str = REASON_VIRT
    replicated: bool = False
    compare: str = SAME
    dangerous: tuple[str, ...] = ()
    danger_below: int | None = None
    danger_above: int | None = None
    fixed: bool = False
    source: str = ""

    @property
    def dangers(self) -> str:
        """The values with which data can be lost, in words; "" if there are none."""
        words = list(self.dangerous)
        if self.danger_below is not None:
            words.append("less than %d" % self.danger_below)
        if self.danger_above is not None:
            words.append("more than %d" % self.danger_above)
        return ", ".join(words)


SHARD = "features.shard"
_ISSUES = "https://github.com/gluster/glusterfs/issues/"
_SOURCE = "https://github.com/gluster/glusterfs/blob/devel/xlators/"
_QUORUM = "https://docs.gluster.org/en/latest/Administrator-Guide/arbiter-volumes-and-quorum/"

OPTIONS = (
    # The group virt of GlusterFS 10 and 11, without user.cifs, which is for Samba.
    Option("performance.quick-read", "off"),
    Option("performance.read-ahead", "off"),
    Option("performance.io-cache", "off"),
    Option("performance.low-prio-threads", "32"),
    Option("cluster.eager-lock", "enable", replicated=True),
    Option("cluster.data-self-heal-algorithm", "full", replicated=True),
    Option("cluster.locking-scheme", "granular", replicated=True),
    Option("cluster.shd-max-threads", "8", replicated=True),
    Option("cluster.shd-wait-qlength", "10000", replicated=True),
    Option("cluster.choose-local", "off", replicated=True),
    Option("client.event-threads", "4", compare=AT_LEAST),
    Option("server.event-threads", "4", compare=AT_LEAST),
    Option("performance.client-io-threads", "on"),
    Option("server.tcp-user-timeout", "20"),
    Option("server.keepalive-time", "10"),
    Option("server.keepalive-interval", "2"),
    Option("server.keepalive-count", "5"),
    Option(
        "features.shard",
        "on",
        "with sharding, a heal copies shards instead of whole images; if it is switched off, only"
        " the first shard of each image stays visible",
        dangerous=("off",),
        fixed=True,
        source="https://www.gluster.org/pipermail/gluster-users/2020-November/038951.html",
    ),
    # What VM images need beyond it.
    Option(
        "features.shard-block-size",
        "64MB",
        "the size is fixed once images exist: a volume with shards of two sizes cannot be read"
        " correctly",
        fixed=True,
    ),
    Option(
        "performance.strict-o-direct",
        "on",
        "Ganeti runs disks on shared storage with cache=none, which must reach the bricks",
    ),
    Option(
        "client.strict-locks",
        "on",
        "otherwise a client whose lock the bricks have dropped goes on writing to the file that"
        " it had locked",
        dangerous=("off",),
        source="doc/one-writer.rst",
    ),
    Option(
        "client.tcp-user-timeout",
        "20",
        "it makes a client reconnect to a server within seconds, where the kernel alone waits up"
        " to two minutes",
    ),
    Option(
        "network.remote-dio",
        "disable",
        "otherwise clients drop O_DIRECT before it reaches the bricks",
    ),
    Option(
        "cluster.quorum-type",
        "auto",
        "without it, a network partition leads to a split-brain",
        replicated=True,
        dangerous=("none",),
        source=_QUORUM,
    ),
    Option(
        "cluster.server-quorum-type",
        "server",
        "bricks of servers that are cut off must stop, or clients there go on writing",
        replicated=True,
        dangerous=("none", "off"),
        source=_QUORUM,
    ),
    Option(
        "cluster.favorite-child-policy",
        "none",
        "a split-brain must not be resolved by guessing which copy is right",
        replicated=True,
        dangerous=("size", "ctime", "mtime", "majority"),
        source=_ISSUES + "4484",
    ),
    Option(
        "cluster.self-heal-daemon",
        "on",
        "otherwise copies that missed a write are never healed",
        replicated=True,
        dangerous=("off",),
        source=_SOURCE + "cluster/afr/src/afr.c",
    ),
    Option(
        "cluster.heal-timeout",
        "60",
        "the self-heal daemon looks for copies that missed a write as it connects to a brick, and"
        " then at this interval: what a client misses that connects later, or that a brick misses"
        " which hung for a while, would wait ten minutes",
        replicated=True,
        compare=AT_MOST,
    ),
    Option(
        "cluster.granular-entry-heal",
        "enable",
        "a heal looks at changed names, not at whole directories",
        replicated=True,
    ),
    Option(
        "network.ping-timeout",
        "20",
        "the default of 42 s is longer than guests wait; very small values disconnect healthy"
        " bricks",
        danger_below=10,
        source=_ISSUES + "4484",
    ),
    Option("cluster.lookup-optimize", "off", "it is known to cause wrong lookups with shards"),
    Option(
        "cluster.force-migration",
        "off",
        "it corrupts open files during a rebalance",
        dangerous=("on",),
        source=_SOURCE + "cluster/dht/src/dht-shared.c",
    ),
    Option(
        "performance.parallel-readdir",
        "off",
        "it has known defects: entries missing from directories",
    ),
    Option(
        "performance.resync-failed-syncs-after-fsync",
        "on",
        "after a failed fsync, data that the guest considers safe must not be lost",
        dangerous=("off",),
        source=_SOURCE + "performance/write-behind/src/write-behind.c",
    ),
    Option(
        "storage.reserve",
        "5",
        "sharded images are corrupted when a brick is full (in per cent of the brick)",
        compare=AT_LEAST,
        danger_below=1,
        source=_ISSUES + "4686",
    ),
    Option(
        "cluster.post-op-delay-secs",
        "1",
        "without it, each write marks its copies separately; `gnt-gluster pool` switches it off"
        " while it waits for a heal that writers delay",
        replicated=True,
        compare=AT_LEAST,
    ),
)

#: Options whose default is right, and which another value makes dangerous.
DEFAULTS = (
    Option(
        "cluster.ensure-durability",
        "on",
        "otherwise a copy is marked as good before its data are on the disk, and what a node"
        " loses with its power is never healed",
        replicated=True,
        dangerous=("off",),
        source=_SOURCE + "cluster/afr/src/afr.c",
    ),
    Option(
        "cluster.halo-enabled",
        "off",
        "it lets a write succeed on the nearest bricks alone",
        replicated=True,
        dangerous=("on",),
        source=_ISSUES + "199",
    ),
    Option(
        "features.locks-revocation-secs",
        "0",
        "it takes locks away from whoever writes, so that copies can differ",
        danger_above=0,
        source=_SOURCE + "features/locks/src/posix.c",
    ),
    Option(
        "features.locks-revocation-max-blocked",
        "0",
        "it takes locks away from whoever writes, so that copies can differ",
        danger_above=0,
        source=_SOURCE + "features/locks/src/posix.c",
    ),
    Option(
        "features.locks-monkey-unlocking",
        "off",
        "it ignores requests to unlock at random, for tests of GlusterFS itself",
        dangerous=("on",),
        source=_SOURCE + "features/locks/src/posix.c",
    ),
    Option(
        "network.compression",
        "off",
        "it was never made ready for use, and its checksums fail",
        dangerous=("on",),
        source=_ISSUES + "3840",
    ),
    Option(
        "rebalance.ensure-durability",
        "on",
        "otherwise a rebalance removes the old copy of a shard before the new one is on the disk",
        dangerous=("off",),
        source=_SOURCE + "cluster/dht/src/dht-shared.c",
    ),
)

_OPTION = {option.name: option for option in (*OPTIONS, *DEFAULTS)}
QUORUM_TYPE, QUORUM_COUNT = "cluster.quorum-type", "cluster.quorum-count"

#: The owner that new images get, where QEMU does not run as root.
OWNER_UID = "storage.owner-uid"
OWNER_GID = "storage.owner-gid"
_OWNER_WHY = "QEMU runs as this user, and must be able to open what is created"

_TRUE = frozenset(("on", "enable", "enabled", "true", "yes", "1"))
_FALSE = frozenset(("off", "disable", "disabled", "false", "no", "0"))
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Difference:
    """An option that differs from the profile; `actual` is "" if unknown."""

    option: Option
    actual: str
    dangerous: bool

    def __str__(self) -> str:
        """One sentence."""
        more = "" if self.option.compare == SAME else self.option.compare + " "
        return "%s is %s, not %s%s: %s" % (
            self.option.name,
            self.actual or "not set",
            more,
            self.option.value,
            self.option.why,
        )


def option(name: str) -> Option | None:
    """The profile's entry for an option, None if it has none."""
    return _OPTION.get(name)


def options_for(*, replicated: bool, owner: tuple[int, int] | None = None) -> list[Option]:
    """The options for a volume with or without copies; `owner` is QEMU's uid and gid.

    root's images need no option.
    """
    wanted = [option for option in OPTIONS if replicated or not option.replicated]
    if owner is not None and owner != (0, 0):
        wanted.append(Option(OWNER_UID, str(owner[0]), _OWNER_WHY))
        wanted.append(Option(OWNER_GID, str(owner[1]), _OWNER_WHY))
    return wanted


def set_words(options: Sequence[Option]) -> list[str]:
    """The options as `gluster volume set VOLUME` takes them, all at once."""
    return [word for option in options for word in (option.name, option.value)]


def differences(
    options: Sequence[Option], actual: Mapping[str, str], *, copies: int = 1
) -> list[Difference]:
    """The options of a volume that differ from the profile; dangerous ones first.

    `actual` is the answer to `volume get VOLUME all`, defaults included; `copies` is the number
    of bricks in a set of the volume, including an arbiter.
    """
    differing = [
        Difference(
            option,
            _value(option, actual),
            is_dangerous(option, actual)
            or (option.name == QUORUM_TYPE and lacks_majority(actual, copies)),
        )
        for option in options
        if not _fits(option, actual.get(option.name, ""))
    ]
    return sorted(differing, key=lambda difference: not difference.dangerous)


def of_volume(actual: Mapping[str, str], *, copies: int, images: bool) -> Iterator[Difference]:
    """The differences of a volume with so many copies that matter; `images`: it has some.

    What this release does not have and what cannot be changed any more is left out, except
    that sharding is off.
    """
    replicated = copies > 1
    wanted = [
        *options_for(replicated=replicated),
        *(option for option in DEFAULTS if replicated or not option.replicated),
    ]
    sharded = normal(actual.get(SHARD, "")) in ("on", "1")
    for difference in differences(wanted, actual, copies=copies):
        option = difference.option
        settled = option.fixed and option.name != SHARD and (images or not sharded)
        if option.name in actual and not settled:
            yield difference


def is_dangerous(option: Option, actual: Mapping[str, str]) -> bool:
    """Whether the value in force can lose data."""
    value = normal(actual.get(option.name, ""))
    if value in option.dangerous:
        return True
    number = _number(value)
    if number is None:
        return False
    return (option.danger_below is not None and number < option.danger_below) or (
        option.danger_above is not None and number > option.danger_above
    )


def lacks_majority(actual: Mapping[str, str], copies: int) -> bool:
    """Whether a fixed quorum is of so few bricks that two clients can each have one.

    GlusterFS takes a count that is not set for 0, which is no quorum.
    """
    if normal(actual.get(QUORUM_TYPE, "")) != "fixed":
        return False
    return 2 * (_number(actual.get(QUORUM_COUNT, "")) or 0) <= copies


def _value(option: Option, actual: Mapping[str, str]) -> str:
    """An option's value for a message, with the count of a fixed quorum."""
    value = actual.get(option.name, "")
    if option.name == QUORUM_TYPE and normal(value) == "fixed":
        count = actual.get(QUORUM_COUNT, "")
        return "%s (%s %s)" % (value, QUORUM_COUNT, count if _number(count) else "not set")
    return value


def normal(value: str) -> str:
    """One form for what glusterd takes for the same: on and enable, 64MB and 67108864."""
    text = value.strip().removesuffix("%").strip().lower()
    if text in _TRUE - {"1"}:
        return "on"
    if text in _FALSE - {"0"}:
        return "off"
    match = _SIZE.fullmatch(text)
    if match and match[2]:
        return str(int(float(match[1]) * (1 << _UNITS[match[2].upper()])))
    return text


def _fits(option: Option, actual: str) -> bool:
    wanted, value = normal(option.value), normal(actual)
    if option.compare != SAME:
        limit, number = _number(wanted), _number(value)
        if limit is None or number is None:
            return False
        return number >= limit if option.compare == AT_LEAST else number <= limit
    if wanted == "on" and value == "1":
        return True
    return wanted == value or (wanted == "off" and value == "0")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
