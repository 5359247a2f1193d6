"""Bytes over connections of our own, on the thread that waits: what arrives, what comes of bad servers, and that it ends."""

import asyncio
import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec import asyn

from launcher.adapters.store import wire
from launcher.adapters.store.waiting import by_caller, waited_for
from launcher.adapters.store.wire import Answer, Request, Wire

CERTIFICATE = Path(__file__).parent / "localhost.pem"  # with its key, for 127.0.0.1
SOON_S = 0.5
LATE_S = 20.0
Serve = Callable[[socket.socket], None]


class Server:
    """Answers each connection by `serve` on a thread of its own, and counts them."""

    def __init__(self, serve: Serve, scheme: str) -> None:
        self._serve = serve
        self._scheme = scheme
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.num_connections = 0
        self.has_hung_up = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._listener.getsockname()[1]}/bkt/a%20b?x=1"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.num_connections += 1
                threading.Thread(target=self._serving, args=(sock,), daemon=True).start()

    def _serving(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), encrypted(sock) if self._scheme == "https" else sock as talking:
            self._serve(talking)
        self.has_hung_up.set()

    def close(self) -> None:
        self._listener.close()


def encrypted(sock: socket.socket) -> ssl.SSLSocket:
    return for_server().wrap_socket(sock, server_side=True)


def for_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture(params=["http", "https"])
def served(request: pytest.FixtureRequest) -> Iterator[Callable[[Serve], Server]]:
    made: list[Server] = []

    def serving(serve: Serve) -> Server:
        made.append(Server(serve, request.param))
        return made[-1]

    yield serving
    for server in made:
        server.close()


