"""What all commands of `gnt-gluster` have in common, through its own entry point."""

from __future__ import annotations

import errno
import os
import re

import ganeti_cli
import pytest

from ganeti_gluster import __version__
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import MASTER, Entry, raiser, refused

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
    "pool renew-certificates": "gv0",
    "pool status": "",
    "node maintenance": "node1 on",
    "upgrade": "",
    "disk info": "vm1",
    "disk evict": "vm1",
    "disk move": "--volume gv1 vm1",
    "disk snapshot": "vm1",
    "disk snapshots": "",
    "disk restore": "vm1 s",
    "disk clone": "vm1 s image",
    "disk remove-snapshot": "vm1 s",
    "disk remove-orphans": "",
    "backup init": "/srv/backups",
    "backup create": "vm1",
    "backup list": "",
    "backup verify": "",
    "backup restore": "vm1",
    "backup remove": "vm1 b",
    "backup prune": "",
    "backup mount": "vm1",
    "backup umount": "",
    "backup run": "",
    "backup schedule": "",
    "image export": "gv0/x -",
    "image import": "- gv0/x",
    "image copy": "gv0/x gv0/y",
    "volume heal": "gv0",
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
        and not command.startswith("backup ")
    ),
    *(("pool %s" % word, "1 argument(s)") for word in ("destroy", "evacuate", "rebalance")),
    ("pool modify", "1 argument(s)"),
    ("pool renew-certificates", "1 argument(s)"),
    ("pool modify a b", "1 argument(s)"),
    ("pool replace a", "2 argument(s)"),
    ("node maintenance node1", "2 argument(s)"),
    ("disk evict", "1 argument(s)"),
    ("disk evict a b", "1 argument(s)"),
    ("disk move --volume gv1", "1 argument(s)"),
    ("disk snapshot", "1 argument(s)"),
    ("disk restore vm1", "2 argument(s)"),
    ("disk clone vm1 s", "3 argument(s)"),
    ("disk remove-snapshot vm1", "at least 2 argument(s)"),
    ("backup init", "1 argument(s)"),
    ("backup create", "at least 1 argument(s)"),
    ("backup restore", "at least 1 argument(s)"),
    ("backup restore vm1 b c", "only 2 argument(s)"),
    ("backup remove vm1", "at least 2 argument(s)"),
    ("image export gv0/x", "2 argument(s)"),
    ("image import - gv0/x y", "2 argument(s)"),
    ("image copy gv0/x", "2 argument(s)"),
]


def test_each_command_is_tried_here(check: Entry) -> None:
    assert set(check.part("client.gnt_gluster").commands) == set(COMMANDS)


@pytest.mark.parametrize(("words", "status"), [("", 1), ("--help", 0), ("-h", 0)])
def test_the_commands_are_shown(check: Entry, words: str, status: int) -> None:
    out = check(words, status, out="Usage: gnt-gluster {command} [options...] [argument...]\n")
    assert all(re.search("\n %s +- " % command, out) for command in COMMANDS)


