"""How runs go in drawn markets: what is certain is told to the second, what is not stays within its bounds."""

from dataclasses import replace
from typing import Any

import pytest

from launcher.core.market.hazard import Multiplier, Zone
from launcher.core.market.trace import FOREVER
from launcher.core.plan.estimate import SEEN_WITHIN, Task, estimate
from launcher.core.plan.forecast import Forecast, forecast
from launcher.core.plan.play import Spot, Sure, Traffic
from launcher.core.run.billing import RULES
from launcher.core.tempo import Tempo
from launcher.units import HOUR, MINUTE, Seconds

TASK = Task(work=10 * HOUR, restart_cost=5 * MINUTE, stall=0.0, durable=30.0)
SURE = Sure(price=3.0, interval=10 * MINUTE)
LOOK = Tempo().read_slow / 2
FIXED = Multiplier(shape=1e9, rate=1e9)
QUIET = Multiplier(shape=1.0, rate=1e9)


def zone(*, is_up: bool, changes: Multiplier = FIXED) -> Zone:
    return Zone(is_up=is_up, age=HOUR, up=changes, down=changes)


def spot(price: float = 1.0, *, life: Seconds = 2 * HOUR, of: Zone | None = None, **changes: Any) -> Spot:
    return replace(Spot(price=price, life=life, interval=10 * MINUTE, zone=of), **changes)


def ask(
    *spots: Spot, task: Task = TASK, sure: Sure | None = SURE, deadline: Seconds | None = 16 * HOUR, draws: int = 200
) -> Forecast:
    return forecast(task, spots, sure=sure, deadline=deadline, draws=draws)


def test_a_place_that_stays_up_takes_a_start_the_work_and_the_last_save():
    found = ask(spot(of=zone(is_up=True, changes=QUIET)))
    took = TASK.restart_cost + SEEN_WITHIN + TASK.work + TASK.durable
    assert found.elapsed_at(0.5) == found.elapsed_at(0.9) == pytest.approx(took)
    assert found.usd == pytest.approx(took / HOUR)
    assert (found.restarts, found.waiting, found.redone, found.done) == (0, 0, 0, 1)


def test_a_place_that_stays_down_costs_the_slack_and_then_on_demand():
    """Waits 16 h - 10 h - 5 min, less the net's reserve of 14.5 min, and less what it takes to look now and then."""
    found = ask(spot(of=zone(is_up=False, changes=QUIET)))
    assert found.waiting == pytest.approx(5 * HOUR + 40.5 * MINUTE, abs=4 * MINUTE)
    assert found.usd == pytest.approx(3 * (TASK.restart_cost + SEEN_WITHIN + TASK.work + TASK.durable + LOOK) / HOUR)
    assert found.elapsed == pytest.approx(16 * HOUR - 14.5 * MINUTE, abs=3 * MINUTE)


def test_without_a_net_a_place_that_stays_down_ends_at_the_deadline_with_nothing_spent():
    found = ask(spot(of=zone(is_up=False, changes=QUIET)), sure=None)
    assert (found.done, found.usd, found.elapsed) == (0, 0, 16 * HOUR)


def test_spot_that_costs_more_than_on_demand_is_not_waited_for():
    found = ask(spot(3.1, of=zone(is_up=True)))
    assert (found.waiting, found.restarts) == (0, 0)
    assert found.usd == pytest.approx(3 * found.elapsed / HOUR)


def test_the_cheaper_place_is_taken_and_the_dearer_one_while_that_cools_down():
    one = ask(spot(1.0, of=zone(is_up=True)), sure=None, deadline=None)
    two = ask(spot(1.0, of=zone(is_up=True)), spot(2.0, of=zone(is_up=True)), sure=None, deadline=None)
    assert two.elapsed < one.elapsed
    assert two.waiting < one.waiting / 2
    assert two.usd > one.usd


def test_a_cloud_that_forgives_short_lives_is_cheaper():
    assert ask(spot(free_within=HOUR)).usd < ask(spot()).usd


def test_a_notice_long_enough_for_a_save_leaves_less_to_redo():
    none, short, long = (ask(spot(notice_lead=lead)).redone for lead in (0.0, 30.0, 120.0))
    assert long < short / 2
    assert short == pytest.approx(none, rel=0.2)


