"""The rehearsed clock: shared by processes, standing still when nobody lives."""

import os
from pathlib import Path

import pytest

from launcher import clock
from launcher.clock import CLOCK_REFRESH_S, CLOCK_STALE_S, ScaledClock
from launcher.sim.clock import SimClock

START = 1_700_000_000.0
BOOT = "this boot"


def near(instant: float) -> object:
    """Equal to a millisecond; a relative tolerance would be half an hour on an instant."""
    return pytest.approx(instant, rel=0, abs=1e-3)


class Wall:
    """A monotonic clock and a sleep that the test moves."""

    def __init__(self, now: float = 5000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def path(tmp_path: Path, wall: Wall) -> Path:
    made = tmp_path / "clock.json"
    clock.create(made, speed=100.0, market_start=START, monotonic=wall.monotonic)
    return made


def opened(path: Path, wall: Wall, *, boot: str | None = None, not_before: float = 0.0) -> ScaledClock:
    return ScaledClock(path, monotonic=wall.monotonic, sleep=wall.sleep, boot=boot, not_before=not_before)


def test_market_time_runs_faster_by_speed(path: Path, wall: Wall) -> None:
    rehearsed = opened(path, wall)
    wall.now += 0.5
    assert rehearsed.utc_s() == near(START + 50)


def test_waiting_takes_market_seconds(path: Path, wall: Wall) -> None:
    rehearsed = opened(path, wall)
    before = rehearsed.monotonic_s()
    rehearsed.wait(1000)
    assert wall.now == near(5010.0)
    assert rehearsed.utc_s() == near(START + 1000)
    assert rehearsed.monotonic_s() - before == near(1000)


def test_waiting_for_no_time_returns_at_once(path: Path, wall: Wall) -> None:
    opened(path, wall).wait(-3)
    assert wall.now == 5000.0


def test_two_processes_read_the_same_time(path: Path, wall: Wall) -> None:
    first = opened(path, wall)
    wall.now += 2
    first.refresh()
    wall.now += 2
    assert opened(path, wall).utc_s() == near(START + 400)
    assert first.utc_s() == near(START + 400)


def test_clock_stands_still_while_nobody_lives(path: Path, wall: Wall) -> None:
    first = opened(path, wall)
    wall.now += 2
    position = first.utc_s()
    wall.now += 3600
    assert clock.position(path, monotonic=wall.monotonic) == near(position)
    again = opened(path, wall)
    assert again.utc_s() == near(position)
    wall.now += 1
    assert again.utc_s() == near(position + 100)


def test_another_boot_goes_on_from_the_last_position(path: Path, wall: Wall) -> None:
    opened(path, wall)
    wall.now = 1.0  # monotonic clocks start anew with the machine
    rehearsed = opened(path, wall, boot="another boot")
    assert rehearsed.utc_s() == near(START)


def test_what_a_looker_on_read_is_never_undone_by_who_goes_on_from_there(path: Path, wall: Wall) -> None:
    opened(path, wall)
    wall.now += CLOCK_STALE_S - 0.1
    journaled = clock.position(path, monotonic=wall.monotonic)
    wall.now += 0.2  # now nobody has lived for so long that the clock stands where it was touched last
    going_on = opened(path, wall, not_before=journaled)
    assert going_on.utc_s() == near(journaled)
    wall.now += 1
    assert opened(path, wall).utc_s() == near(journaled + 100)


def test_a_clock_that_others_keep_going_is_set_forward_where_the_run_was_further_elsewhere(path: Path, wall: Wall) -> None:
    living = opened(path, wall)
    assert opened(path, wall, not_before=START + 500).utc_s() == near(START + 500)
    wall.now += CLOCK_REFRESH_S
    assert living.utc_s() == near(START + 600)
    assert opened(path, wall, not_before=START).utc_s() == near(START + 600)


def test_one_that_was_suspended_adopts_what_was_set_meanwhile(path: Path, wall: Wall) -> None:
    suspended = opened(path, wall)
    before = suspended.utc_s()
    wall.now += 100
    other = opened(path, wall)
    wall.now += CLOCK_REFRESH_S
    assert suspended.utc_s() == near(other.utc_s())
    assert suspended.utc_s() == near(before + 100 * CLOCK_REFRESH_S)


def test_one_that_was_only_slow_goes_on(path: Path, wall: Wall) -> None:
    slow = opened(path, wall)
    wall.now += CLOCK_STALE_S + 5
    assert slow.utc_s() == near(START + 100 * (CLOCK_STALE_S + 5))
    assert opened(path, wall).utc_s() == near(slow.utc_s())


def test_time_never_goes_back_within_a_process(path: Path, wall: Wall) -> None:
    living = opened(path, wall)
    wall.now += 0.9
    seen = living.utc_s()
    path.unlink()
    clock.create(path, speed=100.0, market_start=START, monotonic=wall.monotonic)
    wall.now += 0.2
    assert living.utc_s() == seen


def test_a_late_touch_does_not_undo_a_new_setting(path: Path, wall: Wall) -> None:
    opened(path, wall)
    wall.now += 100
    other = opened(path, wall)
    os.utime(path, ns=(int(wall.now * 1e9),) * 2)  # the touch of one that has not seen the new setting yet
    assert opened(path, wall).utc_s() == near(other.utc_s())


def test_looking_on_does_not_keep_it_going(path: Path, wall: Wall) -> None:
    opened(path, wall)
    for _ in range(10):
        wall.now += 1
        clock.position(path, monotonic=wall.monotonic)
    assert clock.position(path, monotonic=wall.monotonic) == near(START)


def test_creating_again_changes_nothing(path: Path, wall: Wall) -> None:
    wall.now += 1
    clock.create(path, speed=7.0, market_start=0.0, monotonic=wall.monotonic)
    assert opened(path, wall).speed == 100.0
    assert opened(path, wall).utc_s() == near(START + 100)


def test_clock_of_a_deleted_run_goes_on_for_those_who_hold_it(path: Path, wall: Wall) -> None:
    living = opened(path, wall)
    path.unlink()
    wall.now += 2
    assert living.utc_s() == near(START + 200)


def test_simulated_time_jumps_and_its_wall_clock_can_be_set() -> None:
    simulated = SimClock(start=START)
    simulated.wait(3600)
    simulated.step_utc(-60)
    assert (simulated.utc_s(), simulated.monotonic_s()) == (START + 3540, 3600)
