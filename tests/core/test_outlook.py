"""What a yes would mean: the worst case, what is left of limits, whether the notice is enough, what is made and deleted."""

from dataclasses import replace

import pytest

from launcher.core.market.belief import MarketView
from launcher.core.plan.outlook import Outlook, outlook
from launcher.core.plan.planner import Plan, plan
from launcher.core.plan.played import show_share
from launcher.core.plan.shopping import times
from launcher.core.plan.transfer import Haul, Site
from launcher.core.plan.work import work_in
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import CheckpointSpec, Goal, Keep, Recipe
from launcher.units import HOUR
from tests.core.markets import NOW
from tests.core.test_cheapest_hour import GB, RECIPE, offers, planned

SAVED = replace(RECIPE, checkpoint=CheckpointSpec(dir="s3://b/x", keep=Keep(last=2, best=1)))


def told(recipe: Recipe = SAVED, haul: Haul | None = None, *, made: Plan | None = None) -> Outlook:
    moved = haul or Haul()
    found = outlook(recipe, made or planned(offers(spot=1.0), recipe=recipe, haul=moved), moved, NOW)
    assert found is not None
    return found


def test_the_budget_bounds_the_worst_case():
    found = told(replace(SAVED, policy=Goal(budget=30.0, deadline=20 * HOUR)))
    assert found.worst_usd == 30.0


def test_a_deadline_bounds_it_by_the_dearest_place_that_is_accepted():
    """20 h of $7 an hour, whatever the plan begins with; with max_hourly_cost that place is none."""
    recipe = replace(SAVED, policy=Goal(deadline=20 * HOUR))
    made = planned(offers(spot=1.0, on_demand=1.5), offers(on_demand=7.0, at="aws/us-east-2"), recipe=recipe)
    assert told(recipe, made=made).worst_usd == pytest.approx(140)
    limited = replace(recipe, resources=replace(recipe.resources, max_hourly_cost=2.0))
    made = planned(offers(spot=1.0, on_demand=1.5), offers(on_demand=7.0, at="aws/us-east-2"), recipe=limited)
    assert told(limited, made=made).worst_usd == pytest.approx(30)


def test_no_average_of_restarts_is_in_the_worst_case_and_what_one_costs_is_said():
    """20 h at $1.50, and 500 GB once at $0.09; each restart moves them again. A budget is of machines."""
    recipe = replace(SAVED, policy=Goal(deadline=20 * HOUR))
    haul = Haul(data=500 * GB, source=Site(cloud="aws", region="us-east-1"))
    made = planned(offers(spot=1.0, on_demand=1.5, at="gcp/us-central1"), recipe=recipe, haul=haul)
    found = told(recipe, haul, made=made)
    assert found.worst_usd == pytest.approx(30 + 45)
    assert "with $45.00 for storage and traffic; each further restart moves bytes for up to $45.00" in found.worst
    limited = told(replace(recipe, policy=Goal(budget=30.0)), haul, made=made)
    assert limited.worst == (
        "at worst $30.00: policy.budget, where the run pauses; storage and traffic are billed beside it; "
        "each further restart moves bytes for up to $45.00"
    )


def test_without_a_limit_nothing_bounds_it_and_a_machine_left_alone_ends_by_itself():
    found = told(replace(SAVED, autostop=6 * HOUR), made=planned(offers(spot=1.0, on_demand=1.5)))
    assert found.worst_usd is None
    assert "no bound" in found.worst
    assert found.unattended_usd == pytest.approx(9.0)
    assert found.unattended.endswith("ends after 6.0 h, $9.00 at most")