def test_who_makes_no_last_save_redoes_as_much_as_without_a_notice():
    unsaved = ask(spot(notice_lead=120.0, saves_on_notice=False)).redone
    assert unsaved == pytest.approx(ask(spot(notice_lead=0.0)).redone, rel=0.2)
    assert unsaved > 2 * ask(spot(notice_lead=120.0)).redone


def test_a_life_costs_as_much_as_the_cloud_bills_at_least():
    plain = ask(spot(life=30 * MINUTE))
    assert ask(spot(life=30 * MINUTE, least_billed=60.0)).usd == pytest.approx(plain.usd, rel=0.01)
    assert ask(spot(life=30 * MINUTE, least_billed=HOUR)).usd > 1.05 * plain.usd


def test_a_gang_costs_by_its_machines():
    assert ask(spot(), task=replace(TASK, num_nodes=4)).usd == pytest.approx(4 * ask(spot()).usd)


def test_each_draw_pays_the_traffic_of_its_own_starts():
    """$45 of data at each start, $5 of state at each but the first: so much more than the same draw without them."""
    plain = ask(spot())
    moved = ask(spot(traffic=Traffic(start_usd=45.0, restore_usd=5.0)), sure=replace(SURE, traffic=Traffic(start_usd=45.0)))
    assert moved.restarts == plain.restarts > 2
    starts = [(a.usd - b.usd, b.restarts) for a, b in zip(moved.draws, plain.draws, strict=True)]
    assert all(45 * (1 + n) <= more <= 45 * (1 + n) + 5 * n for more, n in starts)
    assert moved.usd_at(0.9) > plain.usd_at(0.9) + 45 * (1 + plain.restarts)


def test_a_place_that_traffic_makes_dearer_than_on_demand_is_not_taken():
    """$1.00 and $2.50 for each hour of work, beside $3.00."""
    found = ask(spot(traffic=Traffic(usd_per_hour=2.5)))
    assert (found.restarts, found.waiting) == (0, 0)
    assert found.usd == pytest.approx(3 * found.elapsed / HOUR)


@pytest.mark.parametrize("of", [zone(is_up=True, changes=QUIET), zone(is_up=False, changes=QUIET)])
def test_a_machine_that_trains_on_when_the_deadline_comes_is_paid_until_then_and_the_work_is_not_done(of: Zone):
    """A minute too short: 10 h of work, and 5 min of start besides."""
    found = ask(spot(3.1, of=of), deadline=10 * HOUR + 4 * MINUTE)
    assert found.done == 0
    assert found.in_time is None
    assert found.done_at(0.5) == float("inf")
    assert found.elapsed == 10 * HOUR + 4 * MINUTE
    assert found.usd == pytest.approx(3 * found.elapsed / HOUR, rel=0.01)


def test_equal_questions_get_equal_answers():
    assert ask(spot(of=zone(is_up=True)), spot()) == ask(spot(of=zone(is_up=True)), spot())


def test_lives_shorter_than_a_start_end_all_the_same():
    found = ask(spot(life=2 * MINUTE), sure=None, deadline=None, draws=3)
    assert found.done < 1


# --- p50 and p90 of one place --------------------------------------------------------------------------------------------------


def test_what_nobody_takes_away_has_no_spread():
    cost = estimate(TASK, price=2.0, life=FOREVER, interval=None)
    assert cost.elapsed_p50 == cost.elapsed_p90 == pytest.approx(cost.elapsed, rel=1e-3)
    assert cost.usd_p90 == pytest.approx(cost.usd, rel=1e-3)


@pytest.mark.parametrize("work", [10 * HOUR, 300 * HOUR, 10_000 * HOUR])
def test_nor_has_it_any_however_long_it_takes(work: Seconds):
    cost = estimate(replace(TASK, work=work, stall=0.0), price=2.0, life=FOREVER, interval=10 * HOUR)
    assert cost.elapsed_p50 == cost.elapsed_p90 == cost.elapsed == work + TASK.restart_cost
    assert (cost.restarts, cost.restarts_p90, cost.redone) == (0, 0, 0)
    assert cost.restoring == pytest.approx(TASK.restart_cost)


