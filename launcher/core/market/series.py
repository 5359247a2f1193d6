"""A value over time that changes at known instants: a price, or how many machines a zone would give.

A recorded market ends some day, and a run may not. So a series is a ring: after its end it begins again, and every question has
an answer. Instants are seconds since the beginning of the recording; any later one is brought back into the ring first.
"""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from launcher.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`values[i]` holds from `at[i]` to the next instant; `at` begins with 0 and ascends, `period` lies behind its last."""

    at: tuple[Seconds, ...]
    values: tuple[float, ...]
    period: Seconds

    def __post_init__(self) -> None:
        if not self.at or self.at[0] != 0 or len(self.at) != len(self.values):
            raise ValueError(f"a series begins at 0 with a value, and has one for each instant: {self.at[:3]} {self.values[:3]}")
        if any(a >= b for a, b in pairwise((*self.at, self.period))):
            raise ValueError("the instants of a series ascend, and its period ends behind them")

    def value(self, t: Seconds) -> float:
        return self.values[self._index(t)]

    def next_change(self, t: Seconds) -> Seconds | None:
        """The next instant after `t` at which the value is another; None where it never is."""
        value = self.value(t)
        return self._next(t, (v != value for v in self._following(t)))

    def next_below(self, t: Seconds, least: float) -> Seconds | None:
        """The next instant after `t` at which the value is below `least`; None where it never is."""
        return self._next(t, (v < least for v in self._following(t)))

    def slice(self, start: Seconds, end: Seconds) -> "Series":
        """The part from `start` to `end`, `end` at most one period later, as a ring of its own."""
        if not start < end <= start + self.period:
            raise ValueError(f"a slice of a series has 0 to {self.period:g} s, not {end - start:g}")
        steps = [(0.0, self.value(start))]
        t = start
        while (change := self.next_change(t)) is not None and change < end:
            steps.append((change - start, self.value(change)))
            t = change
        return Series(at=tuple(at for at, _ in steps), values=tuple(value for _, value in steps), period=end - start)

    def resample(self, tick_s: Seconds) -> tuple[float, ...]:
        """The values at 0, `tick_s`, 2 `tick_s`, … before the end of one period."""
        num = int(self.period / tick_s) + (self.period % tick_s > 0)
        return tuple(self.value(i * tick_s) for i in range(num))

    def _index(self, t: Seconds) -> int:
        return bisect.bisect_right(self.at, t % self.period) - 1

    def _following(self, t: Seconds) -> Iterable[float]:
        """The values of the steps behind the one at `t`, once around."""
        i = self._index(t)
        return self.values[i + 1 :] + self.values[: i + 1]

    def _next(self, t: Seconds, fits: Iterable[bool]) -> Seconds | None:
        """When the first of the following steps begins that fits."""
        found = next((offset for offset, fit in enumerate(fits, start=1) if fit), None)
        if found is None:
            return None
        round_s, i = t - t % self.period, self._index(t) + found
        return round_s + self.at[i % len(self.at)] + (self.period if i >= len(self.at) else 0.0)


def from_samples(values: Iterable[float], tick_s: Seconds) -> Series:
    """The series of point samples, one each `tick_s`: a value holds until the next sample."""
    samples = tuple(values)
    starts = [i for i, value in enumerate(samples) if i == 0 or value != samples[i - 1]]
    return Series(at=tuple(i * tick_s for i in starts), values=tuple(samples[i] for i in starts), period=len(samples) * tick_s)
