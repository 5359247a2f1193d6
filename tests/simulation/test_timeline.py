"""Simulated time: one thing after another, whoever waits, and no process left behind."""

import pytest

from launcher.sim.clock import SimClock
from launcher.sim.timeline import FOREVER, Actor, Dismissed, Timeline
from launcher.sim.world import DOZE_MOST
from tests.simulation.worlds import Sim

# --- order -----------------------------------------------------------------------------------------------------------------


def test_what_is_due_happens_in_order_of_time_and_then_of_planning() -> None:
    timeline, done = Timeline(), []
    for when, what in ((5.0, "c"), (1.0, "a"), (5.0, "d"), (2.0, "b")):
        timeline.at(when, lambda what=what: done.append((timeline.now, what)))  # type: ignore[misc]
    timeline.pass_until(10)
    assert done == [(1.0, "a"), (2.0, "b"), (5.0, "c"), (5.0, "d")]
    assert timeline.now == 10


def test_nothing_happens_that_is_not_due() -> None:
    timeline, done = Timeline(), []
    timeline.at(5.0, lambda: done.append("late"))
    timeline.pass_until(4.9)
    assert done == []
    assert timeline.next_due() == 5.0
    timeline.pass_until(5.0)
    assert done == ["late"]
    assert timeline.next_due() == FOREVER


def test_what_is_planned_for_the_past_happens_now_and_time_never_goes_back() -> None:
    timeline, seen = Timeline(100.0), []
    timeline.at(7.0, lambda: seen.append(timeline.now))
    timeline.pass_until(50.0)
    assert seen == []
    timeline.pass_until(100.0)
    assert seen == [100.0]


def test_what_happens_may_plan_more_for_the_same_instant() -> None:
    timeline, done = Timeline(), []
    timeline.at(1.0, lambda: timeline.after(0, lambda: done.append(timeline.now)))
    timeline.pass_until(1.0)
    assert done == [1.0]


def test_passing_stops_where_it_is_told_to() -> None:
    timeline, done = Timeline(), []
    for when in (1.0, 2.0, 3.0):
        timeline.at(when, lambda: done.append(timeline.now))
    timeline.pass_while(lambda: len(done) < 2, until=10)
    assert done == [1.0, 2.0]
    assert timeline.now == 2.0


def test_only_news_is_counted() -> None:
    timeline = Timeline()
    timeline.at(1.0, lambda: None)
    timeline.at(2.0, lambda: None, is_news=False)
    timeline.at(3.0, timeline.tell, is_news=False)
    timeline.pass_until(1.5)
    assert timeline.num_news == 1
    timeline.pass_until(2.5)
    assert timeline.num_news == 1
    timeline.pass_until(3.5)
    assert timeline.num_news == 2


# --- clocks ----------------------------------------------------------------------------------------------------------------


def test_clocks_of_one_timeline_may_disagree_and_only_their_wall_clocks_step() -> None:
    timeline = Timeline(1000.0)
    true, wrong = SimClock(timeline), SimClock(timeline, skew=-600.0)
    wrong.wait(10)
    assert (true.utc_s(), wrong.utc_s()) == (1010.0, 410.0)
    wrong.step_utc(700.0)
    assert (true.utc_s(), wrong.utc_s()) == (1010.0, 1110.0)
    assert true.monotonic_s() == wrong.monotonic_s() == 10.0


def test_to_wait_a_negative_time_is_to_wait_none() -> None:
    clock = SimClock(5.0)
    clock.wait(-1)
    assert clock.utc_s() == 5.0


# --- processes -------------------------------------------------------------------------------------------------------------


def ticking(timeline: Timeline, name: str, every: float, times: int, log: list[tuple[float, str]]) -> Actor:
    def body() -> None:
        for _ in range(times):
            log.append((timeline.now, name))
            timeline.sleep_until(timeline.now + every)

    return Actor(timeline, name, body)


def test_two_processes_take_turns_by_time_alone() -> None:
    def history() -> list[tuple[float, str]]:
        timeline, log = Timeline(), []  # type: tuple[Timeline, list[tuple[float, str]]]
        actors = [ticking(timeline, "a", 2.0, 4, log), ticking(timeline, "b", 3.0, 3, log)]
        for actor in actors:
            actor.start(0.0)
        timeline.pass_until(100)
        assert all(actor.is_over and actor.error is None for actor in actors)
        return log

    assert history() == [(0, "a"), (0, "b"), (2, "a"), (3, "b"), (4, "a"), (6, "b"), (6, "a")]
    assert history() == history()


