"""`gnt-gluster backup run` and `schedule`: the schedules of backups and snapshots."""

from __future__ import annotations

import json
import time
from typing import Any

from ganeti import cli, errors

from ganeti_gluster import constants
from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.cmdlib.backup_places import FAILURES, Places
from ganeti_gluster.cmdlib.backup_schedule import BackupOutcome, Planned, Schedules
from ganeti_gluster.core.backup import due, schedule
from ganeti_gluster.core.backup.schedule import BackupConfig
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode, private

NOW_OPT = cli.cli_option(
    "--now",
    dest="now",
    default=False,
    action="store_true",
    help="Do not wait for the times of the schedules",
)

_HEADERS = {
    "schedule": "Schedule",
    "instance": "Instance",
    "to": "To",
    "last": "Last",
    "next": "Next",
    "state": "State",
}


def Run(opts: Any, args: list[str]) -> int:
    """Make what is due, and remove what no rule keeps; 0 only if all went well."""
    config = schedule.load()
    _check(config, args)
    if opts.dry_run:
        with Places() as places:
            return _announce(Schedules(config, places), opts, args)
    busy = GanetiGlusterError(
        "the schedules are being carried out already", hint="wait until that has ended"
    )
    with private.locked(constants.BACKUP_LOCK, seconds=0, refusal=busy), Places() as places:
        schedules = Schedules(config, places)
        well = True
        for outcome in schedules.carry_out(schedules.plan(wanted=args, at_once=opts.now)):
            well = _tell(outcome) and well
        for problem in (*schedules.free(), *schedules.problems):
            cli.ToStderr("Failure: %s", problem)
            well = False
    return 0 if well else 1


def _check(config: BackupConfig, names: list[str]) -> None:
    for name in names:
        if name not in {each.name for each in config.schedules}:
            raise errors.OpPrereqError(
                "There is no schedule %s in %s" % (name, constants.BACKUP_CONF),
                errors.ECODE_NOENT,
            )


def _announce(schedules: Schedules, opts: Any, names: list[str]) -> int:
    well = True
    for planned in schedules.plan(wanted=names, at_once=opts.now):
        makes = schedules.is_due(planned) and not planned.wait and not planned.problem
        cli.ToStdout("%s %s: %s", planned.schedule.name, planned.instance.name,
                     _intention(schedules, planned))  # fmt: skip
        try:
            for kept, why in (
                schedules.removals(planned, more=makes) if not planned.problem else ()
            ):
                stays = bool(why) and kept.whole
                cli.ToStdout(
                    "  %s %s: %s",
                    kept.name,
                    due.when(kept.taken),
                    "keep (%s)" % why if stays else "remove" if makes else "remove with the next",
                )
        except FAILURES as err:
            cli.ToStderr("Failure: %s: %s", planned.instance.name, in_words(err))
            well = False
        well = well and not planned.problem
    for problem in schedules.problems:
        cli.ToStderr("Failure: %s", problem)
    return 0 if well and not schedules.problems else 1


def _intention(schedules: Schedules, planned: Planned) -> str:
    entry, to = planned.entry, planned.schedule.to
    if planned.problem:
        return "cannot be backed up to %s: %s" % (to, planned.problem)
    if schedules.is_due(planned):
        would = (
            "would be backed up to %s" % to if planned.schedule.place else "would get a snapshot"
        )
        return "%s, but waits: %s" % (would, planned.wait) if planned.wait else would
    if entry.next_try is None:
        return "never due again"
    return "due at %s" % due.when(entry.next_try)


def _tell(outcome: BackupOutcome) -> bool:
    """Show what came of one; whether that is well."""
    who = "%s %s" % (outcome.planned.schedule.name, outcome.planned.instance.name)
    if outcome.wait:
        cli.ToStdout("%s: waits: %s", who, outcome.wait)
        return True
    if outcome.error:
        cli.ToStderr("Failure: %s: %s", who, decode.printable(outcome.error))
        return False
    cli.ToStdout("%s: made %s", who, outcome.name)
    for name in outcome.removed:
        cli.ToStdout("%s: removed %s", who, name)
    if outcome.trouble:
        cli.ToStderr("Failure: %s: %s", who, decode.printable(outcome.trouble))
    return not outcome.trouble


def Show(opts: Any, args: list[str]) -> int:
    """Show the schedules, what they have made last, and what is due next."""
    config = schedule.load()
    _check(config, args)
    now = time.time()
    wanted = {each.name: each for each in config.schedules if not args or each.name in args}
    entries = [each for each in due.load().entries if each.schedule in wanted]
    if opts.json:
        cli.ToStdout("%s", json.dumps([decode.as_data(each) for each in entries], indent=2))
        return 0
    rows = [
        [
            entry.schedule,
            entry.instance,
            wanted[entry.schedule].to,
            "never" if entry.last is None else due.when(entry.last),
            "never" if entry.next_try is None else due.when(entry.next_try),
            entry.state(now),
        ]
        for entry in entries
    ]
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=list(_HEADERS),
        separator=opts.separator,
        data=rows,
    ):
        cli.ToStdout("%s", line)
    return 0


_SCHEDULES = [cli.ArgUnknown()]

COMMANDS = {
    "backup run": (
        Run,
        _SCHEDULES,
        [NOW_OPT, cli.DRY_RUN_OPT],
        "[--dry-run] [--now] [<schedule>...]",
        "Make the backups and snapshots of the schedules that are due",
    ),
    "backup schedule": (
        Show,
        _SCHEDULES,
        [JSON_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "[<schedule>...]",
        "Show the schedules of backups, what was made last and what is due next",
    ),
}
