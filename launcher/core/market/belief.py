"""What we believe of the market now: sightings add up to belief.

A pure fold: MarketView = the seed view (journaled at the run's start) over the sightings that were journaled, so that a replay
sees what the policy saw.
"""

from dataclasses import dataclass, field, replace

from launcher.core.market.offer import Offer
from launcher.units import Seconds, Utc


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
    """A place had no capacity or quota for us."""

    at: Utc
    place: str


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
    cools_until: Utc = 0.0
    lost_at: Utc | None = None
    num_preemptions: int = 0
    life_seen: Seconds = 0.0  # sum over all lives there, censored ones included


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What we believe now. `offers` as last sighted; `places` by `Placement.place`."""

    offers: tuple[Offer, ...] = ()
    sighted_at: Utc = 0.0
    places: dict[str, PlaceBelief] = field(default_factory=dict)


def update(view: MarketView, sighting: Sighting) -> MarketView:
    """The view after one more sighting."""
    raise NotImplementedError
