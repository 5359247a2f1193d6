"""What a person says with signals while a run is supervised: save and pause, stop at once, or go on without me.

A handler runs between any two instructions, so it only counts. The loop looks at the counts in its waits and turns them into
requests, which the supervisor journals like those of `launch stop`.

    Ctrl-C or SIGTERM   once: save, then pause · twice: pause at once · three times: leave, whatever runs on
    SIGHUP              the terminal is gone: leave; machines run on, and `launch resume` finds them
"""

import signal
from types import FrameType, TracebackType
from typing import Any

EXIT_DETACHED = 128 + signal.SIGHUP  # what a shell reports of a program that a hang-up ended
LEAVE_AT = 3


class Detached(Exception):
    """The terminal is gone: stop supervising, touch nothing."""


class Signals:
    """Counts signals within a `with` block; the handlers of before are put back after it."""

    def __init__(self) -> None:
        self.stops = 0
        self._hang_ups = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A hang-up that our parent told us to ignore (nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Detached or KeyboardInterrupt where the loop is to be left at once."""
        if self._hang_ups:
            raise Detached
        if self.stops >= LEAVE_AT:
            raise KeyboardInterrupt

    def _count(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hang_ups += 1
        else:
            self.stops += 1
