"""Belief: places cool down, lives add up."""

import functools

import pytest

from launcher.core.market.belief import (
    MarketView,
    OffersSighted,
    PlaceHeld,
    PlaceLost,
    PlaceRefused,
    Sighting,
    is_cooling,
    mean_life,
    rank,
    update,
)
from launcher.units import HOUR, MINUTE
from tests.core.markets import NOW, market, on_demand, spot

A = spot("a", life=2 * HOUR)
PLACE = A.placement.place


def seen(*sightings: Sighting) -> MarketView:
    return functools.reduce(update, sightings, MarketView())


def lost(at: float = NOW, life: float = 10 * MINUTE) -> PlaceLost:
    return PlaceLost(at=at, place=PLACE, life=life)


def refused(at: float = NOW) -> PlaceRefused:
    return PlaceRefused(at=at, place=PLACE)


def cooldown(view: MarketView) -> float:
    return view.places[PLACE].cools_until - NOW


@pytest.mark.parametrize("failure", [lost(), refused()])
def test_a_place_that_failed_cools_for_half_an_hour(failure: Sighting):
    view = seen(failure)
    assert cooldown(view) == 30 * MINUTE
    assert is_cooling(view, PLACE, NOW + 30 * MINUTE - 1)
    assert not is_cooling(view, PLACE, NOW + 30 * MINUTE)


def test_the_cooldown_doubles_with_each_failure_up_to_six_hours():
    cooldowns = [cooldown(seen(*[refused()] * n)) for n in (1, 2, 3, 4, 5, 6, 2000)]
    assert cooldowns == [0.5 * HOUR, 1 * HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR]


def test_an_instance_that_held_resets_the_count_and_the_cooldown():
    view = seen(refused(), refused(), PlaceHeld(at=NOW, place=PLACE, life=HOUR))
    assert not is_cooling(view, PLACE, NOW)
    assert cooldown(update(view, refused())) == 30 * MINUTE


def test_a_loss_after_a_long_life_counts_as_the_first():
    long_ago = NOW - 3 * HOUR
    assert cooldown(seen(refused(long_ago), refused(long_ago), lost(life=2 * HOUR))) == 30 * MINUTE


def test_a_loss_after_a_short_life_counts_on():
    assert cooldown(seen(refused(), refused(), lost())) == 2 * HOUR


def test_other_places_are_not_blamed():
    assert not is_cooling(seen(lost()), spot("b").placement.place, NOW)


def test_nor_is_the_same_zone_on_demand():
    assert not is_cooling(seen(lost()), on_demand("a").placement.place, NOW)


def test_an_unseen_place_lives_as_its_offer_says():
    assert mean_life(MarketView(), A, 1) == 2 * HOUR


def test_short_lives_pull_the_mean_down_and_long_ones_up():
    assert mean_life(seen(lost(), lost()), A, 1) == pytest.approx((2 * 2 * HOUR + 20 * MINUTE) / 4)
    assert mean_life(seen(lost(life=20 * HOUR)), A, 1) == pytest.approx(8 * HOUR)


def test_a_life_that_we_ended_adds_time_but_no_loss():
    assert mean_life(seen(PlaceHeld(at=NOW, place=PLACE, life=10 * HOUR)), A, 1) == pytest.approx(7 * HOUR)


def test_offers_are_taken_as_last_sighted_and_beliefs_stay():
    view = seen(lost(), OffersSighted(at=NOW + 5, offers=(A,)))
    assert view.offers == (A,)
    assert view.sighted_at == NOW + 5
    assert is_cooling(view, PLACE, NOW)


def test_cooling_places_rank_last_soonest_usable_first():
    offers = (spot("a"), spot("b"), spot("c"), spot("d"))
    view = market(*offers, cooling={"a": NOW + 600, "b": NOW + 60})
    assert [o.placement.zone for o in rank(view, offers, NOW)] == ["c", "d", "b", "a"]
