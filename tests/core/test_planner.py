"""The plan: what fits, what it costs to finish there, and why the others lost."""

import math
import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import codec
from launcher.core.contract import SaveRule
from launcher.core.market.belief import MarketView, gang_life
from launcher.core.market.hazard import UP
from launcher.core.market.offer import Offer
from launcher.core.market.trace import FOREVER, NOTICE_PROBABILITY
from launcher.core.plan import estimate as estimates
from launcher.core.plan.candidates import interval_of
from launcher.core.plan.estimate import Task, estimate, saved_in_time
from launcher.core.plan.hopeless import hopeless
from launcher.core.plan.limits import accepted, allowed_capacities, lies_in
from launcher.core.plan.planner import Plan, plan
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import CheckpointSpec, Goal, Recipe, Resources
from launcher.core.run.billing import RULES, BillingRule
from launcher.units import HOUR, MINUTE
from tests.core.markets import NOW, market, on_demand, spot

TASK = Task(work=5 * HOUR, restart_cost=6 * MINUTE, stall=2.0, durable=30.0, step=0.5)


def recipe(
    *,
    resources: Resources | None = None,
    policy: Goal | None = None,
    every: str = "auto",
    residency: tuple[str, ...] = (),
    num_nodes: int = 1,
) -> Recipe:
    return Recipe(
        name="r",
        trainer={"kind": "launcher.trainers.gpt"},
        resources=resources or Resources(accelerators=("A100:1",)),
        policy=policy or Goal(),
        checkpoint=CheckpointSpec(every=every),
        residency=residency,
        num_nodes=num_nodes,
    )


def planned(
    *offers: Offer, task: Task = TASK, view: MarketView | None = None, policy: str = "auto", resources: Resources | None = None
) -> Plan:
    return plan(recipe(resources=resources), offers, task, view or MarketView(), POLICIES[policy](), NOW)


def zones(made: Plan) -> list[str | None]:
    return [c.offer.placement.zone for c in made.candidates]


# --- estimates


def test_an_undisturbed_run_takes_work_and_one_start():
    cost = estimate(replace(TASK, stall=0.0), price=3.0, life=1e9, interval=60.0)
    assert cost.elapsed == pytest.approx(5 * HOUR + 6 * MINUTE, rel=1e-3)
    assert cost.usd == pytest.approx(15.3, rel=1e-3)
    assert cost.restarts == pytest.approx(0, abs=1e-3)


def test_each_loss_costs_a_start_at_most_and_half_an_interval_and_what_is_not_durable():
    """Less where the machine did not live so long."""
    cost = estimate(replace(TASK, stall=0.0, durable=30.0), price=1.0, life=2 * HOUR, interval=8 * MINUTE)
    assert 0.5 < cost.redone / (cost.restarts * 4.5 * MINUTE) < 1
    assert 0.7 < (cost.restoring / (6 * MINUTE) - 1) / cost.restarts < 1


def test_never_saving_loses_all_that_a_lost_machine_had_made():
    never, often = (estimate(TASK, price=1.0, life=4 * HOUR, interval=i) for i in (None, 10 * MINUTE))
    assert never.redone > 5 * often.redone


@pytest.mark.parametrize("life", [2.5 * HOUR, 8.6 * HOUR])
def test_a_long_run_has_as_many_restarts_as_renewal_theory_says(life: float):
    """Cox 1962: time / mean life + (variance / mean² - 1) / 2."""
    dice, multiplier = random.Random(1), UP.multiplier_of(life)
    lives = [UP.rest(0.0, multiplier, dice) for _ in range(20_000)]
    cost = estimate(replace(TASK, work=100 * HOUR), price=1.0, life=life, interval=10 * MINUTE)
    mean = statistics.fmean(lives)
    expected = cost.elapsed / mean + (statistics.pvariance(lives) / mean**2 - 1) / 2
    assert cost.restarts == pytest.approx(expected, rel=0.08)
    assert expected > cost.elapsed / mean + 1


@pytest.mark.parametrize("hours", [60, 200])
def test_a_run_that_is_too_long_to_draw_goes_on_as_it_began(hours: int, monkeypatch: pytest.MonkeyPatch):
    def told() -> list[float]:
        cost = estimate(replace(TASK, work=hours * HOUR), price=1.0, life=2 * HOUR, interval=10 * MINUTE)
        return [cost.elapsed, cost.elapsed_p50, cost.elapsed_p90, cost.usd, cost.usd_p90]

    short = told()
    monkeypatch.setattr(estimates, "LIVES_MOST", math.inf)
    monkeypatch.setattr(estimates, "LOSSES_MOST", 10_000)
    estimates._drawn.cache_clear()
    assert short == pytest.approx(told(), rel=0.02)
    estimates._drawn.cache_clear()


