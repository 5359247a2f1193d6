"""How long a machine lasts in a place: our own attempts there, then the cloud's interruption bands, then a prior.

No cloud says how long a spot machine lives. Three things are known, and each stands on the one after it:

1. *The prior*: over all recorded markets, hours with capacity by the times that capacity went.
2. *Bands*. AWS publishes for each type and region which share of its spot instances was reclaimed within the last month: below
   5 %, to 10 %, to 15 %, to 20 %, above. Of instances, not of months: most are ended by their users after hours, and who reads
   "20 % a month" as a hazard expects a life of four months where recorded machines lived hours. So a band tells nothing of the
   scale, only how places compare: where users want their machines for equally long, the share f of them comes of a hazard in
   proportion to -ln(1 - f). The scale is the prior's. Its record is mostly of V100s on AWS (8,278 of 12,740 h), and p3 is in the
   worst band in every region of AWS's list, so the worst band lives for the prior and the others longer.
   That is damped by half, in the logarithm: a band is of a whole region, of last month, of whatever everybody's machines were
   for. Undamped the 572 rows of GPUs (June 2025) would spread by 0.92 in the logarithm of the hazard; the multipliers of recorded
   zones do by 0.42 (Gamma of shape 6.1, see trace.py), and 0.42 / 0.92 is about a half.
3. *Our attempts*: the posterior mean of an exponential life under a Gamma prior that counts as PRIOR_LIVES losses, as in
   belief.py. What was seen MEMORY_HALF_LIFE ago counts half.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import log
from statistics import median

from launcher.core.instance import FailureKind
from launcher.core.market.belief import (
    GANG_POWER,
    PRIOR_LIVES,
    MarketView,
    PlaceHeld,
    PlaceLost,
    PlaceRefused,
    is_cooling,
    update,
)
from launcher.core.market.offer import Capacity, Placement
from launcher.core.market.quota import Refusals, after_another_answer, after_refusal
from launcher.core.market.trace import FOREVER
from launcher.units import HOUR, Seconds, Utc, show_duration

# Over nine sets of recorded spot markets (AWS and GCP, 2022 to 2025; V100, K80, A100, H100), 12,740 zone-hours with capacity for
# a machine at least ended 5,022 times: spot-traces, skypilot-spot-strategy, skynomad-artifact, spothedge; counted in a test.
SPOT_LIFE: Seconds = 12_740 / 5_022 * HOUR
ON_DEMAND_LIFE: Seconds = FOREVER
# AWS Spot Instance Advisor, "Frequency of interruption": the middle of each range; 25 % for "above 20 %", which has no upper end.
BAND_SHARES = (0.025, 0.075, 0.125, 0.175, 0.25)
BAND_WORDS = ("below 5 %", "5 to 10 %", "10 to 15 %", "15 to 20 %", "above 20 %")
DAMPING = 0.5
MEMORY_HALF_LIFE: Seconds = 30 * 24 * HOUR  # assumed: AWS's own window is a month, and markets have seasons


class Outcome(enum.Enum):
    """What an attempt showed of its place."""

    LOST = "lost"  # the market took the machine
    HELD = "held"  # it was there until we, or its program, ended it: it would have lived longer
    REFUSED = "refused"  # no machine, or one that never said a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One attempt, ended and billed, as its place will be judged by it. `program`: the recipe's `program_of`."""

    schema_version: int = 1
    run: str
    incarnation: str
    attempt: int
    at: Utc  # its end
    placement: Placement
    outcome: Outcome
    why: str = ""  # of a refusal: "capacity", "quota", …
    life: Seconds | None = None  # from the first billed second
    boot: Seconds | None = None  # from the request to the agent's first word
    notice: Seconds | None = None  # how long before the end the cloud said so; None: it did not
    program: str = ""
    steps_per_s: float | None = None  # of the run as a whole, saves not counted
    gpus: int = 0  # that the recipe asks for of each machine, which may have more; 0: written by a launch that did not say
    num_nodes: int = 1

    @property
    def key(self) -> str:
        """The run itself and the attempt: the same wherever the run lies and however often it is read."""
        return f"{self.incarnation}-{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """All lessons of one place. `losses`, `lived`: what is left of them by their age, of one machine alone; the rest as seen."""

    placement: Placement
    num_lost: int = 0
    num_held: int = 0
    num_refused: int = 0
    refused_at: Utc | None = None
    refused_why: str = ""  # the newest time
    newest_at: Utc = 0.0
    life: Seconds = 0.0  # of all machines together
    losses: float = 0.0
    lived: Seconds = 0.0
    boot: Seconds | None = None  # the median
    notice: Seconds | None = None  # the median of those given
    num_unwarned: int = 0

    @property
    def mean_life(self) -> Seconds | None:
        """As seen, young and old alike; None before the market has taken one."""
        return self.life / self.num_lost if self.num_lost else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """What is known of lives. `bands`: 0..4 by region and instance type of AWS; `learnt` by `Placement.place`."""

    bands: Mapping[tuple[str, str], int] = field(default_factory=dict)
    learnt: Mapping[str, Learnt] = field(default_factory=dict)

    def mean(self, placement: Placement) -> Seconds:
        """How long a machine there lasts, on average, before the market takes it."""
        if placement.capacity is Capacity.ON_DEMAND:
            return ON_DEMAND_LIFE
        expected = band_life(self._band(placement))
        seen = self.learnt.get(placement.place)
        return expected if seen is None else (PRIOR_LIVES * expected + seen.lived) / (PRIOR_LIVES + seen.losses)

    def basis(self, placement: Placement) -> str:
        """Where `mean` is from, in words; what weighs most first."""
        if placement.capacity is Capacity.ON_DEMAND:
            return "on demand: nobody takes it away"
        band, seen = self._band(placement), self.learnt.get(placement.place)
        below = "the prior of recorded markets" if band is None else f"AWS's band {BAND_WORDS[band]}"
        if seen is None or not seen.num_lost + seen.num_held:
            return below
        ours = f"{seen.num_lost + seen.num_held} of our own there, {show_duration(seen.life)} together, {seen.num_lost} taken"
        return f"{ours}; {below}"

    def _band(self, placement: Placement) -> int | None:
        return self.bands.get((placement.region, placement.instance)) if placement.cloud == "aws" else None


PRIOR = Lives()


def band_life(band: int | None) -> Seconds:
    """The mean life in a band, None for no band.

    2.54 h * (hazard of band 4 / hazard of this one)^½: 8.6 h below 5 %, then 4.9, 3.7, 3.1 and 2.5 h.
    """
    return SPOT_LIFE if band is None else SPOT_LIFE * (_hazard(4) / _hazard(band)) ** DAMPING


def _hazard(band: int) -> float:
    """In units that cancel: of -ln(1 - share) only ratios are used."""
    return -log(1 - BAND_SHARES[band])


def learnt(lessons: Iterable[Lesson], now: Utc) -> dict[str, Learnt]:
    """By place. A lesson from the future, by a clock that was wrong, counts as new."""
    by_place: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        by_place.setdefault(lesson.placement.place, []).append(lesson)
    return {place: _learnt(found, now) for place, found in by_place.items()}


def _learnt(lessons: list[Lesson], now: Utc) -> Learnt:
    lost = [one for one in lessons if one.outcome is Outcome.LOST]
    held = [one for one in lessons if one.outcome is Outcome.HELD]
    refused = sorted((one for one in lessons if one.outcome is Outcome.REFUSED), key=lambda one: one.at)
    boots = [one.boot for one in lessons if one.boot is not None]
    notices = [one.notice for one in lost if one.notice is not None]
    return Learnt(
        placement=lessons[0].placement,
        num_lost=len(lost),
        num_held=len(held),
        num_refused=len(refused),
        refused_at=refused[-1].at if refused else None,
        refused_why=refused[-1].why if refused else "",
        newest_at=max(one.at for one in lessons),
        life=sum(one.life or 0.0 for one in (*lost, *held)),
        losses=sum(_weight(one, now) for one in lost),
        lived=sum(_weight(one, now) * _alone(one) for one in (*lost, *held)),
        boot=median(boots) if boots else None,
        notice=median(notices) if notices else None,
        num_unwarned=len(lost) - len(notices),
    )


def _alone(lesson: Lesson) -> Seconds:
    """How long a machine of the gang would have lasted by itself; see belief.gang_life."""
    return (lesson.life or 0.0) * float(lesson.num_nodes**GANG_POWER)


def _weight(lesson: Lesson, now: Utc) -> float:
    return float(0.5 ** (max(0.0, now - lesson.at) / MEMORY_HALF_LIFE))


def seed(lessons: Iterable[Lesson], now: Utc) -> MarketView:
    """The view that a new run starts from: places that cool down from what they did to the runs before it, and quotas refused.

    By the rules for a run's own sightings, but for quotas: those are the region's, and when they are asked for again the recipe
    says. Lives are not in it: they are in the offers, by `Lives.mean`, and would count twice.
    """
    view, told = MarketView(), sorted(lessons, key=lambda one: one.at)
    for lesson in told:
        place, life = lesson.placement.place, lesson.life or 0.0
        at = min(lesson.at, now)  # a clock far ahead would block the place until then
        match lesson.outcome:
            case Outcome.LOST:
                view = update(view, PlaceLost(at=at, place=place, life=life))
            case Outcome.HELD:
                view = update(view, PlaceHeld(at=at, place=place, life=life))
            case Outcome.REFUSED if lesson.why != FailureKind.QUOTA.value:
                view = update(view, PlaceRefused(at=at, place=place, why=lesson.why))
    cooling = {place: belief for place, belief in view.places.items() if is_cooling(view, place, now)}
    places = {place: replace(belief, num_preemptions=0, life_seen=0.0) for place, belief in cooling.items()}
    return MarketView(places=places, quotas=_quotas(told, now))


def _quotas(told: list[Lesson], now: Utc) -> Refusals:
    """Those whose refusal was the last that was heard of them. Where nobody could be reached, nothing was heard."""
    known: Refusals = ()
    for lesson in told:
        if lesson.why == FailureKind.QUOTA.value:
            known = after_refusal(known, lesson.placement, lesson.num_nodes, min(lesson.at, now))
        elif lesson.why != FailureKind.UNREACHABLE.value:
            known = after_another_answer(known, lesson.placement, lesson.num_nodes)
    return known


def paces(lessons: Iterable[Lesson], program: str, num_nodes: int) -> dict[str, float]:
    """Steps per second that `program` was seen to make on so many machines, by the GPUs of each that it is to use: "A100:8".

    The median of such attempts.
    """
    found: dict[str, list[float]] = {}
    for one in lessons:
        if program and (one.program, one.num_nodes) == (program, num_nodes) and one.gpus and one.steps_per_s:
            found.setdefault(f"{one.placement.accelerator}:{one.gpus}", []).append(one.steps_per_s)
    return {gpus: median(speeds) for gpus, speeds in found.items()}
