"""The state of the services and their events: SQLite on the master.

Only one process at a time writes (the sync); any number read.  A snapshot and the events that lead
to it are written in one transaction, so that no event is lost or reported twice.  The content of
the store is copied to the other master candidates as a `dump`, which the next master loads;
`Version` tells which of two is newer.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ganeti_gluster import constants
from ganeti_gluster.core.services.events import Event, news, with_since
from ganeti_gluster.core.services.misses import forgive, told_last
from ganeti_gluster.core.services.model import ClusterServices, ServerService
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import Name, NotUnderstood, Serial, as_data

FORMAT = 1
# How long to wait for another process's transaction, in seconds.
BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    node TEXT NOT NULL,
    service TEXT NOT NULL,
    old TEXT NOT NULL,
    new TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS copies (
    node TEXT PRIMARY KEY, term INTEGER NOT NULL, generation INTEGER NOT NULL
) WITHOUT ROWID;
"""
_EVENT = "id, uid, time, kind, type, node, service, old, new, message"


class StoreError(GanetiGlusterError):
    """The store cannot be read or written."""


class Version(NamedTuple):
    """Which state of the store: `term` counts masters, `generation` changes."""

    term: int
    generation: int


@dataclass(frozen=True)
class _Dump:
    """What `Store.dump` gives."""

    format: int
    version: tuple[Serial, Serial]
    master: Name
    published: Serial
    snapshot: ClusterServices
    events: tuple[Event, ...]
    last: tuple[ServerService, ...] = ()


