"""What is left of a budget or a deadline, what it buys, and what a pause asks for."""

from dataclasses import replace

import pytest

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Offer
from launcher.core.plan.estimate import Task
from launcher.core.plan.planner import plan
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal, Resources
from launcher.core.run import events as ev
from launcher.core.run.deliberate import deliberate
from launcher.core.run.interpret import TAKEN_GRACE
from launcher.core.run.observation import Sightings, Watch, left, look, recalled
from launcher.core.run.purse import budget_ends_at, committed, enough, later_stop, reserve, time_enough
from launcher.core.run.state import RunState
from launcher.core.run.verdict import judge
from launcher.units import HOUR, UsdPerHour
from tests.builders import (
    NOW,
    after,
    claimed,
    granted,
    lost,
    new_run,
    noticed,
    recipe,
    requested,
    running,
    started,
    training_run,
)
from tests.builders import committed as commit
from tests.core.markets import market, spot

MARKET = market(spot("us-east-1a", 0.9), spot("us-east-1b", 1.0), spot("us-west-2a", 1.1))


def decide(state: RunState, view: MarketView = MARKET) -> tuple[ev.Event, ...]:
    return deliberate(state, POLICIES["spot"](), view, Watch(), NOW).events


def test_stop_at_leaves_room_for_a_save_and_for_the_machines_deletion():
    state = new_run(recipe(policy=Goal(budget=2.0)))
    stop_at = budget_ends_at(state, spot("a", 1.0), NOW)
    assert stop_at is not None
    assert (stop_at - NOW + reserve(state)) / HOUR * 1.0 == pytest.approx(2.0)


def test_an_overlapping_attempt_counts_the_older_one_as_running_to_its_own_end():
    state = new_run(recipe(policy=Goal(budget=2.0)))
    stop_at = budget_ends_at(state, spot("us-east-1a", 1.0), NOW)
    state = after(state, requested(state, stop_at=stop_at), started(1))
    assert committed(state, NOW) == pytest.approx(2.0)


def dear_later(zone: str = "us-east-1a", cap: UsdPerHour = 3.0) -> Offer:
    return replace(spot(zone, 1.0), price_cap=cap)


def living(budget: float, *, nodes: int = 1, offer: Offer | None = None) -> RunState:
    """An attempt that was told when the budget ends it, and runs."""
    state = new_run(recipe(policy=Goal(budget=budget), num_nodes=nodes))
    offer = offer or dear_later()
    stop_at = budget_ends_at(state, offer, NOW)
    return after(state, replace(requested(state, stop_at=stop_at), offer=offer), started(1))


def test_what_a_machine_cost_less_than_its_cap_buys_time_that_the_budget_still_pays_for_at_the_cap():
    state = living(30.0, nodes=2)
    now, records = NOW, 0
    while (stop_at := state.attempts[1].stop_at) is not None and now < stop_at:
        [moved] = deliberate(state, POLICIES["spot"](), market(dear_later()), Watch(), now).events or [None]
        if isinstance(moved, ev.StopAtMoved):
            state, records = after(state, moved), records + 1
            assert committed(state, now) == pytest.approx(30.0), "whoever supervises no more"
        now += 60.0
    assert 30.0 - 2 * (now - NOW) / HOUR * 1.0 < 3 * 2 * reserve(state) / HOUR * 3.0, "14 h of 15 instead of 5"
    assert records < 15


def test_under_a_notice_a_machine_gives_its_successor_what_it_will_not_live_to_spend():
    state, at = after(living(30.0), claimed(1), granted(1)), NOW + HOUR
    places = market(dear_later(), dear_later("us-west-2a"))
    assert committed(state, at) == pytest.approx(28.0), "all but what an hour has cost less"
    state = after(state, noticed(1, at=at))
    [moved] = deliberate(state, POLICIES["spot"](), places, Watch(), at + 1).events
    assert isinstance(moved, ev.StopAtMoved)
    assert moved.stop_at == state.attempts[1].notice_ends_at + TAKEN_GRACE
    state = after(state, moved)
    [asked] = deliberate(state, POLICIES["spot"](), places, Watch(), at + 1).events
    assert isinstance(asked, ev.AttemptRequested)
    state = after(state, asked)
    assert committed(state, at + 1) == pytest.approx(30.0), "whoever supervises no more"
    withdrawn = after(state, noticed(1, at=at + 2, number=2, withdrawn=True))
    assert later_stop(withdrawn, withdrawn.attempts[1], at + 2) is None, "it is the successor's now"


