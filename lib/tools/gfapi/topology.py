"""The shape of a volume, read from the client's volume graph (volfile).

The graph is what this client really uses.  Its text is a list of translators,
each naming those below it; sample data is in test/tools/gfapi/data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyparsing

CLIENT = "protocol/client"
REPLICATE = "cluster/replicate"
DISPERSE = "cluster/disperse"
DISTRIBUTE = "cluster/distribute"
SHARD = "features/shard"

#: features.shard-block-size, where the graph does not name it.
DEFAULT_SHARD_SIZE = 64 << 20

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


@dataclass(frozen=True)
class Translator:
    """One translator of the graph."""

    name: str
    kind: str
    options: Mapping[str, str]
    children: tuple[str, ...]


@dataclass(frozen=True)
class Brick:
    """A brick, by the translator that connects to it, its host and its path."""

    name: str
    host: str
    path: str
    arbiter: bool = False


@dataclass(frozen=True)
class Subvolume:
    """Bricks that hold the same files: a replica set, a disperse set or one brick.

    `kind` is `replicate`, `disperse` or `single`; `redundancy` is how many
    bricks may fail before data is gone.
    """

    name: str
    kind: str
    bricks: tuple[Brick, ...]
    redundancy: int

    @property
    def arbiters(self) -> int:
        """How many of the bricks hold names and attributes only."""
        return sum(brick.arbiter for brick in self.bricks)


@dataclass(frozen=True)
class Topology:
    """A volume's shape; `shard_size` is in bytes, None if it is not sharded."""

    volume: str
    subvolumes: tuple[Subvolume, ...]
    shard_size: int | None = None

    @property
    def bricks(self) -> tuple[Brick, ...]:
        return tuple(brick for subvolume in self.subvolumes for brick in subvolume.bricks)

    @property
    def distributed(self) -> bool:
        """Whether files are spread over several subvolumes."""
        return len(self.subvolumes) > 1

    @property
    def replicated(self) -> bool:
        return all(subvolume.kind == "replicate" for subvolume in self.subvolumes)

    @property
    def dispersed(self) -> bool:
        return all(subvolume.kind == "disperse" for subvolume in self.subvolumes)

    @property
    def sharded(self) -> bool:
        return self.shard_size is not None


@lru_cache(maxsize=4)
def parse(volfile: str) -> Topology:
    """The topology a volfile describes; raises ValueError for any other text.

    Cached, because a look at many images of a volume has the same text for all.
    """
    graph = {translator.name: translator for translator in translators(volfile)}
    used = {child for translator in graph.values() for child in translator.children}
    tops = [name for name in graph if name not in used]
    if len(tops) != 1 or not used <= graph.keys():
        raise ValueError("the volfile is not one graph")
    top = graph[tops[0]]
    shards = [t for t in graph.values() if t.kind == SHARD]
    if not any(t.kind == CLIENT for t in graph.values()):
        raise ValueError("the volfile names no brick")
    return Topology(
        volume=top.name,
        subvolumes=tuple(_subvolumes(graph, top)),
        shard_size=_shard_size(shards[0]) if shards else None,
    )


def translators(volfile: str) -> list[Translator]:
    """The translators of a volfile, as written; raises ValueError."""
    import pyparsing

    try:
        return list(_grammar().parse_string(volfile, parse_all=True))
    except pyparsing.ParseException as err:
        # Not the text itself: a volfile holds the volume's password.
        raise ValueError("not a volfile: line %d, column %d" % (err.lineno, err.column)) from None


@cache
def _grammar() -> pyparsing.ParserElement:
    import pyparsing as pp

    # Line ends matter: an option's value may be empty, or words with spaces.
    blank = " \t"

    def word(name: str) -> pp.ParserElement:
        return pp.Word(pp.printables).set_whitespace_chars(blank)(name)

    def keyword(text: str) -> pp.ParserElement:
        return pp.Suppress(pp.Keyword(text, ident_chars=pp.alphanums + "-_"))

    rest = pp.Regex(r"[^\n]*").set_whitespace_chars(blank)
    option = pp.Group(keyword("option") + word("key") + rest("value"))
    translator = (
        keyword("volume")
        + word("name")
        + keyword("type")
        + word("kind")
        + pp.Group(pp.ZeroOrMore(option))("options")
        + pp.Optional(keyword("subvolumes") + rest("children"))
        + keyword("end-volume")
    )
    translator.set_parse_action(_translator)
    return pp.ZeroOrMore(translator).ignore(pp.python_style_comment)


def _translator(match: Any) -> Translator:
    options = {option["key"]: option["value"].strip() for option in match["options"]}
    children = tuple(match["children"].split()) if "children" in match else ()
    return Translator(match["name"], match["kind"], options, children)


def _subvolumes(graph: Mapping[str, Translator], translator: Translator) -> Iterator[Subvolume]:
    children = [graph[child] for child in translator.children]
    if translator.kind == CLIENT:
        yield Subvolume(translator.name, "single", (_brick(translator),), 0)
    elif translator.kind == REPLICATE:
        # Arbiters are the last bricks of their set.
        arbiters = int(translator.options.get("arbiter-count", "0"))
        first = len(children) - arbiters
        bricks = tuple(_brick(c, arbiter=i >= first) for i, c in enumerate(children))
        yield Subvolume(translator.name, "replicate", bricks, len(bricks) - arbiters - 1)
    elif translator.kind == DISPERSE:
        redundancy = int(translator.options.get("redundancy", "1"))
        yield Subvolume(translator.name, "disperse", tuple(map(_brick, children)), redundancy)
    elif translator.kind == DISTRIBUTE or len(children) == 1:
        for child in children:
            yield from _subvolumes(graph, child)
    else:
        raise ValueError("unknown kind of volume: %s" % translator.kind)


def _brick(client: Translator, *, arbiter: bool = False) -> Brick:
    if client.kind != CLIENT:
        raise ValueError("%s is not a brick but %s" % (client.name, client.kind))
    host = client.options.get("remote-host", "")
    return Brick(client.name, host, client.options.get("remote-subvolume", ""), arbiter)


def _shard_size(shard: Translator) -> int:
    text = shard.options.get("shard-block-size", "")
    if not text:
        return DEFAULT_SHARD_SIZE
    match = re.fullmatch(r"(\d+)\s*([kmgtp]?)i?b?", text.lower())
    if match is None:
        raise ValueError("unknown shard size %r" % text)
    return int(match.group(1)) << _UNITS[match.group(2)]
