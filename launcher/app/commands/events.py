"""`launch events [RUN]`: the journal, readable: every fact and every decision with its reason."""

import argparse

from launcher.adapters.history import History
from launcher.adapters.journal import Record
from launcher.app.answer import moment, print_answer, table
from launcher.app.counting import unit_of
from launcher.app.looking import looked_at, unreadable_records
from launcher.app.narrative import sentence
from launcher.codec import Json, encode
from launcher.units import Seconds, show_duration


def run(args: argparse.Namespace) -> int:
    found = looked_at(args)
    history = found.read()
    bad = unreadable_records(history, found.market_now(history))
    document = {"run": found.head.run, "unreadable": list(bad), "events": [_json(history, r) for r in history.records]}
    print_answer(args, document, _lines(history, bad))
    return 0


def _lines(history: History, bad: tuple[int, ...]) -> list[str]:
    head = ("#", "MARKET TIME", "ELAPSED", "EVENT")
    rows = [
        (str(r.number), moment(r.at), f"+{_since_start(_elapsed(history, r), _speed(history))}", _sentence(history, r))
        for r in history.records
    ]
    return [*table([head, *rows], right=frozenset({0, 2})), *(f"record {n} cannot be read and waits to be voided" for n in bad)]


def _since_start(market: Seconds, speed: float) -> str:
    """As `span`, the time here in seconds however long: in a rehearsal dozens of events share a minute."""
    return show_duration(market) if speed == 1 else f"{show_duration(market)} ({market / speed:.1f} s here)"


def _sentence(history: History, record: Record) -> str:
    return sentence(record.event, unit_of(history.state) if history.is_created else "step")


def _json(history: History, record: Record) -> dict[str, Json]:
    """`details` is the event as it stands in the journal."""
    event = record.event
    return {
        "number": record.number,
        "at": record.at,
        "market_time": moment(record.at),
        "elapsed_s": round(_elapsed(history, record), 3),
        "elapsed_real_s": round(_elapsed(history, record) / _speed(history), 3),
        "event": type(event).__name__,
        "attempt": getattr(event, "attempt", None),
        "text": _sentence(history, record),
        "supervisor": record.writer,
        "details": encode(event),
    }


def _speed(history: History) -> float:
    return history.state.speed if history.is_created else 1.0


def _elapsed(history: History, record: Record) -> float:
    """Market seconds since the first record, where a rehearsal's clock starts; it stands still while nobody drives the run."""
    return max(0.0, record.at - history.records[0].at)
