"""The commands of `gnt-gluster` that the page can run, and what each of them needs.

A command that takes something away is first run with --dry-run.  Whoever has seen its plan and
typed the name of what is meant has exactly that plan carried out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster.core import plans
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools.decode import Name
from ganeti_gluster.web.actions import InvalidOrder

PROGRAM = "/usr/sbin/gnt-gluster"

#: What a command can be about, and the word for it.
FIELDS = {
    "volume": "volume",
    "instance": "instance",
    "snapshot": "snapshot",
    "node": "node",
    "target": "node",
}


@dataclass(frozen=True)
class CommandKind:
    """A command; `arguments` and `options` have {FIELD} where a field goes.

    Without an optional field its option goes, too.  `typed` is the field whose value is typed to
    confirm it, "" if it needs no confirmation; `effect` says what it does then.
    """

    title: str
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    typed: str = ""
    effect: str = ""

    @property
    def fields(self) -> list[str]:
        """The fields that it has."""
        text = " ".join((*self.arguments, *self.options))
        return [name for name in FIELDS if "{%s}" % name in text]


KINDS = {
    "verify": CommandKind("Verify the cluster", ("verify",)),
    "heal": CommandKind("Heal volume {volume}", ("volume", "heal"), ("{volume}",)),
    "snapshot": CommandKind(
        "Take a snapshot of {instance}",
        ("disk", "snapshot"),
        ("{instance}",),
        ("--name={snapshot}",),
        optional=("snapshot",),
    ),
    "remove-snapshot": CommandKind(
        "Remove snapshot {snapshot} of {instance}",
        ("disk", "remove-snapshot"),
        ("{instance}", "{snapshot}"),
        typed="snapshot",
        effect="The snapshot cannot be restored any more.",
    ),
    "evacuate": CommandKind(
        "Evacuate the bricks of {node}",
        ("pool", "evacuate"),
        ("{node}",),
        ("--to={target}",),
        optional=("target",),
        typed="node",
        effect="All bricks of the node are moved to other nodes, and what is left of them there is"
        " removed.  This can take hours; images stay in use.",
    ),
    "replace": CommandKind(
        "Replace the bricks of {node} by bricks on {target}",
        ("pool", "replace"),
        ("{node}", "{target}"),
        typed="node",
        effect="All data in the bricks of the node are given up, and the new bricks are filled"
        " from the others.  This can take hours; images stay in use.",
    ),
}


@dataclass(frozen=True)
class CommandOrder:
    """A command of this kind on these; `plan` is what was agreed to, `dry_run` only shows it."""

    kind: Name
    volume: Name = ""
    instance: Name = ""
    snapshot: Name = ""
    node: Name = ""
    target: Name = ""
    dry_run: bool = False
    plan: Name = ""
    user: Name = ""

    @property
    def title(self) -> str:
        """What it does, in words."""
        return KINDS[self.kind].title.format_map(vars(self))

    @property
    def typed(self) -> str:
        """What is to be typed to confirm it, "" for nothing."""
        field = KINDS[self.kind].typed
        return str(getattr(self, field)) if field else ""

    @property
    def effect(self) -> str:
        """What it will have done."""
        return KINDS[self.kind].effect

    @property
    def argv(self) -> list[str]:
        """The command, word by word."""
        kind = KINDS[self.kind]
        empty = ["{%s}" % name for name in kind.optional if not getattr(self, name)]
        options = [word for word in kind.options if not any(name in word for name in empty)]
        if self.dry_run:
            options.append("--dry-run")
        if self.plan:
            options.append("--plan=%s" % self.plan)
        # A snapshot's name may begin with a dash.
        end = ["--"] if kind.arguments else []
        filled = [word.format_map(vars(self)) for word in (*options, *end, *kind.arguments)]
        return [PROGRAM, *kind.words, *filled]

    @property
    def line(self) -> str:
        """The command as people read it."""
        return shlex.join(["gnt-gluster", *(word for word in self.argv[1:] if word != "--")])


def make_command(
    kind: str,
    fields: Mapping[str, str],
    known: Mapping[str, Collection[str]],
    *,
    dry_run: bool = False,
    plan: str = "",
) -> CommandOrder:
    """A command from what somebody sent; raises InvalidOrder if it is none.

    `known` are the names that there are, by the words in `FIELDS`.
    """
    if kind not in KINDS:
        raise InvalidOrder("not a command: %.40s" % kind, hint="one of %s" % ", ".join(KINDS))
    chosen = KINDS[kind]
    strange = sorted(name for name in fields if fields[name] and name not in chosen.fields)
    if strange:
        raise InvalidOrder("%s has no %.40s" % (kind, strange[0]))
    values = {name: _checked(chosen, name, fields.get(name, ""), known) for name in chosen.fields}
    if chosen.typed and not dry_run and not re.fullmatch(plans.NAME, plan):
        raise InvalidOrder("%s needs a plan" % kind, hint="ask for a dry run, which names it")
    if (dry_run and plan) or ((dry_run or plan) and not chosen.typed):
        raise InvalidOrder("a dry run or a plan has no meaning here")
    return CommandOrder(kind, **values, dry_run=dry_run, plan=plan)


def _checked(
    kind: CommandKind, field: str, value: str, known: Mapping[str, Collection[str]]
) -> str:
    if not value:
        if field in kind.optional:
            return ""
        raise InvalidOrder("no %s is named" % FIELDS[field])
    if field == "snapshot":
        try:
            return catalogue.check_name(value)
        except InvalidParameter as err:
            raise InvalidOrder(str(err)) from err
    names: Sequence[str] = [name for name in known.get(FIELDS[field], ()) if name == value]
    if not names:
        raise InvalidOrder("no such %s here: %.80s" % (FIELDS[field], value))
    return names[0]
