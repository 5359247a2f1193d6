"""A market in simulated time: what is on offer, what becomes of a machine started now, and when either changes.

Two kinds of history can drive a run. A *deck* gives the k-th machine started in a place its k-th life, whenever it is started:
what a rehearsal does, so that processes with real timing repeat. A *timeline* says at each instant which zones are up and what
they cost, as a file of real samples does: then it matters when a machine is asked for.
"""

from dataclasses import dataclass
from typing import Protocol

from launcher.core.market.offer import Offer, Placement
from launcher.units import Utc


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
