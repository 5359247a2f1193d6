"""A simulated world: one run, its market, its machines, and as many supervisors as anybody likes to start.

Each supervisor is the production one: the same `supervise` over the same journal, in a `World` whose ports are simulated.
Looks that would show nothing new are skipped (`doze`); a test holds that this changes only how many CheckpointSeen there are.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher import processes
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.history import History
from launcher.adapters.market.base import Feed
from launcher.adapters.records import Slot
from launcher.adapters.retry import Patience, patience
from launcher.adapters.store.base import ObjectStore
from launcher.beacon import Seat
from launcher.core.contract import AttemptSpec, heartbeat_key
from launcher.core.instance import InstanceName, InstanceStatus, instance_name
from launcher.core.market.offer import Offer
from launcher.core.policy.base import Phase, Policy
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.loop import Listener, World
from launcher.sim.body import Body
from launcher.sim.clock import SimClock
from launcher.sim.cloud import SimCloud
from launcher.sim.machine import SimMachine
from launcher.sim.market import Market
from launcher.sim.store import SimStore
from launcher.sim.timeline import Timeline
from launcher.sim.trainer import Pace
from launcher.supervisor import supervise
from launcher.units import HOUR, Seconds, Utc
from launcher.visit import visit

START: Utc = 1_800_000_000.0
HOME = "home-1"
RUN, INCARNATION = "r", "inc"
DOZE_MOST: Seconds = 4 * HOUR
DOZE_SHARE = 1 / 3  # of `autostop`, after which a supervisor that was not heard is taken for dead


def _nothing(event: ev.Event, state: RunState) -> None:
    pass


@dataclass(kw_only=True)
class SimWorld:
    """Times in market seconds; `startup_s` and `work_s` are real ones, as in SpeedChosen."""

    recipe: Recipe
    market: Market
    pace: Pace = field(default_factory=Pace)
    seed: int = 0
    speed: float = 1.0
    startup_s: Seconds | None = None  # None: what `pace` makes of it
    work_s: Seconds | None = None
    deadline_at: Utc | None = None
    start: Utc = START
    skips: bool = True  # looks that would show nothing
    policy: Policy | None = None  # None: the recipe's
    supervisors: list["Supervisor"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.start)
        self.clock = SimClock(self.timeline)
        self.store = SimStore(self.timeline, f"memory://{RUN}")
        self.cloud = SimCloud(timeline=self.timeline, market=self.market, pace=self.pace, new_machine=self.new_machine)
        self.store.on_append = self._tell_machines
        self._agents: list[SimMachine] = []  # that live
        self.known: dict[bytes, Slot] = {}  # what all of its readers read, and what its supervisors wrote
        self._nonces = random.Random(f"nonces/{self.seed}")

    def run(self, listener: Listener = _nothing) -> RunState:
        """One supervisor from the start, or from where the last one left it, to the run's end."""
        return self.supervisor().drive(listener)

    @property
    def history(self) -> History:
        """Of the newest supervisor."""
        return self.supervisors[-1].history

    def supervisor(self, home: str = HOME) -> "Supervisor":
        """A new one, not yet opened."""
        new = Supervisor(world=self, number=len(self.supervisors) + 1, home=home)
        self.supervisors.append(new)
        return new

    def dice(self, of: str) -> random.Random:
        """Chance that belongs to one part of the world, so that parts do not disturb one another."""
        return random.Random(f"{of}/{self.seed}")

    def new_nonce(self) -> str:
        return f"{self._nonces.getrandbits(128):032x}"

    # --- what a world with faults replaces ----------------------------------------------------------------------------------

    def store_of(self, who: str) -> ObjectStore:
        """The store as `who` reaches it: "sup-1", or a machine's name."""
        return self.store

    def cloud_of(self, supervisor: "Supervisor") -> Cloud:
        return HomeCloud(self.cloud, supervisor.home)

    def feed_of(self, supervisor: "Supervisor") -> Feed:
        return MarketFeed(self.market)

    def clock_of(self, supervisor: "Supervisor") -> SimClock:
        return SimClock(self.timeline, booted=self.start)

    def new_machine(
        self, spec: AttemptSpec, instance_id: str, pace: Pace, skew: Seconds, exited: Callable[[], None]
    ) -> SimMachine:
        nonce = self.new_nonce()
        body = Body(
            timeline=self.timeline,
            clock=SimClock(self.timeline, skew=skew),
            store=self.store_of(f"machine-{spec.attempt}"),
            nonce=nonce,
            dice=self.dice(f"machine/{nonce}"),
            exited=exited,
            known=self.known,
        )
        machine = SimMachine(body, spec, instance_id, pace)
        self._agents.append(machine)
        self.store.written_on_reading(heartbeat_key(spec.attempt), machine.say)
        return machine

    def _tell_machines(self) -> None:
        self._agents = [agent for agent in self._agents if not agent.is_over]
        for agent in self._agents:
            agent.journal_grew()


