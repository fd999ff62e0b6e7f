"""What all commands of `gnt-gluster` have in common, through its own entry point."""

from __future__ import annotations

import errno
import os

import ganeti_cli
import pytest

from ganeti_gluster.errors import GanetiGlusterError

from .conftest import MASTER, NOT_MASTER, Entry, raiser, refused

#: Each command with as few words as it takes.
COMMANDS = {
    "plugin status": "",
    "plugin disable": "",
    "plugin enable": "",
    "pool create": "--brick-dir /srv/b",
    "pool destroy": "gv0",
    "pool evacuate": "node1",
    "pool replace": "node1 node2",
    "pool rebalance": "gv0",
    "pool modify": "gv0",
    "pool status": "",
    "disk info": "vm1",
    "disk evict": "vm1",
    "disk snapshot": "vm1",
    "disk snapshots": "",
    "disk restore": "vm1 s",
    "disk clone": "vm1 s image",
    "disk remove-snapshot": "vm1 s",
    "disk remove-orphans": "",
    "image export": "gv0/x -",
    "image import": "- gv0/x",
    "image copy": "gv0/x gv0/y",
    "volume status": "",
    "swift status": "",
    "swift start": "",
    "swift stop": "",
    "swift restart": "",
    "swift events": "",
    "services status": "",
    "services start": "--type=GLUSTER",
    "services stop": "--type=GLUSTER",
    "services restart": "--type=GLUSTER",
    "services events": "",
    "web": "",
    "verify": "",
    "status": "",
    "monitor": "",
}
EACH = pytest.mark.parametrize("command", COMMANDS)

#: The fewest words that are too many, or too few; none can be too many for the rest.
WRONG_NUMBERS = [
    *(
        ("%s a" % command, "no arguments")
        for command, words in COMMANDS.items()
        if not words.replace("--brick-dir /srv/b", "").replace("--type=GLUSTER", "")
        and command not in ("plugin status", "disk snapshots", "volume status")
    ),
    *(("pool %s" % word, "1 argument(s)") for word in ("destroy", "evacuate", "rebalance")),
    ("pool modify", "1 argument(s)"),
    ("pool modify a b", "1 argument(s)"),
    ("pool replace a", "2 argument(s)"),
    ("disk evict", "1 argument(s)"),
    ("disk evict a b", "1 argument(s)"),
    ("disk snapshot", "1 argument(s)"),
    ("disk restore vm1", "2 argument(s)"),
    ("disk clone vm1 s", "3 argument(s)"),
    ("disk remove-snapshot vm1", "at least 2 argument(s)"),
    ("image export gv0/x", "2 argument(s)"),
    ("image import - gv0/x y", "2 argument(s)"),
    ("image copy gv0/x", "2 argument(s)"),
]


def test_each_command_is_tried_here(check: Entry) -> None:
    assert set(check.part("client.gnt_gluster").commands) == set(COMMANDS)


@pytest.mark.parametrize(
    "words", ["", "nonsense", "pool", "pool nonsense", "--nonsense", "swift", "'' ''"]
)
def test_what_is_no_command_shows_the_commands(check: Entry, words: str) -> None:
    out = check(words, 1, out="Usage: gnt-gluster {command} [options...] [argument...]\n")
    assert all("\n %s - " % command in out for command in COMMANDS)


def test_help_shows_them_too(check: Entry) -> None:
    check("--help", 0, out=" disk evict - Take an instance's images from a node")


@EACH
def test_each_command_has_help(check: Entry, command: str) -> None:
    out = check("%s --help" % command, 0, out="gnt-gluster %s " % command)
    description = check.part("client.gnt_gluster").commands[command][4]
    assert description in " ".join(out.split())


@EACH
def test_no_command_takes_any_option(check: Entry, command: str) -> None:
    check("%s --nonsense" % command, 2, err="error: no such option: --nonsense\n")


@pytest.mark.parametrize(("words", "wanted"), WRONG_NUMBERS)
def test_the_wrong_number_of_words(check: Entry, words: str, wanted: str) -> None:
    command = " ".join(words.split()[:2]) if words.split()[0] in _GROUPS else words.split()[0]
    check(words, 1, err="Error: Command %s expects %s\n" % (command, wanted))


_GROUPS = {command.split()[0] for command in COMMANDS if " " in command}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pool create --replica=three", "option --replica: invalid integer value: 'three'"),
        ("pool create --arbiter=", "option --arbiter: invalid integer value: ''"),
        ("pool create --on-node-add=maybe", "option --on-node-add: invalid choice: 'maybe'"),
        ("pool modify --on-node-add=maybe", "option --on-node-add: invalid choice: 'maybe'"),
        ("disk snapshot --disk=root", "option --disk: invalid integer value: 'root'"),
        ("disk snapshot --keep=all", "option --keep: invalid integer value: 'all'"),
        ("disk restore --bandwidth-limit=1M", "--bandwidth-limit: invalid integer value: '1M'"),
        ("disk clone --disk=root", "option --disk: invalid integer value: 'root'"),
        ("image export --limit=1M", "option --limit: invalid integer value: '1M'"),
        ("image copy --host", "--host option requires 1 argument"),
        ("volume status --units=b", "option --units: invalid choice: 'b'"),
        ("status --interval=1.5", "option --interval: invalid integer value: '1.5'"),
        ("web --port=https", "option --port: invalid integer value: 'https'"),
        ("swift stop --node", "--node option requires 1 argument"),
        ("disk info --json=yes", "--json option does not take a value"),
    ],
)
def test_values_that_an_option_does_not_take(check: Entry, words: str, said: str) -> None:
    check(words, 2, err=said)


ON_MASTER_ALONE = [
    command
    for command in COMMANDS
    if command.split()[0] in ("pool", "disk", "volume", "verify", "status")
    or command in ("plugin status",)
    or (command.split()[0] in ("swift", "services") and not command.endswith("events"))
]


@pytest.mark.parametrize("command", ON_MASTER_ALONE)
def test_what_the_master_knows_is_not_told_elsewhere(check: Entry, command: str) -> None:
    check("%s %s" % (command, COMMANDS[command]), 1, err=MASTER)


@pytest.mark.parametrize("command", ["pool status", "swift stop", "disk info vm1"])
def test_the_master_is_named_as_by_ganeti(check: Entry, command: str) -> None:
    check(command, 1, err=refused(NOT_MASTER % MASTER))


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (GanetiGlusterError("it is late", hint="wait"), 1, "Failure: it is late; wait\n"),
        (OSError(errno.EACCES, "Permission denied", "/x"), 1, "Failure: /x: Permission denied\n"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), 1, "Failure: Input/output error\n"),
        (OSError("timed out"), 1, "Failure: timed out\n"),
        (
            ganeti_cli.OpExecError("no luck"),
            1,
            "Failure: command execution error:\nno luck\n",
        ),
        (ganeti_cli.GenericError("so what"), 1, "Unhandled Ganeti error: so what\n"),
        (ganeti_cli.ConfigurationError("bad"), 2, "Corrupt configuration file: bad\nAborting.\n"),
        (KeyboardInterrupt(), 1, "Aborted."),
    ],
)
def test_errors_from_below_are_sentences(
    check: Entry, error: BaseException, status: int, said: str
) -> None:
    check.replace("cmdlib.plugin_states", fetch=raiser(error))
    check("plugin status", status, err=said)
