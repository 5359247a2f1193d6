"""Clusters that no price list has: used where the recipe names them in full, and never taken for free."""

import pytest

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Capacity
from launcher.core.plan.limits import accepted
from launcher.core.plan.outlook import outlook
from launcher.core.plan.planner import plan
from launcher.core.plan.shopping import haul_of, times
from launcher.core.plan.unpriced import is_unpriced, unpriced_offers
from launcher.core.plan.work import work_of
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal, Recipe, Resources
from launcher.errors import RecipeError
from launcher.units import show_rate


def recipe_for(*infra: str, gpus: tuple[str, ...] = ("H100:8",), budget: float | None = None) -> Recipe:
    resources = Resources(infra=infra, accelerators=gpus)
    return Recipe(name="r", run="python train.py", resources=resources, policy=Goal(budget=budget))


def test_a_cluster_is_offered_with_each_gpu_that_is_named() -> None:
    recipe = recipe_for("aws", "slurm/spota/spot", "k8s/lab", gpus=("h100:8", "A100-80GB:4"))
    offers = unpriced_offers(recipe)
    assert [(str(o.placement), o.placement.accelerator, o.placement.accelerators) for o in offers] == [
        ("slurm spot", "H100", 8),
        ("slurm spot", "A100-80GB", 4),
        ("k8s lab", "H100", 8),
        ("k8s lab", "A100-80GB", 4),
    ]
    assert {(o.placement.capacity, o.price, show_rate(o.price)) for o in offers} == {(Capacity.ON_DEMAND, 0.0, "unpriced")}
    assert accepted(recipe, offers) == offers


def test_a_cloud_that_lists_have_is_not_among_them() -> None:
    assert unpriced_offers(recipe_for("aws", "gcp/us-central1", gpus=("40GB+:2",))) == ()


def test_partitions_of_one_name_are_places_of_their_own() -> None:
    one, other = unpriced_offers(recipe_for("slurm/spota/spot", "slurm/spotb/spot"))
    assert one.placement.place != other.placement.place


@pytest.mark.parametrize(
    ("infra", "remedy"), [("slurm", "slurm/CLUSTER/PARTITION"), ("slurm/spota", "PARTITION"), ("k8s", "k8s/CONTEXT")]
)
def test_one_that_is_not_named_in_full_is_refused(infra: str, remedy: str) -> None:
    with pytest.raises(RecipeError, match=remedy):
        unpriced_offers(recipe_for(infra))


@pytest.mark.parametrize("gpus", [(), ("auto",), ("40GB+:2",)])
def test_one_whose_gpus_are_not_named_is_refused(gpus: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="on no list"):
        unpriced_offers(recipe_for("slurm/spota/spot", gpus=gpus))


def test_it_is_planned_before_all_that_has_a_price_and_a_budget_bounds_nothing_there() -> None:
    recipe = recipe_for("slurm/spota/spot", "slurm/spotb/spot", budget=1.0)
    work = work_of(recipe)
    haul = haul_of(recipe)
    offers = unpriced_offers(recipe)
    made = plan(recipe, offers, times(recipe, work, haul), MarketView(), POLICIES["auto"](), 0.0, haul, is_known=False)
    assert [is_unpriced(c.offer.placement) for c in made.candidates] == [True, True]
    assert made.candidates[1].why == "as much"
    seen = outlook(recipe, made, haul, 0.0)
    assert seen is not None
    assert (seen.worst_usd, seen.budget_margin) == (None, None)
    assert (
        seen.worst
        == "at worst: no bound, since nobody tells what slurm spot costs; policy.budget bounds what is spent elsewhere, $1.00"
    )
    assert not any("budget" in margin for margin in seen.margins)
