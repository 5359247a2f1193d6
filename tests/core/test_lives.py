"""How long a machine lasts: our attempts, then the cloud's bands, then the prior, each standing on the next."""

import math
from dataclasses import replace

import pytest

from launcher.core.market.belief import belief_of, is_cooling
from launcher.core.market.lives import (
    BAND_SHARES,
    MEMORY_HALF_LIFE,
    ON_DEMAND_LIFE,
    PRIOR,
    SPOT_LIFE,
    Lesson,
    Lives,
    Outcome,
    band_life,
    learnt,
    paces,
    seed,
)
from launcher.core.market.offer import Capacity, Placement
from launcher.units import HOUR, MINUTE, Seconds
from tests.core.markets import NOW, placement

HERE = placement("us-east-1a")
THERE = placement("us-west-2a")


def lesson(
    outcome: Outcome = Outcome.LOST,
    *,
    life: Seconds | None = HOUR,
    ago: Seconds = 0.0,
    where: Placement = HERE,
    attempt: int = 1,
    **more: object,
) -> Lesson:
    base = Lesson(
        run="r", incarnation="inc", attempt=attempt, at=NOW - ago, placement=where, outcome=outcome, life=life, notice=120.0
    )
    return replace(base, **more)  # type: ignore[arg-type]


def lives(*lessons: Lesson, bands: dict[tuple[str, str], int] | None = None) -> Lives:
    return Lives(bands=bands or {}, learnt=learnt(lessons, NOW))


def test_without_anything_the_prior_counts() -> None:
    assert PRIOR.mean(HERE) == SPOT_LIFE == pytest.approx(2.537 * HOUR, rel=1e-3)
    assert PRIOR.basis(HERE) == "the prior of recorded markets"
    assert PRIOR.mean(replace(HERE, capacity=Capacity.ON_DEMAND)) == ON_DEMAND_LIFE


def test_a_band_scales_the_prior_by_the_root_of_hazards() -> None:
    """Below 5 %, so 2.5 %: -ln(0.975) = 0.02532; above 20 %, so 25 %: -ln(0.75) = 0.28768. √(0.28768 / 0.02532) = 3.371, and
    3.371 * 2.537 h = 8.55 h. In the worst band a machine lives for the prior."""
    assert band_life(4) == band_life(None) == SPOT_LIFE
    assert band_life(0) == pytest.approx(8.55 * HOUR, rel=1e-3)
    assert [round(band_life(band) / HOUR, 1) for band in range(5)] == [8.6, 4.9, 3.7, 3.1, 2.5]


def test_a_band_is_of_a_type_in_a_region_of_aws() -> None:
    known = lives(bands={("us-east-1", "x1"): 0})
    assert known.mean(HERE) == band_life(0)
    assert known.basis(HERE) == "AWS's band below 5 %"
    assert known.mean(THERE) == SPOT_LIFE
    assert known.mean(replace(HERE, cloud="gcp")) == SPOT_LIFE
    assert known.mean(replace(HERE, capacity=Capacity.ON_DEMAND)) == ON_DEMAND_LIFE


def test_a_band_is_not_read_as_a_hazard_a_month() -> None:
    """Read so, the best band would come to 730 h / 0.02532 = 28,800 h and the worst to 2,540 h; recorded machines lived 2.5 h."""
    assert max(band_life(band) for band in range(5)) < 24 * HOUR
    assert 730 / -math.log(1 - BAND_SHARES[4]) > 2500


def test_the_life_of_a_gang_tells_that_one_machine_of_it_would_have_lived_longer() -> None:
    gang, alone = (learnt([lesson(life=HOUR, num_nodes=n)], NOW) for n in (8, 1))
    (of_eight,), (of_one,) = gang.values(), alone.values()
    assert of_eight.lived == pytest.approx(of_one.lived * 8**0.3)
    assert of_eight.life == of_one.life, "as seen"


def test_few_lives_of_our_own_lean_on_the_band_and_many_outweigh_it() -> None:
    """The band counts as two losses: one life of 1 h beside 8.55 h gives (2 * 8.55 + 1) / 3 = 6.03 h, ten give
    (2 * 8.55 + 10) / 12 = 2.26 h."""
    bands = {("us-east-1", "x1"): 0}
    one = lives(lesson(), bands=bands)
    assert one.mean(HERE) == pytest.approx((2 * band_life(0) + HOUR) / 3)
    ten = lives(*[lesson(attempt=n) for n in range(10)], bands=bands)
    assert ten.mean(HERE) == pytest.approx((2 * band_life(0) + 10 * HOUR) / 12)
    assert abs(ten.mean(HERE) - HOUR) < abs(ten.mean(HERE) - band_life(0)), "our own weigh most"
    assert ten.basis(HERE) == "10 of our own there, 10.0 h together, 10 taken; AWS's band below 5 %"


def test_the_same_lives_lead_to_the_same_figure_with_or_without_a_band_in_the_end() -> None:
    many = [lesson(attempt=n) for n in range(1000)]
    assert lives(*many).mean(HERE) == pytest.approx(HOUR, rel=0.02)
    assert lives(*many, bands={("us-east-1", "x1"): 0}).mean(HERE) == pytest.approx(HOUR, rel=0.02)


def test_a_life_that_we_ended_is_time_without_a_loss() -> None:
    held = lives(lesson(Outcome.HELD, life=20 * HOUR))
    assert held.mean(HERE) == pytest.approx((2 * SPOT_LIFE + 20 * HOUR) / 2)