def asked(sock: socket.socket) -> tuple[str, bytes]:
    """Head and body of one request; empty where the client has gone."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        got = sock.recv(65536)
        if not got:
            return "", b""
        seen += got
    head, _, body = seen.partition(b"\r\n\r\n")
    told = head.decode().lower()
    size = int(told.partition("content-length: ")[2].partition("\r\n")[0] or 0)
    while len(body) < size and (got := sock.recv(65536)):
        body += got
    return head.decode(), body


def answering(*answers: bytes, heads: list[str] | None = None) -> Serve:
    """One of these for each request of a connection, which is closed behind the last."""

    def serve(sock: socket.socket) -> None:
        for answer in answers:
            head, body = asked(sock)
            if heads is not None:
                heads.append(f"{head}\r\n\r\n{body.decode()}")
            sock.sendall(answer)

    return serve


def said(body: bytes, *, status: str = "200 OK", size: int | None = None, more: str = "") -> bytes:
    length = len(body) if size is None else size
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


def carry(
    request: Request, over: Wire | None = None, *, seconds: float = LATE_S, trusted: str | None = str(CERTIFICATE)
) -> Answer:
    request = replace(request, trusted=trusted)
    return waited_for(asyn.get_loop(), lambda: wire.carried(request), over or Wire(), seconds=seconds)


def get(url: str, into: memoryview, over: Wire | None = None, *, seconds: float = LATE_S) -> Answer:
    return carry(Request(method="GET", url=url, into=into), over, seconds=seconds)


def slot(size: int = 10) -> memoryview:
    return memoryview(bytearray(size))


# --- one request --------------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_the_part_with_its_headers_and_the_answer_is_read(served: Callable[[Serve], Server]) -> None:
    heads: list[str] = []
    server = served(answering(said(b"fine", more='ETag: "7"\r\n'), heads=heads))
    answer = carry(Request(method="PUT", url=server.url, headers={"X-Signed": "yes"}, body=(memoryview(b"the part"),)))
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"fine", '"7"')
    assert heads[0].startswith("PUT /bkt/a%20b?x=1 HTTP/1.1\r\n")
    assert "X-Signed: yes" in heads[0]
    assert "Content-Length: 8\r\n" in heads[0] + "\r\n"
    assert heads[0].endswith("\r\n\r\nthe part")


@pytest.mark.parametrize(
    "answer", [said(b"0123456"), b"HTTP/1.1 206 .\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n0123456\r\n0\r\n\r\n"]
)
def test_an_answer_goes_into_the_buffer_however_it_is_told(answer: bytes, served: Callable[[Serve], Server]) -> None:
    into = slot()
    found = get(served(answering(answer)).url, into)
    assert (found.size, found.body, bytes(into)) == (7, b"", b"0123456\0\0\0")


@pytest.mark.parametrize("served", ["http"], indirect=True)
@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_an_answer_arrives_whole_with_the_word_that_it_was_the_last(more: str, served: Callable[[Serve], Server]) -> None:
    """In one piece, however the socket cuts. The word is heard before anything is asked over the same connection."""

    def serve(sock: socket.socket) -> None:
        come, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = for_server().wrap_bio(come, going, server_side=True)

        head = b""
        while not head:
            with contextlib.suppress(ssl.SSLWantReadError):
                head = tls.read()
            if not head:
                sock.sendall(going.read())
                come.write(sock.recv(65536))
        tls.write(said(b"0123456", more=more))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        sock.sendall(going.read())
        sock.recv(65536)  # until the client goes

    server, over = served(serve), Wire()
    for _ in range(2):
        into = slot()
        get(server.url.replace("http:", "https:"), into, over)
        assert bytes(into) == b"0123456\0\0\0"
    assert server.num_connections == 2


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_what_is_large_arrives_whole_both_ways(more: str, served: Callable[[Serve], Server]) -> None:
    data, into = random.Random(1).randbytes(3_000_001), slot(3_000_001)
    seen: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        while (request := asked(sock))[0]:
            seen.append(request[1])
            sock.sendall(said(data, more=more))
            if more:
                return

    server, over = served(serve), Wire()
    assert get(server.url, into, over).size == len(data)
    assert carry(Request(method="PUT", url=server.url, body=(memoryview(data),)), over).body == data
    assert bytes(into) == data
    assert seen == [b"", data]


def test_what_a_refusal_says_never_goes_into_the_buffer(served: Callable[[Serve], Server]) -> None:
    into = slot()
    found = get(served(answering(said(b"slow", status="503 Slow Down"))).url, into)
    assert (found.status, found.body, bytes(into)) == (503, b"slow", bytes(10))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (said(b"0123456789A"), "11 bytes where 10"),
        (said(b"0123", size=9), "ended after 4 of 9"),
        (b"HTTP/1.1 200 .\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n0123", None),
        (b"HTTP/1.1 200 .\r\nTransfer-Encoding: chunked\r\n\r\nB\r\n0123456789A\r\n0\r\n\r\n", "11 bytes where 10"),
        (b"", None),
        (b"no answer at all\r\n\r\n", None),
    ],
)
def test_an_answer_too_long_cut_short_or_none_is_an_error(
    answer: bytes, says: str | None, served: Callable[[Serve], Server]
) -> None:
    with pytest.raises(Exception, match=says):
        get(served(answering(answer)).url, slot())


def test_a_refusal_before_the_part_was_taken_is_heard(served: Callable[[Serve], Server]) -> None:
    is_heard = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(said(b"busy", status="503 .", more="Connection: close\r\n"))
        sock.shutdown(socket.SHUT_RD)
        is_heard.wait(LATE_S)

    answer = carry(Request(method="PUT", url=served(serve).url, body=(memoryview(bytes(1000)),)))
    is_heard.set()
    assert (answer.status, answer.body) == (503, b"busy")


# --- connections --------------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_until_the_server_hangs_up(served: Callable[[Serve], Server]) -> None:
    server = served(answering(said(b"1"), said(b"2")))
    over = Wire()
    into = slot()
    assert [get(server.url, into, over).size for _ in range(2)] == [1, 1]
    assert server.num_connections == 1
    assert server.has_hung_up.wait(LATE_S)
    assert get(server.url, into, over).size == 1
    assert server.num_connections == 2


@pytest.mark.parametrize("answer", [said(b"1", more="Connection: close\r\n"), b"HTTP/1.0 200 .\r\nContent-Length: 1\r\n\r\n1"])
def test_a_connection_that_ends_with_its_answer_is_not_kept(answer: bytes, served: Callable[[Serve], Server]) -> None:
    server = served(answering(answer, answer))
    over = Wire()
    assert [get(server.url, slot(), over).size for _ in range(2)] == [1, 1]
    assert server.num_connections == 2


def test_a_connection_that_failed_is_not_kept(served: Callable[[Serve], Server]) -> None:
    server = served(answering(said(b"0123456789A"), said(b"1")))
    over = Wire()
    with pytest.raises(ConnectionError):
        get(server.url, slot(), over)
    with contextlib.suppress(ConnectionError):
        get(server.url, slot(), over)
    assert server.num_connections == 2


@pytest.mark.parametrize("served", ["http"], indirect=True)
def test_a_proxy_of_the_environment_is_asked(served: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[str] = []
    proxy = served(answering(said(b"1"), heads=heads))
    monkeypatch.setenv("http_proxy", proxy.url.partition("/bkt")[0].replace("//", "//me:pass@"))
    monkeypatch.setenv("no_proxy", "")
    get("http://store.invalid/bkt/a", slot())
    assert heads[0].startswith("GET http://store.invalid/bkt/a HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in heads[0]
    assert "\r\nHost: store.invalid" in heads[0]


@pytest.mark.parametrize("served", ["http"], indirect=True)
def test_a_proxy_is_asked_for_a_tunnel_to_what_speaks_tls(
    served: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[str] = []

    def serve(sock: socket.socket) -> None:
        heads.append(asked(sock)[0])
        sock.sendall(b"HTTP/1.1 200 .\r\n\r\n")
        answering(said(b"1"), heads=heads)(encrypted(sock))

    monkeypatch.setenv("https_proxy", served(serve).url.partition("/bkt")[0].replace("//", "//me:pass@"))
    monkeypatch.setenv("no_proxy", "")
    get("https://127.0.0.1/bkt/a", slot())
    assert heads[0].startswith("CONNECT 127.0.0.1:443 ")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in heads[0]
    assert heads[1].startswith("GET /bkt/a HTTP/1.1\r\nHost: 127.0.0.1\r\n")


@pytest.mark.parametrize("served", ["https"], indirect=True)
@pytest.mark.parametrize(
    "request_of", [Request(method="GET", into=slot()), Request(method="PUT", body=(memoryview(b"the part"),))]
)
def test_nothing_is_told_to_a_server_whose_certificate_nobody_vouches_for(
    request_of: Request, served: Callable[[Serve], Server]
) -> None:
    heads: list[str] = []
    server = served(answering(said(b"1"), heads=heads))
    with pytest.raises(ssl.SSLCertVerificationError):
        carry(replace(request_of, url=server.url), trusted=None)
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        carry(replace(request_of, url=server.url.replace("127.0.0.1", "localhost")))
    assert heads == []


def test_what_is_signed_is_not_told_by_a_request_in_an_error() -> None:
    assert "secret" not in repr(Request(method="GET", url="https://a/b?sig=secret", headers={"Authorization": "secret"}))


# --- time ---------------------------------------------------------------------------------------------------------------------


def silent(sock: socket.socket) -> None:
    asked(sock)
    sock.recv(1)


def trickling(sock: socket.socket) -> None:
    """Never silent for long."""
    asked(sock)
    sock.sendall(said(b"", size=1000))
    for _ in range(1000):
        sock.sendall(b"x")
        time.sleep(0.05)


def not_taking(sock: socket.socket) -> None:
    sock.recv(1)
    time.sleep(LATE_S)


@pytest.mark.parametrize("serve", [silent, trickling, not_taking])
def test_time_is_up_whatever_the_server_does(serve: Serve, served: Callable[[Serve], Server]) -> None:
    request = Request(method="PUT", url=served(serve).url, body=(memoryview(bytes(50_000_000)),), into=slot(1000))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        carry(request, seconds=SOON_S)
    assert time.monotonic() - began < LATE_S / 2


@pytest.mark.parametrize("served", ["http"], indirect=True)
def test_time_is_up_for_a_server_that_shakes_no_hand(served: Callable[[Serve], Server]) -> None:
    url = served(lambda sock: time.sleep(LATE_S)).url.replace("http:", "https:")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        get(url, slot(), seconds=SOON_S)
    assert time.monotonic() - began < LATE_S / 2


def test_once_the_caller_is_back_its_buffer_is_its_own(served: Callable[[Serve], Server]) -> None:
    into = slot(1000)
    with pytest.raises(TimeoutError):
        get(served(trickling).url, into, seconds=SOON_S)
    before = bytes(into)
    time.sleep(SOON_S)
    assert bytes(into) == before


# --- between two threads ------------------------------------------------------------------------------------------------------


def waiting(work: Callable[[], Any], *, seconds: float = LATE_S) -> Any:
    return waited_for(asyn.get_loop(), work, "tools", seconds=seconds)


def test_what_is_asked_of_the_caller_is_done_on_its_thread_with_its_tools() -> None:
    async def work() -> tuple[str, int, int]:
        tools, caller = await by_caller(lambda tools: (tools, threading.get_ident()))
        return tools, caller, threading.get_ident()

    tools, caller, other = waiting(work)
    assert (tools, caller) == ("tools", threading.get_ident())
    assert other != caller


def test_a_failure_reaches_the_coroutine_and_then_the_caller() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await by_caller(lambda _: {}["nothing"])
        except KeyError:
            seen.append("coroutine")
            raise

    with pytest.raises(KeyError):
        waiting(work)
    assert seen == ["coroutine"]


def test_a_coroutine_that_never_ends_is_ended() -> None:
    with pytest.raises(TimeoutError):
        waiting(asyncio.Event().wait, seconds=0.1)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_loop_that_answers_no_more_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.adapters.store.waiting._GRACE_S", 0.1)
    stopped = asyncio.new_event_loop()
    with pytest.raises(TimeoutError, match="does not answer"):
        waited_for(stopped, never, None, seconds=0.1)
    stopped.close()


async def never() -> None:
    raise AssertionError
