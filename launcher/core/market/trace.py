"""What a market does to us: how long each machine lives, and how long its place refuses afterwards.

A rehearsal must be repeatable although its processes are real and their timing is not. So a trace is not a timeline but a deck
of lives for each place: the k-th instance started there lives for the k-th life, whenever it is started. Equal (name, seed)
give equal decks on any machine.

Two kinds: *generated* ones draw lives from a hazard curve fitted to published spot data; *recorded* ones cut them out of a file
of availability samples. On-demand places never end. All times are market seconds.
"""

import functools
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from launcher.core.market import layout
from launcher.core.market.offer import Capacity
from launcher.core.market.series import Series
from launcher.units import MINUTE, Seconds

FOREVER: Seconds = 1e9  # the life of an on-demand machine: 32 years, and still a number that JSON can hold

# No published figure says how often the warning is missing, but AWS emits it "on a best effort basis" only (EC2 User Guide,
# Spot Instance interruption notices). One in five without is our assumption, frequent enough to be met in every rehearsal.
NOTICE_PROBABILITY = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One machine's life: taken away `up` after its start, its place then refuses for `down`; `notice`: warned before."""

    up: Seconds
    down: Seconds
    notice: bool


class Trace(Protocol):
    """A market that repeats. `place` is a `Placement.place`."""

    @property
    def name(self) -> str: ...

    def life(self, place: str, k: int) -> Life:
        """The life of the k-th machine (from 1) started in `place`."""
        ...

    def mean_life(self, place: str) -> Seconds:
        """What `life(place, …).up` is on average."""
        ...


# --- drawn from the hazard curve -----------------------------------------------------------------------------------------

# The chance to change state within a step depends on the age of the state: young states are fragile, old ones last. Learned by
# EM from the public availability traces of skypilot-org/spot-traces and of the SkyNomad and "can't be late" artifacts (10-min
# point samples, 4-day segments). Buckets begin at these ages, in steps.
STEP: Seconds = 600.0
BUCKET_STARTS = (0, 1, 2, 3, 6, 12, 30, 60)
HAZARD_UP = (0.249, 0.178, 0.129, 0.120, 0.080, 0.048, 0.030, 0.016)  # a running machine is taken away
HAZARD_DOWN = (0.442, 0.272, 0.197, 0.148, 0.096, 0.061, 0.039, 0.009)  # capacity comes back
# Zones differ by a multiplier m of their hazard, 1 - (1 - p)^m, which the same fit finds Gamma-distributed with mean 1.
SHAPE_UP, SHAPE_DOWN = 6.1, 12.7
STEPS_MAX = 6 * 24 * 28  # a life or a gap is cut after four weeks, so that every draw ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """How rough a generated market is: multipliers of both hazards, over those of its zones."""

    up: float
    down: float


# 1 is the typical zone of the fit, where a machine lasts two hours on average, and nine of ten zones lie between 0.44 and 1.75.
# So a calm market is made of the quietest zones (0.35: 14 h), a harsh one of the roughest (2: half an hour).
CLIMATES = {
    "calm": Climate(up=0.35, down=1.0),
    "lively": Climate(up=1.0, down=1.0),
    "harsh": Climate(up=2.0, down=1.0),
}
GENERATED = ("demo", *CLIMATES)


