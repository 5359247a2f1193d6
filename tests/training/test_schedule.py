"""When the loop saves."""

import math

from launcher.checkpoint.schedule import NUM_FIRST_STEPS, UNMEASURED_S, Schedule
from launcher.core.contract import SaveRule


def schedule(rule: SaveRule, speed: float = 1.0) -> Schedule:
    return Schedule(rule, speed=speed, step=100, now=1000.0)


def test_never_is_never():
    assert not schedule(SaveRule(never=True)).is_due(10**6, now=1e9)


def test_steps_count_from_the_start_of_the_run():
    rule = schedule(SaveRule(steps=50))

    assert [step for step in range(101, 201) if rule.is_due(step, now=1000.0)] == [150, 200]


def test_a_duration_is_market_time_which_a_rehearsal_makes_shorter():
    rule = schedule(SaveRule(seconds=300.0), speed=100.0)

    assert not rule.is_due(101, now=1002.9)
    assert rule.is_due(101, now=1003.1)


def test_auto_saves_early_so_that_there_is_something_to_measure():
    rule = schedule(SaveRule())

    assert not rule.is_due(100 + NUM_FIRST_STEPS - 1, now=1000.1)
    assert rule.is_due(100 + NUM_FIRST_STEPS, now=1000.1)


def test_auto_follows_what_saves_cost():
    rule = schedule(SaveRule(mean_life=3600.0))
    rule.saved(at=1000.0, stall=0.02)
    rule.landed(0.3)

    assert math.isclose(rule.interval_real(), math.sqrt(2 * 0.02 * 3600))


def test_auto_compares_costs_and_lives_in_one_clock():
    """200 times faster, a stall of 0.02 s costs 4 market seconds; the durable time does not fit more often than it takes."""
    rule = schedule(SaveRule(mean_life=3600.0), speed=200.0)
    rule.saved(at=1000.0, stall=0.02)
    rule.landed(0.3)

    assert math.isclose(rule.interval_real(), math.sqrt(2 * 4 * 3600) / 200)
    rule.landed(5.0)
    rule.landed(5.0)
    assert math.isclose(rule.interval_real(), 5.0)


def test_auto_tries_again_when_the_first_save_failed():
    rule = schedule(SaveRule())
    rule.saved(at=1001.0, stall=0.02)

    assert not rule.is_due(110, now=1001.0 + UNMEASURED_S - 0.1)
    assert rule.is_due(110, now=1001.0 + UNMEASURED_S + 0.1)


def test_one_slow_save_does_not_stretch_the_interval():
    rule = schedule(SaveRule(mean_life=10.0))
    for durable in (0.1, 0.1, 9.0):
        rule.saved(at=1000.0, stall=0.0)
        rule.landed(durable)

    assert math.isclose(rule.interval_real(), 0.1)