@pytest.mark.parametrize("interval", [None, 0.1 * HOUR, 0.5 * HOUR, 2 * HOUR, 10 * HOUR, 30 * HOUR])
@pytest.mark.parametrize("life", [0.25 * HOUR, HOUR, 2.5 * HOUR, 10 * HOUR])
@pytest.mark.parametrize("work", [HOUR, 10 * HOUR, 100 * HOUR])
def test_p90_is_no_less_than_the_expectation_and_the_parts_add_up(work: Seconds, life: Seconds, interval: Seconds | None):
    """Where a loss costs much of a life too, which was told as 10,008 h redone of 500 h, beside a P90 of 280 h."""
    cost = estimate(replace(TASK, work=work), price=1.0, life=life, interval=interval)
    assert cost.elapsed_p50 <= cost.elapsed_p90 >= cost.elapsed
    assert cost.usd_p90 >= cost.usd
    assert cost.restarts_p90 >= cost.restarts, "traffic goes by these"
    assert cost.elapsed == pytest.approx(work + cost.saving + cost.restoring + cost.redone)
    assert min(cost.saving, cost.restoring, cost.redone) >= 0


def test_a_machine_that_is_lost_before_its_first_save_leaves_nothing():
    never, too_late = (estimate(replace(TASK, stall=0.0), price=1.0, life=2 * HOUR, interval=i) for i in (None, 2 * TASK.work))
    assert (never.elapsed_p50, never.elapsed_p90) == (too_late.elapsed_p50, too_late.elapsed_p90)


@pytest.mark.parametrize("life", [0.5 * HOUR, 2 * HOUR, 10 * HOUR])
def test_nine_of_ten_runs_take_longer_than_half_of_them_and_dollars_follow_hours(life: Seconds):
    cost, dear = (estimate(replace(TASK, num_nodes=2), price=price, life=life, interval=5 * MINUTE) for price in (1.0, 3.0))
    assert TASK.work < cost.elapsed_p50 < cost.elapsed_p90
    assert cost.elapsed_p50 == pytest.approx(cost.elapsed, rel=0.05)
    assert cost.usd_p90 == pytest.approx(2 * cost.elapsed_p90 / HOUR)
    assert dear.usd_p90 == pytest.approx(3 * cost.usd_p90)


def test_p90_covers_nine_of_ten_forecasts_of_a_market_with_a_place_to_go_to_always():
    cost = estimate(TASK, price=1.0, life=2 * HOUR, interval=10 * MINUTE)
    found = ask(*(spot(1.0 + i / 1e6) for i in range(30)), sure=None, deadline=None)
    assert sum(d.elapsed <= cost.elapsed_p90 for d in found.draws) / len(found.draws) == pytest.approx(0.9, abs=0.08)


def test_a_place_where_nothing_lives_long_enough_gives_an_end_all_the_same():
    cost = estimate(TASK, price=1.0, life=MINUTE, interval=MINUTE)
    assert TASK.work < cost.elapsed_p90 < 1000 * TASK.work


def test_never_saving_loses_all_of_a_life_by_far_most_often():
    saved, lost = (estimate(TASK, price=1.0, life=5 * HOUR, interval=i) for i in (10 * MINUTE, None))
    assert lost.elapsed_p90 > 1.5 * saved.elapsed_p90


@pytest.mark.parametrize("life", [200.0, 400.0, 700.0, 1800.0])
@pytest.mark.parametrize("restart", [2 * MINUTE, 15 * MINUTE])
def test_a_place_whose_short_lives_are_free_costs_something_and_takes_the_work_at_least(life: Seconds, restart: Seconds):
    """240 h where AWS forgives nearly all of it: what the draws of some hours come to must not run backwards."""
    task = replace(TASK, work=240 * HOUR, restart_cost=restart)
    cost = estimate(task, price=1.0, life=life, interval=10 * MINUTE, rule=RULES["aws"])
    assert min(cost.usd, cost.usd_p50, cost.redone, cost.restoring, cost.restarts_p50) >= 0 < cost.usd_p90
    assert cost.elapsed_p50 >= task.work
