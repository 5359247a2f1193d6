"""A proxy on 127.0.0.1 between a client and a server, which spoils single requests as it is told.

    proxy = FaultProxy(upstream_port=7472).start()          # proxy.url -> http://127.0.0.1:<a free port>
    proxy.add(r"^PUT .*/journal/", "drop_response")         # the first matching request only
    proxy.add(r"^GET ", "status", status=503, count=3)      # the next three GETs get 503
    ...
    assert [entry.status for entry in proxy.log] == ...
    proxy.clear(); proxy.stop()

Faults are tried in the order they were added (`faults`: what there is). Each hits exactly one request: the proxy forces one
request per connection by replacing the `Connection` header, which no store signs. It runs on a thread of its own; every
request is logged, so that a test can also assert what went over the wire, e.g. that a create carried `If-None-Match: *`.
"""

import asyncio
import calendar
import contextlib
import email.utils
import re
import socket
import struct
import threading
import time
from asyncio import StreamReader, StreamWriter
from types import TracebackType
from typing import Any

from launcher.units import Bytes, Seconds
from tests.servers.faults import Action, Entry, Fault

_CHUNK: Bytes = 1 << 16
_SKEW_MOST_S: Seconds = 900.0  # what S3 allows between the request's time and its own
_SKEWED = (
    b"<Error><Code>RequestTimeTooSkewed</Code>"
    b"<Message>The difference between the request time and the current time is too large.</Message></Error>"
)


