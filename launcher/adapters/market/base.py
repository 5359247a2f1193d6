"""The port to the market: what is on offer now."""

from typing import Protocol

from launcher.core.market.offer import Offer
from launcher.units import Utc


class Feed(Protocol):
    def offers(self, now: Utc) -> tuple[Offer, ...]:
        """Everything on offer for this run's resources, unranked. Raises FeedStale where nothing current is known."""
        ...
