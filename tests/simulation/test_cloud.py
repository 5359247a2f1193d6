"""The simulated cloud: its own bill, gangs, warnings true and false, and machines that come back from the dead."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher.core.contract import AttemptSpec, claim_key, notice_key
from launcher.core.instance import EndCause, FailureKind, InstancePhase
from launcher.core.market.offer import Offer
from launcher.core.market.recording import RecordedOffer
from launcher.core.market.series import from_samples
from launcher.sim.cloud import Instance, SimCloud, Start
from launcher.sim.faults import STARTS, Fault
from launcher.sim.machine import SimMachine
from launcher.sim.market import DeckMarket, Market, TimelineMarket
from launcher.sim.trainer import Pace
from launcher.units import HOUR, MINUTE, Seconds
from tests.core.markets import on_demand, spot
from tests.simulation.rig import Bench, always, keys, spec_of
from tests.simulation.worlds import FixedTrace

PACE = Pace(boot_s=60, restore_s=30, step_s=1.0, stall_s=0.0, durable_s=5.0, save_every=300, total_steps=100_000)
AWS, GCP = spot("us-east-1a", 1.2), spot("us-central1-a", 0.6, cloud="gcp")
AZURE = replace(AWS, placement=replace(AWS.placement, cloud="azure"))
SURE = on_demand("us-east-1a", 3.0)


class Scene(Bench):
    """A cloud without a supervisor. Each machine lives for `up`."""

    def __init__(
        self, *, up: Seconds = 1e6, notice: bool = True, start: Start | None = None, market: Market | None = None
    ) -> None:
        super().__init__()
        trace = FixedTrace(up=up, notice=lambda place, k: notice)
        self.cloud = SimCloud(
            timeline=self.timeline,
            market=market or DeckMarket(trace=trace, rows=(AWS, GCP, AZURE, SURE)),
            pace=PACE,
            new_machine=self._new_machine,
            plan_start=lambda name, spec: start or Start(),
        )

    def _new_machine(
        self, spec: AttemptSpec, instance_id: str, pace: Pace, skew: Seconds, exited: Callable[[], None]
    ) -> SimMachine:
        return self.machine(spec, pace=pace, nonce=f"n{len(self.machines)}", exited=exited)

    def start(self, offer: Offer = AWS, attempt: int = 1, *, num_nodes: int = 1) -> Instance:
        name = f"r-inc-{attempt}"
        self.cloud.start(name, spec_of(attempt, place=offer.placement, num_nodes=num_nodes))
        return self.cloud.instances[name]

    def notices(self) -> list[str]:
        return keys(self.store, "attempts/0001/notices/")


# --- the bill --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "life", "taken", "dollars"),
    [
        (AWS, 2 * HOUR, True, 2.4),
        (AWS, 59 * MINUTE, True, 0.0),  # interrupted in the first hour: free
        (AWS, 59 * MINUTE, False, 1.18),  # stopped by us: not
        (AWS, 10.0, False, 0.02),  # a minute at least
        (GCP, 10.0, True, 0.0),  # preempted in the first minute: free
        (GCP, 90.0, True, 0.015),
        (GCP, 10.0, False, 0.01),
        (AZURE, 10.0, True, 1.2 * 10 / HOUR),  # every second
        (SURE, HOUR, False, 3.0),
    ],
)
def test_a_life_costs_what_the_clouds_page_says(offer: Offer, life: Seconds, taken: bool, dollars: float) -> None:
    scene = Scene(up=life if taken else 1e6)
    instance = scene.start(offer)
    scene.timeline.pass_until(life)
    if not taken:
        scene.cloud.stop(instance.name)
    scene.timeline.pass_until(10 * HOUR)
    assert instance.was_taken is taken
    assert scene.cloud.bill_of(instance) == pytest.approx(dollars)
    assert scene.cloud.dollars() == pytest.approx(dollars)


def test_a_machine_costs_from_its_first_second_and_nothing_while_it_is_still_being_started() -> None:
    scene = Scene(start=Start(delay=600.0))
    instance = scene.start()
    scene.timeline.pass_until(599)
    assert scene.cloud.poll("r", "inc")[instance.name].phase is InstancePhase.STARTING
    assert scene.cloud.dollars() == 0
    scene.timeline.pass_until(600 + HOUR)
    assert scene.cloud.poll("r", "inc")[instance.name].billed_from == 600
    assert scene.cloud.dollars() == pytest.approx(1.2)


def test_what_is_stopped_before_it_runs_costs_nothing_and_never_runs() -> None:
    scene = Scene(start=Start(delay=600.0))
    instance = scene.start()
    scene.timeline.pass_until(300)
    scene.cloud.stop(instance.name)
    scene.timeline.pass_until(2 * HOUR)
    assert (scene.cloud.dollars(), instance.agents) == (0, [])
    status = scene.cloud.poll("r", "inc")[instance.name]
    assert (status.cause, status.billed_from, status.wait_status) == (EndCause.STOPPED, None, None)


def test_a_refused_start_buys_nothing() -> None:
    scene = Scene(start=Start(refused=FailureKind.QUOTA))
    instance = scene.start()
    failure = scene.cloud.poll("r", "inc")[instance.name].failure
    assert failure is not None
    assert failure.failure is FailureKind.QUOTA
    scene.timeline.pass_until(HOUR)
    assert (scene.cloud.dollars(), scene.cloud.starts, scene.cloud.up()) == (0, [], [])


# --- gangs -----------------------------------------------------------------------------------------------------------------


def test_a_gang_costs_by_the_machine_and_is_one_instance() -> None:
    scene = Scene()
    scene.start(num_nodes=4)
    scene.timeline.pass_until(2 * HOUR)
    assert scene.cloud.dollars() == pytest.approx(4 * 2 * 1.2)
    assert len(scene.cloud.poll("r", "inc")) == 1


def test_a_gang_needs_room_for_all_of_it_and_is_taken_as_a_whole() -> None:
    rooms = from_samples([4.0, 4.0, 2.0, 2.0], HOUR)
    market = TimelineMarket("rec", (RecordedOffer(offer=AWS, capacity=rooms), RecordedOffer(offer=SURE)), seed=1)
    scene = Scene(market=market)
    four, five, two = (scene.start(attempt=n, num_nodes=size) for n, size in ((1, 4), (2, 5), (3, 2)))
    assert five.failure is not None
    scene.timeline.pass_until(3 * HOUR)
    assert (four.was_taken, four.ended_at) == (True, 2 * HOUR)
    assert two.is_up


# --- warnings --------------------------------------------------------------------------------------------------------------


def test_the_market_warns_by_the_clouds_lead_unless_it_does_not() -> None:
    for notice, plan, warned in ((True, Start(), True), (False, Start(), False), (True, Start(no_notice=True), False)):
        scene = Scene(up=HOUR, notice=notice, start=plan)
        instance = scene.start()
        scene.timeline.pass_until(HOUR - 121)
        assert scene.notices() == []
        scene.timeline.pass_until(HOUR - 119)
        assert scene.notices() == ([notice_key(1, 1)] if warned else [])
        scene.timeline.pass_until(2 * HOUR)
        assert (instance.was_taken, instance.ended_at) == (True, HOUR)


def test_a_warning_that_comes_while_the_machine_boots_is_found_once_it_has() -> None:
    scene = Scene(up=150.0)
    scene.start()
    scene.timeline.pass_until(59)
    assert scene.notices() == []
    scene.timeline.pass_until(61)
    assert scene.notices() == [notice_key(1, 1)]


def test_warnings_given_twice_and_taken_back_are_told_one_by_one() -> None:
    scene = Scene(start=Start(warns=((600, 120, False), (630, 90, False), (660, 0, True))))
    instance = scene.start()
    scene.timeline.pass_until(70)
    scene.grant()
    for when, number in ((599, 0), (601, 1), (631, 2), (661, 3)):
        scene.timeline.pass_until(when)
        assert scene.notices() == [notice_key(1, n + 1) for n in range(number)]
    scene.timeline.pass_until(2 * HOUR)
    assert instance.is_up
    assert scene.machines[0].is_steady, "the last word was that it may stay"


# --- machines --------------------------------------------------------------------------------------------------------------


def test_a_start_that_was_repeated_ends_with_one_claim_and_one_bill() -> None:
    scene = Scene(start=Start(num_agents=2))
    instance = scene.start()
    scene.timeline.pass_until(70)
    scene.grant()
    scene.timeline.pass_until(HOUR)
    assert len(instance.agents) == 2
    assert [agent.has_trained for agent in instance.agents] == [True, False]
    assert keys(scene.store, claim_key(1)) == [claim_key(1)]
    assert instance.is_up, "an agent that lost ends itself and not the machine of the other"
    assert scene.cloud.dollars() == pytest.approx(1.2)


def test_hardware_that_dies_tells_nobody_why() -> None:
    scene = Scene(start=Start(dies_after=1000.0))
    instance = scene.start()
    scene.timeline.pass_until(2 * HOUR)
    status = scene.cloud.poll("r", "inc")[instance.name]
    assert (status.phase, status.cause, status.wait_status) == (InstancePhase.GONE, EndCause.UNTOLD, None)
    assert instance.agents[0].is_over
    assert scene.cloud.dollars() == pytest.approx(1.2 * 1000 / HOUR), "nobody took it: nothing is free"


def test_a_cloud_that_tells_no_ends_shows_only_that_it_is_gone() -> None:
    scene = Scene(up=2 * HOUR)
    scene.cloud.reports_ends = False
    instance = scene.start()
    scene.timeline.pass_until(3 * HOUR)
    status = scene.cloud.poll("r", "inc")[instance.name]
    assert (status.phase, status.ended_at, status.cause) == (InstancePhase.GONE, None, EndCause.UNTOLD)


def test_from_another_home_a_machine_is_unknown_and_never_reported_running() -> None:
    scene = Scene()
    scene.cloud.start("r-inc-1", spec_of(), home="theirs")
    scene.timeline.pass_until(HOUR)
    assert scene.cloud.poll("r", "inc", home="theirs")["r-inc-1"].phase is InstancePhase.RUNNING
    assert scene.cloud.poll("r", "inc", home="mine")["r-inc-1"].phase is InstancePhase.UNKNOWN
    scene.cloud.stop("r-inc-1")
    assert scene.cloud.poll("r", "inc", home="mine")["r-inc-1"].phase is InstancePhase.GONE


def test_a_machine_that_was_taken_comes_back_as_a_zombie_and_commits_late() -> None:
    scene = Scene(up=700.0, notice=False, start=Start(comes_back_after=HOUR))
    instance = scene.start()
    scene.timeline.pass_until(70)
    scene.grant()
    scene.timeline.pass_until(710)
    before = [commit.step for commit in scene.commits()]
    assert instance.was_taken
    assert not instance.agents[0].is_over, "away, and not dead"
    scene.timeline.pass_until(700 + HOUR + 10)
    assert instance.agents[0].was_woken
    assert [commit.step for commit in scene.commits()][: len(before) + 1] == [*before, 600], "what it was about to commit"
    assert scene.cloud.bill_of(instance) == 0.0, "the cloud bills no zombie"


def test_a_zombie_meets_a_seal_where_it_would_have_committed() -> None:
    scene = Scene(up=700.0, notice=False, start=Start(comes_back_after=HOUR))
    instance = scene.start()
    scene.timeline.pass_until(70)
    scene.grant()
    scene.timeline.pass_until(710)
    before = len(scene.commits())
    scene.seal(1, before + 1)
    scene.timeline.pass_until(700 + HOUR + 10)
    assert len(scene.commits()) == before
    assert instance.agents[0].is_over


# --- what a plan makes of a start ------------------------------------------------------------------------------------------


SHOWS: dict[Fault, Callable[[Start], bool]] = {
    Fault.START_REPEATED: lambda start: start.num_agents == 2,
    Fault.START_SLOW: lambda start: 5 * MINUTE <= start.delay <= 40 * MINUTE,
    Fault.CAPACITY: lambda start: start.refused is FailureKind.CAPACITY,
    Fault.QUOTA: lambda start: start.refused is FailureKind.QUOTA,
    Fault.NOTICE_FALSE: lambda start: [withdrawn for _, _, withdrawn in start.warns] == [False],
    Fault.NOTICE_MISSING: lambda start: start.no_notice,
    Fault.NOTICE_TWICE: lambda start: [withdrawn for _, _, withdrawn in start.warns] == [False, False],
    Fault.NOTICE_WITHDRAWN: lambda start: [withdrawn for _, _, withdrawn in start.warns] == [False, True],
    Fault.SKEW: lambda start: 0 < abs(start.skew) <= 10 * MINUTE,
    Fault.ZOMBIE: lambda start: start.comes_back_after is not None,
    Fault.DEAF: lambda start: start.deaf_from is not None,
    Fault.DIES: lambda start: start.dies_after is not None,
    Fault.MUTE: lambda start: start.pace is not None and start.pace.is_mute,
    Fault.UNREADY: lambda start: start.exits_after is not None and start.exits_after <= 5 * MINUTE,
    Fault.PROGRAM_FAILS: lambda start: start.pace is not None and 0 < start.pace.fails_at <= PACE.total_steps,
}


@pytest.mark.parametrize("fault", STARTS)
def test_a_fault_of_starts_does_what_its_name_says_and_nothing_else(fault: Fault) -> None:
    shows = SHOWS[fault]
    honest = always().start("i", 0.0, PACE)
    assert not shows(honest)
    plan = always(fault)
    start = plan.start("i", 0.0, PACE)
    assert shows(start)
    fields = {name for name in Start.__slots__ if getattr(start, name) != getattr(honest, name)}
    assert len(fields - {"delay"}) == (fault is not Fault.START_SLOW)
    assert not shows(plan.start("i", plan.quiet_from, PACE))


# --- the end of a machine --------------------------------------------------------------------------------------------------


def test_a_machine_ends_with_its_agent() -> None:
    scene = Scene()
    instance = scene.start()
    scene.timeline.pass_until(PACE.boot_s)
    instance.agents[0]._end()
    assert (instance.ended_at, instance.cause) == (PACE.boot_s, EndCause.EXITED)


def test_where_that_takes_time_it_is_billed_meanwhile_unless_it_is_stopped() -> None:
    left, stopped = Scene(start=Start(autodown=5 * MINUTE)), Scene(start=Start(autodown=5 * MINUTE))
    for scene in (left, stopped):
        instance = scene.start()
        scene.timeline.pass_until(PACE.boot_s)
        instance.agents[0]._end()
        assert instance.is_up
        if scene is stopped:
            scene.cloud.stop(instance.name)
        scene.timeline.pass_until(HOUR)
    ends = [(i.ended_at, i.cause) for scene in (left, stopped) for i in scene.cloud.instances.values()]
    assert ends == [(PACE.boot_s + 5 * MINUTE, EndCause.EXITED), (PACE.boot_s, EndCause.STOPPED)]
