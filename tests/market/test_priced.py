"""What price lists offer a run while it goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.priced import LOOK_EVERY, PricedFeed
from launcher.adapters.market.sources import Places
from launcher.core.market.lives import PRIOR
from launcher.core.recipe import Recipe, Resources
from launcher.errors import FeedStale
from launcher.units import UsdPerHour
from tests.market import lists

RECIPE = Recipe(name="r", run="true", resources=Resources(infra=("aws",), accelerators=("A100:1",), use_spot="true"))


class Shelf:
    """A list that changes, and can go away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_away = False

    def price(self, usd: UsdPerHour) -> None:
        rows = (("a2", "A100", 1, 9.0, usd, "use1-az1"), ("t4", "T4", 1, 1.0, 0.2, "use1-az1"))
        lists.folder(self.folder / "lists", aws=lists.aws(*rows))

    def open(self) -> PriceIndex:
        if self.is_away:
            raise OSError("gone")
        gone = self.folder / "none"
        return open_index(self.folder / "i.sqlite", Places(named=self.folder / "lists", skypilot=gone, downloads=gone, live=None))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def prices(feed: PricedFeed, now: float) -> list[UsdPerHour]:
    return [offer.price for offer in feed.offers(now)]


def test_only_what_the_recipe_accepts_at_the_price_of_the_newest_look(shelf: Shelf) -> None:
    shelf.price(1.0)
    feed = PricedFeed(RECIPE, shelf.open, PRIOR)
    assert prices(feed, 1000.0) == [1.0]
    shelf.price(2.0)
    assert prices(feed, 1001.0) == [1.0]
    assert prices(feed, 1000.0 + LOOK_EVERY) == [2.0]
    shelf.price(3.0)
    assert prices(feed, 10.0) == [3.0], "the clock was set back"


def test_while_no_list_can_be_read_the_last_look_holds(shelf: Shelf) -> None:
    shelf.price(1.0)
    feed = PricedFeed(RECIPE, shelf.open, PRIOR)
    shelf.is_away = True
    with pytest.raises(FeedStale):
        feed.offers(1000.0)
    shelf.is_away = False
    assert prices(feed, 1000.0 + LOOK_EVERY) == [1.0]
    shelf.is_away = True
    assert prices(feed, 1000.0 + 2 * LOOK_EVERY) == [1.0]


def test_a_cluster_of_ones_own_stands_beside_the_lists(shelf: Shelf) -> None:
    shelf.price(1.0)
    resources = replace(RECIPE.resources, infra=("aws", "slurm/spota/spot"), use_spot="auto")
    feed = PricedFeed(replace(RECIPE, resources=resources), shelf.open, PRIOR)
    assert prices(feed, 0.0) == [1.0, 9.0, 0.0]
