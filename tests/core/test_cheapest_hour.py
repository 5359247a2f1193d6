"""The cheapest hour loses: each way in which it does, with its arithmetic, in the plan's ranking, its choice and its words.

The job of most of these is ten hours of one A100. A start takes 5 min. On demand nothing is lost, so hours are work, the first
start, and a stall of 5 s for each 10 min of it.
"""

import math
from dataclasses import replace

import pytest

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Offer
from launcher.core.market.quote import Quote
from launcher.core.plan.hopeless import unaffordable
from launcher.core.plan.planner import Plan, plan
from launcher.core.plan.shopping import haul_of, offers_of, times
from launcher.core.plan.transfer import Haul, Site, usd_per_gb
from launcher.core.plan.work import work_in
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import CheckpointSpec, Goal, Keep, Recipe, Resources
from launcher.units import HOUR, MINUTE
from tests.core.markets import NOW

EVERY_GPU = ("A100:1", "T4:1")
RECIPE = Recipe(name="r", run="python train.py", resources=Resources(infra=("aws", "gcp", "azure"), accelerators=EVERY_GPU))
TEN_HOURS = work_in(10 * HOUR, "A100", 1, RECIPE, basis="ten hours of an A100")
GB = 10**9
SAVING = 10 * HOUR / 600 * 5 / HOUR  # hours that ten hours of work stand still for their saves


def offers(
    gpu: str = "A100", count: float = 1, *, at: str = "aws/us-east-1", life: float | None = None, **prices: float
) -> list[Offer]:
    cloud, _, region = at.partition("/")
    whole = Quote(
        cloud=cloud,
        region=region,
        zone=None,
        instance=f"{gpu}-{count:g}",
        accelerator=gpu,
        accelerators=count,
        vcpus=None,
        memory_gib=None,
        spot=prices.get("spot"),
        on_demand=prices.get("on_demand"),
    )
    return [offer if life is None else replace(offer, mean_life=life) for offer in offers_of(whole)]


def planned(*found: list[Offer], haul: Haul | None = None, recipe: Recipe = RECIPE) -> Plan:
    moved = haul or Haul()
    every = tuple(offer for some in found for offer in some)
    return plan(recipe, every, times(recipe, TEN_HOURS, moved), MarketView(), POLICIES["auto"](), NOW, moved)


def told(made: Plan) -> list[tuple[str, float, str]]:
    assert made.candidates[0].is_chosen, "the policy takes what the table puts first"
    return [(str(c.offer.placement), c.usd, c.why) for c in made.candidates]


def test_a_slow_gpu_loses():
    """A T4 does 65 TFLOP/s where an A100 does 312: ten hours become 48. (48 + 0.4 + 0.08) h * $0.20 = $9.70 beside
    (10 + 0.08 + 0.08) h * $0.80 = $8.13."""
    made = planned(offers("T4", on_demand=0.20, at="aws/us-east-2"), offers("A100", on_demand=0.80))
    (_, best, _), (_, usd, why) = told(made)
    assert best == pytest.approx((10 + SAVING + 1 / 12) * 0.80, abs=0.01)
    assert usd == pytest.approx((48 * (1 + SAVING / 10) + 1 / 12) * 0.20, abs=0.01)
    assert why == "less per hour, but 4.8 times the hours"


def test_a_short_life_loses():
    """Where machines live 10 min, most lose a start of 5 min and about 1.5 min of work: of each hour less than half trains, so
    10.7 h of work and saves become more than 20 h * $0.40 = $8. Where they live ten hours, little is: 10.6 h * $0.60 = $6.40."""
    made = planned(
        offers(spot=0.40, life=10 * MINUTE, at="gcp/us-central1"), offers(spot=0.60, life=10 * HOUR, at="azure/eastus")
    )
    (_, best, _), (_, usd, why) = told(made)
    assert 8 < usd < 12
    assert best == pytest.approx(6.4, abs=0.2)
    assert why.startswith("less per hour, but 1")
    assert why.endswith(" restarts")