class FaultProxy:
    def __init__(self, upstream_port: int, *, port: int = 0) -> None:
        self.log: list[Entry] = []
        self.port = port
        self._upstream_port = upstream_port
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fault-proxy")
        self._is_up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, match: str, action: str, **options: Any) -> Fault:
        """A fault whose `num_hits` tells later how often it struck. Options are the fields of `Fault`."""
        return self.extend([Fault(match=re.compile(match), action=Action(action), **options)])[0]

    def extend(self, faults: list[Fault]) -> list[Fault]:
        with self._lock:
            self._faults.extend(faults)
        return faults

    def outage(self, seconds: Seconds) -> None:
        """From now on and for so long every connection is reset."""
        now_first = Fault(match=re.compile("."), action=Action.REFUSE, count=None, until=time.monotonic() + seconds)
        with self._lock:
            self._faults.insert(0, now_first)

    def clear(self) -> None:
        """Neither faults nor log."""
        with self._lock:
            self._faults.clear()
            self.log.clear()

    def start(self) -> "FaultProxy":
        self._thread.start()
        self._is_up.wait()
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> "FaultProxy":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20, backlog=512)
        server = self._loop.run_until_complete(listening)
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        self._loop.run_forever()
        server.close()
        # Requests that are still open, a black hole, say; while they end, connections made just now become others.
        while still_open := asyncio.all_tasks(self._loop):
            for task in still_open:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(still_open))
            self._loop.run_until_complete(asyncio.sleep(0))  # lets the resets of those go out
        self._loop.close()

    def _fault_for(self, line: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(line)), None)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            request = _Request(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            fault = self._fault_for(request.line)
            entry = Entry(line=request.line, headers=request.headers, fault=fault.action if fault else None)
            self.log.append(entry)
            if not await _answered_here(request, fault, entry):
                await _Passage(request, fault or _NONE, entry).pass_on(self._upstream_port)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            _reset(writer)


_NONE = Fault(match=re.compile("."), action=Action.DELAY, seconds=0.0)


class _Request:
    """The head of a request, and where the rest of it comes from."""

    def __init__(self, head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        lines = head.decode("latin1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        self.head = re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", head[:-2]) + b"Connection: close\r\n\r\n"
        self.line = lines[0]
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.reader = reader
        self.writer = writer
        self.size: Bytes | None = int(self.headers.get("content-length", 0))
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self.size = None

    async def swallow(self) -> None:
        """Read the body, without which the client would see a reset instead of the answer."""
        left = 0 if self.headers.get("expect", "").startswith("100") else self.size or 0
        while left and (data := await self.reader.read(min(_CHUNK, left))):
            left -= len(data)


async def _answered_here(request: _Request, fault: Fault | None, entry: Entry) -> bool:
    """Do what needs no server; False where the request is still to be passed on."""
    if fault is None:
        return False
    match fault.action:
        case Action.STATUS:
            body = fault.body if isinstance(fault.body, bytes) else fault.body(request.head.decode("latin1"))
            await _answer(request, entry, fault.status, body)
        case Action.SKEW:
            now = time.time() + fault.seconds
            if abs(_time_of(request, now) - now) <= _SKEW_MOST_S:
                return False
            date = f"Date: {email.utils.formatdate(now, usegmt=True)}\r\n"
            await _answer(request, entry, 403, _SKEWED, more_head=date)
        case Action.BLACKHOLE:
            fault.is_held.set()
            await asyncio.sleep(fault.seconds)
            _reset(request.writer)
        case Action.REFUSE:
            _reset(request.writer)
        case Action.DELAY:
            await asyncio.sleep(fault.seconds)
            return False
        case _:
            return False
    return True


async def _answer(request: _Request, entry: Entry, status: int, body: bytes, *, more_head: str = "") -> None:
    await request.swallow()
    entry.status = status
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n{more_head}"
    request.writer.write(f"{head}Connection: close\r\n\r\n".encode() + (b"" if request.line.startswith("HEAD") else body))
    await request.writer.drain()
    request.writer.close()


def _time_of(request: _Request, default: float) -> float:
    try:
        return calendar.timegm(time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    except (KeyError, ValueError):
        return default


class _Passage:
    """One request on its way to the server, and the response on its way back."""

    def __init__(self, request: _Request, fault: Fault, entry: Entry) -> None:
        self._request = request
        self._fault = fault
        self._entry = entry

    async def pass_on(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        upwards = asyncio.ensure_future(self._up(writer))
        try:
            writer.write(self._request.head)
            await self._down(reader)
        finally:
            upwards.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await upwards
            writer.close()

    async def _up(self, server: StreamWriter) -> None:
        size, fault, done = self._request.size, self._fault, 0
        while size is None or done < size:
            data = await self._request.reader.read(_CHUNK if size is None else min(_CHUNK, size - done))
            if not data:
                # The client is gone. Said as an end, since a reset might overtake what was sent.
                server.write_eof()
                break
            if fault.action is Action.RESET_REQUEST and done + len(data) > fault.after:
                server.write(data[: max(0, fault.after - done)])
                _reset(self._request.writer)
                _reset(server)
                return
            hold_at = min(fault.after, size - 1) if size else fault.after  # a short body is held at its last byte
            if fault.action is Action.HOLD_REQUEST and done + len(data) > hold_at:
                server.write(data[: hold_at - done])
                await self._hold()
                return
            if fault.action is Action.CORRUPT_REQUEST:
                data = _flipped(data, fault.after - done)
            server.write(data)
            await server.drain()
            done += len(data)
            await self._hold_back(len(data))

    async def _down(self, server: StreamReader) -> None:
        head = await self._head(server)
        if head is None:
            _reset(self._request.writer)
            return
        client, fault = self._request.writer, self._fault
        self._entry.upstream_status = int(head[9:12])
        if fault.action is Action.HOLD_RESPONSE:
            await self._hold()
        if fault.action in (Action.DROP_RESPONSE, Action.HOLD_RESPONSE):
            _reset(client)
            return
        self._entry.status = self._entry.upstream_status
        body_at = len(head)
        cut_at = {Action.RESET_RESPONSE: fault.after, Action.TRUNCATE: body_at + fault.after}.get(fault.action)
        done, data = 0, head
        while data:
            if fault.action is Action.CORRUPT:
                data = _flipped(data, body_at + fault.after - done)
            if cut_at is not None and done + len(data) > cut_at:
                await self._cut(data[: cut_at - done])
                return
            client.write(data)
            await client.drain()
            done += len(data)
            await self._hold_back(len(data))
            data = await server.read(_CHUNK)
        client.close()

    async def _head(self, server: StreamReader) -> bytes | None:
        """The head of the final response; `100 Continue` passes untouched. None where the server hung up."""
        try:
            while (head := await server.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100"):
                self._request.writer.write(head)
                await self._request.writer.drain()
        except asyncio.IncompleteReadError:
            return None
        return head

    async def _cut(self, last: bytes) -> None:
        client = self._request.writer
        with contextlib.suppress(OSError):
            client.write(last)
            await client.drain()
        if self._fault.action is Action.TRUNCATE:
            client.close()
        else:
            await asyncio.sleep(0.02)  # a reset discards what the client has not read yet
            _reset(client)

    async def _hold(self) -> None:
        self._fault.is_held.set()
        await asyncio.sleep(self._fault.seconds)
        _reset(self._request.writer)

    async def _hold_back(self, size: Bytes) -> None:
        if self._fault.action is Action.THROTTLE:
            await asyncio.sleep(size / self._fault.rate_bytes_per_s)


def _flipped(data: bytes, position: int) -> bytes:
    """`data` with the top bit of one byte flipped, where it holds that byte."""
    if not 0 <= position < len(data):
        return data
    return data[:position] + bytes([data[position] ^ 0x80]) + data[position + 1 :]


def _reset(writer: StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
