"""How the index over the price lists is made: the best list of each cloud, read and judged, into one database."""

import sqlite3
from collections import Counter

from launcher.adapters.market.catalog import Catalog, CatalogUnusable, read_catalog
from launcher.adapters.market.index import FIELDS
from launcher.adapters.market.listed import rows as listed_rows
from launcher.adapters.market.live import CLOUDS as LIVE_CLOUDS
from launcher.adapters.market.live import LiveBook
from launcher.adapters.market.live_rows import overlaid
from launcher.adapters.market.sources import Source, fetched_at
from launcher.core.market.quote import Quote
from launcher.units import Utc

BUNDLED = "bundled list"
LIVE = "live"

_TABLES = """
CREATE TABLE meta (fingerprint TEXT);
CREATE TABLE lists (list INTEGER PRIMARY KEY, cloud TEXT, origin TEXT, path TEXT, fetched_at REAL, said TEXT);
CREATE TABLE dropped (list INTEGER, accelerator TEXT, reason TEXT, num INTEGER);
CREATE TABLE quotes (list INTEGER, cloud TEXT, region TEXT, zone TEXT, instance TEXT, accelerator TEXT, accelerators REAL,
    vcpus REAL, memory_gib REAL, spot REAL, on_demand REAL, doubts TEXT);
CREATE INDEX by_accelerator ON quotes (accelerator);
"""


def indexed(candidates: dict[str, list[Source]], fingerprint: str, book: LiveBook, said_of_all: str) -> sqlite3.Connection:
    """The database, in memory; `candidates` are each cloud's lists, best first, and `book` is laid over the best."""
    database = sqlite3.connect(":memory:")
    database.executescript(_TABLES)
    database.execute("INSERT INTO meta VALUES (?)", (fingerprint,))
    for cloud, sources in candidates.items():
        source, at, catalog, said = _best(cloud, sources)
        origin, path = (source.origin, str(source.path)) if source else (BUNDLED, "")
        said += [said_of_all] if said_of_all else []
        said += [book.said] if book.said and cloud in LIVE_CLOUDS else []
        if catalog.quotes:
            _insert(database, catalog, (origin, path, at, "; ".join(said)), book)
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


def _insert(database: sqlite3.Connection, catalog: Catalog, known: tuple[object, ...], book: LiveBook) -> None:
    """`known` of the list: origin, path, fetched_at, said. What was told live at one instant counts as a list of its own."""
    listed = _insert_list(database, catalog.cloud, known)
    database.executemany("INSERT INTO dropped VALUES (?, ?, ?, ?)", [(listed, *key, num) for key, num in catalog.dropped.items()])
    numbers: dict[Utc | None, int] = {None: listed}
    marks = ", ".join("?" * (1 + len(FIELDS)))
    for quote, at in overlaid(catalog.quotes, book):
        if at not in numbers:
            numbers[at] = _insert_list(database, catalog.cloud, (LIVE, "", at, f"on-demand prices: {known[0]}"))
        database.execute(f"INSERT INTO quotes VALUES ({marks})", (numbers[at], *_row(quote)))


def _insert_list(database: sqlite3.Connection, cloud: str, known: tuple[object, ...]) -> int:
    cursor = database.execute("INSERT INTO lists VALUES (NULL, ?, ?, ?, ?, ?)", (cloud, *known))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _row(quote: Quote) -> list[object]:
    *plain, doubts = (getattr(quote, name) for name in FIELDS)
    return [*plain, ",".join(doubt.name for doubt in doubts)]
