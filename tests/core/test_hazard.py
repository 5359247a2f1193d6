"""What a zone's past says of how long it stays as it is."""

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.market.hazard import AGE_UNKNOWN, DOWN, HALF_LIFE, PRIOR_DOWN, PRIOR_UP, UP, watched
from launcher.core.market.series import Series, from_samples
from launcher.core.market.trace import STEP, typical_life
from launcher.units import HOUR

DAY = 24 * HOUR


def series(*changes: float, first: float = 1, other: float = 0, days: int = 2) -> Series:
    """`first` to begin with, and the other value after each change in turn."""
    values = tuple(other if i % 2 else first for i in range(len(changes) + 1))
    return Series(at=(0.0, *changes), values=values, period=days * DAY)


def test_a_typical_zone_lives_as_long_as_in_the_bundled_traces():
    assert UP.mean(1.0) == pytest.approx(typical_life(), rel=2e-3), "a trace counts whole steps"


@given(st.floats(0.02, 50.0))
def test_a_mean_life_tells_the_multiplier(multiplier: float):
    assert UP.multiplier_of(UP.mean(multiplier)) == pytest.approx(multiplier, rel=1e-6)


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 30.0])
def test_lives_drawn_have_that_mean(multiplier: float):
    dice = random.Random(1)
    assert fmean(UP.rest(0.0, multiplier, dice) for _ in range(20_000)) == pytest.approx(UP.mean(multiplier), rel=0.05)


@given(st.floats(0.0, 20 * HOUR), st.floats(0.1, 5.0), st.integers())
def test_a_rest_is_positive_and_the_older_state_lasts_longer(age: float, multiplier: float, seed: int):
    rest, older = (UP.rest(a, multiplier, random.Random(seed)) for a in (age, age + HOUR))
    assert 0 <= rest <= older + 1e-6


def test_of_an_untouched_zone_the_prior_remains_and_its_age_grows():
    """No change in an hour: shape as before; rate up by the changes of a typical zone from 0.6 h to 1.6 h, hardly faded."""
    zone = watched(series(), until=HOUR)
    expected = UP.sum_to(AGE_UNKNOWN + HOUR) - UP.sum_to(AGE_UNKNOWN)
    assert zone.is_up
    assert zone.age == AGE_UNKNOWN + HOUR
    assert zone.up.shape == PRIOR_UP
    assert zone.up.rate == pytest.approx(PRIOR_UP + expected * 2 ** (-0.5 * HOUR / HALF_LIFE))
    assert (zone.down.shape, zone.down.rate) == (PRIOR_DOWN, PRIOR_DOWN)


def test_a_change_counts_once_and_fades_with_its_half_life():
    until = 10 * HOUR + HALF_LIFE
    zone = watched(series(10 * HOUR, days=4), until=until)
    assert not zone.is_up
    assert zone.age == HALF_LIFE
    assert zone.up.shape == pytest.approx(PRIOR_UP + 0.5)
    assert zone.down.shape == PRIOR_DOWN
    assert PRIOR_DOWN + DOWN.sum_to(HALF_LIFE) / 2 < zone.down.rate < PRIOR_DOWN + DOWN.sum_to(HALF_LIFE)


def test_a_restless_zone_gets_a_higher_multiplier_than_a_quiet_one():
    restless = from_samples([i // 2 % 2 for i in range(288)], STEP)
    quiet = from_samples([i // 72 % 2 for i in range(288)], STEP)
    means = [zone.up.shape / zone.up.rate for zone in (watched(s, until=1.9 * DAY) for s in (restless, quiet))]
    assert means[0] > 1.3 > 1.0 > means[1]


@given(st.integers(0, 2**30), st.integers(30, 200))
def test_nothing_after_the_instant_is_seen(seed: int, known: int):
    dice = random.Random(seed)
    past = [dice.randrange(2) for _ in range(known)]
    first, second = (from_samples([*past, *(dice.randrange(2) for _ in range(100))], STEP) for _ in range(2))
    assert watched(first, until=known * STEP) == watched(second, until=known * STEP)


def test_a_gang_is_up_where_all_of_it_fits():
    capacity = series(HOUR, 5 * HOUR, first=8, other=4)
    assert [watched(capacity, until=3 * HOUR, nodes=n).is_up for n in (4, 5)] == [True, False]
    assert watched(capacity, until=3 * HOUR, nodes=5).age == 2 * HOUR
