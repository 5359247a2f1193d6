"""A cloud that must be asked for its notices: asked again and again on a thread of its own, so that a look at them never waits.

Nothing is concluded from a question without an answer: a warning stands until the cloud itself no longer gives it.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from launcher.node.notices.base import Hint, NoticeSource, Warned
from launcher.node.notices.metadata import Unanswered
from launcher.units import MINUTE, Seconds, Utc

PAUSE_S: Seconds = 1.0  # between two questions, as often as Azure recommends (Scheduled Events, "Polling frequency")
# An end that is further off is no notice yet, since at a notice the run pays for the next machine: Azure announces days ahead
# that a host's hardware may fail (Scheduled Events, "Event scheduling"), GCP an hour ahead that it will be maintained.
NEAR_S: Seconds = 15 * MINUTE
SAME_S: Seconds = 3.0  # what the seconds of a server's clock and the way of its answers may add up to
# What reading an answer may raise where it is not what the cloud's page says it is.
WRONG_BYTES = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Oracle(Protocol):
    """What one cloud says of this machine's end. Both may take long, and raise Unanswered or one of WRONG_BYTES."""

    def told(self, before: Warned | Hint | None) -> Warned | Hint | None:
        """What the cloud says now; `before` is what it last said."""
        ...

    def let_go(self) -> None:
        """The last save is done: it may go on with the end. Most take no answer."""
        return


class Watch(NoticeSource):
    """Asks from `start` on, as long as the process lives."""

    def __init__(self, oracle: Oracle, utc: Callable[[], Utc], *, pause_s: Seconds = PAUSE_S) -> None:
        self._oracle = oracle
        self._utc = utc
        self._pause_s = pause_s
        self._told: Warned | Hint | None = None
        self._lets_go = False
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._ask_on, name=f"notices-{type(oracle).__name__.lower()}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def read(self) -> Warned | Hint | None:
        told = self._told
        is_far = isinstance(told, Warned) and told.ends_at - self._utc() > NEAR_S
        return None if is_far else told

    def let_go(self) -> None:
        self._lets_go = True
        self._wake.set()

    def ask(self) -> None:
        """Once; what the cloud does not take in of our answer is said again the next time."""
        with contextlib.suppress(Unanswered, *WRONG_BYTES):
            new = self._oracle.told(self._told)
            self._told = self._told if _is_same(self._told, new) else new
        if self._lets_go:
            with contextlib.suppress(Unanswered, *WRONG_BYTES):
                self._oracle.let_go()
                self._lets_go = False

    def _ask_on(self) -> None:
        while True:
            self.ask()
            self._wake.clear()
            self._wake.wait(self._pause_s)


def _is_same(before: Warned | Hint | None, new: Warned | Hint | None) -> bool:
    """The end that was told before, read off another answer."""
    if not (isinstance(before, Warned) and isinstance(new, Warned)):
        return before == new
    return before.source == new.source and abs(before.ends_at - new.ends_at) <= SAME_S
