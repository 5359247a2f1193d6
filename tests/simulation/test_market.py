"""Markets in simulated time: a timeline has its capacity when the recording had it, at the prices of that time."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.app.traces import source_of
from launcher.core.market.recording import RecordedOffer
from launcher.core.market.series import Series, from_samples
from launcher.core.market.trace import FOREVER as LIFE_WITHOUT_END
from launcher.core.market.trace import Life
from launcher.core.recipe import Recipe, Resources
from launcher.sim.market import DeckMarket, Fate, TimelineMarket
from launcher.sim.timeline import FOREVER
from launcher.sim.trainer import Pace
from launcher.sim.world import SimWorld
from launcher.units import Utc
from tests.core.markets import on_demand, spot
from tests.simulation.worlds import FixedTrace

A, B, SURE = spot("us-east-1a"), spot("us-east-1b"), on_demand("us-east-1a")
ORIGIN: Utc = 1_000_000.0


def counts(text: str) -> Series:
    return from_samples([float(digit) for digit in text], 10.0)


def timeline(capacity: str, price: Series | None = None, offset: float = 0.0) -> TimelineMarket:
    found = (RecordedOffer(offer=A, capacity=counts(capacity), price=price), RecordedOffer(offer=SURE))
    return TimelineMarket("rec", found, seed=1, origin=ORIGIN, offset=offset)


def fate(market: TimelineMarket, t: float, nodes: int = 1) -> Fate | None:
    return market.fate(A.placement, nodes=nodes, k=1, taken_at=None, now=ORIGIN + t)


def ends(market: TimelineMarket, t: float, nodes: int = 1) -> float | None:
    found = fate(market, t, nodes)
    return None if found is None else found.ends_at - ORIGIN


def test_a_machine_lives_until_its_zone_has_none_any_more():
    market = timeline("1101110")
    assert [ends(market, t) for t in (0, 15, 25, 30, 59)] == [20, 20, None, 60, 60]


def test_a_gang_fits_where_there_are_enough_and_goes_when_there_are_fewer():
    market = timeline("443240")
    assert [ends(market, 0, n) for n in (4, 3, 2)] == [20, 30, 50]
    assert ends(market, 30, 3) is None


def test_the_recording_begins_again_at_its_end():
    market = timeline("1101")
    assert ends(market, 35) == 60  # up at its end and at its beginning: one life over the seam
    assert ends(market, 400) == 420


def test_the_offset_says_where_in_the_recording_a_run_begins():
    assert ends(timeline("1101110", offset=30.0), 0) == 30


def test_a_zone_that_is_never_down_and_on_demand_never_end():
    market = timeline("11")
    sure = market.fate(SURE.placement, nodes=9, k=1, taken_at=None, now=ORIGIN)
    assert sure == Fate(ends_at=ORIGIN + LIFE_WITHOUT_END, notice=False)
    assert ends(market, 0) == LIFE_WITHOUT_END


def test_most_ends_of_recorded_lives_are_announced_and_not_all():
    market = timeline("10")
    noticed = [market.fate(A.placement, nodes=1, k=k, taken_at=None, now=ORIGIN) for k in range(1, 200)]
    assert 0.7 < sum(found.notice for found in noticed if found) / 199 < 0.9


def test_the_feed_shows_the_price_of_the_hour_and_places_without_capacity_too():
    market = timeline("0000", Series(at=(0.0, 20.0), values=(0.5, 0.7), period=40.0))
    shown = [market.offers(ORIGIN + t) for t in (0, 19, 20, 39, 40)]
    assert [offers[0].price for offers in shown] == [0.5, 0.5, 0.7, 0.7, 0.5]
    assert shown[0] == (replace(A, price=0.5, price_cap=3.0), SURE)


def test_the_next_change_is_that_of_any_price_or_capacity():
    market = timeline("1101", Series(at=(0.0, 5.0), values=(0.5, 0.7), period=40.0))
    steps = [0.0]
    for _ in range(4):
        steps.append(market.next_change(ORIGIN + steps[-1]) - ORIGIN)
    assert steps == [0, 5, 20, 30, 40]


def test_a_market_that_never_changes_says_so():
    assert timeline("11").next_change(ORIGIN) == FOREVER
    assert DeckMarket(trace=FixedTrace(), rows=(A,)).next_change(ORIGIN) == FOREVER


@pytest.mark.parametrize(("now", "is_open"), [(99.0, False), (100.0, True)])
def test_a_deck_refuses_for_the_gap_behind_the_life_that_was_taken(now: float, is_open: bool):
    class Deck(FixedTrace):
        def life(self, place: str, k: int) -> Life:
            return Life(up=10.0 * k, down=100.0 * k, notice=True)

    market = DeckMarket(trace=Deck(), rows=(A,))
    found = market.fate(A.placement, nodes=1, k=2, taken_at=0.0, now=now)
    assert found == (Fate(ends_at=now + 20.0, notice=True) if is_open else None)


def test_a_deck_does_not_refuse_after_a_life_that_we_ended():
    assert DeckMarket(trace=FixedTrace(), rows=(A,)).fate(A.placement, nodes=1, k=2, taken_at=None, now=0.0) is not None


def test_a_place_whose_price_comes_below_the_limit_is_asked_only_while_it_is(tmp_path: Path):
    """Up all the time, for $1.00 in the first four hours and $0.50 in the next four, over and over; the limit is $0.60."""
    name = "us-east-1a_v100_1"
    (tmp_path / "own.csv").write_text("\n".join([f"tick,{name}", *(f"{tick},1" for tick in range(8)), ""]))
    (tmp_path / "own__price.csv").write_text(f"tick,{name}\n0,1.0\n4,0.5\n")
    (tmp_path / "index.json").write_text(json.dumps({"own": {"file": "own.csv", "gap_seconds": 3600}}))
    base = Recipe(name="r", trainer={"kind": "launcher.trainers.gpt", "steps": 60})
    recipe = replace(base, resources=Resources(infra=("local",), use_spot="true", max_hourly_cost=0.6))
    source = source_of(recipe, str(tmp_path / "own.csv"))
    asked = []
    for seed in range(6):
        world = SimWorld(recipe=source.recipe, market=source.market(seed), pace=Pace(total_steps=60, step_s=60.0), seed=seed)
        asked += [a.offer.price for a in world.run().attempts.values()]
    assert set(asked) == {0.5}
