"""Simulated time: what is due, in order, and code that waits in it.

Nothing here sleeps. Whoever waits lets everything happen that is due before the wait is over, and then goes on. One supervisor
does that in place. Several need a stack each, so each is an `Actor` on a thread of its own; still only one of them runs at a
time, and which is decided by the timeline alone, so a history repeats.
"""

import contextvars
import heapq
import threading
from collections.abc import Callable

from launcher.units import Seconds, Utc

FOREVER: Utc = 1e12


class Timeline:
    """True time, in market seconds. Machines' clocks may be off; this one never is."""

    def __init__(self, start: Utc = 0.0) -> None:
        self.now = start
        self.num_news = 0  # happened so far
        self._due: list[tuple[Utc, int, Callable[[], None], bool]] = []
        self._count = 0
        self._running: Actor | None = None

    def at(self, when: Utc, action: Callable[[], None], *, is_news: bool = True) -> None:
        """Do `action` at `when`, after all that was planned for that instant before. What nobody looks out for is no news."""
        self._count += 1
        heapq.heappush(self._due, (max(when, self.now), self._count, action, is_news))

    def after(self, seconds: Seconds, action: Callable[[], None], *, is_news: bool = True) -> None:
        self.at(self.now + seconds, action, is_news=is_news)

    def next_due(self) -> Utc:
        """When anything happens next; FOREVER for never."""
        return self._due[0][0] if self._due else FOREVER

    def tell(self) -> None:
        """What happens right now is news after all."""
        self.num_news += 1

    def sleep_until(self, when: Utc) -> None:
        """Return at `when`, with all done that was due by then. Of an actor: while others go on."""
        if self._running is None:
            self.pass_until(when)
        else:
            self._running.park(when)

    def pass_until(self, when: Utc) -> None:
        """Let everything happen that is due by `when`; the outermost loop."""
        while self._due and self._due[0][0] <= when:
            self._happen()
        self.now = max(self.now, when)

    def pass_while(self, goes_on: Callable[[], bool], until: Utc) -> None:
        """As `pass_until`, for as long as `goes_on` says."""
        while goes_on() and self._due and self._due[0][0] <= until:
            self._happen()

    def _happen(self) -> None:
        self.now, _, action, is_news = heapq.heappop(self._due)
        if is_news:
            self.num_news += 1
        action()

    def lend_to(self, actor: "Actor | None") -> None:
        self._running = actor


class Dismissed(BaseException):
    """Raised in an actor that is to end: its process is gone. No `except Exception` sees it."""


class Actor:
    """A process that blocks. `body` runs from `start` on; what it raises ends it and stays in `error`."""

    def __init__(self, timeline: Timeline, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self.is_over = False
        self.error: BaseException | None = None
        self._timeline = timeline
        self._body = body
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._is_dismissed = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True)

    def start(self, when: Utc) -> None:
        self._thread.start()
        self._timeline.at(when, self._resume)

    def park(self, when: Utc) -> None:
        """Called on the actor's own thread: give time back until `when`. Raises Dismissed where the actor was ended meanwhile."""
        self._timeline.at(when, self._resume, is_news=False)
        self._back.release()
        self._go.acquire()
        if self._is_dismissed:
            raise Dismissed(self.name)

    def dismiss(self) -> None:
        """End it where it stands, as SIGKILL would. Not from its own thread."""
        if not self.is_over:
            self._is_dismissed = True
            self._resume()

    def _resume(self) -> None:
        if self.is_over:
            return
        self._timeline.lend_to(self)
        self._go.release()
        self._back.acquire()
        self._timeline.lend_to(None)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._is_dismissed:
                self._body()
        except BaseException as error:  # the top of a thread: whoever started the actor asks for it
            self.error = error
        self.is_over = True
        self._back.release()
