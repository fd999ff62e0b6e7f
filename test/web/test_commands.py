"""Which commands the page can run, and which words they are made of."""

from __future__ import annotations

import pytest

from ganeti_gluster.web.actions import InvalidOrder
from ganeti_gluster.web.commands import KINDS, PROGRAM, make_command

KNOWN = {"node": ["node1", "node2"], "instance": ["vm1"], "volume": ["gv0"]}
PLAN = "0123456789ab"


@pytest.mark.parametrize(
    ("kind", "fields", "more", "words"),
    [
        ("verify", {}, {}, "verify"),
        ("heal", {"volume": "gv0"}, {}, "volume heal -- gv0"),
        ("snapshot", {"instance": "vm1"}, {}, "disk snapshot -- vm1"),
        (
            "snapshot",
            {"instance": "vm1", "snapshot": "s"},
            {},
            "disk snapshot --name=s -- vm1",
        ),
        (
            "remove-snapshot",
            {"instance": "vm1", "snapshot": "s"},
            {"dry_run": True},
            "disk remove-snapshot --dry-run -- vm1 s",
        ),
        (
            "evacuate",
            {"node": "node1"},
            {"plan": PLAN},
            "pool evacuate --plan=0123456789ab -- node1",
        ),
        (
            "evacuate",
            {"node": "node1", "target": "node2"},
            {"dry_run": True},
            "pool evacuate --to=node2 --dry-run -- node1",
        ),
        (
            "replace",
            {"node": "node1", "target": "node1"},
            {"dry_run": True},
            "pool replace --dry-run -- node1 node1",
        ),
    ],
)
def test_a_command_has_these_words(
    kind: str, fields: dict[str, str], more: dict[str, object], words: str
) -> None:
    order = make_command(kind, fields, KNOWN, **more)  # type: ignore[arg-type]
    assert order.argv == [PROGRAM, *words.split()]


@pytest.mark.parametrize(
    ("kind", "fields", "more", "said"),
    [
        ("reboot", {}, {}, "not a command: reboot"),
        ("verify", {"node": "node1"}, {}, "verify has no node"),
        ("heal", {}, {}, "no volume is named"),
        ("heal", {"volume": "gv1"}, {}, "no such volume here: gv1"),
        ("heal", {"volume": "gv0"}, {"dry_run": True}, "has no meaning here"),
        ("heal", {"volume": "gv0"}, {"plan": PLAN}, "has no meaning here"),
        ("snapshot", {"instance": "--force"}, {}, "no such instance here: --force"),
        ("snapshot", {"instance": "vm1", "snapshot": "../x"}, {}, "snapshot name"),
        ("snapshot", {"instance": "vm1", "snapshot": "{plan}"}, {}, "snapshot name"),
        ("evacuate", {"node": "node1"}, {}, "evacuate needs a plan"),
        ("evacuate", {"node": "node1"}, {"plan": "x --force"}, "evacuate needs a plan"),
        ("evacuate", {"node": "node9"}, {"dry_run": True}, "no such node here: node9"),
        ("evacuate", {"node": "node1"}, {"dry_run": True, "plan": PLAN}, "has no meaning"),
        ("replace", {"node": "node1"}, {"dry_run": True}, "no node is named"),
    ],
)
def test_what_is_no_command(
    kind: str, fields: dict[str, str], more: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidOrder) as caught:
        make_command(kind, fields, KNOWN, **more)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_no_name_is_taken_for_an_option() -> None:
    fields = {"instance": "vm1", "snapshot": "--yes"}
    words = make_command("remove-snapshot", fields, KNOWN, plan=PLAN).argv
    assert words[-3:] == ["--", "vm1", "--yes"]


def test_what_takes_something_away_is_typed_and_says_what_it_does() -> None:
    assert {name for name, kind in KINDS.items() if kind.typed} == {
        *("remove-snapshot", "evacuate", "replace")
    }
    assert all(kind.effect for kind in KINDS.values() if kind.typed)
