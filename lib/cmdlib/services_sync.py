"""The periodic sync of the services: query them, store what changed, and report it.

The agent of each node runs it every minute if the node is the master, and those who need events at
once starts its unit.  The order makes sure that no event is lost or reported twice: first the
events are stored together with the state, then the other master candidates get the store, then
the events are reported, and at last the others learn that they were.  The next master continues
from there.

A master that was cut off while another node took over does not know that it is no longer the
master.  While it reaches no node that knows better, it continues.  When it does reach one, it does
nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ganeti import errors, netutils, ssconf

from ganeti_gluster import constants
from ganeti_gluster.cmdlib import cluster, services
from ganeti_gluster.core.services import (
    answers,
    by_users,
    config,
    election,
    patience,
    publish,
    replica,
)
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services import store as services_store
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.model import ClusterServices, ServiceNode
from ganeti_gluster.core.services.store import Store, StoreError, Version
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import private

COPY_SECONDS = 8


def is_master() -> bool:
    """Whether this node is the master, as far as it knows."""
    try:
        return bool(ssconf.SimpleStore().GetMasterNode() == netutils.Hostname.GetSysName())
    except errors.ConfigurationError:
        return False  # no cluster here


def sync(*, prepared: bool = False) -> bool:
    """One sync; whether there was one.  Raises GanetiGlusterError, Ganeti's errors, OSError.

    With `prepared` the answers that the nodes' agents have prepared are enough, except for a
    node that did not answer the last time: it may have none.
    """
    if not is_master():
        return False
    configuration = config.load()
    with _alone() as alone, services_store.connect(readonly=False) as store:
        if not alone:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(constants.SERVICES_SYNC_WANTED)
        nodes = cluster.nodes()
        myself = netutils.Hostname.GetSysName()
        known = patience.load()
        missed = store.missed()
        silent = {*missed, *store.silent()}
        snapshot = services.fetch(
            configuration.types,
            nodes,
            known=known,
            longer=missed,
            ready=[node.name for node in nodes if node.name not in silent] if prepared else (),
        )
        known.keep([node.name for node in nodes])
        patience.save(known)
        rival = _rival(store, snapshot, nodes, myself, history=configuration.history)
        if rival:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(constants.SERVICES_MASTER)
            raise Overruled(
                "the other nodes consider %s to be the master" % rival,
                hint="run gnt-cluster redist-conf on that node",
            )
        # The mark is gone after a start of this node, and where it was seen that another
        # is the master; one that was so for a moment alone has left its state here.
        if not os.path.exists(constants.SERVICES_MASTER) or store.version() < _newest(store):
            take_over(store, nodes, myself, history=configuration.history)
        if not is_master():  # any more
            return False
        users = by_users.kept()
        store.record(snapshot, master=myself, history=configuration.history, by_users=users)
        by_users.forget(users)
        # It is taken away when this node starts, or is not the master.
        private.touch(constants.SERVICES_MASTER)
        copy_to = [
            node
            for node in nodes
            if node.master_candidate
            and not node.offline
            and node.name != myself
            and node.name not in snapshot.failures
        ]
        copy(store, copy_to)
        publish.publish(
            store.unpublished(),
            store.published,
            logged=store.logged,
            last_logged=store.last_logged(),
            hook_seconds=configuration.hook_seconds,
        )
        copy(store, copy_to)
    return True


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other sync runs, and keep others off until the end."""
    with contextlib.ExitStack() as stack:
        lock = os.path.join(constants.SERVICES_DIR, "sync.lock")
        try:
            stack.enter_context(private.locked(lock, seconds=0))
        except BlockingIOError:
            yield False
            return
        yield True


class Overruled(GanetiGlusterError):
    """This node was the master, and does not know yet that it no longer is."""


def _newest(store: Store) -> Version:
    """Which state this node has, its own or the one that another master has left."""
    kept = replica.load()
    return store.version() if kept is None else max(store.version(), replica.version(kept))