def test_a_machine_whose_clock_is_ahead_is_not_ended_by_what_it_gives_back_before_its_notice_does():
    """It stops by its own clock, and ours was minutes behind: told of a notice, it was ended at once."""
    ahead = 600.0
    state, at = after(living(30.0), claimed(1), granted(1)), NOW + HOUR
    warned = noticed(1, at=at)
    state = after(state, replace(warned, notice=replace(warned.notice, at=at + ahead, ends_at=at + ahead + 120)))
    [moved] = deliberate(state, POLICIES["spot"](), market(dear_later()), Watch(), at + 1).events
    assert isinstance(moved, ev.StopAtMoved)
    assert moved.stop_at == at + ahead + 120


def test_a_notice_that_is_withdrawn_before_a_successor_was_asked_for_gives_it_back():
    state, at = after(living(30.0), claimed(1), granted(1)), NOW + HOUR
    state = after(state, noticed(1, at=at))
    [moved] = deliberate(state, POLICIES["spot"](), market(), Watch(), at + 1).events
    state = after(state, moved, noticed(1, at=at + 2, number=2, withdrawn=True))
    [back] = deliberate(state, POLICIES["spot"](), market(dear_later()), Watch(), at + 3).events
    assert isinstance(back, ev.StopAtMoved)
    assert committed(after(state, back), at + 3) == pytest.approx(30.0)


@pytest.mark.parametrize("places", [market(replace(dear_later(), price=1.01)), market()])
def test_a_withdrawn_notice_costs_no_machine_its_time_though_its_price_has_risen_or_is_not_told(places: MarketView):
    first = after(living(30.0), claimed(1), granted(1))
    state, at = after(first, noticed(1, at=NOW + HOUR)), NOW + HOUR
    [moved] = deliberate(state, POLICIES["spot"](), places, Watch(), at + 1).events
    withdrawn = after(state, moved, noticed(1, at=at + 2, number=2, withdrawn=True))
    [back] = deliberate(withdrawn, POLICIES["spot"](), places, Watch(), at + 3).events
    again = after(withdrawn, back)
    assert again.attempts[1].stop_at == first.attempts[1].stop_at
    assert deliberate(again, POLICIES["spot"](), places, Watch(), at + 4).events == ()
    followed = after(state, moved, requested(state, stop_at=at + HOUR), noticed(1, at=at + 2, number=2, withdrawn=True))
    moves = deliberate(followed, POLICIES["spot"](), places, Watch(), at + 3).events
    assert not any(isinstance(event, ev.StopAtMoved) for event in moves), "it is the successor's now"


def test_time_that_is_not_worth_a_start_is_no_record():
    state = living(30.0)
    assert state.attempts[1].stop_at is not None
    early, due = NOW + 4 * HOUR, NOW + 7 * HOUR
    assert later_stop(state, state.attempts[1], early) is None, "9.8 h of which 5.8 are left: 2.7 are gained"
    assert later_stop(state, state.attempts[1], due) == pytest.approx(due + 23 / 3 * HOUR - reserve(state))
    assert later_stop(state, state.attempts[1], state.attempts[1].stop_at + 1) is None, "it has ended"
    nearly = living(1.0, offer=dear_later(cap=1.01))
    assert all(later_stop(nearly, nearly.attempts[1], NOW + m * 60) is None for m in range(60))


