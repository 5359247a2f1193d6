"""The bundled price list is small, honest and enough to rehearse on."""

from collections import Counter

from launcher.adapters.market.listed import ListedFeed, listed, rows
from launcher.core.market.offer import Capacity
from launcher.core.market.trace import FOREVER, generated
from launcher.core.recipe import Recipe, Resources
from tests.core.markets import NOW

LIFE = generated("demo", 7).mean_life


def feed(**resources: object) -> ListedFeed:
    return ListedFeed(Recipe(name="r", run="true", resources=Resources(infra=("local",), **resources)), LIFE)  # type: ignore[arg-type]


def test_the_list_is_short_and_each_price_says_whence_and_when():
    assert len(rows()) <= 40
    assert all(row["source"] and row["date"] for row in rows())


def test_spot_is_cheaper_than_on_demand_everywhere():
    assert all(0 < float(row["spot"]) < float(row["on_demand"]) for row in rows())


def test_no_place_is_listed_twice():
    assert max(Counter(o.placement.place for o in listed(LIFE)).values()) == 1


def test_a_rehearsal_that_names_no_gpu_has_six_spot_places_on_three_clouds():
    spot = [o for o in feed().offers(NOW) if o.placement.capacity is Capacity.SPOT]
    assert len(spot) >= 6
    assert {o.placement.cloud for o in spot} == {"aws", "gcp", "azure"}


def test_lives_are_the_traces_and_prices_are_constant():
    for offer in feed().offers(NOW):
        assert offer.price == offer.price_cap
        assert offer.mean_life == (65 * 60 if offer.placement.capacity is Capacity.SPOT else FOREVER)
    assert feed().offers(NOW) == feed().offers(NOW + 1e6)


def test_the_feed_offers_only_what_the_recipe_accepts():
    offers = feed(accelerators=("L4:1",), use_spot="true", max_hourly_cost=0.3).offers(NOW)
    assert offers
    assert {o.placement.accelerator for o in offers} == {"L4"}
    assert max(o.price for o in offers) <= 0.3
