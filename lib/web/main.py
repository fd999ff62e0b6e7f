"""Start and stop of the web page: the entry point of the command and the systemd unit."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable

from ganeti import constants as ganeti_constants
from ganeti import pathutils, ssconf

from ganeti_gluster.cmdlib import cluster
from ganeti_gluster.web import gather, processes
from ganeti_gluster.web.accounts import GanetiAccounts
from ganeti_gluster.web.actions import Actions
from ganeti_gluster.web.app import create_app
from ganeti_gluster.web.background import Background
from ganeti_gluster.web.facts import Board
from ganeti_gluster.web.orders import Orders, obey
from ganeti_gluster.web.runs import Runs
from ganeti_gluster.web.server import Listen, WebServer, bind, refuse, tls_context
from ganeti_gluster.web.services import service_type, service_types
from ganeti_gluster.web.site import Site

CERTIFICATE = pathutils.RAPI_CERT_FILE
USERS_FILE = pathutils.RAPI_USERS_FILE

log = logging.getLogger(__name__)


def is_master() -> bool:
    """Whether this node is the master, from the files that Ganeti writes on every node."""
    master, myself = ssconf.GetMasterAndMyself()
    return bool(master == myself)


def serve_page(listen: Listen, *, wait: bool, ready: Callable[[], None]) -> int:
    """Serve until a signal, or until this node is no longer the master.

    With `wait`, first wait until it is.  Returns an exit status; raises
    GanetiGlusterError.
    """
    _log_to_stderr()
    # Before anything else: another process on this port would be taken for the page.
    listening = bind(listen)
    try:
        if wait:
            processes.wait_for(is_master, lambda seconds: refuse(listening, seconds))
        context = tls_context(listen.certificate) if listen.certificate else None
        if not os.path.exists(USERS_FILE):
            log.warning("nobody can log in: %s does not exist", USERS_FILE)
        types = service_types()
        runs = Runs()

        def serve(channel: socket.socket) -> None:
            processes.drop_rights(ganeti_constants.RAPI_USER)
            board = Board(types=types)
            orders = Orders(processes.sender(channel, lambda: os._exit(1)))
            site = Site(
                board,
                GanetiAccounts(USERS_FILE),
                Actions(orders),
                orders.begin,
                secure=context is not None,
                loopback=listen.loopback,
                look=orders.look,
            )
            server = WebServer(listening, context, create_app(site))

            def hear() -> None:
                processes.receive(channel, board, orders)
                os._exit(0)

            threading.Thread(target=hear, name="hear", daemon=True).start()
            ready()
            server.serve()

        def make_background(send: Callable[[bytes], None]) -> Background:
            background = Background(gather.sources(runs), send)
            runs.on_begin = lambda: background.refresh("commands")
            runs.on_end = background.wake
            return background

        processes.run(
            serve,
            make_background,
            obey=lambda line, send: obey(
                line,
                gather.carry_out,
                send,
                begin=lambda order: gather.begin(order, runs),
                known_nodes=lambda: [node.name for node in cluster.nodes()],
                known_services=lambda type: [one.name for one in service_type(type).services],
            ),
            is_master=is_master,
            forked=listening.close,
        )
    except processes.Stopped:
        return 0
    finally:
        listening.close()
    log.warning("this node is no longer the master")
    return int(ganeti_constants.EXIT_NOTMASTER)


def _log_to_stderr() -> None:
    """The journal's place; Ganeti's log of commands is for those that end."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