def test_the_same_budget_is_given_to_one_machine_only():
    state = living(30.0)
    later = NOW + 7 * HOUR
    second = replace(requested(state, "b", at=later, stop_at=later + HOUR), offer=dear_later("b"))
    state = after(state, second, started(2, at=later))
    taken = 3.0 * (HOUR + reserve(state)) / HOUR
    assert later_stop(state, state.attempts[1], later) == pytest.approx(later + (23 - taken) / 3 * HOUR - reserve(state))


def test_no_time_is_given_where_the_price_has_risen_or_is_not_known():
    state, later = living(30.0), NOW + 7 * HOUR
    offers = (dear_later(), replace(dear_later(), price=1.1), dear_later("us-west-2a"))
    told = [deliberate(state, POLICIES["spot"](), market(offer), Watch(), later).events for offer in offers]
    assert [[type(event) for event in events] for events in told] == [[ev.StopAtMoved], [], []]


def test_no_machine_is_asked_for_whose_price_now_is_above_the_limit():
    limited = recipe(resources=Resources(max_hourly_cost=1.0))
    view = market(replace(spot("us-east-1a", 1.1), price_cap=1.1), replace(spot("us-east-1b", 1.0), price_cap=3.0))
    [event] = decide(new_run(limited), view)
    assert isinstance(event, ev.AttemptRequested)
    assert event.offer.placement.zone == "us-east-1b"
    assert decide(new_run(limited), market(spot("us-east-1a", 1.1))) == ()


def test_a_budget_that_buys_no_start_pauses_with_exit_4_and_says_what_is_left():
    state = new_run(recipe(policy=Goal(budget=0.01)))
    [event] = decide(state)
    assert isinstance(event, ev.RunPaused)
    assert event.exit_code == 4
    assert event.reason == (
        "$0.0100 is left of the budget of $0.0100, and the least attempt takes $0.28: "
        "5 min to start, 5 min to train, 9 min in reserve, at $0.90/h"
    )


def test_the_budget_that_a_pause_asks_for_buys_what_is_left_to_do():
    state = after(
        new_run(recipe(policy=Goal(budget=0.28))), ev.SpeedChosen(at=NOW, speed=1, startup_s=300, work_s=HOUR, reason="")
    )
    [event] = decide(state)
    assert isinstance(event, ev.RunPaused)
    # 1.25 times 0.98 for an hour of work, a start and losses; and 0.29 for one attempt more.
    assert event.needs == "policy.budget=1.6"
    for budget, goes_on in ((0.28, False), (0.29, True), (1.6, True)):
        [event] = decide(replace(state, recipe=recipe(policy=Goal(budget=budget))))
        assert isinstance(event, ev.AttemptRequested) is goes_on


def test_a_deadline_that_nothing_can_meet_pauses_before_a_machine_is_bought():
    chosen = ev.SpeedChosen(at=NOW, speed=1, startup_s=300, work_s=10 * HOUR, reason="")
    state = after(new_run(deadline_at=NOW + 10 * HOUR), chosen)
    [event] = decide(state)
    assert isinstance(event, ev.RunPaused)
    assert (event.exit_code, event.needs) == (4, "policy.deadline=21h")
    assert event.reason == (
        "the deadline is in 10.0 h, and 5 min to start and 10.0 h of work take 10.1 h even where no machine is lost"
    )
    [event] = decide(replace(state, deadline_at=NOW + 10.1 * HOUR))
    assert isinstance(event, ev.AttemptRequested)
    begun = after(state, requested(state))
    assert judge(begun, NOW) is None, "what was begun goes on until the deadline passes"
    resumed = after(begun, lost(1), ev.RunPaused(at=NOW, exit_code=130, reason="test"))
    resumed = after(resumed, ev.RunResumed(at=NOW, recipe=resumed.recipe, deadline_at=NOW + 10 * HOUR))
    [event] = decide(resumed)
    assert isinstance(event, ev.RunPaused)


def test_the_deadline_asked_for_allows_what_the_plan_of_an_unknown_work_is_for():
    state = after(new_run(), ev.SpeedChosen(at=NOW, speed=1, startup_s=300, work_s=None, reason=""))
    assert time_enough(state, state.created_at + 600) == "policy.deadline=3h", "600 s, and twice 60 min of training and a start"
    assert time_enough(state, state.created_at + 10 * HOUR) == "policy.deadline=21h"


