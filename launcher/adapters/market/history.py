"""What prices were: each refresh adds what has changed, so that a place can be judged by more than one look.

One small database in the home. A row is a price from an instant on, until the next row of the same machine and zone; so a list
that did not change adds nothing, however often it is fetched. Rows older than KEPT go, save each machine's newest before that.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.market.quote import Quote
from launcher.units import HOUR, Seconds, UsdPerHour, Utc

KEPT: Seconds = 180 * 24 * HOUR
BUSY_MOST_S: Seconds = 10.0  # another command writes; it is done within that, or its process hangs

_MACHINE = "cloud, place, instance, accelerator, accelerators"
_TABLES = """
CREATE TABLE IF NOT EXISTS machines (machine INTEGER PRIMARY KEY, cloud TEXT, place TEXT, instance TEXT, accelerator TEXT,
    accelerators REAL, UNIQUE (cloud, place, instance, accelerator, accelerators));
CREATE TABLE IF NOT EXISTS prices (machine INTEGER, at REAL, spot REAL, on_demand REAL, PRIMARY KEY (machine, at)) WITHOUT ROWID;
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

    def add(self, quotes: Iterable[Quote], at: Utc) -> int:
        """Note what differs from the newest row of each machine; gives how many did. All of it or nothing."""
        with self._transaction():
            known = self._newest()
            rows = []
            for quote in quotes:
                key, prices = _key(quote), (quote.spot, quote.on_demand)
                machine, before = known.get(key, (None, None))
                if before != prices:
                    rows.append((self._machine(key) if machine is None else machine, at, *prices))
                    known[key] = (rows[-1][0], prices)
            self._database.executemany("INSERT OR REPLACE INTO prices VALUES (?, ?, ?, ?)", rows)
            self._prune(at - KEPT)
        return len(rows)

    def past(self, accelerators: Iterable[str]) -> list[Past]:
        """Of these accelerators' machines, the most often changed first."""
        names = tuple(accelerators)
        marks = ", ".join("?" * len(names))
        rows = self._database.execute(
            f"SELECT {_MACHINE}, min(at), max(at), count(*) - 1, min(spot), max(spot), machine "
            f"FROM machines JOIN prices USING (machine) WHERE accelerator IN ({marks}) GROUP BY machine",
            names,
        ).fetchall()
        newest = {machine: prices[0] for machine, prices in self._newest().values()}
        found = [
            Past(
                cloud=cloud,
                place=place,
                instance=instance,
                accelerator=accelerator,
                accelerators=count,
                first_at=first,
                changed_at=last,
                num_changes=changes,
                now=newest[machine],
                lowest=lowest,
                highest=highest,
            )
            for cloud, place, instance, accelerator, count, first, last, changes, lowest, highest, machine in rows
        ]
        return sorted(found, key=lambda p: (-p.num_changes, p.cloud, p.place, p.instance))

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

    def _newest(self) -> dict[tuple[object, ...], tuple[int, tuple[UsdPerHour | None, UsdPerHour | None]]]:
        rows = self._database.execute(
            f"SELECT {_MACHINE}, machine, spot, on_demand, max(at) FROM machines JOIN prices USING (machine) "
            "GROUP BY machine"  # SQLite takes the other columns from the row of the maximum
        )
        return {tuple(key): (machine, (spot, on_demand)) for *key, machine, spot, on_demand, _ in rows}

    def _machine(self, key: tuple[object, ...]) -> int:
        cursor = self._database.execute(f"INSERT INTO machines ({_MACHINE}) VALUES (?, ?, ?, ?, ?)", key)
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _prune(self, before: Utc) -> None:
        self._database.execute(
            "DELETE FROM prices WHERE at < (SELECT max(at) FROM prices p WHERE p.machine = prices.machine AND p.at < ?)",
            (before,),
        )


def _key(quote: Quote) -> tuple[object, ...]:
    return quote.cloud, quote.zone or quote.region, quote.instance, quote.accelerator, quote.accelerators
