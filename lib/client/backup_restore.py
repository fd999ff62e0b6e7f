"""`gnt-gluster backup restore`: disks of an instance from a backup, or all of the instance."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.backup import FROM_OPT, open_repository, when
from ganeti_gluster.client.options import LIMIT_OPT, bandwidth, confirm
from ganeti_gluster.client.snapshot import DISKS_OPT, carry_out, disk_names
from ganeti_gluster.cmdlib import backups, snapshots
from ganeti_gluster.core.backup.manifest import Manifest
from ganeti_gluster.core.snapshot.request import SnapshotRequest
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode

NEW_OPT = cli.cli_option(
    "--new",
    dest="new",
    default=False,
    action="store_true",
    help="Create the instance, as it was configured when it was backed up",
)
AS_OPT = cli.cli_option(
    "--as",
    dest="other_name",
    default=None,
    metavar="NAME",
    help="With --new or --test: create it under this name, with new MAC addresses",
)
PNODE_OPT = cli.cli_option(
    "-n",
    "--node",
    dest="node",
    default=None,
    metavar="NODE",
    completion_suggest=cli.OPT_COMPL_ONE_NODE,
    help="With --new or --test: the node of the instance (default: chosen by the iallocator)",
)


TEST_OPT = cli.cli_option(
    "--test",
    dest="test",
    default=False,
    action="store_true",
    help="Only see whether it boots: in a new instance without a network, which is then removed",
)
EXPECT_OPT = cli.cli_option(
    "--expect",
    dest="expect",
    default="login:",
    metavar="REGEX",
    help="With --test: what the console says once the guest has booted (default: login:)",
)
TIMEOUT_OPT = cli.cli_option(
    "--boot-timeout",
    dest="boot_timeout",
    default=300,
    type="int",
    metavar="SECONDS",
    help="With --test: how long to wait for that (default: 300)",
)


def Restore(opts: Any, args: list[str]) -> int:
    """Give an instance's disks the content that they have in a backup."""
    if opts.other_name is not None and not (opts.new or opts.test):
        raise errors.OpPrereqError("--as requires --new or --test", errors.ECODE_INVAL)
    if opts.new and opts.test:
        raise errors.OpPrereqError("Give --new or --test", errors.ECODE_INVAL)
    if (opts.new or opts.test) and opts.disks:
        raise errors.OpPrereqError("All disks are restored then", errors.ECODE_INVAL)
    limit = bandwidth(opts)
    with open_repository(opts) as repository:
        backup = repository.find(args[0], args[1] if len(args) > 1 else None)
    if opts.new:
        return _restore_new(opts, backup, limit)
    if opts.test:
        return _test(opts, backup, limit)
    (instance,) = snapshots.find(args[:1])
    indices = opts.disks or sorted(disk.index for disk in backup.disks)
    disks = snapshots.choose(instance, indices)
    wanted = replace(backups.to_fill(instance, backup, opts.repository, disks), limit=limit)
    if instance.running:
        raise errors.OpPrereqError(
            "Instance %s is running; stop it first" % instance.name, errors.ECODE_STATE
        )
    what = "%s of %s" % (disk_names([disk.index for disk in disks]), instance.name)
    source = "%s (backup %s)" % (when(backup), backup.name)
    if opts.dry_run:
        cli.ToStdout("Would restore %s from %s", what, source)
        return 0
    question = "Restore %s from %s? The current content will be lost." % (what, source)
    confirm(opts, question, otherwise="Nothing was restored")
    _fill(opts, instance, wanted, "%s from %s" % (what, source))
    return 0


def _agreed(opts: Any, params: dict[str, Any], source: str) -> bool:
    """Show what comes from the repository, and ask; False for a dry run."""
    name = params["instance_name"]
    for key, value in sorted(params["hvparams"].items()):
        cli.ToStdout("  %s: %s", decode.printable(str(key)), decode.printable(str(value)))
    if opts.dry_run:
        cli.ToStdout("Would create instance %s from %s", name, source)
        return False
    question = "Create instance %s from %s, with the parameters shown?" % (name, source)
    confirm(opts, question, otherwise="Nothing was restored")
    return True


def _test(opts: Any, backup: Manifest, limit: int | None) -> int:
    try:
        re.compile(opts.expect)
    except re.error as err:
        raise errors.OpPrereqError("--expect: %s" % err, errors.ECODE_INVAL) from err
    host, dot, domain = backup.instance.partition(".")
    name = opts.other_name or "%s-restore-test%s%s" % (host, dot, domain)
    params = backups.to_test(backup, name, node=opts.node)
    source = "%s (backup %s of %s)" % (when(backup), backup.name, backup.instance)
    if not _agreed(opts, params, source):
        return 0
    backups.create(params)
    (instance,) = snapshots.find([name])
    try:
        disks = snapshots.choose(instance, None)
        wanted = backups.to_fill(instance, backup, opts.repository, disks)
        _fill(opts, instance, replace(wanted, limit=limit), "%s from %s" % (name, source))
        seen = backups.boot(instance, opts.expect, opts.boot_timeout)
    except BaseException:
        try:
            backups.remove(instance)
        except (errors.GenericError, GanetiGlusterError) as err:
            cli.ToStderr("Failure: instance %s was not removed: %s", name, in_words(err))
        raise
    backups.remove(instance)
    cli.ToStdout("Backup %s of %s boots: %s", backup.name, backup.instance, seen)
    return 0


def _restore_new(opts: Any, backup: Manifest, limit: int | None) -> int:
    name = opts.other_name or backup.instance
    params = backups.to_create(backup, name, node=opts.node)
    source = "%s (backup %s of %s)" % (when(backup), backup.name, backup.instance)
    if not _agreed(opts, params, source):
        return 0
    backups.create(params)
    (instance,) = snapshots.find([name])
    wanted = backups.to_fill(instance, backup, opts.repository, snapshots.choose(instance, None))
    try:
        _fill(opts, instance, replace(wanted, limit=limit), "%s from %s" % (name, source))
    except (GanetiGlusterError, OSError) as err:
        raise GanetiGlusterError(
            "instance %s was created, but its disks are empty: %s" % (name, in_words(err)),
            hint="restore them without --new, or remove the instance",
        ) from err
    return 0


def _fill(opts: Any, instance: snapshots.Instance, wanted: SnapshotRequest, what: str) -> None:
    carry_out(opts, instance, wanted)
    cli.ToStdout("Restored %s", what)


COMMANDS = {
    "backup restore": (
        Restore,
        [cli.ArgUnknown(min=1, max=1), cli.ArgUnknown(max=1)],
        [
            FROM_OPT,
            DISKS_OPT,
            NEW_OPT,
            TEST_OPT,
            EXPECT_OPT,
            TIMEOUT_OPT,
            AS_OPT,
            PNODE_OPT,
            LIMIT_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
            cli.DRY_RUN_OPT,
        ],
        "--from <repository> [--new | --test] <instance> [<backup>]",
        "Restore an instance from a backup, by default the last one",
    ),
}
