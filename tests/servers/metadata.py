"""The metadata servers of AWS, GCP and Azure on 127.0.0.1, as their pages describe them, and what may go wrong with one.

    with FakeMetadata() as cloud:                       # cloud.url -> http://127.0.0.1:<a free port>
        cloud.action = {"action": "terminate", "time": "2026-11-29T08:22:00Z"}
        cloud.spoil("status", 503)                      # every answer from now on; cloud.mend() ends it
        ...
        assert "GET /latest/meta-data/spot/instance-action" in cloud.asked

AWS: EC2 User Guide, "Use IMDSv2" (a PUT for a token of 1 to 21600 s; 401 with none or an old one), "Spot Instance interruption
notices" and "EC2 instance rebalance recommendations" (404 until announced). GCP: "View and query VM metadata" (403 without the
header Metadata-Flavor, ETag, wait_for_change, last_etag, timeout_sec). Azure: "Scheduled Events for Linux VMs" (400 without the
header Metadata or with an unknown api-version; POST StartRequests gives 200 for a known event, 400 for another). All read
November 2026.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from launcher.units import Seconds, Utc

DRIP_S: Seconds = 0.02
DRIP_BYTES = 500  # then the answer is whole: ten seconds, longer than any test waits


class FakeMetadata:
    def __init__(self, clock: Callable[[], Utc] | None = time.time) -> None:
        self.clock = clock  # what its answers say as their Date; None: nothing
        self.action: dict[str, str] | None = None  # AWS: of spot/instance-action
        self.rebalance: dict[str, str] | None = None
        self.tokens: dict[str, float] = {}  # AWS: token -> when it expires, monotonic
        self.values = {"preempted": "FALSE", "maintenance-event": "NONE"}  # GCP; change them by `say`
        self.name = "trainer-1"  # Azure
        self.events: list[dict[str, Any]] = []
        self.started: list[str] = []  # ids of the events that were acknowledged
        self.asked: list[str] = []
        self.num_held = 0  # answers of GCP that wait for a change, and any that are never given
        self.changed = threading.Condition()
        self.spoiled: tuple[str, Any] | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cloud = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        self._server.shutdown()
        self._server.server_close()

    def say(self, key: str, value: str) -> None:
        """GCP: a value changes, and whoever waits for that is told."""
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def spoil(self, how: str, value: Any = None) -> None:
        """From now on: "status" N, "body" BYTES with 200, "raw" BYTES instead of HTTP, "drip" one byte at a time, "silence"."""
        with self.changed:
            self.spoiled = (how, value)
            self.changed.notify_all()

    def mend(self) -> None:
        with self.changed:
            self.spoiled = None
            self.changed.notify_all()

    def expire_tokens(self) -> None:
        self.tokens = dict.fromkeys(self.tokens, 0.0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    cloud: FakeMetadata

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        if self._is_spoiled():
            return
        if at.path.startswith("/latest/meta-data/"):
            self._aws(at.path.removeprefix("/latest/meta-data/"))
        elif at.path.startswith("/computeMetadata/v1/instance/"):
            self._gcp(at.path.removeprefix("/computeMetadata/v1/instance/"), parse_qs(at.query))
        else:
            self._azure(at.path, parse_qs(at.query))

    def do_PUT(self) -> None:
        if self._is_spoiled():
            return
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token" or not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            self._answer(400)
            return
        token = secrets.token_urlsafe(40) + "=="
        self.server.cloud.tokens[token] = time.monotonic() + int(ttl)
        self._answer(200, token, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._is_spoiled():
            return
        ids = [request["EventId"] for request in json.loads(body)["StartRequests"]]
        known = [event["EventId"] for event in self.server.cloud.events]
        if self.headers.get("Metadata") != "true" or not all(event in known for event in ids):
            self._answer(400)
            return
        self.server.cloud.started += ids
        self._answer(200)

    def _aws(self, key: str) -> None:
        cloud = self.server.cloud
        if cloud.tokens.get(self.headers.get("X-aws-ec2-metadata-token", ""), 0.0) < time.monotonic():
            self._answer(401)
            return
        said = {"spot/instance-action": cloud.action, "events/recommendations/rebalance": cloud.rebalance}.get(key)
        if said is None:
            self._answer(404, '<?xml version="1.0" encoding="iso-8859-1"?><html><body><h1>404 - Not Found</h1></body></html>')
        else:
            self._answer(200, json.dumps(said))

    def _gcp(self, key: str, query: dict[str, list[str]]) -> None:
        cloud = self.server.cloud
        if self.headers.get("Metadata-Flavor") != "Google":
            self._answer(403)
            return
        if query.get("wait_for_change") == ["true"]:
            with cloud.changed:
                cloud.num_held += 1
                timeout_s = float(query["timeout_sec"][0])
                cloud.changed.wait_for(lambda: cloud.spoiled or _etag(cloud.values[key]) not in query["last_etag"], timeout_s)
                cloud.num_held -= 1
            if cloud.spoiled:
                self._is_spoiled()
                return
        value = cloud.values[key]
        self._answer(200, value, {"Metadata-Flavor": "Google", "ETag": _etag(value), "Content-Type": "application/text"})

    def _azure(self, path: str, query: dict[str, list[str]]) -> None:
        if self.headers.get("Metadata") != "true":
            self._answer(400, '{"error": "Bad request. Required metadata header not specified"}')
        elif path == "/metadata/instance/compute/name" and query == {"api-version": ["2021-02-01"], "format": ["text"]}:
            self._answer(200, self.server.cloud.name)
        elif path == "/metadata/scheduledevents" and query == {"api-version": ["2020-07-01"]}:
            self._answer(200, json.dumps({"DocumentIncarnation": 1, "Events": self.server.cloud.events}))
        else:
            self._answer(400, '{"error": "Bad request"}')

    def _is_spoiled(self) -> bool:
        cloud = self.server.cloud
        cloud.asked.append(f"{self.command} {self.path}")
        if cloud.spoiled is None:
            return False
        how, value = cloud.spoiled
        self.close_connection = True
        if how == "status":
            self._answer(value)
        elif how == "body":
            self._answer(200, value)
        elif how == "raw":
            self.wfile.write(value)
        elif how == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % DRIP_BYTES)
            for _ in range(DRIP_BYTES):
                self.wfile.write(b" ")
                time.sleep(DRIP_S)
        else:
            with cloud.changed:
                cloud.num_held += 1
                cloud.changed.wait_for(lambda: cloud.spoiled is None)
                cloud.num_held -= 1
        return True

    def _answer(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        data = body.encode("latin-1")
        self.send_response_only(status)
        if self.server.cloud.clock is not None:
            self.send_header("Date", self.date_time_string(int(self.server.cloud.clock())))
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _etag(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]
