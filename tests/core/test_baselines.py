"""What the baseline policies decide, and the numbers in their reasons."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.market.offer import Capacity
from launcher.core.policy.base import AttemptSummary, Decision, Hold, Move, Policy, RunView, Wait
from launcher.core.policy.baselines import CheapestFirst, Greedy, OnDemandOnly, SpotOnly
from launcher.core.policy.catalog import POLICIES
from launcher.units import HOUR, MINUTE
from tests.core.markets import NOW, market, on_demand, placement, run_view, spot

greedy = Greedy()
ALL: list[Policy] = [Greedy(), SpotOnly(), OnDemandOnly(), CheapestFirst()]
SPOT_ONLY = frozenset({"spot"})


def zones(decision: Decision) -> list[str | None]:
    assert isinstance(decision, Move), decision
    return [o.placement.zone for o in decision.ranked]


@pytest.mark.parametrize("policy", ALL)
def test_what_stands_is_left_standing(policy: Policy):
    current = placement("a", Capacity.ON_DEMAND)
    decision = policy.decide(run_view(current=current, deadline_in="1h"), market(spot("b", 0.1), on_demand("b", 0.1)))
    assert isinstance(decision, Hold)
    assert "10.0 h of work left" in decision.reason


@pytest.mark.parametrize("policy", ALL)
def test_a_notice_moves_at_once_and_never_to_the_place_being_lost(policy: Policy):
    offers = (spot("a", 0.1), spot("b"), on_demand("a", 0.1), on_demand("b"))
    capacity = Capacity.ON_DEMAND if isinstance(policy, OnDemandOnly) else Capacity.SPOT
    current = placement("a", capacity)
    decision = policy.decide(run_view(current=current, notice_in=30), market(*offers))
    assert isinstance(decision, Move)
    assert current.place not in {o.placement.place for o in decision.ranked}
    assert "aws a goes in 30 s" in decision.reason


def test_a_notice_with_nowhere_to_go_is_held_out():
    decision = greedy.decide(run_view(current=placement("a"), notice_in=30), market(spot("a")))
    assert isinstance(decision, Hold)
    assert "the notice leaves 30 s" in decision.reason


def test_takes_the_cheapest_spot_while_there_is_slack():
    decision = greedy.decide(run_view(deadline_in="40h"), market(spot("a", 1.2), spot("b", 1.0), on_demand("c", 3.0)))
    assert zones(decision) == ["b", "a"]
    assert "spot aws b at $1.00/h" in decision.reason
    assert "29.6 h slack" in decision.reason


def test_prefers_a_dearer_place_where_machines_live_longer():
    offers = (spot("a", 1.0, life=8 * MINUTE), spot("b", 1.3, life=5 * HOUR))
    assert zones(greedy.decide(run_view(), market(*offers))) == ["b", "a"]
    assert zones(CheapestFirst().decide(run_view(), market(*offers))) == ["a", "b"]


@pytest.mark.parametrize("deadline", ["5m", "10h", "100h"])
def test_buys_no_safety_net_for_work_that_nobody_knows(deadline: str):
    offers = (spot("a"), on_demand("b", 1.5))
    decision = greedy.decide(run_view(remaining="0h", deadline_in=deadline), market(*offers))
    assert zones(decision) == ["a"]
    assert "nobody knows how much work is left, " in decision.reason
    assert "to the deadline" in decision.reason
    waits = greedy.decide(run_view(remaining="0h", deadline_in=deadline), market(*offers, cooling={"a": NOW + MINUTE}))
    assert isinstance(waits, Wait)


def test_never_pays_more_for_spot_than_for_a_machine_that_stays():
    offers = (spot("a", 2.9, life=HOUR), spot("b", 1.0), on_demand("c", 3.0))
    assert zones(greedy.decide(run_view(), market(*offers))) == ["b"]
    assert zones(greedy.decide(run_view(deadline_in="40h"), market(spot("a", 2.9, life=HOUR), on_demand("c", 3.0)))) == ["c"]
    assert isinstance(greedy.decide(run_view(), market(*offers, cooling={"b": NOW + HOUR})), Wait)


def had_spot(run: RunView) -> RunView:
    """A run that was on spot once."""
    return replace(
        run,
        attempts=(
            AttemptSummary(number=1, placement=placement("a"), started_at=NOW - HOUR, ended_at=NOW - MINUTE, end="preempted"),
        ),
    )


def test_goes_on_demand_when_work_and_start_fill_the_time_left():
    decision = greedy.decide(
        run_view(remaining="10h", deadline_in="10h6m"), market(spot("a"), on_demand("b"), on_demand("c", 2.0))
    )
    assert zones(decision) == ["c", "b", "a"]
    assert "0.0 s slack" in decision.reason


def test_says_by_how_much_a_deadline_is_missed():
    decision = greedy.decide(run_view(remaining="10h", deadline_in="5h"), market(on_demand("a")))
    assert "5.1 h behind the deadline" in decision.reason


def test_never_pays_for_the_safety_net_once_nothing_can_meet_the_deadline():
    offers = (spot("a"), on_demand("b"))
    barely = run_view(remaining="10h", deadline_in="10h1m")
    assert zones(greedy.decide(barely, market(*offers))) == ["b", "a"], "less than a start behind may be an estimate's error"
    late = run_view(remaining="10h", deadline_in="9h59m")
    decision = greedy.decide(late, market(*offers))
    assert zones(decision) == ["a"]
    assert "7 min behind the deadline, which nothing can meet now" in decision.reason
    assert isinstance(greedy.decide(had_spot(late), market(on_demand("b"))), Wait), "spot may come before the deadline ends it"
    assert isinstance(greedy.decide(late, market(*offers, cooling={"a": NOW + HOUR})), Wait)


def test_what_a_machine_has_trained_since_its_last_save_may_still_meet_the_deadline():
    leaving = replace(run_view(remaining="10h", deadline_in="9h55m", current=placement("a"), notice_in=30), checkpoint_age=600.0)
    assert zones(greedy.decide(leaving, market(spot("a"), spot("c"), on_demand("b")))) == ["b", "c"]
    saved = replace(leaving, checkpoint_age=60.0)
    assert zones(greedy.decide(saved, market(spot("a"), spot("c"), on_demand("b")))) == ["c"]


def test_falls_back_on_spot_where_on_demand_is_not_allowed_and_time_is_up():
    decision = greedy.decide(run_view(deadline_in="1h", allowed=SPOT_ONLY), market(spot("a"), on_demand("b")))
    assert zones(decision) == ["a"]


def test_waits_when_spot_is_gone_and_time_is_plenty():
    decision = greedy.decide(had_spot(run_view(remaining="10h", deadline_in="40h")), market(on_demand("a")))
    assert isinstance(decision, Wait)
    assert "29.6 h slack" in decision.reason
    assert decision.until == NOW + 5 * MINUTE


def test_does_not_wait_for_ever_for_spot_that_nobody_sells():
    assert zones(greedy.decide(run_view(), market(on_demand("a")))) == ["a"]
    assert zones(greedy.decide(run_view(remaining="10h", deadline_in="40h"), market(on_demand("a")))) == ["a"]


def test_waits_for_the_first_cooldown_to_end():
    view = market(spot("a"), spot("b"), on_demand("c"), cooling={"a": NOW + HOUR, "b": NOW + 20 * MINUTE})
    decision = greedy.decide(run_view(deadline_in="40h"), view)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + 20 * MINUTE
    assert "all 2 places cool down, aws b for 20 min more" in decision.reason


def test_wakes_when_the_slack_ends_if_that_is_sooner():
    """10 h of work, 6 min to start, and in reserve half of that start and a fiftieth of the work, 3 and 12 min."""
    view = market(spot("a"), on_demand("c"), cooling={"a": NOW + HOUR})
    decision = greedy.decide(run_view(remaining="10h", deadline_in="10h31m"), view)
    assert isinstance(decision, Wait)
    assert decision.until == pytest.approx(NOW + 10 * MINUTE)


def test_takes_the_place_that_cools_shortest_only_when_waiting_breaks_the_deadline():
    view = market(spot("a"), spot("b"), cooling={"a": NOW + HOUR, "b": NOW + 20 * MINUTE})
    late = run_view(deadline_in="10h", allowed=SPOT_ONLY)
    assert zones(SpotOnly().decide(late, view)) == ["b"]
    assert "no time to wait" in SpotOnly().decide(late, view).reason
    assert isinstance(SpotOnly().decide(run_view(allowed=SPOT_ONLY), view), Wait)


def test_the_reason_counts_the_places_that_cool_down():
    view = market(spot("a"), spot("b"), spot("c"), cooling={"a": NOW + HOUR})
    assert "1 of 3 places cool down" in greedy.decide(run_view(), view).reason


def test_all_nodes_are_paid_for():
    assert "at $4.00/h" in greedy.decide(run_view(num_nodes=4), market(spot("a", 1.0))).reason


def test_on_demand_only_takes_no_spot_and_spot_only_no_on_demand():
    offers = (spot("a"), on_demand("b"))
    assert zones(OnDemandOnly().decide(run_view(), market(*offers))) == ["b"]
    assert zones(SpotOnly().decide(run_view(deadline_in="1h"), market(*offers))) == ["a"]


def test_nothing_on_offer_is_said_and_looked_at_again():
    decision = SpotOnly().decide(run_view(), market())
    assert isinstance(decision, Wait)
    assert decision.until == NOW + 5 * MINUTE
    assert "nothing on offer" in decision.reason


@given(
    st.sampled_from(sorted(POLICIES)),
    st.dictionaries(st.sampled_from("abcd"), st.floats(1, 1e5)),
    st.sampled_from([None, "1h", "10h30m", "100h"]),
    st.sampled_from([None, "a", "b"]),
)
def test_a_cooling_place_is_never_tried_while_another_may_be(
    name: str, cooldowns: dict[str, float], deadline: str | None, leaving: str | None
):
    offers = [make(zone) for zone in "abc" for make in (spot, on_demand)]
    view = market(*offers, cooling={zone: NOW + s for zone, s in cooldowns.items()})
    run = run_view(deadline_in=deadline, current=placement(leaving) if leaving else None, notice_in=30 if leaving else None)
    decision = POLICIES[name]().decide(run, view)
    if isinstance(decision, Wait):
        assert decision.until > NOW
    if isinstance(decision, Move) and decision.ranked[0].placement.zone in cooldowns:
        assert decision.reason.startswith("all ")
        assert "cool down" in decision.reason


def test_places_are_compared_by_the_work_that_an_hour_there_does_and_by_what_is_paid_beside_the_machine():
    """Three times as fast for twice as much is cheaper; not with a dollar an hour for data from elsewhere."""
    slow, fast = spot("a", 1.0), replace(spot("b", 2.0), pace=3.0)
    assert zones(greedy.decide(run_view(), market(slow, fast))) == ["b", "a"]
    assert zones(greedy.decide(run_view(), market(slow, replace(fast, aside=1.0)))) == ["a", "b"]
