"""What the commands that only look share: which run is meant, and when looking on makes sense.

Looking changes nothing: no beacon, no record, no touch of a rehearsal's clock. So anybody may look at any run at any time.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher import beacon
from launcher.adapters.history import History
from launcher.app.home import Found, Home, at, find
from launcher.beacon import Holder
from launcher.errors import StoreError, UsageError
from launcher.units import Seconds, Utc, show_duration

LOOK_EVERY_S: Seconds = 0.5  # real, between two looks of a command that goes on looking
UNDRIVEN_MOST_S: Seconds = 30.0  # real; a run that nobody has driven for so long is not watched any further


def home_of(args: argparse.Namespace) -> Home:
    return Home(Path(args.home))


def looked_at(args: argparse.Namespace) -> Found:
    """The run that is meant; without a name the newest that can be reached, finished or not."""
    home = home_of(args)
    if args.run is None:
        for entry in home.entries():
            with contextlib.suppress(UsageError, StoreError):
                return home.called(at(entry.store))
    return find(home, args.run)


def span(market: Seconds, speed: float) -> str:
    """A duration of the market; in a rehearsal with the real one beside it."""
    return show_duration(market) if speed == 1 else f"{show_duration(market)} ({show_duration(market / speed)} here)"


def unreadable_records(history: History, now: Utc) -> tuple[int, ...]:
    """Journal numbers that cannot be read and are not void yet: the next supervisor will void them."""
    voiding = history.voiding(now, ())
    known = history.state.voided if history.is_created else frozenset()
    return () if voiding is None else tuple(number for number in voiding.numbers if number not in known)


def looks(
    history: History, *, wait: Callable[[Seconds], None] = time.sleep, monotonic: Callable[[], Seconds] = time.monotonic
) -> Iterator[bool]:
    """Reads the journal on and on; True at the last look: the run is over, or nobody has driven it for a while."""
    driven_mono = monotonic()
    while True:
        history.poll()
        if beacon.judge(beacon.read(history.store)) is not Holder.NOBODY:
            driven_mono = monotonic()
        is_over = history.is_created and history.state.is_over
        is_last = is_over or monotonic() - driven_mono > UNDRIVEN_MOST_S
        yield is_last
        if is_last:
            return
        wait(LOOK_EVERY_S)