def test_a_warning_that_leaves_time_for_a_save_costs_no_work():
    none, most = (estimate(TASK, price=1.0, life=HOUR, interval=600.0, saved_in_time=s).redone for s in (0.0, 0.8))
    assert most == pytest.approx(0.2 * none, rel=0.2)
    assert [saved_in_time(SaveRule(), lead, durable=30.0) for lead in (120.0, 30.0)] == [NOTICE_PROBABILITY, 0.0]
    assert saved_in_time(SaveRule(on_notice=False), 120.0, 30.0) == 0.0
    assert saved_in_time(SaveRule(never=True), 120.0, 30.0) == 0.0


def test_machines_are_paid_for_as_their_cloud_bills_them():
    """Lives below an hour are free on AWS when it takes them: most lives at this mean, and a fifth of the time at most."""
    aws, azure, minute = (
        estimate(TASK, price=1.0, life=2 * HOUR, interval=600.0, rule=rule)
        for rule in (RULES["aws"], RULES["azure"], BillingRule(minimum=HOUR, free_if_preempted_within=0, source="test"))
    )
    assert aws.elapsed == azure.elapsed == minute.elapsed
    assert azure.usd == pytest.approx(azure.elapsed / HOUR)
    assert 0.7 * azure.usd < aws.usd < 0.95 * azure.usd
    assert aws.usd_p90 < azure.usd_p90
    assert minute.usd > 1.3 * azure.usd


def test_all_nodes_are_paid_for():
    one, four = (estimate(replace(TASK, num_nodes=n), price=1.0, life=HOUR, interval=60.0).usd for n in (1, 4))
    assert four == pytest.approx(4 * one)


@given(life=st.floats(60, 1e9), interval=st.one_of(st.none(), st.floats(1, 7200)), work=st.floats(1, 1e6))
def test_the_parts_of_an_estimate_add_up_and_none_is_negative(life: float, interval: float | None, work: float):
    cost = estimate(replace(TASK, work=work), price=1.0, life=life, interval=interval)
    assert cost.elapsed == pytest.approx(work + cost.saving + cost.restoring + cost.redone)
    assert min(cost.elapsed, cost.restarts, cost.saving, cost.restoring, cost.redone, cost.usd) >= 0
    assert cost.elapsed >= work


# --- the plan


def test_candidates_are_ranked_by_the_cost_to_finish_and_the_policys_choice_is_marked():
    made = planned(spot("a", 1.5), spot("b", 1.0), on_demand("c", 4.0))
    assert zones(made) == ["b", "a", "c"]
    assert [c.is_chosen for c in made.candidates] == [True, False, False]
    assert made.chosen is not None
    assert made.chosen.why == ""
    assert "spot aws b" in made.reason


def test_a_gang_is_lost_sooner_than_a_machine_of_it_and_not_as_often_as_all_of_them():
    alone, eight = (planned_for(nodes).candidates[0] for nodes in (1, 8))
    assert eight.life == pytest.approx(alone.life / 8**0.3) == gang_life(alone.life, 8)
    assert eight.estimate.restarts > 1.5 * alone.estimate.restarts
    assert eight.usd > 8 * alone.usd
    assert gang_life(FOREVER, 8) == FOREVER


def planned_for(nodes: int) -> Plan:
    task = replace(TASK, num_nodes=nodes)
    return plan(recipe(num_nodes=nodes), (spot("a", life=4 * HOUR, cloud="azure"),), task, MarketView(), POLICIES["auto"](), NOW)


def test_a_cheap_place_with_short_lives_loses_and_the_plan_says_why():
    made = planned(spot("a", 1.0, life=9 * MINUTE, cloud="azure"), spot("b", 1.2, life=10 * HOUR))
    assert zones(made) == ["b", "a"]
    assert "less per hour, but" in made.candidates[1].why
    assert "restarts" in made.candidates[1].why


def test_a_node_with_eight_gpus_is_paid_whole():
    made = planned(spot("a", 1.0), spot("b", 8.0, gpus=8))
    assert made.candidates[1].why == "8 GPUs for one"
    assert made.candidates[1].estimate.usd == pytest.approx(8 * made.candidates[0].estimate.usd)


def test_losers_say_how_much_dearer_they_are():
    made = planned(spot("a", 1.0), spot("b", 1.2), spot("c", 3.5))
    assert [c.why for c in made.candidates] == ["", "20 % more", "3.5 times as much"]


