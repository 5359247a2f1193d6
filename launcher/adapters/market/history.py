"""What prices were: each refresh adds what has changed, so that a place can be judged by more than one look.

One small database in the home. A row is a price from an instant on, until the next row of the same machine and zone; so a list
that did not change adds nothing, however often it is fetched. Rows are in the order of their numbers, since clocks may be wrong.
Of more than KEPT_MOST of a machine the first go, whatever their dates.
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

_MACHINE = "cloud, place, instance, accelerator, accelerators"
_TABLES = """
CREATE TABLE IF NOT EXISTS machines (machine INTEGER PRIMARY KEY, cloud TEXT, place TEXT, instance TEXT, accelerator TEXT,
    accelerators REAL, UNIQUE (cloud, place, instance, accelerator, accelerators));
CREATE TABLE IF NOT EXISTS prices (num INTEGER PRIMARY KEY AUTOINCREMENT, machine INTEGER, at REAL, spot REAL, on_demand REAL);
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

    def add(self, quotes: Iterable[Quote], at: Utc, *, singly: Iterable[Quote] = ()) -> int:
        """Note what differs from the newest row of each machine; gives how many did. All of it or nothing.

        `quotes` are whole lists of their clouds: a machine that is on none of them any more has no price. Those that come
        `singly` say nothing of others.
        """
        listed: dict[Key, Prices] = {}
        for quote in quotes:
            listed.setdefault(_key(quote), (quote.spot, quote.on_demand))
        clouds = {cloud for cloud, *_ in listed}
        for quote in singly:
            listed.setdefault(_key(quote), (quote.spot, quote.on_demand))
        with self._transaction():
            known = self._newest()
            gone = {key: (None, None) for key in known if key[0] in clouds and key not in listed}
            changed = {key: prices for key, prices in {**listed, **gone}.items() if known.get(key, (0, None))[1] != prices}
            rows = [(known[key][0] if key in known else self._machine(key), at, *prices) for key, prices in changed.items()]
            self._database.executemany("INSERT INTO prices (machine, at, spot, on_demand) VALUES (?, ?, ?, ?)", rows)
            self._prune(machine for machine, *_ in rows)
        return len(changed)

    def is_empty(self) -> bool:
        return self._database.execute("SELECT 1 FROM prices LIMIT 1").fetchone() is None

    def past(self, accelerators: Iterable[str]) -> list[Past]:
        """Of these accelerators' machines, the most often changed first."""
        names = tuple(accelerators)
        rows = self._database.execute(
            f"SELECT {_MACHINE}, machine, at, spot FROM machines JOIN prices USING (machine) "
            f"WHERE accelerator IN ({', '.join('?' * len(names))}) ORDER BY machine, num",
            names,
        )
        found: dict[int, list[tuple[Key, Utc, UsdPerHour | None]]] = {}
        for *key, machine, at, spot in rows:
            found.setdefault(machine, []).append((tuple(key), at, spot))
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

    def _newest(self) -> dict[Key, tuple[int, Prices]]:
        rows = self._database.execute(
            f"SELECT {_MACHINE}, machine, spot, on_demand, max(num) FROM machines JOIN prices USING (machine) "
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


def _past(rows: list[tuple[Key, Utc, UsdPerHour | None]]) -> Past:
    (cloud, place, instance, accelerator, accelerators), first_at, _ = rows[0]
    spots = [spot for _, _, spot in rows]
    changes = [at for (_, at, spot), before in zip(rows[1:], spots, strict=False) if spot != before]
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


def _key(quote: Quote) -> Key:
    return quote.cloud, quote.zone or quote.region, quote.instance, quote.accelerator, quote.accelerators
