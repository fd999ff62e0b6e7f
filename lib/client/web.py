"""`gnt-gluster web`: the web page."""

from __future__ import annotations

from typing import Any

from ganeti import cli, constants, ssconf

from ganeti_gluster.errors import GanetiGlusterError

# The page's own modules are imported by the command alone: they need packages that a
# node without the page does not have, and take their time.


def Serve(opts: Any, args: list[str]) -> int:
    """Serve the page in the foreground, on the master."""
    master, myself = ssconf.GetMasterAndMyself()
    if master != myself and not opts.wait_master:
        cli.ToStderr("This node is not the master: the page is served by %s", master)
        return int(constants.EXIT_NOTMASTER)
    try:
        from ganeti_gluster.web import main, server
    except ModuleNotFoundError as err:
        if err.name and err.name.startswith("ganeti"):
            raise
        raise GanetiGlusterError(
            "the page needs the Python module %s" % err.name,
            hint="apt-get install python3-flask python3-cheroot",
        ) from err
    listen = server.choose(
        opts.bind_address, opts.port, opts.certificate or main.CERTIFICATE, tls=opts.tls
    )
    return main.serve_page(
        listen,
        wait=opts.wait_master,
        ready=lambda: cli.ToStdout("The page is at %s", listen.url),
    )


BIND_OPT = cli.cli_option(
    "--bind",
    dest="bind_address",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="IP address to listen on; uses TLS unless it is a loopback address (default: 127.0.0.1)",
)
PORT_OPT = cli.cli_option(
    "--port",
    dest="port",
    default=5083,
    type="int",
    metavar="PORT",
    help="Port to listen on (default: 5083)",
)
TLS_OPT = cli.cli_option(
    "--tls",
    dest="tls",
    default=False,
    action="store_true",
    help="Use TLS on a loopback address, too",
)
CERTIFICATE_OPT = cli.cli_option(
    "--certificate",
    dest="certificate",
    default="",
    metavar="FILE",
    help="PEM file with certificate and key (default: that of Ganeti's remote API)",
)
WAIT_OPT = cli.cli_option(
    "--wait-master",
    dest="wait_master",
    default=False,
    action="store_true",
    help="If this node is not the master, wait until it is",
)

COMMANDS = {
    "web": (
        Serve,
        cli.ARGS_NONE,
        [BIND_OPT, PORT_OPT, TLS_OPT, CERTIFICATE_OPT, WAIT_OPT],
        "[--bind=ADDRESS] [--port=PORT]",
        "Serve the web page that shows and manages the cluster, until interrupted",
    ),
}
