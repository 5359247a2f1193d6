"""Requests that carry a lot, sent and answered on the thread that waits for them.

The providers' libraries share one thread, on which all that passes is encrypted and copied; that thread is what limits them. So
they only write a request and sign it there, and read what its answer says. The bytes go here, over plain connections
(`http.client`): several threads encrypt at once, since `ssl` lets others run meanwhile, and straight from the part or into the
buffer.
"""

import contextlib
import functools
import select
import socket
import ssl
import time
import urllib.request
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPS_PORT, HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from urllib.parse import SplitResult, unquote, urlsplit

from launcher.adapters.store.waiting import by_caller, time_left
from launcher.units import Bytes, Seconds

_CONNECT_S: Seconds = 5.0
_SILENCE_S: Seconds = 15.0
_IDLE_S: Seconds = 12.0  # then a server may be about to hang up


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`into` takes the body of an answer that is a success. `trusted` is the file of certificates to believe, if not the
    system's own."""

    method: str
    url: str = field(default="", repr=False)  # a secret, where it is signed
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: tuple[memoryview, ...] | None = None
    into: memoryview | None = None
    trusted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of a body that went elsewhere only its size is here. Headers are found in whatever case."""

    status: int
    headers: HTTPMessage
    body: bytes
    size: Bytes


async def carried(request: Request) -> Answer:
    """By the thread that waits."""
    cut, connect_s = _Cut(), max(0.1, min(_CONNECT_S, time_left()))
    return await by_caller(lambda wire: wire.carried(request, cut, connect_s), cut.now)


class Wire:
    """Connections that are used again, of one process. Several threads may use it."""

    def __init__(self) -> None:
        self._idle: deque[tuple[str, Seconds, HTTPConnection]] = deque()

    def carried(self, request: Request, cut: "_Cut", connect_s: Seconds) -> Answer:
        url = urlsplit(request.url)
        server = f"{url.scheme}://{url.netloc} {request.trusted}"
        connection = self._taken(server) or _connected(url, request, connect_s)
        try:
            with cut.ending(connection.sock):
                answer, is_over = _exchange(connection, url, request)
        except BaseException:
            connection.close()
            raise
        if is_over:
            connection.close()
        else:
            self._idle.append((server, time.monotonic(), connection))
        return answer

    def _taken(self, server: str) -> HTTPConnection | None:
        for _ in range(len(self._idle)):
            try:
                theirs, since, connection = self._idle.popleft()
            except IndexError:  # other threads were faster
                return None
            if time.monotonic() - since > _IDLE_S or _has_ended(connection):
                connection.close()
            elif theirs != server:
                self._idle.append((theirs, since, connection))
            else:
                return connection
        return None


class _Cut:
    """Ends, when its time is up, what a thread waits for from its socket."""

    def __init__(self) -> None:
        self._is_now = False
        self._sock: socket.socket | None = None

    @contextlib.contextmanager
    def ending(self, sock: socket.socket) -> Iterator[None]:
        self._sock = sock
        if self._is_now:
            raise TimeoutError("no answer in time")
        try:
            yield
        finally:
            self._sock = None

    def now(self) -> None:
        self._is_now = True
        if (sock := self._sock) is not None:
            with contextlib.suppress(OSError):  # over already
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not ssl's own, which would go on in the clear


# --- one request --------------------------------------------------------------------------------------------------------------


def _connected(url: SplitResult, request: Request, seconds: Seconds) -> HTTPConnection:
    host, is_tls = url.hostname or "", url.scheme == "https"
    proxy = _proxy(url)
    to, port = (proxy.hostname or "", proxy.port) if proxy else (host, url.port)
    made = (_HTTPSConnection if is_tls else HTTPConnection)(to, port, timeout=seconds)
    if proxy and is_tls:
        made.set_tunnel(host, url.port, headers=_known_to(proxy))
    made.connect()
    if is_tls:
        made.sock = _trusting(request.trusted).wrap_socket(made.sock, server_hostname=host)
    made.sock.settimeout(_SILENCE_S)
    return made


class _HTTPSConnection(HTTPConnection):
    default_port = HTTPS_PORT


@functools.cache
def _trusting(trusted: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=trusted)


def _proxy(url: SplitResult) -> SplitResult | None:
    """As the environment says."""
    found = urllib.request.getproxies().get(url.scheme)
    return None if not found or urllib.request.proxy_bypass(url.netloc) else urlsplit(found if "://" in found else f"//{found}")


def _known_to(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(who.encode()).decode()}"}


def _has_ended(connection: HTTPConnection) -> bool:
    """Whether the server has hung up, or talks unasked."""
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return bool(waiting.poll(0))


def _exchange(connection: HTTPConnection, url: SplitResult, request: Request) -> tuple[Answer, bool]:
    """The answer, and whether the connection is over with it."""
    _ask(connection, url, request)
    try:
        for view in request.body or ():
            connection.sock.sendall(view)
    except (BrokenPipeError, ConnectionResetError):
        with contextlib.suppress(OSError, HTTPException):  # it may have said why
            return _received(connection, request)[0], True
        raise
    return _received(connection, request)


def _ask(connection: HTTPConnection, url: SplitResult, request: Request) -> None:
    target = url._replace(scheme="", netloc="", fragment="", path=url.path or "/").geturl()
    headers = dict(request.headers)
    if url.scheme == "http" and (proxy := _proxy(url)):
        target = request.url
        headers |= _known_to(proxy)
    told = {name.lower() for name in headers}
    connection.putrequest(request.method, target, skip_host="host" in told, skip_accept_encoding="accept-encoding" in told)
    for name, value in headers.items():
        connection.putheader(name, value)
    if request.body is not None and "content-length" not in told:
        connection.putheader("Content-Length", str(sum(map(len, request.body))))
    connection.endheaders()


def _received(connection: HTTPConnection, request: Request) -> tuple[Answer, bool]:
    answer = connection.getresponse()
    with answer:
        if request.into is None or answer.status >= 300:
            body = answer.read()
            size = len(body)
        else:
            body = b""
            size = _filled(answer, request.into)
    return Answer(status=answer.status, headers=answer.headers, body=body, size=size), answer.will_close


def _filled(answer: HTTPResponse, into: memoryview) -> Bytes:
    """How far the answer reaches, all of which has come."""
    if answer.length is None:  # in chunks
        body = answer.read()
        _fit(len(body), into)
        into[: len(body)] = body
        return len(body)
    size, done = answer.length, 0
    _fit(size, into)
    while done < size and (got := answer.readinto(into[done:size])):
        done += got
    if done < size:
        raise ConnectionError(f"the answer ended after {done} of {size} bytes")
    return size


def _fit(size: Bytes, into: memoryview) -> None:
    if size > len(into):
        raise ConnectionError(f"the answer has {size} bytes where {len(into)} were asked for")
