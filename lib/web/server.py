"""The HTTP server: cheroot, with TLS unless the page is on a loopback address."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.web import connections
from ganeti_gluster.web.crowd import IN_ALL

#: Near that of Ganeti's remote API, 5080.
PORT = 5083
LOOPBACK = "127.0.0.1"

# Requests that are answered at once; the rest wait, for so many seconds at most.
_THREADS = 32
_QUEUE = 64
_QUEUE_SECONDS = 5.0
# The sizes of what a client may say.
_MAX_HEADER = 16 * 1024
_MAX_BODY = 64 * 1024

log = logging.getLogger(__name__)


class CannotListen(GanetiGlusterError):
    """The address or the certificate cannot be used."""


@dataclass(frozen=True)
class Listen:
    """Where the page is: `certificate` is a PEM file with its key, "" for no TLS."""

    address: str = LOOPBACK
    port: int = PORT
    certificate: str = ""

    @property
    def loopback(self) -> bool:
        """Whether it is for this machine alone."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def url(self) -> str:
        """What people type."""
        host = "[%s]" % self.address if ":" in self.address else self.address
        return "%s://%s:%d/" % ("https" if self.certificate else "http", host, self.port)


def choose(address: str, port: int, certificate: str, *, tls: bool) -> Listen:
    """Where to listen: with TLS everywhere but on loopback, and there if `tls`.

    Raises InvalidParameter on what is no address or port.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as err:
        raise InvalidParameter(
            "not an IP address: %s" % address,
            hint="for example 127.0.0.1, 192.0.2.2, :: or 0.0.0.0",
        ) from err
    # What serves has no right to lower ones.
    if not 1024 <= port < 65536:
        raise InvalidParameter("not a port for the page: %d" % port, hint="use 1024 to 65535")
    return Listen(str(parsed), port, certificate if tls or not parsed.is_loopback else "")


def tls_context(certificate: str) -> ssl.SSLContext:
    """Server-side TLS with the certificate and key in one PEM file; raises CannotListen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate)
    except OSError as err:
        # OpenSSL's messages about a file only help those who know its sources.
        wrong = isinstance(err, ssl.SSLError)
        reason = "it does not have a certificate and its key as PEM" if wrong else err.strerror
        raise CannotListen(
            "%s cannot be used as the certificate: %s" % (certificate, reason),
            hint="gnt-cluster renew-crypto --new-rapi-certificate makes a new one",
        ) from err
    return context


def bind(listen: Listen) -> socket.socket:
    """A socket that listens there; raises CannotListen.

    From then on no other process can have it.
    """
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    try:
        listening = socket.create_server(
            (listen.address, listen.port),
            family=family,
            backlog=_QUEUE,
            # What is for all addresses is for those of IPv4 as well.
            dualstack_ipv6=listen.address == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as err:
        raise CannotListen(
            "cannot listen on %s port %d: %s"
            % (listen.address, listen.port, os.strerror(err.errno) if err.errno else err),
            hint="choose others with --bind and --port",
        ) from err
    # What an answer has is sent at once; clients' sockets inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def refuse(listening: socket.socket, seconds: float) -> None:
    """End what connects at once, for so many seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        listening.settimeout(left)
        try:
            connection, _ = listening.accept()
        except OSError:
            # Nobody came, or is gone already; or there is no descriptor for it.
            continue
        connection.close()


class WebServer:
    """Serves a WSGI application on a socket that listens, with TLS by `context`."""

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext | None, app: Callable[..., Any]
    ) -> None:
        self._server = connections.ListeningServer(
            listening,
            app,
            numthreads=_THREADS,
            max=_THREADS,
            request_queue_size=_QUEUE,
            timeout=connections.SILENCE,
            accepted_queue_size=_QUEUE,
            accepted_queue_timeout=_QUEUE_SECONDS,
            shutdown_timeout=1,
            server_name="ganeti-gluster",
        )
        self._server.keep_alive_conn_limit = IN_ALL
        self._server.max_request_header_size = _MAX_HEADER
        self._server.max_request_body_size = _MAX_BODY
        self._server.error_log = _log_error
        if context is not None:
            self._server.ssl_adapter = connections.Adapter(context)
        self._server.prepare()

    def serve(self) -> None:
        """Answer requests; does not return before `stop`."""
        self._server.serve()

    def stop(self) -> None:
        """Answer no more requests."""
        self._server.stop()


def _log_error(message: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """cheroot's log: what clients do wrong is not worth a line of the journal."""
    log.log(level if level > logging.INFO else logging.DEBUG, message, exc_info=traceback)