def test_where_no_on_demand_price_is_listed_no_figure_is_called_the_most():
    """Spot may rise, and what it may rise to nobody has listed."""
    made = planned(offers(spot=1.0), offers(spot=1.2, on_demand=2.0, at="aws/us-east-2"))
    found = told(replace(SAVED, autostop=6 * HOUR, policy=Goal(deadline=20 * HOUR)), made=made)
    assert (found.unattended_usd, found.worst_usd) == (None, None)
    assert "$6.00 at today's spot price; no on-demand price is listed there" in found.unattended
    assert "at most" not in found.unattended
    assert "no bound, since spot may rise where no on-demand price is listed, as in aws us-east-1" in found.worst
    limited = told(replace(SAVED, policy=Goal(budget=30.0)), made=made)
    assert limited.worst_usd == 30.0
    assert "it counts aws us-east-1 at today's spot price" in limited.worst


@pytest.mark.parametrize(
    ("at", "gigabytes", "fits", "said"),
    [
        ("aws/us-east-1", 30, True, "aws gives 2 min, 30.0 GB take 93 s; so a save at the notice is in time"),
        ("aws/us-east-1", 40, False, "40.0 GB take 2 min; so a save at the notice is late"),
        ("gcp/us-central1", 8, True, "gcp gives 30 s, 8.0 GB take 29 s"),
        ("gcp/us-central1", 9, False, "is late"),
        ("lambda/us-east-1", 1, None, "lambda gives none that is known"),
    ],
)
def test_a_checkpoint_fits_into_the_notice_or_not(at: str, gigabytes: int, fits: bool | None, said: str):
    """A stall of 5 s, and 340 MB/s up: 30 GB take 88 s more, 40 GB 118 s, 8 GB 24 s."""
    haul = Haul(state=gigabytes * GB)
    wanted = replace(SAVED, resources=replace(SAVED.resources, infra=()))
    found = told(wanted, haul, made=planned(offers(spot=1.0, at=at), recipe=wanted, haul=haul))
    assert found.fits_notice is fits
    assert said in found.notice


def test_on_demand_needs_no_notice():
    found = told(made=planned(offers(on_demand=1.0)))
    assert found.fits_notice is None
    assert found.notice_s is None
    assert found.played is None


def test_what_stays_costs_each_month():
    """Three checkpoints of 10 GB at $0.023."""
    found = told(haul=Haul(state=10 * GB, kept=3, store=Site(cloud="aws")))
    assert found.keeping_usd_per_month == pytest.approx(0.69)
    assert "the last 2, the 1 best stay, for about $0.69 a month" in found.deleted


def test_never_saving_uploads_no_checkpoint():
    never = replace(SAVED, checkpoint=replace(SAVED.checkpoint, every="never"))
    assert "no checkpoint" in told(never).uploaded


def test_the_run_as_a_whole_is_drawn_and_costs_at_least_its_work():
    played = told(made=planned(offers(spot=1.0), offers(spot=1.1, at="aws/us-east-2"), recipe=SAVED)).played
    assert played is not None
    assert 10.0 < played.usd < played.usd_p90 < 20.0
    assert played.done == 1


def test_the_run_as_a_whole_pays_the_traffic_of_its_restarts():
    """A Terabyte from the bucket in S3 to each machine on GCP: $90 a start, and the draws have more restarts than one."""
    haul = Haul(data=1000 * GB, source=Site(cloud="aws", region="us-east-1"))
    made = planned(offers(spot=1.0, at="gcp/us-central1"), recipe=SAVED, haul=haul)
    played = told(haul=haul, made=made).played
    assert played is not None
    assert played.restarts > 1
    assert played.usd == pytest.approx(90 * (1 + played.restarts) + 10.8, abs=1.0)
    assert played.usd_p90 > played.usd + 90


def test_hours_and_margins_are_of_the_runs_that_are_in_time_and_the_others_are_said():
    """Some 10.3 h are needed where nothing is lost; so some runs come in time and some do not."""
    recipe = replace(SAVED, policy=Goal(deadline=10.8 * HOUR), resources=replace(SAVED.resources, use_spot="true"))
    found = told(recipe, made=planned(offers(spot=1.0), recipe=recipe))
    played = found.played
    assert played is not None
    assert played.elapsed is not None
    assert 0 < played.done < 0.9
    assert played.elapsed < 10.8 * HOUR
    assert played.done_p90 is None
    assert found.deadline_margin_p90 is None
    assert f"in time in {100 * played.done:.3g} % of runs" in str(played)
    (margin,) = found.margins
    assert margin.startswith(f"deadline: met by {100 * played.done:.3g} % of runs, with ")
    assert "nine of ten" not in margin