def test_egress_loses():
    """Checkpoints of 50 GB go up 60 times in ten hours, each 10 min. From GCP to S3 that is 3,000 GB at $0.12 = $360 and more,
    beside which half the price of an hour is nothing; from the bucket's own region it is $0."""
    haul = Haul(state=50 * GB, kept=3, store=Site(cloud="aws", region="us-east-1"))
    made = planned(offers(on_demand=0.50, at="gcp/us-central1"), offers(on_demand=1.00), haul=haul)
    (first, best, _), (_, usd, why) = told(made)
    assert first == "aws us-east-1"
    assert made.candidates[0].aside.moving == 0
    assert made.candidates[1].aside.moving == pytest.approx(60 * 50 * 0.12)
    assert made.candidates[0].aside.keeping == pytest.approx(150 * 0.023 * made.candidates[0].estimate.elapsed / HOUR / 730)
    assert usd > best
    assert why == "less per hour, but $360.00 more for moving checkpoints"


def test_a_node_of_eight_gpus_for_one_loses():
    """All eight are paid and one is used: (10 + 0.08 + 0.08) h * $4.00 = $40.67, eight times $0.50 an hour for each GPU, beside
    $0.80 for one alone. By the price of a GPU the node is the cheaper one."""
    made = planned(offers("A100", 8, on_demand=4.00, at="aws/us-east-2"), offers("A100", on_demand=0.80))
    (_, best, _), (_, usd, why) = told(made)
    assert usd == pytest.approx(best * 4.00 / 0.80)
    assert why == "8 GPUs for one"


def test_what_is_largest_in_the_difference_is_its_reason():
    """Of $117 beside the machine $72 are for moving checkpoints, most of it, and $45 for the data; the node of eight for one is
    the reason where the machine is most of it."""
    haul = Haul(
        data=500 * GB, source=Site(cloud="aws", region="us-east-1"), state=10 * GB, store=Site(cloud="aws", region="us-east-1")
    )
    node = offers("A100", 8, on_demand=1.5, at="gcp/us-central1")
    made = planned(offers(on_demand=0.80), node, haul=haul)
    (_, _, _), (_, _, why) = told(made)
    assert why == "$72.00 more for moving checkpoints"
    dear = offers("A100", 8, on_demand=20.0, at="gcp/us-central1")
    assert planned(offers(on_demand=0.80), dear, haul=haul).candidates[1].why == "8 GPUs for one"


def test_a_dear_region_closer_to_the_data_wins():
    """500 GB of data lie in eu-west-1. To read them in us-east-1 costs 500 * $0.02 = $10, and ten hours there save only
    10.2 h * ($1.00 - $0.80) = $2.03."""
    haul = Haul(data=500 * GB, source=Site(cloud="aws", region="eu-west-1"))
    made = planned(offers(on_demand=0.80), offers(on_demand=1.00, at="aws/eu-west-1"), haul=haul)
    (first, best, _), (_, usd, why) = told(made)
    assert first == "aws eu-west-1"
    assert best == pytest.approx((10 + SAVING + 1 / 12) * 1.00, abs=0.01)
    assert usd == pytest.approx((10 + SAVING + 1 / 12) * 0.80 + 10, abs=0.01)
    assert why == "less per hour, but $10.00 more for reading the data"


def test_each_new_machine_reads_the_data_again():
    """With 2.0 losses in the run three machines read 100 GB from another region: 3.0 * 100 * $0.02."""
    haul = Haul(data=100 * GB, source=Site(cloud="aws", region="us-west-2"))
    (only,) = planned(offers(spot=1.0, life=5.6 * HOUR), haul=haul).candidates
    assert only.estimate.restarts > 1.5
    assert only.aside.reading == pytest.approx((1 + only.estimate.restarts) * 100 * 0.02)


def test_each_node_reads_the_data_and_each_of_its_restarts_the_whole_state():
    """Four nodes read 100 GB each at $0.02: $8 at the start, and at each restart those and four times 10 GB: $8.80."""
    haul = Haul(
        data=100 * GB, source=Site(cloud="aws", region="us-west-2"), state=10 * GB, store=Site(cloud="aws", region="us-west-2")
    )
    (only,) = planned(offers(spot=1.0, life=5.6 * HOUR), haul=haul, recipe=replace(RECIPE, num_nodes=4)).candidates
    restarts, beside = only.estimate.restarts, only.aside
    assert beside.reading == pytest.approx((1 + restarts) * 4 * 100 * 0.02)
    assert beside.each_restart == pytest.approx(4 * (100 + 10) * 0.02)
    (alone,) = planned(offers(spot=1.0, life=5.6 * HOUR), haul=haul, recipe=replace(RECIPE, num_nodes=1)).candidates
    saved = beside.moving - restarts * beside.each_restore
    assert 0 < saved < alone.aside.moving, "a checkpoint is written once for all nodes, which need a quarter of the time"


