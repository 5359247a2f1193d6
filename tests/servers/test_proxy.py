"""The proxy does to a request exactly what it was told, and to no other: a fault table is worth what its faults are."""

import http.client
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers.faults import Fault, seeded
from tests.servers.proxy import FaultProxy

BODY = bytes(range(100))


class Remembering(BaseHTTPRequestHandler):
    """Answers GET with BODY and remembers what was PUT whole."""

    protocol_version = "HTTP/1.1"
    received: list[bytes]

    def do_GET(self) -> None:
        self._answer(BODY)

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        data = self.rfile.read(size)
        if len(data) == size:
            self.received.append(data)
            self._answer(b"")

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def received() -> list[bytes]:
    return []


@pytest.fixture
def proxy(received: list[bytes]) -> Iterator[FaultProxy]:
    handler = type("Handler", (Remembering,), {"received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    with FaultProxy(server.server_port) as made:
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


def ask(proxy: FaultProxy, method: str = "GET", data: bytes | None = None, **headers: str) -> bytes | int | str:
    """The body of a good answer, the status of another, or how the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    try:
        connection.request(method, "/bkt/key", data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else response.status
    except http.client.IncompleteRead:
        return "short"
    except ConnectionError:
        return "reset"
    finally:
        connection.close()


def test_what_no_fault_names_passes_untouched_and_is_logged(proxy: FaultProxy, received: list[bytes]) -> None:
    proxy.add("^DELETE ", "status", count=None)
    assert ask(proxy) == BODY
    assert ask(proxy, "PUT", BODY, If_None_Match="*") == b""
    assert received == [BODY]
    assert [(entry.line, entry.status, entry.fault) for entry in proxy.log] == [
        ("GET /bkt/key HTTP/1.1", 200, None),
        ("PUT /bkt/key HTTP/1.1", 200, None),
    ]
    assert proxy.log[1].headers["if-none-match"] == "*"


def test_a_fault_lets_some_pass_then_hits_so_many(proxy: FaultProxy) -> None:
    fault = proxy.add("^GET ", "status", status=503, skip=1, count=2)
    assert [ask(proxy) for _ in range(4)] == [BODY, 503, 503, BODY]
    assert fault.num_hits == 2
    proxy.clear()
    assert proxy.log == []


def test_a_dropped_response_was_a_committed_request(proxy: FaultProxy, received: list[bytes]) -> None:
    proxy.add("^PUT ", "drop_response")
    assert ask(proxy, "PUT", BODY) == "reset"
    assert received == [BODY]
    assert (proxy.log[0].status, proxy.log[0].upstream_status) == (None, 200)


def test_a_reset_request_never_arrives_whole(proxy: FaultProxy, received: list[bytes]) -> None:
    proxy.add("^PUT ", "reset_request", after=10)
    assert ask(proxy, "PUT", BODY) == "reset"
    assert received == []


def test_a_refused_request_and_one_in_an_outage_never_arrive(proxy: FaultProxy, received: list[bytes]) -> None:
    proxy.add("^PUT ", "refuse")
    assert ask(proxy, "PUT", BODY) == "reset"
    proxy.outage(3600.0)
    assert [ask(proxy), ask(proxy, "PUT", BODY)] == ["reset", "reset"]
    assert received == []
    proxy.clear()
    proxy.outage(0.0)
    assert ask(proxy) == BODY


def test_a_response_ends_early_in_either_way(proxy: FaultProxy) -> None:
    proxy.add("^GET ", "truncate", after=7)
    proxy.add("^GET ", "reset_response", after=40)
    assert [ask(proxy) for _ in range(3)] == ["short", "reset", BODY]


@pytest.mark.parametrize("after", [0, 41, 99])
def test_one_bit_is_flipped_on_either_way(proxy: FaultProxy, received: list[bytes], after: int) -> None:
    bent = BODY[:after] + bytes([BODY[after] ^ 0x80]) + BODY[after + 1 :]
    proxy.add("^GET ", "corrupt", after=after)
    proxy.add("^PUT ", "corrupt_request", after=after)
    assert ask(proxy) == bent
    assert ask(proxy, "PUT", BODY) == b""
    assert received == [bent]


def test_a_black_hole_resets_in_the_end_and_a_delayed_request_is_answered(proxy: FaultProxy) -> None:
    proxy.add("^GET ", "blackhole", seconds=0.05)
    proxy.add("^GET ", "delay", seconds=0.05)
    assert [ask(proxy), ask(proxy)] == ["reset", BODY]


def test_a_held_request_arrives_whole_or_never_and_says_when_it_is_held(proxy: FaultProxy, received: list[bytes]) -> None:
    before = proxy.add("^PUT ", "hold_request", after=50, seconds=0.05)
    behind = proxy.add("^PUT ", "hold_response", seconds=0.05)
    assert [ask(proxy, "PUT", BODY), ask(proxy, "PUT", BODY)] == ["reset", "reset"]
    assert before.is_held.is_set()
    assert behind.is_held.is_set()
    assert received == [BODY]


def test_a_proxy_with_a_request_in_a_black_hole_stops_at_once(proxy: FaultProxy) -> None:
    hole = proxy.add("^GET ", "blackhole")
    asking = threading.Thread(target=ask, args=[proxy])
    asking.start()
    assert hole.is_held.wait(20)
    proxy.stop()
    asking.join(20)
    assert not asking.is_alive()


def test_a_skewed_clock_refuses_signatures_of_another_time_only(proxy: FaultProxy) -> None:
    proxy.add("^GET ", "skew", seconds=0, count=None)
    assert ask(proxy, X_Amz_Date="20200101T000000Z") == 403
    assert ask(proxy) == BODY


def test_a_share_of_requests_fails_the_same_ones_for_the_same_seed() -> None:
    def hit(seed: int) -> list[str | None]:
        faults = seeded(seed, 0.05)
        return [next((fault.action.value for fault in faults if fault.takes("GET /")), None) for _ in range(4000)]

    first = hit(1)
    assert first == hit(1) != hit(2)
    assert 0.035 < sum(action is not None for action in first) / len(first) < 0.065
    assert {first.count(action.action.value) > 20 for action in seeded(1, 0.05)} == {True}


def test_a_fault_with_an_end_is_over_then() -> None:
    assert not Fault(match=re.compile("."), action=seeded(0, 0.1)[0].action, until=0.0).takes("GET /")
