"""Time that passes only when somebody waits: a day of supervision takes milliseconds."""

from launcher.units import Seconds, Utc


class SimClock:
    """`wait` jumps. The two readings may be set apart, as they are on machines: `step_utc` is an NTP correction."""

    def __init__(self, start: Utc = 0.0) -> None:
        self._utc = start
        self._monotonic: Seconds = 0.0

    def utc_s(self) -> Utc:
        return self._utc

    def monotonic_s(self) -> Seconds:
        return self._monotonic

    def wait(self, seconds: Seconds) -> None:
        self._utc += max(0.0, seconds)
        self._monotonic += max(0.0, seconds)

    def step_utc(self, seconds: Seconds) -> None:
        """Move the wall clock, either way, while no time passes."""
        self._utc += seconds