def test_each_direction_is_billed_by_where_the_bytes_leave():
    """A machine on AWS, a bucket on GCP: saves leave AWS at $0.09, of work done twice too; restores leave GCP at $0.12."""
    haul = Haul(state=10 * GB, store=Site(cloud="gcp", region="us-central1"))
    (only,) = planned(offers(spot=1.0, life=2 * HOUR), haul=haul).candidates
    cost, interval = only.estimate, math.sqrt(2 * 5 * 2 * HOUR)
    saves = (10 * HOUR + cost.redone) / interval
    assert cost.redone > 0
    assert only.aside.each_restore == pytest.approx(10 * 0.12)
    assert only.aside.moving == pytest.approx(saves * 10 * 0.09 + cost.restarts * 10 * 0.12)


def test_quantiles_count_the_traffic_of_their_own_restarts():
    """Nine of ten runs have so many restarts at most, and each reads 500 GB at $0.09 = $45 anew."""
    haul = Haul(data=500 * GB, source=Site(cloud="aws", region="us-east-1"))
    (only,) = planned(offers(spot=1.0, at="gcp/us-central1", life=5.6 * HOUR), haul=haul).candidates
    cost = only.estimate
    assert 0 < cost.restarts_p50 < cost.restarts_p90
    assert only.usd_p90 == pytest.approx(cost.usd_p90 + 45 * (1 + cost.restarts_p90))
    assert only.usd_p90 - only.usd_p50 > 45


# --- a deadline ---------------------------------------------------------------------------------------------------------------


def within(hours: float, *found: list[Offer]) -> Plan:
    return planned(*found, recipe=replace(RECIPE, policy=Goal(strategy="greedy", deadline=hours * HOUR)))


def test_where_nobody_sells_spot_on_demand_is_taken_at_once():
    made = within(24, offers(on_demand=3.0), offers(on_demand=4.0, at="gcp/us-central1"))
    assert made.chosen is not None
    assert made.chosen.offer.price == 3.0


def test_spot_that_meets_the_deadline_only_if_it_lives_is_taken_with_on_demand_as_its_net():
    """Lives of 30 min: 13.7 h by estimate, 10.1 h undisturbed; 12 h are there, and on demand 10.2 h are needed."""
    made = within(12, offers(spot=0.5, life=30 * MINUTE), offers(on_demand=3.0))
    assert made.chosen is not None
    assert made.chosen.offer.placement.capacity.value == "spot"
    assert made.chosen.estimate.elapsed > 12 * HOUR


def test_spot_that_is_too_slow_even_if_it_lives_is_not_waited_for():
    made = within(12, offers("T4", spot=0.01), offers(on_demand=3.0))
    assert made.chosen is not None
    assert made.chosen.offer.placement.accelerator == "A100"
    assert made.candidates[0].why.startswith("misses the deadline by ")


def test_where_no_estimate_meets_the_deadline_the_place_is_taken_that_can():
    """10 h 6 min are there, and 10 h 5 min needed where nothing is lost; a T4 needs two days."""
    made = within(10.1, offers("T4", spot=0.01), offers(on_demand=3.0))
    assert made.chosen is not None
    assert made.chosen.offer.placement.accelerator == "A100"
    assert "which nothing can meet" not in made.reason


def test_a_budget_below_the_cheapest_undisturbed_run_is_told_with_one_that_will_do():
    """(10 h + 5 min) * $0.80 = $8.07."""
    found = planned(offers(on_demand=0.80), offers(on_demand=1.00, at="aws/us-east-2")).candidates

    def stops(budget: float) -> str | None:
        assert found[0].task is not None
        return unaffordable(replace(RECIPE, policy=Goal(budget=budget)), found[0].task, found)

    assert stops(8.1) is None
    told = stops(8.0)
    assert told is not None
    assert told.startswith("the budget is $8.00, and the work takes $8.07 where that is least, in aws us-east-1")
    assert told.endswith("policy.budget=11 would do")


