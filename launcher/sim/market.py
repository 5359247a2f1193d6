"""A market in simulated time: what is on offer, what becomes of a machine started now, and when either changes.

Two kinds of history can drive a run. A *deck* gives the k-th machine started in a place its k-th life, whenever it is started:
what a rehearsal does, so that processes with real timing repeat. A *timeline* says at each instant which zones are up and what
they cost, as a file of real samples does: then it matters when a machine is asked for.
"""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from launcher.core.market.offer import Offer, Placement
from launcher.core.market.recording import RecordedOffer
from launcher.core.market.series import Series
from launcher.core.market.trace import FOREVER as LIFE_WITHOUT_END
from launcher.core.market.trace import Trace, is_noticed
from launcher.sim.timeline import FOREVER
from launcher.units import Seconds, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The market takes a machine at `ends_at`, so far away on-demand that it never comes; `notice`: announced a lead before."""

    ends_at: Utc
    notice: bool


class Market(Protocol):
    @property
    def name(self) -> str: ...

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        """What the feed shows; the contract of `Feed.offers`."""
        ...

    def fate(self, placement: Placement, *, nodes: int, k: int, taken_at: Utc | None, now: Utc) -> Fate | None:
        """Of the k-th machine (from 1) started in that place; None: no capacity.

        `taken_at`: when the market took the one before it there, None if it did not.
        """
        ...

    def next_change(self, now: Utc) -> Utc:
        """The next instant after `now` at which offers or refusals change; `timeline.FOREVER` if never."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckMarket:
    """Lives from a deck, whenever they are drawn; prices that stand still. What a rehearsal plays."""

    trace: Trace
    rows: tuple[Offer, ...]

    @property
    def name(self) -> str:
        return self.trace.name

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return self.rows

    def fate(self, placement: Placement, *, nodes: int, k: int, taken_at: Utc | None, now: Utc) -> Fate | None:
        if taken_at is not None and now < taken_at + self.trace.life(placement.place, k - 1).down:
            return None
        life = self.trace.life(placement.place, k)
        return Fate(ends_at=now + life.up, notice=life.notice)

    def next_change(self, now: Utc) -> Utc:
        return FOREVER  # what a place refuses depends on whom it gave a machine, and that the cloud knows


class TimelineMarket:
    """A recorded market as it was, over and over. `offset`: how far into the recording the run's `origin` lies.

    A gang of n nodes fits where the zone has at least n, and is taken as soon as it has fewer: all of it, as a gang is.
    """

    def __init__(
        self, name: str, quotes: tuple[RecordedOffer, ...], *, seed: int, origin: Utc = 0.0, offset: Seconds = 0.0
    ) -> None:
        self.name = name
        self._seed = seed
        self._quotes = {quote.offer.placement: quote for quote in quotes}
        self._from = origin - offset  # when the recording began, on the world's clock
        self._prices = _instants(quote.price for quote in quotes)
        self._all = _instants(series for quote in quotes for series in (quote.price, quote.capacity))
        self._offers: dict[int, tuple[Offer, ...]] = {}

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        """All places with their prices now, those without capacity too: a feed of prices does not know."""
        at = self._prices.index(now - self._from)
        if at not in self._offers:
            self._offers[at] = tuple(_priced(quote, now - self._from) for quote in self._quotes.values())
        return self._offers[at]

    def fate(self, placement: Placement, *, nodes: int, k: int, taken_at: Utc | None, now: Utc) -> Fate | None:
        capacity = self._quotes[placement].capacity
        if capacity is None:
            return Fate(ends_at=now + LIFE_WITHOUT_END, notice=False)
        t = now - self._from
        if capacity.value(t) < nodes:
            return None
        end = capacity.next_below(t, nodes)
        if end is None:
            return Fate(ends_at=now + LIFE_WITHOUT_END, notice=False)
        return Fate(ends_at=self._from + end, notice=is_noticed(self.name, self._seed, placement.place, k))

    def next_change(self, now: Utc) -> Utc:
        change = self._all.after(now - self._from)
        return FOREVER if change is None else self._from + change


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instants:
    """The instants of a ring at which anything of several series changes."""

    at: tuple[Seconds, ...]
    period: Seconds

    def index(self, t: Seconds) -> int:
        """Which stretch between two changes `t` lies in."""
        return bisect.bisect_right(self.at, t % self.period) % max(1, len(self.at))

    def after(self, t: Seconds) -> Seconds | None:
        if not self.at:
            return None
        i = bisect.bisect_right(self.at, t % self.period)
        return t - t % self.period + (self.at[i] if i < len(self.at) else self.period + self.at[0])


def _instants(series: Iterable[Series | None]) -> _Instants:
    """Of series that share one period. The beginning counts only where the ring does not close smoothly."""
    known = [s for s in series if s is not None]
    changes = {t for s in known for t in (s.at if s.values[0] != s.values[-1] else s.at[1:])}
    return _Instants(at=tuple(sorted(changes)), period=known[0].period if known else 1.0)


def _priced(quote: RecordedOffer, t: Seconds) -> Offer:
    if quote.price is None:
        return quote.offer
    price = quote.price.value(t)
    return replace(quote.offer, price=price, price_cap=max(price, quote.offer.on_demand_price))