@dataclass(kw_only=True)
class Supervisor:
    """One supervisor's process. `home` is where its cloud records lie."""

    world: SimWorld
    number: int
    home: str

    def __post_init__(self) -> None:
        world = self.world
        self.name = f"sup-{self.number}"
        self.clock = world.clock_of(self)
        self.history = History(
            world.store_of(self.name), INCARNATION, writer=self.name, new_nonce=world.new_nonce, known=world.known
        )
        self._news_heard = -1
        self.seat = Seat(boot_id=self.home, process=processes.ProcessId(pid=self.number, started=self.name))

    def open(self, *, resumes: bool = False) -> History:
        """The run's history, open for writing; the run created if it was not, and with `resumes` going on if it was stopped."""
        now = self.clock.utc_s()
        history = self.history
        history.open(ev.SupervisorStarted(at=now, supervisor=self.name, host=self.home, pid=self.number))
        if not history.is_created:
            self._create(now)
        if history.state.startup_s is None:
            self._choose_speed(now)
        asked_to_stop = history.state.phase.is_ended and history.state.request is not None
        if resumes and asked_to_stop and history.state.phase is not Phase.SUCCEEDED:
            history.append(ev.RunResumed(at=now, recipe=history.state.recipe, deadline_at=history.state.deadline_at))
        return history

    def _create(self, now: Utc) -> None:
        world = self.world
        created = ev.RunCreated(
            at=now, run=RUN, incarnation=INCARNATION, recipe=world.recipe, deadline_at=world.deadline_at, code=None
        )
        self.history.append(created)
        self.history.copy_all()

    def _choose_speed(self, now: Utc) -> None:
        world = self.world
        pace, tempo = world.pace, Tempo(world.speed)
        startup_s = tempo.real(pace.boot_s + pace.restore_s) if world.startup_s is None else world.startup_s
        work_s = tempo.real(pace.total_steps * pace.step_s) if world.work_s is None else world.work_s
        self.history.append(ev.SpeedChosen(at=now, speed=world.speed, startup_s=startup_s, work_s=work_s, reason="simulated"))

    def opener(self) -> str | None:
        """Who opened the journal last."""
        self.history.poll()
        return self.history.opener

    def drive(self, listener: Listener = _nothing, *, resumes: bool = False) -> RunState:
        """Open the run, and supervise it to its end."""
        with patience(Patience(self.clock.wait, self.world.dice(self.name))):
            self.open(resumes=resumes)
            return supervise(self.ports(), self.history, self._policy_of, supervisor=self.name, listener=listener)

    def visit(self, listener: Listener = _nothing, *, resumes: bool = False) -> Utc | None:
        """Open the run and look after it once, as cron has it done; when to come back, None once it is over."""
        with patience(Patience(self.clock.wait, self.world.dice(self.name))):
            if self.open(resumes=resumes).state.is_over:
                return None
            return visit(self.ports(), self.history, self._policy_of, supervisor=self.name, listener=listener)

    def ports(self) -> World:
        world = self.world
        return World(
            clock=self.clock,
            cloud=world.cloud_of(self),
            store=world.store_of(self.name),
            feed=world.feed_of(self),
            seat=self.seat,
            new_nonce=world.new_nonce,
            doze=self.doze if world.skips else None,
        )

    def doze(self, seconds: Seconds, look_every: Seconds) -> None:
        """Sleep through the looks that would show nothing: to the first one at or after the next news."""
        timeline = self.world.timeline
        began = timeline.now
        limit = began + min(self._may_doze(), seconds)
        yielded_at: Utc | None = None
        while timeline.num_news == self._news_heard and timeline.now < limit:
            due = timeline.next_due()
            if due <= timeline.now == yielded_at:  # others doze too: each would wait for the other within this instant, for ever
                due = timeline.now + look_every
            yielded_at = max(due, timeline.now)
            timeline.sleep_until(min(due, limit))
        looks = max(1, math.ceil((timeline.now - began) / look_every - 1e-9))
        self.clock.wait(began + min(seconds, looks * look_every) - timeline.now)
        self._news_heard = timeline.num_news

    def _may_doze(self) -> Seconds:
        """How long nothing but news can change anything: no look that is missed is part of a count."""
        instances = self.world.cloud.instances
        counted = 2 * Tempo(self.world.speed).read_slow  # of the time between two looks no more counts as silence
        state = self.history.state
        most = min(DOZE_MOST, DOZE_SHARE * state.recipe.autostop)
        for attempt in state.attempts.values():
            if attempt.bill is None:
                instance = instances.get(instance_name(state.run, state.incarnation, attempt.number))
                if instance is None or not instance.is_up:
                    return 0.0
                if not any(agent.is_steady for agent in instance.agents):
                    most = min(most, counted)
        return most

    def _policy_of(self, state: RunState) -> Policy:
        return self.world.policy or POLICIES[state.recipe.policy.strategy]()


@dataclass(frozen=True, slots=True)
class HomeCloud:
    """The cloud as it is known from one home: of what others started it cannot say much."""

    cloud: SimCloud
    home: str

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self.cloud.start(name, spec, home=self.home)

    def stop(self, name: InstanceName) -> None:
        self.cloud.stop(name)

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        return self.cloud.poll(run, incarnation, home=self.home)


@dataclass(frozen=True, slots=True)
class MarketFeed:
    market: Market

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return self.market.offers(now)