# --- what bytes cost -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "usd"),
    [
        ("aws/us-east-1", "aws/us-east-1", 0.0),
        ("aws/us-east-1", "aws/us-east-2", 0.01),
        ("aws/us-east-1", "aws/eu-west-1", 0.02),
        ("aws/eu-west-1", "gcp/europe-west4", 0.09),
        ("aws/sa-east-1", "aws/us-east-1", 0.138),
        ("aws/ap-northeast-2", "azure/eastus", 0.126),
        ("aws", "aws/us-east-1", 0.0),
        ("aws", "gcp/us-central1", 0.09),
        ("gcp/us-central1", "gcp/northamerica-northeast1", 0.02),
        ("gcp/us-central1", "gcp/europe-west4", 0.08),
        ("gcp/us-central1", "gcp/australia-southeast1", 0.15),
        ("gcp/asia-east1", "gcp/asia-northeast1", 0.05),
        ("gcp/asia-east1", "aws/us-east-1", 0.12),
        ("azure/eastus", "azure/westus2", 0.02),
        ("azure/eastus", "azure/uksouth", 0.05),
        ("azure/brazilsouth", "azure/eastus", 0.16),
        ("azure/japaneast", "lambda/us-east-1", 0.12),
        ("lambda/us-east-1", "aws/us-east-1", 0.0),
    ],
)
def test_a_gigabyte_costs_what_its_source_bills(source: str, target: str, usd: float):
    sites = [Site(cloud=cloud, region=region or None) for cloud, _, region in (s.partition("/") for s in (source, target))]
    assert usd_per_gb(*sites) == usd


def test_the_recipe_tells_where_its_bytes_lie_and_how_many_are_kept():
    recipe = replace(RECIPE, data={"train": "gs://tokens"}, checkpoint=replace(RECIPE.checkpoint, dir="s3://ckpt/x"))
    haul = haul_of(recipe)
    assert (haul.store, haul.source, haul.kept) == (Site(cloud="aws"), Site(cloud="gcp"), 3)
    assert haul.state is None, "nobody knows what a program of one's own saves"


def test_a_trainer_of_ours_saves_weights_and_two_moments_in_fp32():
    """About 12 bytes for each parameter; see tests of sizing for their exact number."""
    trainer = {"kind": "launcher.trainers.gpt", "layers": 12, "width": 768, "heads": 12, "context": 1024}
    state = haul_of(Recipe(name="r", trainer=trainer)).state
    assert state == pytest.approx(12 * (12 * 12 * 768**2 + (256 + 1024) * 768), rel=0.01)


def test_what_is_kept_at_each_so_many_steps_is_paid_for_half_of_them_while_it_adds_up():
    trainer = {"kind": "launcher.trainers.gpt", "steps": 1000}
    recipe = replace(Recipe(name="r", trainer=trainer), checkpoint=CheckpointSpec(keep=Keep(last=3, every="100 steps")))
    haul = haul_of(recipe, state=GB)
    assert (haul.kept, haul.milestones) == (3, 10)
    assert haul_of(replace(recipe, trainer=None, run="x")).milestones == 0, "nobody knows how many steps it takes"
    (with_them,) = planned(offers(on_demand=1.0), haul=haul).candidates
    (without,) = planned(offers(on_demand=1.0), haul=replace(haul, milestones=0)).candidates
    assert with_them.aside.keeping == pytest.approx(without.aside.keeping * (3 + 10 / 2) / 3)


def test_the_policys_reason_counts_in_the_hours_of_the_place_that_it_takes():
    """A T4 takes 48 h for ten of an A100, where the job costs less; cheapest first looks at the hour alone."""
    every = (*offers("T4", on_demand=0.20, at="aws/us-east-2"), *offers("A100", on_demand=0.80))
    made = plan(RECIPE, every, times(RECIPE, TEN_HOURS, Haul()), MarketView(), POLICIES["cheapest"](), NOW, Haul())
    assert made.chosen is not None
    assert made.chosen.offer.placement.accelerator == "T4"
    assert made.candidates[0].offer.placement.accelerator == "A100"
    assert "2.0 d of work left" in made.reason
    assert made.task == made.chosen.task
