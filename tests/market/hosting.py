"""A server on loopback that has price lists, and what may be wrong with it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from tests.market import lists

TEXTS = {
    "aws": lists.aws(("p3.2xlarge", "V100", 1, 3.06, 0.5, "use1-az1")),
    "gcp": lists.gcp(lists.gcp_host("a2-highgpu-1g", "a", 0.74, 0.37), lists.gcp_gpu("A100", 1, "a", 2.93, 1.43)),
    "azure": "\n".join((lists.AZURE, "Standard_NC6s_v3,V100,1,6.0,112,V100,3.06,0.39,eastus,V2", "")),
    "lambda": "\n".join((lists.AZURE, "gpu_1x_a10,A10,1,30,200,,0.75,,us-east-1,", "")),
}


class Server(ThreadingHTTPServer):
    """`bodies` by path; `status` for all; `cut`: so many bytes of each body are promised and not sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies = {f"/{cloud}/vms.csv": text.encode() for cloud, text in TEXTS.items()}
        self.status = 200
        self.cut = 0
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        server.lines.append(f"{self.command} {self.path}")
        body = server.bodies.get(self.path)
        if server.status != 200 or body is None:
            self.send_error(404 if body is None else server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) - server.cut])

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass

    def log_error(self, *words: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with answering(Server()) as made:
        yield made


Made = TypeVar("Made", bound=ThreadingHTTPServer)


@contextmanager
def answering(made: Made) -> Iterator[Made]:
    """The server at work until the block ends, whichever way: closed and not shut down it would spin."""
    with made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield made
        finally:
            made.shutdown()
