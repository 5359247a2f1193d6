"""A quota that was refused: where it counts, for how long, what ends it, and what the plan says of it."""

from dataclasses import replace

import pytest

from launcher.core.market.lives import Lesson, Outcome, seed
from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.core.plan.estimate import Task
from launcher.core.plan.limits import accepted, standing
from launcher.core.plan.planner import Plan, plan
from launcher.core.plan.quotas import remedy
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Recipe, Resources, RetrySpec
from launcher.units import HOUR, MINUTE, Seconds
from tests.core.markets import NOW, on_demand, placement, spot

TASK = Task(work=5 * HOUR, restart_cost=6 * MINUTE, stall=2.0, durable=30.0, step=0.5)
HERE = placement("us-east-1a", gpus=8)


def answer(
    why: str = "quota", outcome: Outcome = Outcome.REFUSED, *, ago: Seconds = HOUR, where: Placement = HERE, num_nodes: int = 1
) -> Lesson:
    return Lesson(
        run="r", incarnation=f"{ago}", attempt=1, at=NOW - ago, placement=where, outcome=outcome, why=why, num_nodes=num_nodes
    )


def recipe(**more: object) -> Recipe:
    resources = Resources(accelerators=("A100:8", "A100:4", "A100:1", "H100:8"))
    return replace(Recipe(name="r", run="x", resources=resources), **more)  # type: ignore[arg-type]


def may_have(offer: Offer, *told: Lesson, of: Recipe | None = None, after: Seconds = 0.0) -> bool:
    wanted = of or recipe()
    return accepted(wanted, (offer,), standing(wanted, seed(told, NOW).quotas, NOW + after)) == (offer,)


def planned(*offers: Offer, of: Recipe | None = None) -> Plan:
    return plan(of or recipe(), offers, TASK, seed([answer()], NOW), POLICIES["auto"](), NOW)


@pytest.mark.parametrize(
    ("offer", "may"),
    [
        (spot("us-east-1a", gpus=8), False),
        (spot("us-east-1b", gpus=8), False),
        (spot("us-east-1b", gpus=4), True),
        (on_demand("us-east-1a", gpus=8), True),
        (spot("us-west-2a", gpus=8), True),
        (spot("us-east-1a", gpus=8, cloud="gcp"), True),
    ],
)
def test_it_is_of_a_region_a_market_and_as_many_gpus_or_more(offer: Offer, may: bool) -> None:
    assert may_have(offer, answer()) is may


def test_it_is_of_one_model() -> None:
    other = spot("us-east-1a", gpus=8)
    other = replace(other, placement=replace(other.placement, accelerator="H100"))
    assert may_have(other, answer())


def test_machines_of_a_gang_count_together() -> None:
    four = spot("us-east-1b", gpus=4)
    assert not may_have(four, answer(), of=recipe(num_nodes=2))
    assert may_have(four, answer(where=placement("us-east-1a", gpus=4), num_nodes=2))
    assert not may_have(four, answer(where=placement("us-east-1a", gpus=4), num_nodes=2), of=recipe(num_nodes=3))


def test_it_is_asked_for_again_after_a_day_or_when_the_recipe_says() -> None:
    offer = spot("us-east-1a", gpus=8)
    assert not may_have(offer, answer(), after=22.9 * HOUR)
    assert may_have(offer, answer(), after=23 * HOUR)
    assert may_have(offer, answer(), of=recipe(retry=RetrySpec(quota=HOUR)))
    assert may_have(offer, answer(ago=0.0), of=recipe(retry=RetrySpec(quota=0.0)))


def test_a_clock_that_was_ahead_keeps_nothing_from_anybody_for_longer_than_a_refusal_of_now() -> None:
    assert may_have(spot("us-east-1a", gpus=8), answer(ago=-400 * 24 * HOUR), after=24 * HOUR)


