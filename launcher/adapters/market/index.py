"""All price lists of this machine in one small database, so that a question is answered without reading megabytes of CSV.

The index is a copy, made anew in a file aside whenever a list has changed, and renamed into place: two commands at once each
make one, and either is right. One that is damaged, of another version, or cannot be kept costs a rebuild, never an answer.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from launcher.adapters import durable
from launcher.adapters.market.live import LiveBook, read_live
from launcher.adapters.market.sources import CLOUDS, Places
from launcher.core.market.quote import Doubt, Quote
from launcher.units import Utc

VERSION = 3  # of the index's layout and of what catalogs are read by: another one is built anew

BUNDLED_LIST = Path(__file__).with_name("listed.csv")
FIELDS = tuple(field.name for field in fields(Quote))  # the columns of `quotes` behind the first; the last is `doubts`


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """One cloud's list in the index, or what one refresh was told live. `said`: what a person should know of it."""

    number: int
    cloud: str
    origin: str
    path: str
    fetched_at: Utc | None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A quote, and the list it stands in."""

    quote: Quote
    source: PriceList


class PriceIndex:
    """Answers about prices. `is_kept` is False where the index could not be written and lives in memory only."""

    def __init__(self, database: sqlite3.Connection, *, is_kept: bool) -> None:
        self._database = database
        self.is_kept = is_kept
        self.lists = tuple(
            PriceList(number=number, cloud=cloud, origin=origin, path=path, fetched_at=at, said=said)
            for number, cloud, origin, path, at, said in database.execute("SELECT * FROM lists ORDER BY list")
        )

    def accelerators(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self._database.execute("SELECT DISTINCT accelerator FROM quotes ORDER BY accelerator"))

    def places(self) -> tuple[tuple[str, str, str | None], ...]:
        """Cloud, region and zone of each place that any list has."""
        return tuple(self._database.execute("SELECT DISTINCT cloud, region, zone FROM quotes ORDER BY 1, 2, 3"))

    def listings(self, accelerators: Iterable[str]) -> Iterator[Listing]:
        """Every quote of these accelerators."""
        lists = {known.number: known for known in self.lists}
        names = tuple(accelerators)
        marks = ", ".join("?" * len(names))
        for number, *row in self._database.execute(f"SELECT * FROM quotes WHERE accelerator IN ({marks})", names):
            yield Listing(quote=_quote(row), source=lists[number])

    def dropped(self) -> tuple[tuple[str, str, str, int], ...]:
        """Rows that gave no quote: cloud, accelerator ("" for none), reason, how many."""
        query = "SELECT cloud, accelerator, reason, num FROM dropped JOIN lists USING (list) ORDER BY 1, 2, 3"
        return tuple(self._database.execute(query))

    def close(self) -> None:
        self._database.close()


def open_index(path: Path, places: Places) -> PriceIndex:
    """The index over the lists in `places`, live prices laid over them; made at `path` where it is not there or not of these."""
    candidates = {cloud: list(places.candidates(cloud)) for cloud in CLOUDS}
    bare = f"{places.named} holds no price list" if places.named and not any(map(places.named_lists, CLOUDS)) else ""
    status = BUNDLED_LIST.stat()
    bundled = f"version {VERSION} {BUNDLED_LIST} {status.st_size} {status.st_mtime_ns}"
    book = LiveBook() if places.live is None else read_live(places.live, time.time())
    fingerprint = "\n".join([bundled, bare, *(s.fingerprint for found in candidates.values() for s in found), book.fingerprint])
    with contextlib.suppress(sqlite3.Error, OSError):
        if path.is_file():
            kept = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            if kept.execute("SELECT fingerprint FROM meta").fetchone() == (fingerprint,) and _is_whole(kept):
                return PriceIndex(kept, is_kept=True)
            kept.close()
    from launcher.adapters.market.indexing import indexed  # only here: most questions find an index

    made = indexed(candidates, fingerprint, book, bare)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace_atomically(path, made.serialize())
    except OSError:
        return PriceIndex(made, is_kept=False)
    return PriceIndex(made, is_kept=True)


def _is_whole(database: sqlite3.Connection) -> bool:
    """All of its pages, not just those that this question needs."""
    return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))


def _quote(row: list[Any]) -> Quote:
    *plain, doubts = row
    named = dict(zip(FIELDS, plain, strict=False))
    return Quote(**named, doubts=tuple(Doubt[name] for name in doubts.split(",") if name))
