"""The HTML views of storage: volumes, disks and snapshots, and the commands that act on them."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ganeti_gluster.web import access
from ganeti_gluster.web.actions import InvalidOrder
from ganeti_gluster.web.commands import FIELDS, CommandOrder, make_command
from ganeti_gluster.web.disk_view import disks_of, snapshots_of
from ganeti_gluster.web.facts import Known
from ganeti_gluster.web.orders import OrderFailed
from ganeti_gluster.web.site import site

blueprint = Blueprint("storage", __name__)

_LATEST = 10


@blueprint.get("/storage")
def storage() -> str:
    """Volumes and disks, and what can be done to bricks."""
    text = request.args.get("q", "").strip()
    snapshot = site().board.snapshot
    return render_template(
        "storage.html",
        text=text,
        disks=disks_of(snapshot, text=text),
        commands=[
            one for place, one in enumerate(snapshot.commands) if place < _LATEST or one.running
        ],
    )


@blueprint.get("/volumes/<name>")
def volume(name: str) -> str:
    """One volume: its shape, space, options, bricks and disks."""
    snapshot = site().board.snapshot
    found = next((one for one in snapshot.pool.volumes if one.name == name), None)
    if found is None:
        abort(404, "The pool has no such volume.")
    return render_template("volume.html", volume=found, disks=disks_of(snapshot, volume=name))


@blueprint.get("/instances/<name>")
def instance(name: str) -> str:
    """One instance: its disks and their snapshots."""
    snapshot = site().board.snapshot
    disks = disks_of(snapshot, instance=name)
    if not disks:
        abort(404, "No such instance has a disk on gluster.")
    return render_template(
        "instance.html", instance=name, disks=disks, snapshots=snapshots_of(snapshot, name)
    )


@blueprint.get("/commands")
def commands() -> Response:
    """For who reloads the address that a form was sent to, or comes back to it."""
    return redirect(url_for("storage.storage"), 303)


@blueprint.get("/commands/<int:number>")
def command(number: int) -> str:
    """A command and what it says; of a dry run also the question whether to do it."""
    found = site().board.snapshot.command(number)
    if found is None:
        abort(404, "There is no such command, or it is too old.")
    return render_template("command.html", command=found)


@blueprint.post("/commands")
@access.writer
def begin() -> Response | tuple[str, int]:
    """Begin a command; what takes something away only shows what it would do at first."""
    form = request.form
    fields = {name: form.get(name, "").strip() for name in FIELDS}
    plan = form.get("plan", "")
    dry_run = form.get("dry_run") == "yes"
    try:
        order = make_command(
            form.get("command", ""),
            fields,
            known_names(site().board.snapshot),
            dry_run=dry_run,
            plan=plan,
        )
        if plan and form.get("typed", "").strip() != order.typed:
            raise InvalidOrder("nothing was done: type %s to confirm it" % order.typed)
        return redirect(url_for("storage.command", number=begin_command(order)), 303)
    except InvalidOrder as err:
        return _refused(str(err), 400)
    except OrderFailed as err:
        return _refused(str(err), 409)


def _refused(text: str, code: int) -> tuple[str, int]:
    page = render_template(
        "error.html",
        title="Not begun",
        text=text,
        code=code,
        home=url_for("storage.storage"),
    )
    return page, code


def begin_command(order: CommandOrder) -> int:
    """Have a command begun for who sent the request; raises OrderFailed."""
    who = access.caller()
    assert who is not None
    return site().begin(CommandOrder(**{**vars(order), "user": who.account.user}))


def known_names(snapshot: Known) -> dict[str, list[str]]:
    """The names that a command can be about, as the page knows them."""
    return {
        "volume": [volume.name for volume in snapshot.pool.volumes],
        "node": [node.name for node in snapshot.cluster.nodes],
        "instance": sorted({disk.instance for disk in snapshot.cluster.disks}),
    }