@pytest.mark.parametrize(
    ("later", "may"),
    [
        (answer("", Outcome.HELD, ago=MINUTE), True),
        (answer("", Outcome.LOST, ago=MINUTE), True),
        (answer("", Outcome.HELD, ago=MINUTE, where=placement("us-east-1b", gpus=8)), True),
        (answer("capacity", ago=MINUTE), True),
        (answer("silent", ago=MINUTE), True),
        (answer("unreachable", ago=MINUTE), False),
        (answer("", Outcome.HELD, ago=MINUTE, where=placement("us-east-1a", gpus=4)), False),
        (answer("", Outcome.HELD, ago=MINUTE, where=placement("us-east-1a", Capacity.ON_DEMAND, gpus=8)), False),
        (answer("", Outcome.HELD, ago=MINUTE, where=placement("us-west-2a", gpus=8)), False),
        (answer("", Outcome.HELD, ago=2 * HOUR), False),
    ],
)
def test_the_last_answer_counts_of_as_many_gpus(later: Lesson, may: bool) -> None:
    assert may_have(spot("us-east-1a", gpus=8), answer(), later) is may


def test_of_two_refusals_each_counts_for_its_time() -> None:
    """One GPU yesterday, eight today: one is asked for again before eight are. The other way round the newer says all."""
    one, eight = placement("us-east-1a", gpus=1), placement("us-east-1a", gpus=8)
    told = (answer(ago=23 * HOUR, where=one), answer(where=eight))
    assert [may_have(spot("us-east-1b", gpus=n), *told) for n in (1, 8)] == [False, False]
    assert [may_have(spot("us-east-1b", gpus=n), *told, after=2 * HOUR) for n in (1, 8)] == [True, False]
    assert len(seed([answer(ago=23 * HOUR, where=eight), answer(where=one)], NOW).quotas) == 1


def test_the_plan_leaves_it_out_and_says_what_it_would_cost_and_what_helps() -> None:
    kept, other = spot("us-east-1a", 5.0, gpus=8), spot("us-west-2a", 9.0, gpus=8)
    made = planned(kept, spot("us-east-1b", 6.0, gpus=8), other)
    assert [c.offer for c in made.candidates] == [other]
    (found,) = made.withheld
    free = planned(kept, other, of=recipe(retry=RetrySpec(quota=0.0)))
    assert (found.num_places, found.usd) == (2, free.candidates[0].usd)
    told = f"A100:8 (spot) in aws us-east-1, ${found.usd:.2f} and more in 2 places, refused 60 min ago, tried again in 23.0 h"
    assert found.told(NOW) == told
    assert remedy([found]) == "ask for more at https://console.aws.amazon.com/servicequotas; retry.quota=0s tries again at once"
    assert free.withheld == ()


def test_what_the_recipe_would_not_accept_anyway_is_no_loss() -> None:
    limited = recipe(resources=Resources(accelerators=("A100:8",), max_hourly_cost=5.5))
    made = planned(spot("us-east-1a", 5.0, gpus=8), spot("us-east-1b", 6.0, gpus=8), spot("us-west-2a", 5.4, gpus=8), of=limited)
    assert made.withheld[0].num_places == 1


def test_where_nothing_else_fits_the_quota_is_the_nearest_miss() -> None:
    made = planned(spot("us-east-1a", 5.0, gpus=8))
    assert made.nearest_miss is not None
    assert "aws refused a quota of A100:8 (spot) in aws us-east-1 at 1970-01-12 12:46 UTC" in made.nearest_miss
    assert "; get a quota of A100:8 (spot) in aws us-east-1 or write retry.quota=0s to fit: +$" in made.nearest_miss


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (answer("capacity", ago=10 * MINUTE), "had no capacity lately, cools down for 20 min"),
        (answer("", Outcome.LOST, ago=10 * MINUTE), "took a machine lately, cools down for 20 min"),
    ],
)
def test_a_place_that_had_no_capacity_is_a_candidate_that_says_so(told: Lesson, said: str) -> None:
    offers = (spot("us-east-1a", 5.0, gpus=8), spot("us-west-2a", 9.0, gpus=8))
    made = plan(recipe(), offers, TASK, seed([told], NOW), POLICIES["auto"](), NOW)
    assert made.candidates[0].why == said
    assert made.candidates[1].is_chosen


def test_a_quota_that_is_to_be_tried_again_at_once_has_nothing_to_cool_down() -> None:
    offers = (spot("us-east-1a", 5.0, gpus=8), spot("us-west-2a", 9.0, gpus=8))
    again = recipe(retry=RetrySpec(quota=0.0))
    made = plan(again, offers, TASK, seed([answer(ago=MINUTE)], NOW), POLICIES["auto"](), NOW)
    assert made.candidates[0].is_chosen