def _rival(
    store: Store,
    snapshot: ClusterServices,
    nodes: Sequence[ServiceNode],
    myself: str,
    *,
    history: int,
) -> str:
    """The node that is the master instead of this one, "" if none is.

    This is the node that most of the answering nodes consider the master.  If the numbers are
    equal, as with two nodes, it is the one whose store has seen more masters, since a new master
    continues from the store of the previous one.  It is always a master candidate: what other
    nodes say about themselves decides nothing.
    """
    candidates = {node.name for node in nodes if node.master_candidate}
    rival, tie = election.rival(snapshot.masters, myself, candidates)
    if not tie:
        return rival
    addresses = {node.name: node.address for node in nodes if node.name == rival}
    for answer in _dumps(addresses, history):
        with contextlib.suppress(GanetiGlusterError):
            dump = replica.fetched(answer, history=history)
            if dump.get("master") == rival and replica.version(dump).term > _newest(store).term:
                return rival
    return ""


def take_over(store: Store, nodes: Sequence[ServiceNode], myself: str, *, history: int) -> None:
    """Continue from the newest state that a master has left here or on another candidate.

    This node may have been the master before, with other masters since, so its own store
    proves nothing.
    """
    kept = replica.load()
    if kept is not None:
        # A broken one is ignored, like that of a candidate that has died.
        with contextlib.suppress(StoreError):
            store.load(kept)
    others = [
        node
        for node in nodes
        if node.master_candidate and not node.offline and node.name != myself
    ]
    addresses = {node.name: node.address for node in others}
    for answer in _dumps(addresses, history):
        # A candidate that has died has no say; the others count.
        with contextlib.suppress(GanetiGlusterError):
            store.load(replica.fetched(answer, history=history))


def _dumps(addresses: Mapping[str, str], history: int) -> Iterable[NodeAnswer]:
    """What the nodes with these addresses have of the store."""
    return cluster.ask(
        on_node.DUMP_COMMAND,
        addresses,
        seconds=COPY_SECONDS,
        longest=replica.longest(history),
    ).values()


def copy(store: Store, nodes: Sequence[ServiceNode]) -> None:
    """Have the master candidates fetch what they lack; who fails is asked at the next sync."""
    version, copies = store.version(), store.copies()
    behind = {node.name: node.address for node in nodes if copies.get(node.name) != version}
    replies = cluster.ask(on_node.REPLICATE_COMMAND, behind, seconds=COPY_SECONDS)
    for name, answer in replies.items():
        with contextlib.suppress(GanetiGlusterError):
            store.copied(name, replica.version(answers.data(answer)))


# What the restricted commands of the same names do


def answer_dump() -> dict[str, object]:
    """The newest state that this node has, its own or a master's, for another node."""
    dumps = []
    with contextlib.suppress(StoreError), services_store.connect() as store:
        dumps.append(store.dump())
    kept = replica.load()
    if kept is not None:
        dumps.append(kept)
    if not dumps:
        raise GanetiGlusterError("nothing is known about the services on this node")
    return {"format": on_node.FORMAT, "dump": replica.pack(max(dumps, key=replica.version))}


def answer_replicate() -> dict[str, object]:
    """Fetch the master's store, keep it, and say which state it is."""
    known = ssconf.SimpleStore()
    master = known.GetMasterNode()
    if master == netutils.Hostname.GetSysName():
        raise GanetiGlusterError("this is the master")
    addresses = dict(line.split() for line in known.GetNodePrimaryIPList())
    history = config.HISTORY_RANGE[1]
    answer = cluster.ask(
        on_node.DUMP_COMMAND,
        {master: addresses[master]},
        seconds=COPY_SECONDS - 1,
        longest=replica.longest(history),
    )[master]
    version = replica.save(replica.fetched(answer, history=history))
    return {"format": on_node.FORMAT, "version": list(version)}


def main(*, prepared: bool = False) -> int:
    """A sync for a unit; the reason of a failure goes to the journal, through stderr."""
    # Ganeti's RPC logs each failure, which is an event here.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        # Again, if another one was requested after this one had begun.
        if sync(prepared=prepared) and os.path.exists(constants.SERVICES_SYNC_WANTED):
            sync()
    except (GanetiGlusterError, errors.GenericError, OSError) as err:
        print("the services were not checked: %s" % in_words(err), file=sys.stderr)
        return 1
    return 0