class Store:
    """The store in the file at `path`; opened by `connect`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # Reading

    def snapshot(self) -> ClusterServices | None:
        """The services at the last sync; None before the first."""
        kept = self.kept()
        return None if kept is None else decode.build(ClusterServices, kept)

    def kept(self) -> Any:
        """The same as plain data."""
        return json.loads(self._meta("snapshot") or "null")

    def last(self) -> tuple[ServerService, ...]:
        """The last answers of the nodes that were silent at the last sync."""
        kept = json.loads(self._meta("last") or "[]")
        return tuple(decode.build(ServerService, found) for found in kept)

    def silent(self) -> list[str]:
        """The nodes that are known to be silent."""
        kept = self.kept()
        return [] if kept is None else [str(node) for node in kept["failures"]]

    def missed(self) -> list[str]:
        """The nodes that were silent at the last sync, but had answered at the one before."""
        return [str(node) for node in json.loads(self._meta("missed") or "[]")]

    def events(
        self,
        *,
        since: float | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Events in their order: not older than `since`, with an id above `after`.

        With `limit`, the last ones alone.
        """
        with _errors():
            rows = self._connection.execute(
                "SELECT * FROM (SELECT " + _EVENT + " FROM events WHERE time >= ? AND id > ?"
                " ORDER BY id DESC LIMIT ?) ORDER BY id",
                (since or 0.0, after or 0, -1 if limit is None else limit),
            ).fetchall()
        return [_event(row) for row in rows]

    def version(self) -> Version:
        """Which state this is; (0, 0) for an empty store."""
        return Version(int(self._meta("term") or 0), int(self._meta("generation") or 0))

    def master(self) -> str:
        """The node that wrote last, "" for an empty store."""
        return self._meta("master") or ""

    def unpublished(self) -> list[Event]:
        """Events that have not been reported to the journal and the hooks, in their order."""
        return self.events(after=int(self._meta("published") or 0))

    def last_logged(self) -> int:
        """The id of the last event in this node's journal."""
        return int(self._meta("logged") or 0)

    def copies(self) -> dict[str, Version]:
        """Which state each other node was last known to have."""
        with _errors():
            rows = self._connection.execute("SELECT node, term, generation FROM copies").fetchall()
        return {node: Version(term, generation) for node, term, generation in rows}

    def dump(self) -> dict[str, Any]:
        """All that another node needs to go on from here, as plain data."""
        with self._transaction("DEFERRED"):
            return {
                "format": FORMAT,
                "version": list(self.version()),
                "master": self.master(),
                "published": int(self._meta("published") or 0),
                "snapshot": self.kept(),
                "events": [as_data(event) for event in self.events()],
                "last": [as_data(found) for found in self.last()],
            }

    # Writing

    def record(
        self, new: ClusterServices, *, master: str, history: int, by_users: Sequence[Event] = ()
    ) -> list[Event]:
        """Store `new` as the current state, and return the events that lead to it, now stored.

        Before them are those of `by_users` that are not stored yet.  The very first snapshot
        causes no events.  A node that is silent once keeps its previous state.  At most
        `history` events are kept, and all that are not published yet.  `version` only changes
        with the state, with a new master, and by `published`.
        """
        with self._transaction("IMMEDIATE"):
            old, last = self.snapshot(), self.last()
            new, missed = forgive(old, with_since(old, new), self.missed())
            found = []
            if old is not None:
                silent = told_last(old, new, last)
                found = news(old, new, {*last, *silent})
                self._set("last", json.dumps([as_data(each) for each in silent]))
            self._set("missed", json.dumps(missed))
            fresh = [event for event in by_users if not self._has(event)]
            events = [self._insert(event) for event in (*fresh, *found)]
            term, generation = self.version()
            if self.master() != master:
                term, generation = term + 1, generation + 1
                self._set("master", master)
            elif events or _facts(old) != _facts(new):
                generation += 1
            self._set("term", term)
            self._set("generation", generation)
            self._set("snapshot", json.dumps(new.to_dict()))
            self._trim(history)
        return events

    def published(self, event: Event) -> None:
        """Remember that this event and all before it have been reported."""
        with self._transaction("IMMEDIATE"):
            self._set("published", event.id)
            self._set("generation", self.version().generation + 1)

    def logged(self, event: Event) -> None:
        """Remember that this event, and all before it, are in this node's journal."""
        with self._transaction("IMMEDIATE"):
            self._set("logged", event.id)

    def copied(self, node: str, version: Version) -> None:
        """Remember which state another node has."""
        with self._transaction("IMMEDIATE"):
            self._connection.execute("REPLACE INTO copies VALUES (?, ?, ?)", (node, *version))

    def load(self, dump: Mapping[str, Any]) -> bool:
        """Go on from another node's `dump` if it is newer; whether it was.

        Raises `StoreError`, and changes nothing, if it is not a dump.
        """
        try:
            left = decode.build(_Dump, dump)
        except NotUnderstood as err:
            raise StoreError("this is not a store from a master: %s" % err) from err
        if left.format != FORMAT:
            raise StoreError(
                "this is not a store from a master: its format is %d, not %d"
                % (left.format, FORMAT)
            )
        version = Version(*left.version)
        with self._transaction("IMMEDIATE"):
            if version <= self.version():
                return False
            self._connection.execute("DELETE FROM events")
            self._connection.execute("DELETE FROM copies")
            for event in left.events:
                self._insert(event)
            self._set("term", version.term)
            self._set("generation", version.generation)
            self._set("master", left.master)
            self._set("published", left.published)
            self._set("logged", left.published)
            self._set("snapshot", json.dumps(left.snapshot.to_dict()))
            self._set("last", json.dumps([as_data(each) for each in left.last]))
            # This node has not looked itself.
            self._set("missed", "[]")
        return True

    # Inside

    def _meta(self, key: str) -> str | None:
        with _errors():
            row = self._connection.execute(
                "SELECT value FROM meta WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def _set(self, key: str, value: str | int) -> None:
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (key, str(value)))

    def _has(self, event: Event) -> bool:
        found = self._connection.execute("SELECT 1 FROM events WHERE uid = ?", (event.uid,))
        return found.fetchone() is not None

    def _insert(self, event: Event) -> Event:
        event = replace(event, uid=event.uid or uuid.uuid4().hex)
        data = as_data(event)
        values = [data[name] for name in _EVENT.split(", ")]
        done = self._connection.execute(
            "INSERT INTO events (%s) VALUES (%s)" % (_EVENT, ", ".join("?" * len(values))),
            [values[0] or None, *values[1:]],
        )
        return replace(event, id=done.lastrowid or 0)

    def _trim(self, history: int) -> None:
        self._connection.execute(
            "DELETE FROM events WHERE id <= ? AND id <= (SELECT max(id) FROM events) - ?",
            (int(self._meta("published") or 0), history),
        )

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        with _errors():
            self._connection.execute("BEGIN %s" % kind)
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _facts(snapshot: ClusterServices | None) -> object:
    """What of a snapshot another master has to know: not when it was taken."""
    return snapshot and [
        sorted(snapshot.failures),
        [(s.type, s.node, s.name, s.status, s.message) for s in snapshot.services],
    ]


def _event(row: tuple[Any, ...]) -> Event:
    return Event(**dict(zip(_EVENT.split(", "), row, strict=True)))


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as err:
        raise StoreError("the store of the services: %s" % err) from err


@contextlib.contextmanager
def connect(path: str | None = None, *, readonly: bool = True) -> Iterator[Store]:
    """The store at `path`; not `readonly`, it is made if there is none.

    Raises `StoreError`.
    """
    path = path or constants.SERVICES_STORE
    if not readonly:
        # SQLite gives the files that it keeps beside it the same mode.
        os.close(private.open_file(path, os.O_RDWR | os.O_CREAT))
    elif not os.path.exists(path):
        raise StoreError(
            "nothing is known about the services yet: %s does not exist" % path,
            hint="the sync runs on the master: systemctl status ganeti-gluster-agent",
        )
    with _errors():
        # Autocommit: transactions are begun where they are needed.
        connection = sqlite3.connect(
            "file:%s?mode=%s" % (urllib.parse.quote(path), "ro" if readonly else "rwc"),
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
    try:
        if not readonly:
            with _errors():
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(_SCHEMA)
        yield Store(connection)
    finally:
        connection.close()