def generated(name: str, seed: int) -> Trace:
    """The bundled trace of this name. Raises ValueError for a name that is none."""
    if name == "demo":
        return DemoTrace(seed=seed)
    if name in CLIMATES:
        return HazardTrace(name=name, seed=seed, climate=CLIMATES[name])
    raise ValueError(f"{name!r} is not a bundled trace; those are {', '.join(GENERATED)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardTrace:
    name: str
    seed: int
    climate: Climate

    def life(self, place: str, k: int) -> Life:
        if _is_on_demand(place):
            return Life(up=FOREVER, down=0.0, notice=False)
        dice = _dice(self.name, self.seed, place, k)
        up, down = self._multipliers(place)
        return Life(up=_draw(HAZARD_UP, up, dice), down=_draw(HAZARD_DOWN, down, dice), notice=_is_noticed(dice))

    def mean_life(self, place: str) -> Seconds:
        return FOREVER if _is_on_demand(place) else _mean(HAZARD_UP, self._multipliers(place)[0])

    def _multipliers(self, place: str) -> tuple[float, float]:
        dice = _dice(self.name, self.seed, place, 0)
        up = self.climate.up * dice.gammavariate(SHAPE_UP, 1 / SHAPE_UP)
        down = self.climate.down * dice.gammavariate(SHAPE_DOWN, 1 / SHAPE_DOWN)
        return up, down


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTrace:
    """`lively` for people with a minute to spare: lives clipped to 55-75 min and short gaps, so that much happens soon.

    Within so narrow a window the hazard curve is flat, so a life drawn from it and clipped is uniform.
    """

    seed: int
    name: str = "demo"

    def life(self, place: str, k: int) -> Life:
        if _is_on_demand(place):
            return Life(up=FOREVER, down=0.0, notice=False)
        dice = _dice(self.name, self.seed, place, k)
        up, down = dice.uniform(55, 75) * MINUTE, dice.uniform(5, 15) * MINUTE
        return Life(up=up, down=down, notice=_is_noticed(dice))

    def mean_life(self, place: str) -> Seconds:
        return FOREVER if _is_on_demand(place) else 65 * MINUTE


def _is_on_demand(place: str) -> bool:
    return place.endswith(f"/{Capacity.ON_DEMAND.value}")


def _dice(name: str, seed: int, place: str, k: int) -> random.Random:
    """Random numbers that belong to one life. A string seed is hashed with SHA-512, alike on every machine and version."""
    return random.Random(f"{name}/{seed}/{place}/{k}")


def is_noticed(name: str, seed: int, place: str, k: int) -> bool:
    """Whether the end of a recorded life is announced: no recording tells, so it is drawn."""
    return _is_noticed(_dice(name, seed, place, k))


def _is_noticed(dice: random.Random) -> bool:
    return dice.random() < NOTICE_PROBABILITY


def _chances(curve: tuple[float, ...], multiplier: float) -> Iterator[float]:
    """The chance to change state in the step after 0, 1, 2, … steps."""
    for chance, start, end in zip(curve, BUCKET_STARTS, (*BUCKET_STARTS[1:], STEPS_MAX), strict=True):
        yield from itertools.repeat(float(1 - (1 - chance) ** multiplier), end - start)


def _draw(curve: tuple[float, ...], multiplier: float, dice: random.Random) -> Seconds:
    """How long a state lasts: whole steps survived, and a part of the step in which it ended."""
    age = next((a for a, chance in enumerate(_chances(curve, multiplier)) if dice.random() < chance), STEPS_MAX)
    return (age + dice.random()) * STEP


def typical_life() -> Seconds:
    """The mean life in the typical zone of the fit: what may be expected of a zone that nothing is known of."""
    return _mean(HAZARD_UP, 1.0)


@functools.cache
def _mean(curve: tuple[float, ...], multiplier: float) -> Seconds:
    """The expectation of `_draw`: the sum over all ages of the chance to get that old, plus half a step."""
    survival, steps = 1.0, 0.5
    for chance in _chances(curve, multiplier):
        survival *= 1 - chance
        steps += survival
    return steps * STEP


# --- cut out of a file -----------------------------------------------------------------------------------------------------


def from_csv(text: str, *, name: str, seed: int, tick_s: Seconds = STEP) -> Trace:
    """The trace in a file of availability samples (core/market/layout.py); above 0 there is capacity.

    Raises ValueError, naming line and remedy, for anything else and where no zone is ever up.
    """
    columns = layout.availability(text, name=name, tick_s=tick_s)
    zones = {zone: spans for zone, column in columns.items() if (spans := _spans(column))}
    if not zones:
        raise ValueError(f"{name}: no zone is ever up (all values are 0); capacity is a number above 0")
    return RecordedTrace(name=name, seed=seed, zones=zones)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrace:
    """Lives are a zone's stretches of capacity, in order, over and over. `zones`: per zone its (up, down) seconds."""

    name: str
    seed: int
    zones: dict[str, tuple[tuple[Seconds, Seconds], ...]]

    def life(self, place: str, k: int) -> Life:
        if _is_on_demand(place):
            return Life(up=FOREVER, down=0.0, notice=False)
        spans = self.zones[self.zone_of(place)]
        up, down = spans[(k - 1) % len(spans)]
        return Life(up=up, down=down, notice=is_noticed(self.name, self.seed, place, k))

    def mean_life(self, place: str) -> Seconds:
        spans = self.zones[self.zone_of(place)]
        return FOREVER if _is_on_demand(place) else sum(up for up, _ in spans) / len(spans)

    def zone_of(self, place: str) -> str:
        """The column that stands for `place`."""
        return column_of(place, self.name, self.seed, self.zones)


def column_of(place: str, name: str, seed: int, columns: Iterable[str]) -> str:
    """The column of a file that stands for `place`: its own zone's where there is one, else one picked by hash."""
    zone = place.split("/")[1]
    every = sorted(columns)
    own = [column for column in every if column == zone or column.startswith(f"{zone}_")]
    return _dice(name, seed, place, 0).choice(own or every)


def _spans(capacity: Series) -> tuple[tuple[Seconds, Seconds], ...]:
    """The (up, down) seconds of a column, which is a ring; () where it is never up."""
    steps = [(value > 0, end - at) for at, end, value in zip(capacity.at, _ends(capacity), capacity.values, strict=True)]
    if not any(up for up, _ in steps):
        return ()
    # Begin where capacity comes back, so that no stretch is cut in two by the file's ends.
    start = next((i for i, (up, _) in enumerate(steps) if up and not steps[i - 1][0]), 0)
    turned = itertools.groupby(steps[start:] + steps[:start], key=lambda step: step[0])
    lengths = [sum(length for _, length in run) for _, run in turned]
    return tuple(itertools.zip_longest(lengths[0::2], lengths[1::2], fillvalue=0.0))


def _ends(series: Series) -> tuple[Seconds, ...]:
    return (*series.at[1:], series.period)
