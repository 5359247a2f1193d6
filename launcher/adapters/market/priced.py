"""What price lists offer a run on clouds: the rows that its plan was made from, looked up anew now and then."""

import sqlite3
from collections.abc import Callable

from launcher import log
from launcher.adapters.market.index import PriceIndex
from launcher.core.market.lives import Lives
from launcher.core.market.offer import Offer
from launcher.core.plan.limits import accepted
from launcher.core.plan.shopping import anywhere, comparable, offers_of
from launcher.core.plan.unpriced import unpriced_offers
from launcher.core.recipe import Recipe
from launcher.errors import FeedStale, LaunchError
from launcher.units import MINUTE, Seconds, Utc

LOOK_EVERY: Seconds = 10 * MINUTE  # lists are hours old, but `launch prices --refresh` may bring live prices at any time


class PricedFeed:
    """Implements Feed. The offers that `recipe` accepts; while no list can be read, those of the last look."""

    def __init__(self, recipe: Recipe, open_index: Callable[[], PriceIndex], lives: Lives) -> None:
        self._wanted = anywhere(recipe)
        self._open_index = open_index
        self._lives = lives
        self._offers: tuple[Offer, ...] | None = None
        self._looked_at: Utc = 0.0

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        if self._offers is None or not self._looked_at <= now < self._looked_at + LOOK_EVERY:
            self._looked_at = now
            self._look()
        if self._offers is None:
            raise FeedStale("no price list can be read")
        return self._offers

    def _look(self) -> None:
        try:
            index = self._open_index()
            offers = priced(self._wanted, index, self._lives)
            index.close()
        except (LaunchError, OSError, sqlite3.Error) as error:
            log.warning("prices_unread", error=str(error))
            return
        self._offers = accepted(self._wanted, offers)


def priced(recipe: Recipe, index: PriceIndex, lives: Lives) -> tuple[Offer, ...]:
    """Every offer of the lists and of the clusters that the recipe names, unfiltered."""
    listed = comparable(offer for found in index.listings(index.accelerators()) for offer in offers_of(found.quote, lives))
    return (*listed, *unpriced_offers(recipe, lives))