def test_a_cooling_place_is_listed_but_not_chosen():
    offers = (spot("a", 1.0), spot("b", 2.0))
    made = planned(*offers, view=market(*offers, cooling={"a": NOW + 12 * MINUTE}))
    assert zones(made) == ["a", "b"]
    assert [c.is_chosen for c in made.candidates] == [False, True]
    assert made.candidates[0].why == "cools down for 12 min"


def test_the_choice_is_the_policys_even_where_it_is_not_the_cheapest():
    made = planned(spot("a", 1.0), on_demand("b", 3.0), policy="on-demand")
    assert made.chosen is not None
    assert made.chosen.offer.placement.zone == "b"
    assert made.candidates[0].why == "not what the policy on-demand takes first"


def test_savings_are_measured_against_the_cheapest_on_demand_place_even_if_none_may_be_bought():
    made = planned(
        spot("a", 1.0), on_demand("b", 3.0), on_demand("c", 3.5), resources=Resources(use_spot="true", max_hourly_cost=2.0)
    )
    assert zones(made) == ["a"]
    assert made.on_demand_price == 3.0
    assert made.on_demand_usd == pytest.approx(3.0 * 5.1)


def test_nothing_that_fits_names_the_nearest_miss():
    made = planned(spot("a", 1.5), on_demand("b", 3.0), resources=Resources(accelerators=("A100:1",), max_hourly_cost=1.0))
    assert made.candidates == ()
    assert made.chosen is None
    assert made.nearest_miss == (
        "aws a x1 (spot) at $1.50/h: its $1.50/h is above resources.max_hourly_cost $1.00/h; "
        "allow $1.50/h as resources.max_hourly_cost to fit: +$7.44"
    )


def test_a_plan_that_fits_has_no_miss():
    assert planned(spot("a")).nearest_miss is None


def test_a_plan_is_journaled_and_read_back():
    made = planned(spot("a"), on_demand("b"), policy="greedy")
    assert codec.loads(Plan, codec.dumps(made)) == made


def test_the_checkpoint_interval_comes_with_its_reason_in_both_clocks():
    task = Task(work=HOUR, restart_cost=600, stall=4.0, durable=60.0, step=4.0, speed=200.0)
    assert str(planned(spot("a", life=HOUR), task=task).saving) == (
        "checkpoint every 3 min there = 0.8 s here (stall 0.02 s, durable 0.3 s here; √(2·stall·life))"
    )
    slow = replace(task, durable=400.0)
    assert "not below the durable time" in planned(spot("a", life=HOUR), task=slow).saving.reason


@pytest.mark.parametrize(
    ("rule", "interval"),
    [
        (SaveRule(never=True), None),
        (SaveRule(seconds=300), 300),
        (SaveRule(steps=200), 100),
        (SaveRule(mean_life=3600), 120),
        (SaveRule(mean_life=1e9), 600),
    ],
)
def test_intervals_follow_the_recipe(rule: SaveRule, interval: float | None):
    assert interval_of(rule, TASK) == interval


def test_no_interval_is_shorter_than_a_step():
    assert interval_of(SaveRule(), replace(TASK, stall=0.0, durable=0.0, step=7.0)) == 7.0


def test_notes_warn_of_a_deadline_or_budget_that_will_not_do():
    assert planned(spot("a")).notes == ()
    made = plan(recipe(policy=Goal(deadline=HOUR, budget=0.5)), (spot("a"),), TASK, MarketView(), POLICIES["auto"](), NOW)
    text = " ".join(made.notes)
    assert "only while something supervises" in text
    assert "the deadline is 60 min" in text
    assert "$0.15 in reserve for the last machine's end; the budget is $0.50" in text


def test_a_budget_below_the_total_with_the_reserve_is_noted():
    total = planned(spot("a")).candidates[0].estimate.usd
    noted = [
        any("in reserve" in note for note in plan(of, (spot("a"),), TASK, MarketView(), POLICIES["auto"](), NOW).notes)
        for of in (recipe(policy=Goal(budget=total + more)) for more in (0.14, 0.16))
    ]
    assert noted == [True, False]


