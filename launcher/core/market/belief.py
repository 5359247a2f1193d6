"""What we believe of the market now: sightings add up to belief.

A pure fold: MarketView = the seed view (journaled at the run's start) over the sightings that were journaled, so that a replay
sees what the policy saw. A place that refused us or took a machine away cools down, longer each time in a row, until an instance
holds there; how long machines last in a place starts from the offer's figure and moves towards what we see.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from launcher.core.market.offer import Offer
from launcher.core.market.quota import Refusals
from launcher.core.market.trace import FOREVER
from launcher.core.tempo import Tempo
from launcher.units import HOUR, Seconds, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class OffersSighted:
    """What is on offer, as one look at the feed found it. Journaled when it differs from the look before."""

    at: Utc
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLost:
    """A place preempted us after `life`."""

    at: Utc
    place: str
    life: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRefused:
    """A place had no machine for us; `why` in a word: "capacity", "quota", …"""

    at: Utc
    place: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHeld:
    """An instance in a place ran for `life` and was then ended by us: a censored life; clears refusals."""

    at: Utc
    place: str
    life: Seconds


Sighting = OffersSighted | PlaceLost | PlaceRefused | PlaceHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceBelief:
    """Of one place: failures since it last held, when it may be tried again, and the lives seen."""

    failures: int = 0
    why: str = ""  # of the newest failure: "preempted", "capacity", …
    cools_until: Utc = 0.0
    lost_at: Utc | None = None
    num_preemptions: int = 0
    life_seen: Seconds = 0.0  # sum over all lives there, censored ones included


_UNTRIED = PlaceBelief()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What we believe now. `offers` as last sighted; `places` by `Placement.place`; `quotas` refused before this run began."""

    offers: tuple[Offer, ...] = ()
    sighted_at: Utc = 0.0
    places: dict[str, PlaceBelief] = field(default_factory=dict)
    quotas: Refusals = ()


# An hour of survival cuts the hazard to a third (see trace.py): a place that held so long was not a bad choice.
LONG_LIFE: Seconds = HOUR
# The prior counts like this many preemptions, so that a few lives of our own outweigh a catalog's figure.
PRIOR_LIVES = 2.0
GANG_POWER = 0.3
_TEMPO = Tempo()


def update(view: MarketView, sighting: Sighting) -> MarketView:
    """The view after one more sighting."""
    match sighting:
        case OffersSighted(at=at, offers=offers):
            return replace(view, offers=offers, sighted_at=at)
        case PlaceLost():
            return _with_place(view, sighting.place, _after_loss(belief_of(view, sighting.place), sighting))
        case PlaceRefused(at=at, place=place, why=why):
            return _with_place(view, place, _after_failure(belief_of(view, place), at, why))
        case PlaceHeld(place=place, life=life):
            old = belief_of(view, place)
            held = replace(old, failures=0, cools_until=0.0, life_seen=old.life_seen + life)
            return _with_place(view, place, held)
    assert_never(sighting)


def belief_of(view: MarketView, place: str) -> PlaceBelief:
    return view.places.get(place, _UNTRIED)


def is_cooling(view: MarketView, place: str, now: Utc) -> bool:
    """It failed us lately; trying it now would be the first mistake of every retry loop."""
    return now < belief_of(view, place).cools_until


def mean_life(view: MarketView, offer: Offer, num_nodes: int) -> Seconds:
    """How long a gang of machines there lasts: total life over preemptions, the offer's prior counted as PRIOR_LIVES of them.

    The posterior mean of an exponential life under a Gamma prior; ended-by-us lives add time without a preemption. What a run
    has seen are lives of its own gang.
    """
    seen = belief_of(view, offer.placement.place)
    return (PRIOR_LIVES * gang_life(offer.mean_life, num_nodes) + seen.life_seen) / (PRIOR_LIVES + seen.num_preemptions)


def gang_life(life: Seconds, num_nodes: int) -> Seconds:
    """How long so many machines of one zone last until the first is taken, where one of them lasts for `life`.

    Were they taken one by one it would be `life` / n, and `life` if always all together. For each hour that there are as many, a
    zone's capacity falls below 16 machines 2.5 times as often as below one, below 8 1.9 times, below 4 1.3, below 2 1.1 times: by
    about n to the power of 0.3. From 3,312 zone-hours of markets recorded up to 4 or 16 machines, AWS and GCP, 2023 to 2025;
    counted in a test.
    """
    return life if life >= FOREVER else life / num_nodes**GANG_POWER


def rank(view: MarketView, offers: Iterable[Offer], now: Utc) -> tuple[Offer, ...]:
    """`offers` with those that may be tried first, in their order, and the cooling ones behind, soonest usable first."""
    usable = [(belief_of(view, offer.placement.place).cools_until, offer) for offer in offers]
    cooling = sorted(((until, offer) for until, offer in usable if now < until), key=lambda one: one[0])
    return (*(offer for until, offer in usable if now >= until), *(offer for _, offer in cooling))


def _with_place(view: MarketView, place: str, belief: PlaceBelief) -> MarketView:
    return replace(view, places={**view.places, place: belief})


def _after_loss(old: PlaceBelief, lost: PlaceLost) -> PlaceBelief:
    counted = replace(old, failures=0) if lost.life >= LONG_LIFE else old
    return replace(
        _after_failure(counted, lost.at, "preempted"),
        lost_at=lost.at,
        num_preemptions=old.num_preemptions + 1,
        life_seen=old.life_seen + lost.life,
    )


def _after_failure(old: PlaceBelief, at: Utc, why: str) -> PlaceBelief:
    """One failure more."""
    return replace(old, failures=old.failures + 1, why=why, cools_until=max(old.cools_until, at + cooldown(old.failures)))


def cooldown(failures: int) -> Seconds:
    """How long a place is left alone that fails after so many failures; it doubles with each in a row."""
    doublings = min(failures, 32)  # 2.0 ** failures would overflow in a place that never recovers
    return min(_TEMPO.cooldown_first * 2.0**doublings, _TEMPO.cooldown_most)
