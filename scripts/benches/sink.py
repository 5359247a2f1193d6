"""An object store in memory that leaves the processors to its client, for `scripts/bench store`.

    python -m scripts.benches.sink [CERTIFICATE.pem]      # prints its port; with a certificate it speaks TLS

The servers that tests use are programs that look at every byte. On one machine with the client they set the pace, and hide what
the client does. This one speaks just enough of S3: bytes go between socket and memory in the kernel, on a thread a connection,
into buffers that are used again. It checks neither signatures nor checksums.
"""

import contextlib
import itertools
import re
import socket
import socketserver
import ssl
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from launcher.units import Bytes

_DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
_NOTHING = memoryview(bytearray())
Answer = tuple[int, dict[str, str], list[Any]]  # status, headers, body


@dataclass(frozen=True, slots=True)
class Object:
    parts: list[memoryview]
    headers: dict[str, str]

    @property
    def size(self) -> Bytes:
        return sum(map(len, self.parts))

    def between(self, start: Bytes, end: Bytes) -> list[memoryview]:
        found = []
        for part in self.parts:
            if start < len(part) and end > 0:
                found.append(part[max(start, 0) : end])
            start, end = start - len(part), end - len(part)
        return found


@dataclass(slots=True)
class Kept:
    """All that this server holds. What is let go is used again, since memory that is new costs the kernel time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Any = field(default_factory=itertools.count)
    objects: dict[str, Object] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, str], dict[int, memoryview]]] = field(default_factory=dict)
    _free: dict[Bytes, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def buffer(self, size: Bytes) -> memoryview:
        with self.lock:
            return memoryview(self._free[size].pop() if self._free[size] else bytearray(size))

    def let_go(self, parts: Iterable[memoryview]) -> None:
        for part in parts:
            self._free[len(part)].append(part.obj)


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, certificate: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.kept = Kept()
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)


class _Connection(socketserver.BaseRequestHandler):
    server: Sink
    ahead = b""  # has come, and belongs to what is read next

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # clients go without a word
            if self.server.tls:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            while head := self._head():
                self._serve(head)

    def _serve(self, head: bytes) -> None:
        line, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
        if "100-continue" in headers.get("expect", "").lower():
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._body(headers)
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        with self.server.kept.lock:
            answer = done(self.server.kept, method, unquote(url.path), query, headers, body)
        self._answer(method, *answer)

    def _head(self) -> bytes:
        """Up to the empty line; b"" where the client has gone."""
        while b"\r\n\r\n" not in self.ahead:
            seen = self.request.recv(65536)
            if not seen:
                return b""
            self.ahead += seen
        head, _, self.ahead = self.ahead.partition(b"\r\n\r\n")
        return head

    def _body(self, headers: dict[str, str]) -> memoryview:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked(headers)
        size = int(headers.get("content-length", 0))
        body = self.server.kept.buffer(size) if size else _NOTHING
        self._fill(body)
        return body

    def _chunked(self, headers: dict[str, str]) -> memoryview:
        """As AWS's libraries send over TLS: chunks within chunks, and a checksum behind them."""
        sent = b"".join(iter(self._chunk, b""))
        body = self.server.kept.buffer(int(headers["x-amz-decoded-content-length"]))
        at = filled = 0
        while filled < len(body):
            end = sent.index(b"\r\n", at)
            size, at = int(sent[at:end], 16), end + 2
            body[filled : filled + size] = sent[at : at + size]
            filled, at = filled + size, at + size + 2
        return body

    def _chunk(self) -> bytes:
        while b"\r\n" not in self.ahead:
            self.ahead += self.request.recv(65536)
        size, _, self.ahead = self.ahead.partition(b"\r\n")
        chunk = bytearray(int(size, 16) + 2)
        self._fill(memoryview(chunk))
        return bytes(chunk[:-2])

    def _fill(self, body: memoryview) -> None:
        """What came ahead, and what is still to come."""
        known, self.ahead = self.ahead[: len(body)], self.ahead[len(body) :]
        body[: len(known)] = known
        view = body[len(known) :]
        while len(view):
            got = self.request.recv_into(view)
            if not got:
                raise ConnectionResetError("the client left in the middle of a body")
            view = view[got:]

    def _answer(self, method: str, status: int, headers: dict[str, str], body: list[Any]) -> None:
        told = {"Content-Length": str(sum(map(len, body))), "Date": _DATE, **headers}
        lines = [f"HTTP/1.1 {status} .", *(f"{name}: {value}" for name, value in told.items())]
        self.request.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        for piece in body if method != "HEAD" else ():
            self.request.sendall(piece)


def done(kept: Kept, method: str, name: str, query: dict[str, str], headers: dict[str, str], body: memoryview) -> Answer:
    match method:
        case "GET" if "uploads" in query:
            return _xml("<ListMultipartUploadsResult/>")
        case "GET" if "list-type" in query:
            prefix = f"{name.rstrip('/')}/{query.get('prefix', '')}"
            found = ((key, one) for key, one in sorted(kept.objects.items()) if key.startswith(prefix))
            rows = "".join(f"<Contents><Key>{key.split('/', 2)[2]}</Key><Size>{one.size}</Size></Contents>" for key, one in found)
            return _xml(f"<ListBucketResult>{rows}</ListBucketResult>")
        case "POST" if "uploads" in query:
            upload = f"upload-{next(kept.numbers)}"
            kept.uploads[upload] = (_metadata(headers), {})
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        case "POST" if "uploadId" in query:
            told, parts = kept.uploads.pop(query["uploadId"])
            return _create(kept, name, headers, Object([parts[number] for number in sorted(parts)], told))
        case "PUT" if "partNumber" in query:
            kept.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
            return 200, {"ETag": f'"{query["partNumber"]}"'}, []
        case "PUT":
            return _create(kept, name, headers, Object([body] if len(body) else [], _metadata(headers)))
        case "DELETE":
            _, parts = kept.uploads.pop(query.get("uploadId", ""), ({}, {}))
            kept.let_go(parts.values())
            kept.let_go(kept.objects.pop(name, Object([], {})).parts)
            return 204, {}, []
        case _:
            return _read(kept.objects.get(name), headers.get("range", ""))


def _create(kept: Kept, name: str, headers: dict[str, str], made: Object) -> Answer:
    if headers.get("if-none-match") == "*" and name in kept.objects:
        return 412, {}, [b"<Error><Code>PreconditionFailed</Code><Condition>If-None-Match</Condition></Error>"]
    kept.objects[name] = made
    status, told, body = _xml('<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>')
    return status, {**told, "ETag": '"1"'}, body


def _read(found: Object | None, wanted: str) -> Answer:
    if found is None:
        return 404, {}, [b"<Error><Code>NoSuchKey</Code></Error>"]
    told = {"ETag": '"1"', "Last-Modified": _DATE, "Accept-Ranges": "bytes", **found.headers}
    span = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if span is None:
        return 200, told, list(found.parts)
    start, last = int(span[1]), min(int(span[2] or found.size), found.size - 1)
    if start >= found.size:
        return 416, {}, [b"<Error><Code>InvalidRange</Code></Error>"]
    return 206, {**told, "Content-Range": f"bytes {start}-{last}/{found.size}"}, found.between(start, last + 1)


def _metadata(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}


def _xml(text: str) -> Answer:
    return 200, {"Content-Type": "application/xml"}, [text.encode()]


if __name__ == "__main__":
    sink = Sink(*sys.argv[1:])
    print(sink.server_address[1], flush=True)
    sink.serve_forever()
