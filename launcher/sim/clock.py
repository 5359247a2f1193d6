"""A machine's clock in simulated time: `wait` takes no time at all, and a day of supervision milliseconds."""

from launcher.sim.timeline import Timeline
from launcher.units import Seconds, Utc


class SimClock:
    """One machine's view of a timeline. Its wall clock may be off by `skew`; `step_utc` is a correction by NTP.

    `booted`: when its monotonic clock began; default: now.
    """

    def __init__(self, start: Utc | Timeline = 0.0, *, skew: Seconds = 0.0, booted: Utc | None = None) -> None:
        self.timeline = start if isinstance(start, Timeline) else Timeline(start)
        self._skew = skew
        self._booted = self.timeline.now if booted is None else booted

    def utc_s(self) -> Utc:
        return self.timeline.now + self._skew

    def monotonic_s(self) -> Seconds:
        return self.timeline.now - self._booted

    def wait(self, seconds: Seconds) -> None:
        self.timeline.sleep_until(self.timeline.now + max(0.0, seconds))

    def step_utc(self, seconds: Seconds) -> None:
        """Move the wall clock, either way, while no time passes."""
        self._skew += seconds