def test_while_a_process_waits_the_world_goes_on() -> None:
    timeline, log = Timeline(), []  # type: tuple[Timeline, list[tuple[float, str]]]
    timeline.at(1.0, lambda: log.append((timeline.now, "world")))
    ticking(timeline, "a", 2.0, 2, log).start(0.0)
    timeline.pass_until(10)
    assert log == [(0, "a"), (1, "world"), (2, "a")]


def test_a_dismissed_process_ends_where_it_waits_and_no_handler_of_its_own_keeps_it() -> None:
    timeline, log = Timeline(), []  # type: tuple[Timeline, list[str]]

    def body() -> None:
        while True:
            try:
                timeline.sleep_until(timeline.now + 10)
                log.append("went on")
            except Exception:
                log.append("caught")

    actor = Actor(timeline, "a", body)
    actor.start(0.0)
    timeline.pass_until(5)
    actor.dismiss()
    assert actor.is_over
    assert isinstance(actor.error, Dismissed)
    timeline.pass_until(100)
    assert log == []
    actor.dismiss()


def test_a_process_that_is_dismissed_before_its_start_does_nothing() -> None:
    timeline, log = Timeline(), []  # type: tuple[Timeline, list[tuple[float, str]]]
    actor = ticking(timeline, "a", 1.0, 1, log)
    actor.start(5.0)
    actor.dismiss()
    timeline.pass_until(10)
    assert (actor.is_over, log) == (True, [])


def test_what_a_process_raises_ends_it_alone_and_can_be_asked_for() -> None:
    timeline, log = Timeline(), []  # type: tuple[Timeline, list[tuple[float, str]]]

    def body() -> None:
        timeline.sleep_until(1.0)
        raise ValueError("mine")

    failing = Actor(timeline, "failing", body)
    failing.start(0.0)
    ticking(timeline, "a", 2.0, 2, log).start(0.0)
    timeline.pass_until(10)
    assert isinstance(failing.error, ValueError)
    assert log == [(0, "a"), (2, "a")]


def test_no_thread_outlives_its_process() -> None:
    timeline, log = Timeline(), []  # type: tuple[Timeline, list[tuple[float, str]]]
    actors = [ticking(timeline, str(n), 1.0, 1000, log) for n in range(5)]
    for actor in actors:
        actor.start(0.0)
    timeline.pass_until(3)
    for actor in actors:
        actor.dismiss()
    for actor in actors:
        actor._thread.join()


# --- looks that would show nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("news_at", "wakes_at"), [(None, 300.0), (95.0, 96.0), (96.0, 96.0), (300.5, 300.0)])
def test_a_supervisor_dozes_to_its_first_look_at_or_after_the_news(news_at: float | None, wakes_at: float) -> None:
    sim = Sim()
    supervisor = sim.supervisor()
    supervisor.open()
    supervisor.doze(0.0, 3.0)  # what happened before is heard
    began = sim.timeline.now
    if news_at is not None:
        sim.timeline.at(began + news_at, lambda: None)
    supervisor.doze(300.0, 3.0)
    assert sim.timeline.now - began == pytest.approx(wakes_at)


def test_a_supervisor_does_not_doze_while_news_waits_to_be_looked_at() -> None:
    sim = Sim()
    supervisor = sim.supervisor()
    supervisor.open()
    supervisor.doze(0.0, 3.0)
    sim.timeline.tell()
    began = sim.timeline.now
    supervisor.doze(300.0, 3.0)
    assert sim.timeline.now - began == pytest.approx(3.0)


def test_a_dozing_supervisor_wakes_often_enough_to_be_seen_alive() -> None:
    sim = Sim()
    supervisor = sim.supervisor()
    supervisor.open()
    supervisor.doze(0.0, 3.0)
    began = sim.timeline.now
    supervisor.doze(100 * DOZE_MOST, 3.0)
    assert sim.timeline.now - began == pytest.approx(DOZE_MOST)
