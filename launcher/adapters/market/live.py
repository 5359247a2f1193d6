"""Live spot prices, as they are kept in the home for half a day.

A list's spot price is as old as whoever made the list; a cloud's own interface tells today's. What was told is kept in one file,
each price under the very row of a list that was asked for, with its own instant and a digest over all of it: damaged is absent.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.adapters import durable
from launcher.adapters.market.turns import turn
from launcher.core.market.quote import Quote
from launcher.units import HOUR, Seconds, UsdPerHour, Utc

CLOUDS = ("aws", "azure", "gcp")  # Lambda sells no spot
KEPT: Seconds = 12 * HOUR  # SkyPilot's lists are made anew several times a day; what is older than this is no better

Key = tuple[str, str, str | None, str, str, float]
_NAME, _VERSION = "launch live prices", "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBook:
    """What is known live now. `fingerprint` changes whenever the prices do, by a refresh or by growing too old."""

    spots: Mapping[Key, tuple[UsdPerHour, Utc]] = field(default_factory=dict)
    said: str = ""  # what is wrong with the file
    fingerprint: str = ""  # "" for nothing known


def key(quote: Quote) -> Key:
    """A row of a list: GCP has several GPUs for one host in one zone, so the GPU belongs to it."""
    return quote.cloud, quote.region, quote.zone, quote.instance, quote.accelerator, quote.accelerators


def read_live(path: Path, now: Utc) -> LiveBook:
    """The prices at `path` that are of the last hours; those of tomorrow, by a clock that was wrong, are none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return LiveBook()
    except (OSError, UnicodeDecodeError) as error:
        return _unusable(f"the live prices in {path} cannot be read: {getattr(error, 'strerror', None) or 'no text'}")
    head, _, body = text.partition("\n")
    if not head.startswith(_NAME) or not head.endswith(f" {_digest(body)}"):
        return _unusable(f"the live prices in {path} are damaged; --refresh fetches them anew")
    if head != _head(body):
        return _unusable(f"the live prices in {path} are of another version of launch; --refresh fetches them anew")
    spots = {row: (spot, at) for row, spot, at in _rows(body) if 0 <= now - at <= KEPT}
    return LiveBook(spots=spots, fingerprint=f"live {head} {len(spots)}" if spots else "")


def keep_live(path: Path, spots: Mapping[Key, UsdPerHour], at: Utc, *, now: Utc | None = None) -> None:
    """Put `spots`, asked for at that instant, in the place of older ones; those of other rows stay while they last.

    `now`, at which they are kept, may be later: another refresh may have been told something since. Raises OSError, which
    `turns.Busy` is too.
    """
    with turn(path):
        kept = dict(read_live(path, at if now is None else now).spots)
        kept |= {row: (spot, at) for row, spot in spots.items() if row not in kept or kept[row][1] <= at}
        body = _body(kept)
        durable.replace_atomically(path, f"{_head(body)}\n{body}".encode())


def _body(kept: Mapping[Key, tuple[UsdPerHour, Utc]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for (cloud, region, zone, instance, gpu, num), (spot, at) in kept.items():
        writer.writerow((cloud, region, zone or "", instance, gpu, repr(num), repr(spot), repr(at)))
    return out.getvalue()


def _rows(body: str) -> Iterator[tuple[Key, UsdPerHour, Utc]]:
    """As they were written: the digest has said so."""
    for cloud, region, zone, instance, gpu, num, spot, at in csv.reader(io.StringIO(body), strict=True):
        yield (cloud, region, zone or None, instance, gpu, float(num)), float(spot), float(at)


def _unusable(said: str) -> LiveBook:
    return LiveBook(said=said, fingerprint=said)


def _head(body: str) -> str:
    return f"{_NAME} {_VERSION} {_digest(body)}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
