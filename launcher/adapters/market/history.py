"""What prices were: each refresh adds what has changed, so that a place can be judged by more than one look.

One small database in the home. A row is a price from an instant on, until the next row of the same machine and zone; so a list
that did not change adds nothing, however often it is fetched. A list and the cloud itself may tell different
prices at once: each is compared with its own kind, so that a live price which grew too old is no move. Rows are in the order of
their numbers, since clocks may be wrong. Of more than KEPT_MOST of a machine the first go, whatever their dates.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.market.quote import Quote
from launcher.units import Seconds, UsdPerHour, Utc

KEPT_MOST = 200  # rows of a machine; half a year where its price changes daily
BUSY_MOST_S: Seconds = 10.0  # another command writes; it is done within that, or its process hangs

Key = tuple[object, ...]  # the columns of _MACHINE
Prices = tuple[UsdPerHour | None, UsdPerHour | None]  # spot, on-demand
_Row = tuple[Key, Utc, UsdPerHour | None, bool]  # machine, since when, spot, whether it was told live

_MACHINE = "cloud, place, instance, accelerator, accelerators"
_TABLES = """
CREATE TABLE IF NOT EXISTS machines (machine INTEGER PRIMARY KEY, cloud TEXT, place TEXT, instance TEXT, accelerator TEXT,
    accelerators REAL, UNIQUE (cloud, place, instance, accelerator, accelerators));
CREATE TABLE IF NOT EXISTS prices (num INTEGER PRIMARY KEY AUTOINCREMENT, machine INTEGER, at REAL, spot REAL, on_demand REAL,
    live INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS of_machine ON prices (machine, num);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The spot prices seen of one machine in one zone. `num_changes`: how often the price, or whether there was one, changed."""

    cloud: str
    place: str
    instance: str
    accelerator: str
    accelerators: float
    first_at: Utc
    changed_at: Utc
    num_changes: int
    now: UsdPerHour | None
    lowest: UsdPerHour | None
    highest: UsdPerHour | None


class PriceHistory:
    """Raises sqlite3.Error where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=BUSY_MOST_S, isolation_level=None)
        self._database.executescript(_TABLES)
        if all(name != "live" for _, name, *_ in self._database.execute("PRAGMA table_info(prices)")):  # of an older launch
            with contextlib.suppress(sqlite3.OperationalError):  # another command was quicker
                self._database.execute("ALTER TABLE prices ADD COLUMN live INTEGER NOT NULL DEFAULT 0")

    def add(self, listed: Iterable[Quote], at: Utc, *, live: Iterable[Quote] = ()) -> int:
        """Note what differs from the newest row of each machine, of a list from the list's; gives how many did. All or nothing.

        `listed` and `live` of the same cloud are a whole list: a machine that is in neither any more has no price. A cloud that
        has `live` ones alone says nothing of others.
        """
        of_lists, told = _by_machine(listed), _by_machine(live)
        clouds = {cloud for cloud, *_ in of_lists}
        with self._transaction():
            newest, newest_listed = self._newest(), self._newest("WHERE live = 0")
            gone = {key: (None, None) for key in newest if key[0] in clouds and key not in of_lists and key not in told}
            rows = [
                (newest[key][0] if key in newest else self._machine(key), at, *prices, is_live)
                for found, known, is_live in ((told, newest, True), ({**of_lists, **gone}, newest_listed, False))
                for key, prices in found.items()
                if known.get(key, (0, None))[1] != prices
            ]
            self._database.executemany("INSERT INTO prices (machine, at, spot, on_demand, live) VALUES (?, ?, ?, ?, ?)", rows)
            self._prune(machine for machine, *_ in rows)
        return len(rows)

    def is_empty(self) -> bool:
        return self._database.execute("SELECT 1 FROM prices LIMIT 1").fetchone() is None

    def past(self, accelerators: Iterable[str]) -> list[Past]:
        """Of these accelerators' machines, the most often changed first."""
        names = tuple(accelerators)
        rows = self._database.execute(
            f"SELECT {_MACHINE}, machine, at, spot, live FROM machines JOIN prices USING (machine) "
            f"WHERE accelerator IN ({', '.join('?' * len(names))}) ORDER BY machine, num",
            names,
        )
        found: dict[int, list[_Row]] = {}
        for *key, machine, at, spot, live in rows:
            found.setdefault(machine, []).append((tuple(key), at, spot, bool(live)))
        return sorted(map(_past, found.values()), key=lambda p: (-p.num_changes, p.cloud, p.place, p.instance))

    def close(self) -> None:
        self._database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Other writers wait from the first read on, so that two refreshes at once note each change once."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _newest(self, which: str = "") -> dict[Key, tuple[int, Prices]]:
        rows = self._database.execute(
            f"SELECT {_MACHINE}, machine, spot, on_demand, max(num) FROM machines JOIN prices USING (machine) {which} "
            "GROUP BY machine"  # SQLite takes the other columns from the row of the maximum
        )
        return {tuple(key): (machine, (spot, on_demand)) for *key, machine, spot, on_demand, _ in rows}

    def _machine(self, key: Key) -> int:
        cursor = self._database.execute(f"INSERT INTO machines ({_MACHINE}) VALUES (?, ?, ?, ?, ?)", key)
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _prune(self, machines: Iterable[int]) -> None:
        self._database.executemany(
            "DELETE FROM prices WHERE machine = ? AND num <= "
            "(SELECT num FROM prices WHERE machine = ? ORDER BY num DESC LIMIT 1 OFFSET ?)",
            [(machine, machine, KEPT_MOST) for machine in machines],
        )


def _past(rows: list[_Row]) -> Past:
    (cloud, place, instance, accelerator, accelerators), first_at, *_ = rows[0]
    spots = [spot for _, _, spot, _ in rows]
    changes = sorted(at for is_live in (False, True) for at in _changes([row for row in rows if row[3] == is_live]))
    known = [spot for spot in spots if spot is not None]
    return Past(
        cloud=str(cloud),
        place=str(place),
        instance=str(instance),
        accelerator=str(accelerator),
        accelerators=float(str(accelerators)),
        first_at=first_at,
        changed_at=changes[-1] if changes else first_at,
        num_changes=len(changes),
        now=spots[-1],
        lowest=min(known, default=None),
        highest=max(known, default=None),
    )


def _changes(rows: list[_Row]) -> list[Utc]:
    return [at for (_, at, spot, _), (_, _, before, _) in zip(rows[1:], rows, strict=False) if spot != before]


def _by_machine(quotes: Iterable[Quote]) -> dict[Key, Prices]:
    """The first of each."""
    return {_key(quote): (quote.spot, quote.on_demand) for quote in reversed(list(quotes))}


def _key(quote: Quote) -> Key:
    return quote.cloud, quote.zone or quote.region, quote.instance, quote.accelerator, quote.accelerators
