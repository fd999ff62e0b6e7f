"""`gnt-gluster backup`: backups of instances in a repository."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

from ganeti import cli, errors, utils

from ganeti_gluster.client.options import JSON_OPT, LIMIT_OPT, bandwidth, confirm
from ganeti_gluster.client.snapshot import carry_out, disk_names
from ganeti_gluster.cmdlib import backups, snapshots
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.backup import check, manifest, own_names, places, prune
from ganeti_gluster.core.backup.lock import locked
from ganeti_gluster.core.backup.manifest import Manifest
from ganeti_gluster.core.backup.repository import BackupListing, Repository
from ganeti_gluster.core.backup.retention import KeepRules, decide
from ganeti_gluster.core.copy.progress import Terminal
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode

TO_OPT = cli.cli_option(
    "--to",
    dest="repository",
    default=None,
    metavar="REPOSITORY",
    help="The repository that receives the backup",
)
FROM_OPT = cli.cli_option(
    "--from",
    dest="repository",
    default=None,
    metavar="REPOSITORY",
    help="The repository that has the backups",
)
FULL_OPT = cli.cli_option(
    "--full",
    dest="full",
    default=False,
    action="store_true",
    help="Store all data again, sharing nothing with earlier backups",
)
NO_FREEZE_OPT = cli.cli_option(
    "--no-freeze",
    dest="freeze",
    default=True,
    action="store_false",
    help="Do not have the guest's agent freeze the file systems",
)
NAME_OPT = cli.cli_option(
    "--name",
    dest="name",
    default=None,
    metavar="NAME",
    help="Name of the backup (default: the time, in UTC)",
)
BACKUP_OPT = cli.cli_option(
    "--backup",
    dest="backup",
    default=None,
    metavar="NAME",
    help="Only the backup of this name",
)
RULES = [each.name for each in fields(KeepRules)]
_KEPT = {
    "last": "the N newest backups of each instance",
    **{
        rule: "the newest backup of each of the last N %s that have one" % periods
        for rule, periods in zip(
            RULES[1:], ("hours", "days", "weeks", "months", "years"), strict=True
        )
    },
}
KEEP_OPTS = [
    cli.cli_option(
        "--keep-%s" % rule,
        dest="keep_%s" % rule,
        default=0,
        type="int",
        metavar="N",
        help="Keep %s" % _KEPT[rule],
    )
    for rule in RULES
]

_HEADERS = {
    "instance": "Instance",
    "name": "Backup",
    "taken": "Taken",
    "kind": "Kind",
    "state": "State",
    "size": "Disks",
    "data": "Data",
    "stored": "Added",
}


@contextlib.contextmanager
def open_repository(opts: Any) -> Iterator[Repository]:
    """The repository that the options name; raises where there is none."""
    if opts.repository is None:
        raise errors.OpPrereqError("Name the repository", errors.ECODE_INVAL)
    with places.store(opts.repository) as store:
        repository = Repository(store)
        repository.check()
        yield repository


def Init(opts: Any, args: list[str]) -> int:
    """Make a repository of an empty place."""
    with places.store(args[0]) as store:
        Repository(store).create()
    cli.ToStdout("Created repository %s", args[0])
    return 0


def Create(opts: Any, args: list[str]) -> int:
    """Back up instances; 0 only if all of them are."""
    limit = bandwidth(opts)
    name = manifest.check_name(
        catalogue.default_name(time.time()) if opts.name is None else opts.name
    )
    own_names.refuse(name)
    instances = snapshots.find(args)
    with open_repository(opts) as repository:
        for instance in instances:
            repository.check_free(instance.name, name)
    if opts.dry_run:
        for instance in instances:
            cli.ToStdout(
                "Would back up %s (%s) as %s",
                instance.name,
                disk_names(sorted(instance.paths)),
                name,
            )
        return 0
    results, failed = [], False
    for instance in instances:
        try:
            wanted = backups.to_back_up(
                instance, name, opts.repository, full=opts.full, freeze=opts.freeze
            )
            result = carry_out(opts, instance, replace(wanted, limit=limit))
        except (GanetiGlusterError, OSError) as err:
            if len(instances) == 1:
                raise
            failed = True
            cli.ToStderr("Failure: %s: %s", instance.name, in_words(err))
            results.append({"instance": instance.name, "error": in_words(err)})
            continue
        results.append({"instance": instance.name, **result})
        if not opts.json:
            cli.ToStdout("%s", _created(instance.name, result))
    if opts.json:
        cli.ToStdout("%s", json.dumps(results, indent=2, sort_keys=True))
    return 1 if failed else 0


def _created(instance: str, result: dict[str, Any]) -> str:
    return "Backed up %s (%s) as %s: %s of data, %s read, %s added" % (
        instance,
        disk_names(result["disks"]),
        result["name"],
        *(_unit(result[each]) for each in ("data", "read", "stored")),
    )


def List(opts: Any, args: list[str]) -> int:
    """Print the backups in a repository; 0 only if all of them can be read."""
    with open_repository(opts) as repository:
        listing = repository.listing(args or None)
    if opts.json:
        rows = [_describe(backup) for backup in listing.backups]
        cli.ToStdout("%s", json.dumps(rows, indent=2, sort_keys=True))
    else:
        _print_table(opts, listing)
    for text in listing.damaged:
        cli.ToStderr("Failure: %s", decode.printable(text))
    return 1 if listing.damaged else 0


def _describe(backup: Manifest) -> dict[str, Any]:
    """A backup as plain data: bytes, and seconds since the epoch."""
    described = decode.as_data(backup)
    del described["configuration"], described["format"]
    for disk in described["disks"]:
        del disk["root"]
    return {**described, "size": backup.size, "data": backup.data, "new": backup.new}


def _print_table(opts: Any, listing: BackupListing) -> None:
    rows = [
        [
            backup.instance,
            backup.name,
            when(backup),
            "full" if backup.full else "incremental",
            "frozen" if backup.frozen else "live" if backup.live else "stopped",
            *(_unit(each) for each in (backup.size, backup.data, backup.stored)),
        ]
        for backup in listing.backups
    ]
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=list(_HEADERS),
        separator=opts.separator,
        data=[[decode.printable(each) for each in row] for row in rows],
        numfields=["size", "data", "stored"],
    ):
        cli.ToStdout("%s", line)


def Verify(opts: Any, args: list[str]) -> int:
    """Read backups and check each piece; 0 only if all of them can be restored."""
    limit = bandwidth(opts)
    with open_repository(opts) as repository, locked(repository.store, "a verification"):
        listing = repository.listing(args or None)
        chosen = [
            each for each in listing.backups if opts.backup is None or each.name == opts.backup
        ]
        if not chosen and not listing.damaged:
            raise errors.OpPrereqError("There is no such backup", errors.ECODE_NOENT)
        terminal = Terminal()
        try:
            found = check.check(repository, chosen, limit, terminal)
        finally:
            terminal.end()
    problems = [*listing.damaged, *found.problems]
    if opts.json:
        result = {"backups": len(chosen), "read": found.read, "problems": problems}
        cli.ToStdout("%s", json.dumps(result, indent=2, sort_keys=True))
    else:
        for text in problems:
            cli.ToStderr("Failure: %s", decode.printable(text))
        cli.ToStdout(
            "%d of %d backups are whole; %s read",
            len(chosen) - len(found.broken),
            len(chosen) + len(listing.damaged),
            _unit(found.read),
        )
    return 1 if problems else 0


def Remove(opts: Any, args: list[str]) -> int:
    """Remove backups; what only they have is freed by `prune`."""
    instance, *names = args
    what = "backup %s of %s" % (", ".join(names), instance)
    with open_repository(opts) as repository:
        for name in names:
            repository.check_there(instance, manifest.check_name(name))
        if opts.dry_run:
            cli.ToStdout("Would remove %s", what)
            return 0
        confirm(opts, "Remove %s?" % what, otherwise="No backup was removed")
        with locked(repository.store, "the removal of backups"):
            for name in names:
                repository.remove(instance, name)
                cli.ToStdout("Removed backup %s of %s", name, instance)
    return 0


def Prune(opts: Any, args: list[str]) -> int:
    """Remove backups that no rule keeps, and free what no backup refers to."""
    keep = KeepRules(**{rule: getattr(opts, "keep_%s" % rule) for rule in RULES})
    for rule in RULES:
        if getattr(keep, rule) < 0:
            raise errors.OpPrereqError("--keep-%s: not less than 0" % rule, errors.ECODE_INVAL)
    if args and keep.all:
        raise errors.OpPrereqError(
            "Say which backups to keep, for example with --keep-daily", errors.ECODE_INVAL
        )
    with open_repository(opts) as repository:
        doomed = [] if keep.all else _doomed(repository, args, keep, show=not opts.json)
        if doomed and not opts.dry_run:
            confirm(
                opts,
                "Remove %d backup%s?" % (len(doomed), "" if len(doomed) == 1 else "s"),
                otherwise="No backup was removed",
            )
        with locked(repository.store, "the removal of old data", alone=True) as lock:
            if doomed and not opts.dry_run:
                # A newer one, for which they are to go, may have gone since.
                if _doomed(repository, args, keep) != doomed:
                    raise GanetiGlusterError(
                        "the backups have changed since the question; nothing was removed",
                        hint="try again",
                    )
                for backup in doomed:
                    lock.check()
                    repository.remove(backup.instance, backup.name)
            gone = {(backup.instance, backup.name) for backup in doomed}
            done = prune.prune(repository, lock, gone=gone, dry_run=opts.dry_run)
    if opts.json:
        removed = [[backup.instance, backup.name] for backup in doomed]
        result = {**asdict(done), "backups": removed}
        cli.ToStdout("%s", json.dumps(result, sort_keys=True))
        return 0
    cli.ToStdout(
        "%s %s: removed %d packs and rewrote %d; %s used, %s to be freed later",
        "Would free" if opts.dry_run else "Freed",
        *(_unit(done.freed), done.removed, done.rewritten, _unit(done.used), _unit(done.wasted)),
    )
    return 0


def _doomed(
    repository: Repository, instances: list[str], keep: KeepRules, *, show: bool = False
) -> list[Manifest]:
    """The backups that no rule keeps of an instance in a cluster; tells why each stays or not."""
    for instance in instances:
        repository.find(instance, None)
    doomed = []
    backups, damaged = repository.listing(instances or None)
    if damaged:
        raise GanetiGlusterError(
            "%s; nothing was removed" % damaged[0],
            hint="remove this backup with gnt-gluster backup remove and try again",
        )
    for key in dict.fromkeys((backup.instance, backup.cluster) for backup in backups):
        own = [backup for backup in backups if (backup.instance, backup.cluster) == key]
        reasons = decide([backup.taken for backup in own], keep)
        for backup, why in zip(own, reasons, strict=True):
            if not why:
                doomed.append(backup)
            if show:
                what = "keep (%s)" % why if why else "remove"
                cli.ToStdout("%s %s %s: %s", backup.instance, backup.name, when(backup), what)
    return doomed


def when(backup: Manifest) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(backup.taken))


def _unit(size: int) -> str:
    return str(utils.FormatUnit(size / MIB, "h"))


_REPOSITORY = [cli.ArgUnknown(min=1, max=1)]

COMMANDS = {
    "backup init": (
        Init,
        _REPOSITORY,
        [],
        "<repository>",
        "Create a repository of backups",
    ),
    "backup create": (
        Create,
        [cli.ArgInstance(min=1)],
        [TO_OPT, FULL_OPT, NO_FREEZE_OPT, NAME_OPT, LIMIT_OPT, cli.DRY_RUN_OPT, JSON_OPT],
        "--to <repository> [--full] <instance>...",
        "Back up all disks of instances, running or not",
    ),
    "backup list": (
        List,
        [cli.ArgUnknown()],
        [FROM_OPT, JSON_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "--from <repository> [<instance>...]",
        "Show the backups in a repository",
    ),
    "backup verify": (
        Verify,
        [cli.ArgUnknown()],
        [FROM_OPT, BACKUP_OPT, LIMIT_OPT, JSON_OPT],
        "--from <repository> [<instance>...]",
        "Read backups and check every piece of them",
    ),
    "backup remove": (
        Remove,
        [cli.ArgUnknown(min=2)],
        [FROM_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT, cli.DRY_RUN_OPT],
        "--from <repository> <instance> <backup>...",
        "Remove backups from a repository",
    ),
    "backup prune": (
        Prune,
        [cli.ArgUnknown()],
        [FROM_OPT, *KEEP_OPTS, cli.CONFIRM_OPT, cli.FORCE_OPT, cli.DRY_RUN_OPT, JSON_OPT],
        "--from <repository> [--keep-daily N]... [<instance>...]",
        "Remove backups that no rule keeps, and free the space that none needs any more",
    ),
}
