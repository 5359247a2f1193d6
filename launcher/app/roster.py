"""All runs that this home knows, one row each. A run that cannot be read is a row too, with the reason instead of numbers.

The index names them; runs that lie under the home without an index entry (a crash between the two, a home put together by hand)
are found by looking. Rows that show one name are told apart by their store URLs.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from launcher import beacon
from launcher.adapters.history import History
from launcher.app.alone import result_so_far
from launcher.app.answer import moment
from launcher.app.counting import told
from launcher.app.home import Found, Home, known_at
from launcher.app.keeping import about_kept
from launcher.app.result import Result
from launcher.app.show import brief, show_cost
from launcher.app.standing import STILL_BILLED
from launcher.app.ticking import next_tick
from launcher.beacon import Holder
from launcher.codec import Json
from launcher.errors import LaunchError
from launcher.units import Utc, show_duration

NEVER_STARTED = "NEW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    found: Found
    history: History
    result: Result | None  # None: born, and never started
    driver: Holder
    is_namesake: bool = False  # another row shows the same name

    @property
    def run(self) -> str:
        return self.found.head.run

    def addressed(self, text: str) -> str:
        return replace(self.found, url=self.found.store.url).addressed(text) if self.is_namesake else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    run: str
    store: str
    reason: str
    created_at: Utc | None = None  # where the index tells
    is_namesake: bool = False


Row = Readable | Unreadable


def rows_of(home: Home) -> Iterator[Row]:
    """The newest first, then those without an index entry, then index entries that say nothing."""
    entries = home.entries()
    rows = [_row(entry.run, entry.store, entry.created_at) for entry in entries]
    indexed = {entry.store for entry in entries}
    rows += [_row(name, url) for name, urls in home.places().items() for url in urls if url not in indexed]
    names = Counter(row.run for row in rows)
    yield from (row if names[row.run] == 1 else replace(row, is_namesake=True) for row in rows)
    for name, path in home.unreadable_entries():
        yield Unreadable(run=name, store="", reason=f"its index entry {path} cannot be read; its store URL still names it")


def _row(run: str, url: str, created_at: Utc | None = None) -> Row:
    try:
        found = known_at(url)
        history = found.read()
        result = result_so_far(history, found.market_now(history)) if history.is_created else None
        return Readable(found=found, history=history, result=result, driver=beacon.judge(beacon.read(found.store)))
    except (LaunchError, ValueError, AssertionError, OSError) as error:  # one bad run must not hide the others
        reason = " ".join(str(error).split()) or type(error).__name__
        return Unreadable(run=run, store=url, reason=reason, created_at=created_at)


def cells(row: Row) -> tuple[str, ...]:
    if isinstance(row, Unreadable):
        return (row.run, "UNREADABLE", "", "", "", "", row.reason)  # whole: its end is the remedy
    age = f"{show_duration(max(0.0, time.time() - row.found.head.created_at))} ago"  # here; the other ages are the market's
    place = f"{row.found.store.url}: " if row.is_namesake else ""
    if row.result is None:
        return (row.run, NEVER_STARTED, "", "0", "", age, place + row.addressed(f"never started; launch resume {row.run}"))
    r = row.result
    steps = f"{r.step}/{r.total_steps}" if r.total_steps else str(r.step) if r.tells_steps else "-" if r.step == 0 else r.reached
    return (row.run, r.state.value, steps, str(r.attempts), show_cost(r.cost), age, place + brief(_where(row, r)))


def _where(row: Readable, result: Result) -> str:
    """Where it runs now; else what is to be known of it."""
    state = row.history.state
    if told := about_kept(state, row.found.market_now(row.history)):
        return row.addressed(f"kept: {told}")
    if state.phase.is_ended and row.driver is Holder.NOBODY and not state.is_over:
        return row.addressed(f"{STILL_BILLED}; launch stop {result.run}")
    if state.phase.is_ended:
        return " ".join(result.reason.split())
    if row.driver is Holder.NOBODY:
        tick_at = next_tick(row.history, row.driver, row.found.market_now(row.history))
        told = f"nobody supervises; launch resume {result.run}" if tick_at is None else "the next tick is awaited"
        return row.addressed(told)
    if row.driver is Holder.HALTED:
        return row.addressed(f"its supervisor was halted; launch resume {result.run}")
    living = state.living
    return str(living[-1].offer.placement) if living else "waiting for a machine"


def row_json(row: Row) -> dict[str, Json]:
    """The same keys of every row, null where not known."""
    if isinstance(row, Unreadable):
        created_at = None if row.created_at is None else moment(row.created_at)
        return {**_NOTHING_KNOWN, "run": row.run, "store": row.store, "created_at": created_at, "error": row.reason}
    head = row.found.head
    common = {
        **_NOTHING_KNOWN,
        "run": head.run,
        "store": row.found.store.url,
        "created_at": moment(head.created_at),
        "supervised": row.driver.is_there,
    }
    if row.result is None:
        return {**common, "state": NEVER_STARTED, "attempts": 0}
    r = row.result
    return {
        **common,
        "state": r.state.value,
        "recipe": r.recipe,
        **told(r.step, r.unit),
        "total_steps": r.total_steps,
        "attempts": r.attempts,
        "preemptions": r.preemptions,
        "spent_usd": round(r.cost.spent, 4),
        "simulated": r.cost.simulated,
        "reason": r.reason,
        "where": _where(row, r),
    }


_NOTHING_KNOWN: dict[str, Json] = {
    "run": None,
    "store": None,
    "created_at": None,
    "error": None,
    "state": None,
    "recipe": None,
    **told(None, "step"),
    "total_steps": None,
    "attempts": None,
    "preemptions": None,
    "spent_usd": None,
    "simulated": None,
    "supervised": None,
    "reason": None,
    "where": None,
}