def test_what_is_asked_for_counts_with_the_load_that_the_plan_was_made_under():
    state = after(new_run(), ev.SpeedChosen(at=NOW, speed=1, startup_s=300, work_s=HOUR, reason=""))
    task = Task(work=3 * HOUR, restart_cost=300.0, stall=1.0, durable=10.0)
    made = plan(state.recipe, MARKET.offers, task, MARKET, POLICIES["spot"](), NOW)
    assert enough(state, spot("a", 1.0), NOW) == "policy.budget=1.8"
    assert enough(after(state, ev.PlanMade(at=NOW, plan=made)), spot("a", 1.0), NOW) == "policy.budget=4.4"


def test_what_a_run_has_cost_so_far_tells_what_the_rest_will_cost_once_enough_is_done():
    state = after(training_run(), ev.SpeedChosen(at=NOW, speed=1, startup_s=300, work_s=HOUR, reason=""))
    later = NOW + 5 * HOUR  # at 1 $/h, for an hour of work by the estimate
    asked = {step: enough(after(state, commit(1, 1, step)), spot("a", 1.0), later) for step in (100, 500)}
    assert asked == {100: "policy.budget=6.6", 500: "policy.budget=12"}


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_limit_ends_no_machine_before_the_cloud_says_that_it_is_there(is_listed: bool):
    """Who slept for a weekend counts what is gone to now, and paused the run for a budget that nobody had spent."""
    state = training_run(recipe(policy=Goal(budget=5.0)))
    monday = NOW + 60 * HOUR

    def decide_after(*seen: Sightings) -> list[str]:
        watch = Watch()
        for number, one in enumerate(seen):
            watch = look(watch, one, state.living, 60.0 * number, 1e9)
        return [type(event).__name__ for event in deliberate(state, POLICIES["spot"](), MARKET, watch, monday).events]

    unanswered, found = Sightings(), Sightings(instances={1: running(1)} if is_listed else {})
    assert decide_after(unanswered) == []
    assert decide_after(unanswered, found) == (["AttemptUnwanted"] if is_listed else [])
    assert decide_after(*[unanswered] * 4) == ["AttemptUnwanted"], "a cloud that stays away keeps nobody from the limit"


def test_no_machine_is_asked_for_after_the_deadline_while_the_last_one_is_looked_for():
    """Who came back after a weekend missed it, asked for another, and called that off once the first was known to be lost."""
    state = replace(training_run(), deadline_at=NOW + HOUR)
    monday, found = NOW + 60 * HOUR, Sightings(instances={})
    watch = look(Watch(), found, state.living, 0.0, 1e9)
    state = after(state, ev.InstanceMissed(at=monday, attempt=1))
    assert deliberate(state, POLICIES["spot"](), MARKET, watch, monday).events == ()


def test_a_visit_after_days_without_one_asks_the_cloud_before_a_limit_ends_its_machine():
    """A new process is never answered at its first look: what passed before counted as a cloud that stayed away."""
    state = training_run(recipe(policy=Goal(budget=5.0)))
    friday = look(Watch(), Sightings(instances={1: running(1)}), state.living, 0.0, 60.0)
    on_monday = recalled(left(friday, last=4, boot_id="b", back_at=None), boot_id="b", mono=60 * HOUR)
    watch = look(on_monday, Sightings(), state.living, 60 * HOUR, 60.0)
    assert deliberate(state, POLICIES["spot"](), MARKET, watch, NOW + 60 * HOUR).events == ()
    for minute in (1, 2, 3):
        again = recalled(left(watch, last=4, boot_id="b", back_at=None), boot_id="b", mono=60 * HOUR + 60 * minute)
        watch = look(again, Sightings(), state.living, 60 * HOUR + 60 * minute, 60.0)
    assert deliberate(state, POLICIES["spot"](), MARKET, watch, NOW + 60 * HOUR + 180).events, "nor does it wait for ever"
