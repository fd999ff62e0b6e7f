"""The HTTP server: cheroot, with TLS where the page is not for this machine alone."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter

#: Near that of Ganeti's remote API, 5080.
PORT = 5083
LOOPBACK = "127.0.0.1"

# Requests that are answered at once; the rest wait, for so many seconds at most.
_THREADS = 32
_QUEUE = 64
_QUEUE_SECONDS = 5.0
# Seconds that a client may be silent for, and the sizes of what it may say.
_SILENCE = 10.0
_MAX_HEADER = 16 * 1024
_MAX_BODY = 64 * 1024

log = logging.getLogger(__name__)


class CannotListen(GanetiGlusterError):
    """The address cannot be had, or the certificate not be used."""


@dataclass(frozen=True)
class Listen:
    """Where the page is: `certificate` is a PEM file with its key, "" for no TLS."""

    address: str = LOOPBACK
    port: int = PORT
    certificate: str = ""

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
            "not an IP address: %s" % address, hint="as 127.0.0.1, 192.0.2.2, :: or 0.0.0.0"
        ) from err
    # What serves has no right to lower ones.
    if not 1024 <= port < 65536:
        raise InvalidParameter("not a port for the page: %d" % port, hint="1024 to 65535")
    return Listen(str(parsed), port, certificate if tls or not parsed.is_loopback else "")


def tls_context(certificate: str) -> ssl.SSLContext:
    """Server-side TLS with the certificate and key in one PEM file; raises CannotListen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as err:
        raise CannotListen(
            "%s cannot be used as certificate: %s" % (certificate, err),
            hint="gnt-cluster renew-crypto --new-rapi-certificate makes a new one",
        ) from err
    return context


def _adapter(context: ssl.SSLContext) -> Any:
    """What cheroot asks of TLS.

    cheroot's own adapter shakes hands in the one thread that takes connections, where a
    client that says nothing keeps all others waiting.  Here the thread that reads the
    request does it.
    """
    from cheroot.errors import FatalSSLAlert
    from cheroot.makefile import StreamReader, StreamWriter

    class Socket(ssl.SSLSocket):
        """Shakes hands at its first read; whatever is wrong with TLS ends the connection."""

        shaken = False

        def recv_into(self, *args: Any, **options: Any) -> int:
            try:
                if not self.shaken:
                    self.do_handshake()
                    self.shaken = True
                return super().recv_into(*args, **options)
            except ssl.SSLError as err:
                raise FatalSSLAlert(*err.args) from err
            except OSError as err:
                if self.shaken:
                    raise  # cheroot knows what to do
                raise FatalSSLAlert(*err.args) from err

        def send(self, *args: Any) -> int:
            try:
                return super().send(*args)
            except ssl.SSLError as err:
                raise FatalSSLAlert(*err.args) from err

    class Adapter:
        def bind(self, sock: Any) -> Any:
            return sock

        def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:
            wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}

        def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
            return (StreamReader if "r" in mode else StreamWriter)(sock, mode, bufsize)

    context.sslsocket_class = Socket
    return Adapter()


class Server:
    """Serves a WSGI application, with TLS by `context`; bound when made."""

    def __init__(
        self, listen: Listen, context: ssl.SSLContext | None, app: Callable[..., Any]
    ) -> None:
        from cheroot.wsgi import Server as CherootServer

        self._server = CherootServer(
            (listen.address, listen.port),
            app,
            numthreads=_THREADS,
            max=_THREADS,
            request_queue_size=_QUEUE,
            timeout=_SILENCE,
            accepted_queue_size=_QUEUE,
            accepted_queue_timeout=_QUEUE_SECONDS,
            shutdown_timeout=1,
            server_name="ganeti-gluster",
        )
        self._server.max_request_header_size = _MAX_HEADER
        self._server.max_request_body_size = _MAX_BODY
        self._server.error_log = _log_error
        if context is not None:
            self._server.ssl_adapter = _adapter(context)
        try:
            self._server.prepare()
        except OSError as err:
            raise CannotListen(
                "cannot listen on %s port %d: %s"
                % (listen.address, listen.port, err.strerror or err),
                hint="choose others with --bind and --port",
            ) from err

    def serve(self) -> None:
        """Answer requests; does not return."""
        self._server.serve()


def _log_error(message: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """cheroot's log: what clients do wrong is not worth a line of the journal."""
    log.log(level if level > logging.INFO else logging.DEBUG, message, exc_info=traceback)
