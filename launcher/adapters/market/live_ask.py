"""Asking clouds for live prices within one deadline, whatever their servers do.

Each cloud is asked by a thread of its own, which hands over what it has learnt batch by batch. When the time is up what is there
counts, and the thread is left behind: a server that sends a byte now and then, or a name that does not resolve, can hold nobody.
Requests are counted, answers have a size at most, and a redirect is not followed: a key is for the host that it was sent to.
"""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from launcher.adapters.market.live import Key
from launcher.units import Seconds, UsdPerHour, Utc

ALL_MOST_S: Seconds = 30.0  # all clouds together; some twenty regions of AWS, or a dozen pages of Google, take 10 to 20 s
ANSWER_MOST_S: Seconds = 10.0  # without a byte
WAITS_S: tuple[Seconds, ...] = (1.0, 3.0, 6.0)  # before each further try; Azure refuses a second question within seconds with 429
WAIT_MOST_S: Seconds = 10.0  # where the server says how long; one that asks for more is told of
BYTES_MOST = 64 * 2**20  # of one answer, unpacked; Google's pages of 5000 SKUs have about 10 MB

Batches = Iterable[Mapping[Key, UsdPerHour]]


class Unanswered(Exception):
    """There is no price, or no more of them, from there. `str()` says why, for a person."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """What came of asking one cloud. `trouble` "": it answered for every row that it sells."""

    cloud: str
    spots: dict[Key, UsdPerHour] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`at` is the server's clock, where it tells: ours may be wrong."""

    document: Any
    at: Utc | None


def ask_all(clouds: Mapping[str, Batches], *, within_s: Seconds = ALL_MOST_S) -> list[Asked]:
    """What each cloud told within that time, all of them asked at once."""
    workers = [_Worker(cloud, batches) for cloud, batches in clouds.items()]
    until = time.monotonic() + within_s
    for worker in workers:
        worker.thread.start()
    for worker in workers:
        worker.thread.join(max(0.0, until - time.monotonic()))
    return [worker.result(within_s) for worker in workers]


class _Worker:
    def __init__(self, cloud: str, batches: Batches) -> None:
        self._asked = Asked(cloud=cloud)
        self._batches = batches
        self._lock = threading.Lock()
        self._is_over = False
        self.thread = threading.Thread(target=self._work, daemon=True)

    def result(self, within_s: Seconds) -> Asked:
        with self._lock:
            if not self._is_over:
                self._asked.trouble = f"no answer, or not the whole of it, within {within_s:g} s"
            self._is_over = True
            return self._asked

    def _work(self) -> None:
        trouble = ""
        try:
            for batch in self._batches:
                with self._lock:
                    if self._is_over:
                        return
                    self._asked.spots.update(batch)
        except Unanswered as error:
            trouble = str(error)
        except Exception as error:  # what foreign libraries and answers lead to is no closed set, and prices are a courtesy
            trouble = f"what it said was not understood ({type(error).__name__}: {error})"
        with self._lock:
            if not self._is_over:
                self._asked.trouble, self._is_over = trouble, True


# --- HTTP ----------------------------------------------------------------------------------------------------------------------


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def answer_of(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """The JSON at `url`, asked again where the server begs for a little patience. Raises Unanswered."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip", "User-Agent": "launch (gzip)", **(headers or {})})
    host = urlsplit(url).hostname
    try:
        with _patient(request) as response:
            data = _unpacked(response.read(BYTES_MOST), is_packed=response.headers.get("Content-Encoding") == "gzip")
            at = _instant(response.headers.get("Date", ""))
    except urllib.error.HTTPError as error:
        raise Unanswered(_refusal(error, host)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unanswered(f"{host} gives no answer ({str(reason) or type(reason).__name__})") from None
    try:
        return Answer(document=json.loads(data), at=at)
    except ValueError:
        raise Unanswered(f"{host} answers with half of a page, or with none") from None


def _patient(request: urllib.request.Request) -> http.client.HTTPResponse:
    for usual_s in WAITS_S:
        try:
            return _OPENER.open(request, timeout=ANSWER_MOST_S)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            wait_s = _patience(error.headers.get("Retry-After"), usual_s)
            if error.code not in (429, 500, 502, 503, 504) or wait_s is None:
                raise
            error.close()
        time.sleep(wait_s)
    return _OPENER.open(request, timeout=ANSWER_MOST_S)  # type: ignore[no-any-return]


def _patience(asked: str | None, usual_s: Seconds) -> Seconds | None:
    """What is asked for, where it is little enough; an instant instead of seconds is taken for too much."""
    if asked is None:
        return usual_s
    return float(asked) if asked.isdigit() and float(asked) <= WAIT_MOST_S else None


def _refusal(error: urllib.error.HTTPError, host: str | None) -> str:
    wait = error.headers.get("Retry-After", "")
    error.close()
    later = f"; it asks to come back after {wait} s" if wait.isdigit() else ""
    return f"{host} answers {error.code} {error.reason}{later}"


def _unpacked(data: bytes, *, is_packed: bool) -> bytes:
    """Raises ValueError for what is cut short, as JSON does."""
    if not is_packed:
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        return unpacker.decompress(data, BYTES_MOST)
    except zlib.error:
        return b""


def _instant(date: str) -> Utc | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None


# --- foreign values ------------------------------------------------------------------------------------------------------------


def number(value: object) -> float | None:
    """A finite number above 0, or None: a price of 0 is a placeholder, and so is text where a number should be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < float("inf") else None


def fields(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A JSON array, or an empty one."""
    return value if isinstance(value, list) else []