def test_a_refusal_says_nothing_of_lives() -> None:
    refused = lives(lesson(Outcome.REFUSED, life=None, why="capacity"))
    assert refused.mean(HERE) == SPOT_LIFE
    assert refused.basis(HERE) == "the prior of recorded markets"
    assert refused.learnt[HERE.place].num_refused == 1
    told = [lesson(Outcome.REFUSED, ago=ago, why=why) for ago, why in ((0.0, "quota"), (HOUR, "capacity"))]
    assert lives(*told).learnt[HERE.place].refused_why == "quota"


def test_what_was_seen_a_half_life_ago_counts_half() -> None:
    old = lives(lesson(life=10 * HOUR, ago=MEMORY_HALF_LIFE))
    assert old.mean(HERE) == pytest.approx((2 * SPOT_LIFE + 5 * HOUR) / 2.5)
    ahead = lives(lesson(life=10 * HOUR, ago=-MEMORY_HALF_LIFE))
    assert ahead.mean(HERE) == pytest.approx((2 * SPOT_LIFE + 10 * HOUR) / 3), "a clock that was wrong makes nothing count more"


def test_another_place_learns_nothing_from_it() -> None:
    assert lives(lesson()).mean(THERE) == SPOT_LIFE


def test_what_was_learnt_of_a_place_as_it_was_seen() -> None:
    found = learnt(
        [
            lesson(life=2 * HOUR, boot=100.0),
            lesson(life=4 * HOUR, boot=300.0, notice=None, attempt=2),
            lesson(Outcome.HELD, life=HOUR, attempt=3, notice=None),
            lesson(Outcome.REFUSED, life=None, attempt=4, ago=HOUR, notice=None),
        ],
        NOW,
    )[HERE.place]
    assert (found.num_lost, found.num_held, found.num_refused, found.num_unwarned) == (2, 1, 1, 1)
    assert (found.mean_life, found.boot, found.notice) == (7 * HOUR / 2, 200.0, 120.0)
    assert (found.refused_at, found.newest_at) == (NOW - HOUR, NOW)


def test_a_new_run_starts_with_the_cooldowns_of_those_before_it() -> None:
    """A refusal cools a place down for 30 min, two in a row for an hour."""
    view = seed([lesson(Outcome.REFUSED, life=None, ago=10 * MINUTE)], NOW)
    assert is_cooling(view, HERE.place, NOW)
    assert not is_cooling(view, HERE.place, NOW + 20 * MINUTE)
    again = seed([lesson(Outcome.REFUSED, life=None, ago=ago) for ago in (15 * MINUTE, 10 * MINUTE)], NOW)
    assert is_cooling(again, HERE.place, NOW + 49 * MINUTE)
    held = seed([lesson(Outcome.REFUSED, life=None, ago=20 * MINUTE), lesson(Outcome.HELD, ago=MINUTE)], NOW)
    assert not is_cooling(held, HERE.place, NOW)
    assert seed([lesson(Outcome.REFUSED, life=None, ago=7 * HOUR)], NOW).places == {}, "what is over is not carried along"


def test_a_clock_that_was_ahead_blocks_no_place_for_longer_than_a_failure_of_now() -> None:
    ahead = seed([lesson(Outcome.REFUSED, life=None, ago=-400 * 24 * HOUR)], NOW)
    assert belief_of(ahead, HERE.place) == belief_of(seed([lesson(Outcome.REFUSED, life=None)], NOW), HERE.place)
    assert not is_cooling(ahead, HERE.place, NOW + 30 * MINUTE)
    lost = seed([lesson(life=MINUTE, ago=-400 * 24 * HOUR)], NOW)
    assert belief_of(lost, HERE.place).lost_at == NOW


def test_lives_are_not_in_the_seed_since_offers_carry_them() -> None:
    belief = belief_of(seed([lesson(ago=MINUTE)], NOW), HERE.place)
    assert (belief.num_preemptions, belief.life_seen) == (0, 0.0)
    assert belief.lost_at == NOW - MINUTE


def test_the_pace_of_a_program_by_gpu() -> None:
    seen = [
        lesson(program="p", steps_per_s=2.0, gpus=1),
        lesson(program="p", steps_per_s=4.0, gpus=1, attempt=2),
        lesson(program="p", steps_per_s=30.0, gpus=8, attempt=3, where=placement("us-east-1a", gpus=8)),
        lesson(program="other", steps_per_s=99.0, gpus=1, attempt=4),
        lesson(program="p", gpus=1, attempt=5),
    ]
    assert paces(seen, "p", 1) == {"A100:1": 3.0, "A100:8": 30.0}
    assert paces([lesson(steps_per_s=1.0, gpus=1)], "", 1) == {}


def test_a_pace_is_of_the_gpus_that_were_used_and_of_as_many_machines() -> None:
    large = placement("us-east-1a", gpus=8)
    one_of_eight = lesson(program="p", steps_per_s=2.0, gpus=1, where=large)
    assert paces([one_of_eight], "p", 1) == {"A100:1": 2.0}
    four_machines = lesson(program="p", steps_per_s=100.0, gpus=8, num_nodes=4, where=large)
    assert paces([one_of_eight, four_machines], "p", 4) == {"A100:8": 100.0}
    assert paces([one_of_eight, four_machines], "p", 2) == {}


def test_a_pace_of_nobody_knows_how_many_gpus_is_none() -> None:
    assert paces([lesson(program="p", steps_per_s=2.0)], "p", 1) == {}, "an older launch did not note them"
