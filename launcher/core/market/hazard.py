"""How long a zone stays as it is: the fitted hazard curves in continuous time, and what one zone's past says of its own.

A zone is up or down. The chance that this changes falls with the age of the state (core/market/trace.py has the curves), times a
multiplier of the zone. What is believed of a multiplier is Gamma distributed: watching the zone adds the changes seen to its
shape and those that a typical zone would have shown to its rate, both fading with a half-life, since zones change their ways.
"""

import bisect
import functools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.core.market.series import Series
from launcher.core.market.trace import BUCKET_STARTS, HAZARD_DOWN, HAZARD_UP, SHAPE_DOWN, SHAPE_UP, STEP
from launcher.units import HOUR, Seconds

# Before anything was seen of a zone: mean 1, and half of the shapes of the fit (trace.py), so that a day of watching outweighs
# it. With all of them and a half-life of 24 h the dollars of `scripts/bench calibration` were off by 8 instead of 6 %; with less,
# p90 covered fewer starts (87 instead of 91 %).
PRIOR_UP, PRIOR_DOWN = SHAPE_UP / 2, SHAPE_DOWN / 2
HALF_LIFE: Seconds = 48 * HOUR
AGE_UNKNOWN: Seconds = 0.6 * HOUR  # of the state that a recording begins with
LONGEST: Seconds = 28 * 24 * HOUR  # no state is taken to last longer, however quiet the zone


class Curve:
    """One state's hazard by age: rates per second at multiplier 1, and their sums."""

    def __init__(self, chances: tuple[float, ...]) -> None:
        self.ages = tuple(start * STEP for start in BUCKET_STARTS)
        self.rates = tuple(-math.log1p(-chance) / STEP for chance in chances)
        sums = [0.0]
        for i, rate in enumerate(self.rates[:-1]):
            sums.append(sums[-1] + rate * (self.ages[i + 1] - self.ages[i]))
        self.sums = tuple(sums)

    def sum_to(self, age: Seconds) -> float:
        """The changes that a typical zone makes until `age`, if each were put back."""
        i = bisect.bisect_right(self.ages, age) - 1
        return self.sums[i] + self.rates[i] * (age - self.ages[i])

    def rest(self, age: Seconds, multiplier: float, dice: random.Random) -> Seconds:
        """How much longer the state lasts that has lasted for `age`: drawn."""
        due = self.sum_to(age) + dice.expovariate(multiplier)
        i = bisect.bisect_right(self.sums, due) - 1
        return min(self.ages[i] + (due - self.sums[i]) / self.rates[i] - age, LONGEST)

    def mean(self, multiplier: float) -> Seconds:
        """How long the state lasts on average, from its beginning: the mean of what `rest` draws."""
        left = [math.exp(-multiplier * due) for due in self.sums] + [0.0]
        return sum((left[i] - left[i + 1]) / (multiplier * rate) for i, rate in enumerate(self.rates))

    @functools.cache  # noqa: B019 -- there are two curves
    def multiplier_of(self, life: Seconds) -> float:
        """At which multiplier the state lasts for `life` on average, from 0.01 to 100."""
        low, high = math.log(0.01), math.log(100.0)
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.mean(math.exp(middle)) > life else (low, middle)
        return math.exp((low + high) / 2)


UP, DOWN = Curve(HAZARD_UP), Curve(HAZARD_DOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplier:
    """A belief of one: Gamma distributed, mean `shape` / `rate`."""

    shape: float
    rate: float

    def draw(self, dice: random.Random) -> float:
        return dice.gammavariate(self.shape, 1 / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """What a zone's past says of its future: up or down now, for how long, and how fast it changes from either."""

    is_up: bool
    age: Seconds
    up: Multiplier
    down: Multiplier


def watched(capacity: Series, *, until: Seconds, nodes: int = 1) -> Zone:
    """The zone as its recording shows it from its beginning to `until`, at most one period later, for a gang of `nodes`."""
    spells = list(_spells(capacity, until, nodes))
    beliefs = {True: [PRIOR_UP, PRIOR_UP], False: [PRIOR_DOWN, PRIOR_DOWN]}
    for i, (is_up, begin, end) in enumerate(spells):
        belief, curve, known = beliefs[is_up], UP if is_up else DOWN, AGE_UNKNOWN if i == 0 else 0.0
        if i < len(spells) - 1:
            belief[0] += _weight(until - end)
        belief[1] += sum(
            _weight(until - (a + b) / 2) * (curve.sum_to(known + b - begin) - curve.sum_to(known + a - begin))
            for a, b in _pieces(begin, end)
        )
    is_up, begin, end = spells[-1]
    age = end - begin + (AGE_UNKNOWN if len(spells) == 1 else 0.0)
    up, down = (Multiplier(shape=shape, rate=rate) for shape, rate in (beliefs[True], beliefs[False]))
    return Zone(is_up=is_up, age=age, up=up, down=down)


def _spells(capacity: Series, until: Seconds, nodes: int) -> Iterator[tuple[bool, Seconds, Seconds]]:
    """(is up, begin, end) of each stretch from the recording's beginning to `until`."""
    is_up, begin = capacity.values[0] >= nodes, 0.0
    for at, value in zip(capacity.at, capacity.values, strict=True):
        if at >= until:
            break
        if (value >= nodes) != is_up:
            yield is_up, begin, at
            is_up, begin = not is_up, at
    yield is_up, begin, until


def _pieces(begin: Seconds, end: Seconds) -> Iterator[tuple[Seconds, Seconds]]:
    """`begin` to `end` in pieces short against the half-life, so that each fades as a whole."""
    num = max(1, math.ceil((end - begin) / (HALF_LIFE / 8)))
    length = (end - begin) / num
    for i in range(num):
        yield begin + i * length, begin + (i + 1) * length


def _weight(ago: Seconds) -> float:
    return math.exp2(-ago / HALF_LIFE)
