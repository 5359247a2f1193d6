"""All price lists of this machine in one small database, so that a question is answered without reading megabytes of CSV.

The index is a copy, made anew in a file aside whenever a list has changed, and renamed into place: two commands at once each
make one, and either is right. One that is damaged, of another version, or cannot be kept costs a rebuild, never an answer.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from launcher.adapters import durable
from launcher.adapters.market.catalog import Catalog, CatalogUnusable, read_catalog
from launcher.adapters.market.listed import rows as listed_rows
from launcher.adapters.market.sources import CLOUDS, Places, Source, fetched_at
from launcher.core.market.quote import Doubt, Quote
from launcher.units import Utc

VERSION = 1  # of the index's layout and of what catalogs are read by: another one is built anew
BUNDLED = "bundled list"

_FIELDS = tuple(field.name for field in fields(Quote))  # the columns of `quotes` behind the first; the last is `doubts`
_TABLES = """
CREATE TABLE meta (fingerprint TEXT);
CREATE TABLE lists (list INTEGER PRIMARY KEY, cloud TEXT, origin TEXT, path TEXT, fetched_at REAL, said TEXT);
CREATE TABLE dropped (list INTEGER, accelerator TEXT, reason TEXT, num INTEGER);
CREATE TABLE quotes (list INTEGER, cloud TEXT, region TEXT, zone TEXT, instance TEXT, accelerator TEXT, accelerators REAL,
    vcpus REAL, memory_gib REAL, spot REAL, on_demand REAL, doubts TEXT);
CREATE INDEX by_accelerator ON quotes (accelerator);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """One cloud's list in the index. `said`: what is wrong with better ones that could not be read."""

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
    """The index over the lists in `places`; made at `path` where it is not there or not of these lists."""
    candidates = {cloud: list(places.candidates(cloud)) for cloud in CLOUDS}
    fingerprint = "\n".join([f"version {VERSION}", *(s.fingerprint for found in candidates.values() for s in found)])
    with contextlib.suppress(sqlite3.Error, OSError):
        if path.is_file():
            kept = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            if kept.execute("SELECT fingerprint FROM meta").fetchone() == (fingerprint,):
                return PriceIndex(kept, is_kept=True)
            kept.close()
    made = _made(candidates, fingerprint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace_atomically(path, made.serialize())
    except OSError:
        return PriceIndex(made, is_kept=False)
    return PriceIndex(made, is_kept=True)


def _made(candidates: dict[str, list[Source]], fingerprint: str) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.executescript(_TABLES)
    database.execute("INSERT INTO meta VALUES (?)", (fingerprint,))
    for cloud, sources in candidates.items():
        source, at, catalog, said = _best(cloud, sources)
        origin, path = (source.origin, str(source.path)) if source else (BUNDLED, "")
        if catalog.quotes:
            _insert(database, catalog, origin, path, at, "; ".join(said))
    database.commit()
    return database


def _best(cloud: str, sources: list[Source]) -> tuple[Source | None, Utc | None, Catalog, list[str]]:
    """The first source that can be read, with its age and what is wrong with those before it; at last the bundled list."""
    said: list[str] = []
    for source in sources:
        try:
            data = source.path.read_bytes()
            catalog = read_catalog(cloud, data.decode("utf-8"), name=str(source.path))
            return source, fetched_at(source.path, data), catalog, said
        except CatalogUnusable as error:
            said.append(str(error))
        except (OSError, UnicodeDecodeError) as error:
            said.append(f"{source.path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
    return None, None, _bundled(cloud), said


def _bundled(cloud: str) -> Catalog:
    quotes = tuple(
        Quote(
            cloud=cloud,
            region=row["region"],
            zone=row["zone"] or None,
            instance=row["instance"],
            accelerator=row["gpu"],
            accelerators=float(row["gpus"]),
            vcpus=None,
            memory_gib=None,
            spot=float(row["spot"]),
            on_demand=float(row["on_demand"]),
        )
        for row in listed_rows()
        if row["cloud"] == cloud
    )
    return Catalog(cloud=cloud, quotes=quotes, dropped=Counter())


def _insert(database: sqlite3.Connection, catalog: Catalog, origin: str, path: str, at: Utc | None, said: str) -> None:
    cursor = database.execute("INSERT INTO lists VALUES (NULL, ?, ?, ?, ?, ?)", (catalog.cloud, origin, path, at, said))
    number = cursor.lastrowid
    database.executemany("INSERT INTO dropped VALUES (?, ?, ?, ?)", [(number, *key, num) for key, num in catalog.dropped.items()])
    marks = ", ".join("?" * (1 + len(_FIELDS)))
    database.executemany(f"INSERT INTO quotes VALUES ({marks})", [(number, *_row(quote)) for quote in catalog.quotes])


def _row(quote: Quote) -> list[object]:
    *plain, doubts = (getattr(quote, name) for name in _FIELDS)
    return [*plain, ",".join(doubt.name for doubt in doubts)]


def _quote(row: list[Any]) -> Quote:
    *plain, doubts = row
    named = dict(zip(_FIELDS, plain, strict=False))
    return Quote(**named, doubts=tuple(Doubt[name] for name in doubts.split(",") if name))
