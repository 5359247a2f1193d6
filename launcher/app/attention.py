"""What the supervising process does while the loop waits: hear signals, and keep the screen alive.

The loop sleeps on the world's clock and knows nothing of terminals. So it gets a clock that sleeps in small slices and looks up
in between. Requests are filed here, in the main loop, and never in a signal handler.
"""

from collections.abc import Callable

from launcher.adapters.history import History
from launcher.app.counting import at
from launcher.app.live import Screen
from launcher.app.narrator import Narrator
from launcher.app.requests import ask
from launcher.app.signals import Signals
from launcher.clock import Clock
from launcher.core.contract import RequestKind
from launcher.core.run.keeping import kept
from launcher.core.run.state import RunState
from launcher.units import Seconds, Utc

SLICE_REAL_S: Seconds = 0.1  # between two looks at the signals: a person's Ctrl-C is answered at once


class Attention:
    """Looks at signals and screen for one supervised run."""

    def __init__(self, history: History, narrator: Narrator, signals: Signals, screen: Screen) -> None:
        self._history = history
        self._narrator = narrator
        self._signals = signals
        self._screen = screen
        self._stops_heard = 0
        self.trouble: Callable[[], str] = lambda: ""  # of the world, once there is one

    def look(self, now: Utc) -> bool:
        """True where the loop should look too, at once. Raises Detached or KeyboardInterrupt where it is to be left."""
        self._signals.check()
        self._narrator.look(self._history.state, now)
        if trouble := self.trouble():
            self._narrator.waits_for(trouble, self._history.state, now)
        if self._signals.stops == self._stops_heard:
            return False
        self._stops_heard = self._signals.stops
        return self._ask(now)

    def _ask(self, now: Utc) -> bool:
        looked_at = kept(self._history.state, now)
        if self._history.state.phase.is_ended and looked_at is None:
            return False
        if looked_at is not None:
            self._screen.event("·", "ending", f"the machine of attempt {looked_at.number}, which was kept")
            ask(self._history.store, RequestKind.STOP)
        elif self._stops_heard == 1:
            self._screen.event("‖", "pausing", f"{stops_how(self._history.state)}; once more stops at once")
            ask(self._history.store, RequestKind.STOP)
        else:
            self._screen.event(
                "‖", "pausing", "at once: what cannot be saved in a few seconds is not; a third time leaves without waiting"
            )
            ask(self._history.store, RequestKind.STOP_NOW)
        return True


def stops_how(state: RunState) -> str:
    """What one Ctrl-C does. Of a program that tells no steps only what it leaves whole is saved, and that is its own affair."""
    if not state.counts_commits:
        return "saving and pausing"
    if not any(a.is_granted for a in state.living):
        return f"no program runs; {at(state.newest_step, 'commit')}"
    so_far = at(state.newest_step, "commit")
    return f"the program is told to end (SIGTERM), then what is whole of its files is saved ({so_far})"


class AttentiveClock:
    """A clock (launcher.clock.Clock) whose waits are attentive."""

    def __init__(self, clock: Clock, attention: Attention, *, speed: float) -> None:
        self._clock = clock
        self._attention = attention
        self._slice = SLICE_REAL_S * speed

    def utc_s(self) -> Utc:
        return self._clock.utc_s()

    def monotonic_s(self) -> Seconds:
        return self._clock.monotonic_s()

    def wait(self, seconds: Seconds) -> None:
        end = self._clock.monotonic_s() + seconds
        while not self._attention.look(self._clock.utc_s()) and (left := end - self._clock.monotonic_s()) > 0:
            self._clock.wait(min(left, self._slice))