def test_a_share_is_all_only_where_it_is_all():
    assert [show_share(share) for share in (1.0, 0.995, 0.49)] == ["100 %", "99.5 %", "49 %"]


def test_the_net_is_whatever_is_cheapest_on_demand_to_finish_on():
    """A deadline that spot with lives of 10 min breaks: the net is an H100, which does 3.2 times as much an hour as the A100."""
    recipe = replace(
        SAVED, policy=Goal(deadline=11 * HOUR), resources=replace(SAVED.resources, accelerators=("A100:1", "H100:1"))
    )
    spot = offers(spot=1.0, life=10 * 60, at="gcp/us-central1")
    alone, dear, cheap = (
        told(recipe, made=planned(spot, *net, recipe=recipe)).played
        for net in ((), [offers(on_demand=30.0)], [offers(on_demand=30.0), offers("H100", on_demand=9.0)])
    )
    assert alone is not None
    assert dear is not None
    assert cheap is not None
    assert alone.done < dear.done
    assert cheap.usd < dear.usd


def test_the_chosen_place_is_drawn_though_eight_others_are_cheaper_to_finish_in():
    places = [offers(spot=1.0 + 0.01 * n, at=f"aws/us-east-{n}") for n in range(10)]
    made = planned(*places, recipe=SAVED)
    last = replace(made, candidates=tuple(replace(c, is_chosen=c.offer.price > 1.085) for c in made.candidates))
    assert made.chosen is not None
    assert last.chosen is not None
    assert last.chosen.offer.price == pytest.approx(1.09)
    first, other = (told(made=one).played for one in (made, last))
    assert first is not None
    assert other is not None
    assert other.usd > first.usd


def test_a_very_long_run_is_drawn_less_often():
    recipe = replace(SAVED, policy=Goal())
    work = work_in(10_000 * HOUR, "A100", 1, recipe, basis="")
    made = plan(recipe, tuple(offers(spot=1.0)), times(recipe, work, Haul()), MarketView(), POLICIES["auto"](), NOW, Haul())
    played = told(recipe, made=made).played
    assert played is not None
    assert played.draws == 10
    assert "drawn 10 times" in str(played)
    assert played.usd == pytest.approx(10_000, rel=0.3)


def test_the_worst_case_is_of_all_nodes():
    recipe = replace(SAVED, policy=Goal(deadline=20 * HOUR), num_nodes=4)
    made = planned(offers(spot=1.0, on_demand=1.5), recipe=recipe)
    assert told(recipe, made=made).worst_usd == pytest.approx(4 * 20 * 1.5)
    assert told(replace(recipe, autostop=6 * HOUR), made=made).unattended_usd == 4 * 9.0


def test_what_is_never_saved_and_what_no_notice_saves_is_drawn_so():
    def redone_usd(**changes: object) -> float:
        recipe = replace(SAVED, checkpoint=replace(SAVED.checkpoint, **changes))  # type: ignore[arg-type]
        played = told(recipe, made=planned(offers(spot=1.0), recipe=recipe)).played
        assert played is not None
        return played.usd

    usual, unwarned, never = redone_usd(), redone_usd(on_notice=False), redone_usd(every="never")
    assert usual < unwarned < never
    assert redone_usd(every="never", on_notice=False) == never


def test_where_nothing_is_chosen_there_is_nothing_to_say():
    made = replace(planned(offers(spot=1.0)), candidates=())
    assert outlook(SAVED, made, Haul(), NOW) is None
