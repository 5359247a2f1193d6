"""A cloud's metadata server: plain HTTP on a link that ends at the machine's host, answered within a deadline or not at all.

Each question has a connection of its own, since it costs a tenth of a millisecond and leaves nothing that could go stale. The
environment's proxies are not asked: the address means the machine's own host.
"""

import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from launcher.units import Bytes, Seconds, Utc

LINK_LOCAL = "http://169.254.169.254"  # of AWS, GCP and Azure alike
ANSWERS_S: Seconds = 5.0  # a healthy one takes a millisecond; a question that was lost is asked again
ANSWER_BYTES_MAX: Bytes = 1 << 20


class Unanswered(Exception):
    """No answer that says anything: what was last known still holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]  # by names in small letters

    def ours(self, at: Utc, now: Utc) -> Utc:
        """An instant of the server's clock on ours, which may be minutes off and says `now`; up to a second early, never late.

        A server that has a clock says its time, in whole seconds (RFC 9110, 6.6.1, Date). One that says none is believed.
        """
        said = self.headers.get("date")
        return at if said is None else at - instant(said) - 1.0 + now


class MetadataServer:
    def __init__(self, url: str = LINK_LOCAL, *, answers_s: Seconds = ANSWERS_S) -> None:
        at = urlsplit(url)
        self._host = at.hostname or ""
        self._port = at.port or http.client.HTTP_PORT
        self._answers_s = answers_s

    def ask(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET", body: str | None = None, held_s: Seconds = 0.0
    ) -> Answer:
        """Raises Unanswered. `held_s`: how long the server was asked to hold its answer back."""
        connection = http.client.HTTPConnection(self._host, self._port)
        try:
            with _Link(time.monotonic() + self._answers_s + held_s) as link:
                link.connect((self._host, self._port))
                connection.sock = link
                connection.request(method, path, body=body, headers={**headers, "Connection": "close"})
                with connection.getresponse() as response:
                    found = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        return Answer(status=response.status, body=found, headers={name.lower(): value for name, value in response.getheaders()})


def instant(text: str) -> Utc:
    """Of "Mon, 19 Sep 2016 18:29:47 GMT". Raises ValueError."""
    at = parsedate_to_datetime(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


class _Link(socket.socket):
    """Gives up at an instant, however slowly the bytes drip: a socket's own timeout begins anew with each of them."""

    def __init__(self, until: Seconds) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._until = until
        self.settimeout(self._left())

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **options)

    def _left(self) -> Seconds:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left