def test_a_goal_that_no_machine_can_meet_is_told_before_the_start_with_one_that_will_do():
    candidates = planned(spot("a"), on_demand("b")).candidates

    def told(policy: Goal) -> str | None:
        return hopeless(recipe(policy=policy), TASK, candidates, NOW)

    assert told(Goal()) is None
    assert told(Goal(deadline=5.1 * HOUR, budget=0.35)) is None
    assert told(Goal(deadline=5 * HOUR)) == (
        "the deadline is in 5.0 h, and 6 min to start and 5.0 h of work take 5.1 h even where no machine is lost; "
        "policy.deadline=5h7m is the least, and policy.deadline=11h would do"
    )
    assert told(Goal(budget=0.3)) == (
        "the budget is $0.30, and the least attempt takes $0.35: 6 min to start, 6 min to train, 9 min in reserve, at $1.00/h; "
        "policy.budget=6.6 would do"
    )


def test_what_would_do_for_a_program_is_said_to_be_for_what_the_totals_are_for():
    program = replace(recipe(policy=Goal(budget=0.3)), trainer=None, run="python train.py")
    told = hopeless(program, replace(TASK, work=HOUR), planned(spot("a")).candidates, NOW)
    assert told is not None
    assert told.endswith(" would do for 60 min of training")


def test_no_deadline_is_called_too_short_for_work_that_nobody_knows():
    program = replace(recipe(policy=Goal(deadline=HOUR)), trainer=None, run="python train.py")
    assert hopeless(program, TASK, planned(spot("a")).candidates, NOW) is None


def test_a_program_of_ones_own_is_told_when_its_folder_is_looked_at():
    program = replace(recipe(), trainer=None, run="python train.py")
    task = replace(TASK, stall=4.0, durable=60.0, step=None, speed=200.0)
    made = plan(program, (spot("a", life=HOUR),), task, MarketView(), POLICIES["auto"](), NOW)
    assert str(made.saving) == (
        "checkpoints: the whole files in the program's folder, looked for every 2 s here; with launcher.train "
        "every 3 min there = 0.8 s here (stall 0.02 s, durable 0.3 s here; √(2·stall·life))"
    )


def test_notes_say_when_the_estimate_is_rough():
    assert any("rough" in note for note in planned(spot("a", life=8 * MINUTE)).notes)


# --- limits


def fitting_zones(offers: tuple[Offer, ...], made: Recipe) -> list[str | None]:
    return [o.placement.zone for o in accepted(made, offers)]


def test_a_node_with_too_few_gpus_does_not_fit():
    offers = (spot("a"), spot("b", gpus=8))
    assert fitting_zones(offers, recipe(resources=Resources(accelerators=("A100:4",)))) == ["b"]
    assert fitting_zones(offers, recipe(resources=Resources(accelerators=("a100",)))) == ["a", "b"]
    assert fitting_zones(offers, recipe(resources=Resources(accelerators=("H100:1",)))) == []


def test_infra_narrows_to_clouds_regions_and_zones_and_local_rehearses_all():
    offers = (spot("us-east-1a"), spot("us-central1-b", cloud="gcp"))
    found = {
        infra: len(fitting_zones(offers, recipe(resources=Resources(infra=infra))))
        for infra in [(), ("local",), ("aws",), ("gcp", "aws"), ("aws/us-east-1",), ("aws/us-west-2",), ("aws/*/us-east-1a",)]
    }
    assert list(found.values()) == [2, 2, 1, 2, 1, 0, 1]


@pytest.mark.parametrize(
    ("cloud", "region", "area", "is_within"),
    [
        ("aws", "eu-west-1", "eu", True),
        ("aws", "eu-west-2", "eu", False),
        ("gcp", "europe-west4", "EU", True),
        ("gcp", "europe-west2", "eu", False),
        ("azure", "westeurope", "eu", True),
        ("azure", "uksouth", "eu", False),
        ("aws", "us-east-1", "eu", False),
        ("azure", "eastus2", "us", True),
        ("gcp", "us-central1", "us-central1", True),
        ("gcp", "us-east1", "us-central1", False),
    ],
)
def test_residency_follows_the_law_not_the_name(cloud: str, region: str, area: str, is_within: bool):
    assert lies_in(cloud, region, area) is is_within


def test_residency_limits_the_candidates():
    offers = (spot("us-east-1a"), spot("eu-west-1b"))
    assert fitting_zones(offers, recipe(residency=("eu",))) == ["eu-west-1b"]


def test_use_spot_and_fallback_say_what_may_be_bought():
    def allowed(use_spot: str, *, fallback: bool = True) -> list[str]:
        return sorted(
            allowed_capacities(recipe(resources=Resources(use_spot=use_spot), policy=Goal(on_demand_fallback=fallback)))
        )

    assert allowed("auto") == ["on-demand", "spot"]
    assert allowed("auto", fallback=False) == ["spot"]
    assert allowed("true") == ["spot"]
    assert allowed("false") == ["on-demand"]