@pytest.mark.parametrize("group", sorted({c.split()[0] for c in COMMANDS if " " in c}))
@pytest.mark.parametrize(("help", "status"), [("", 1), (" --help", 0), (" -h", 0)])
def test_those_of_a_group_are_shown(check: Entry, group: str, help: str, status: int) -> None:
    out = check(group + help, status, out="Usage: gnt-gluster %s {command} [opt" % group)
    assert "; see also man gnt-gluster-%s\n" % group in out
    for command in COMMANDS:
        assert bool(re.search("\n %s +- " % command, out)) is command.startswith(group + " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stauts", "'stauts'; did you mean 'status'?"),
        ("stauts --json", "'stauts'; did you mean 'status'?"),
        ("pool stauts", "'pool stauts'; did you mean 'pool status'?"),
        ("pool staus --json", "'pool staus'; did you mean 'pool status'?"),
        ("poll status", "'poll'; did you mean 'pool status'?"),
        ("poolstatus", "'poolstatus'; did you mean 'pool status'?"),
        ("volumes status gv0", "'volumes'; did you mean 'volume status'?"),
        ("disks", "'disks'; did you mean 'disk'?"),
        ("evacuate node1", "'evacuate'; did you mean 'pool evacuate'?"),
        ("disk remove_orphans", "'disk remove_orphans'; did you mean 'disk remove-orphans'?"),
        ("pool nonsense", "'pool nonsense'; see gnt-gluster pool --help"),
        ("pool ''", "'pool '; see gnt-gluster pool --help"),
        ("nonsense", "'nonsense'; see gnt-gluster --help"),
        ("--nonsense", "'--nonsense'; see gnt-gluster --help"),
        ("'' ''", "''; see gnt-gluster --help"),
        ("--version --json", "'--version'; see gnt-gluster --help"),
    ],
)
def test_what_is_no_command_is_told_in_a_line(check: Entry, words: str, said: str) -> None:
    check(words, 1, err="Failure: unknown command %s\n" % said)


@pytest.mark.parametrize("words", ["", "pool --help", "--version", "plugin status"])
def test_a_reader_that_has_had_enough_is_no_failure_to_tell(check: Entry, words: str) -> None:
    cli = check.part("client.gnt_gluster").cli
    check.replace("cmdlib.plugin_states", fetch=lambda names: {})
    check.replace_in(cli, ToStdout=raiser(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    check.replace_in(cli, GenerateTable=lambda **table: ["Node"])
    check(words, 1)


def test_the_versions(check: Entry) -> None:
    text = "gnt-gluster (ganeti-gluster) %s, Ganeti 3.1.0\n" % __version__
    assert check("--version", 0, out=text) == text


@EACH
def test_only_root_may_run_it(check: Entry, command: str) -> None:
    check.patch.setattr(os, "geteuid", lambda: 1000)
    said = "Failure: gnt-gluster must be run as root\n"
    check("%s %s" % (command, COMMANDS[command]), 1, err=said)
    check("%s --help" % command, 0, out="Usage")


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
        ("image export --bandwidth-limit=1M", "limit: invalid integer value: '1M'"),
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


MASTER_BACKUPS = ["backup %s" % verb for verb in ("create", "restore", "run", "schedule")]
ON_MASTER_ALONE = [
    command
    for command in COMMANDS
    if command.split()[0] in ("pool", "node", "upgrade", "disk", "volume", "verify", "status")
    or command in ("plugin status", *MASTER_BACKUPS)
    or (command.split()[0] in ("swift", "services") and not command.endswith("events"))
]


@pytest.mark.parametrize("command", ON_MASTER_ALONE)
def test_what_the_master_knows_is_told_where(check: Entry, command: str) -> None:
    check.be_elsewhere()
    words = ("%s %s" % (command, COMMANDS[command])).strip()
    check(words, 1, err="This is not the master node; run on %s: gnt-gluster %s" % (MASTER, words))


def test_the_command_to_run_there_can_be_copied(check: Entry) -> None:
    check.be_elsewhere()
    words = "disk snapshot --name 'a b' vm1"
    said = "This is not the master node; run on %s: gnt-gluster %s" % (MASTER, words)
    check(words, 1, err=refused(said, "wrong_state"))


@EACH
def test_the_rest_is_done_on_any_node(check: Entry, command: str) -> None:
    known = check.part("client.gnt_gluster").ON_ANY_NODE
    assert (command in known) is (command not in ON_MASTER_ALONE)


def test_outside_of_a_cluster(check: Entry) -> None:
    error = ganeti_cli.ConfigurationError("Can't read ssconf file")
    check.replace_in(check.part("client.gnt_gluster").ssconf, GetMasterAndMyself=raiser(error))
    check("status", 1, err=refused("This machine is not part of a Ganeti cluster"))


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
