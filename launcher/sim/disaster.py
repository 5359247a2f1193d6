"""A seeded disaster: one run in a world in which things go wrong, driven by as many supervisors as the plan sends.

What is kept for the checkers: every write of the store, every instance with its agents, every supervisor's life, and the plan
with what it really did.
"""

from dataclasses import dataclass, field

from launcher import beacon, codec
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.history import History
from launcher.adapters.market.base import Feed
from launcher.adapters.retry import Patience, patience
from launcher.core.contract import AttemptSpec, Request, RequestKind, request_key
from launcher.core.instance import FailureKind, InstanceName
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.errors import LaunchError, Overtaken
from launcher.sim.cloud import Start
from launcher.sim.faults import Fault, FaultPlan
from launcher.sim.faulty import NUM_OF_BIRTH, FaultyCloud, FaultyFeed, FaultyStore, Process
from launcher.sim.timeline import Actor, Dismissed
from launcher.sim.world import INCARNATION, SimWorld, Supervisor
from launcher.units import HOUR, MINUTE, Seconds, Utc

TROUBLE_LASTS: Seconds = 8 * HOUR
BOUND: Seconds = 240 * HOUR  # after the trouble: a harsh market's only place takes a machine each half hour and cools for 6 h
AFTERMATH: Seconds = 3 * HOUR  # zombies and late writes go on after the run's end
CRON_ALONE = 0.5  # of the seeds with cron ticks: in the others they come beside who stays
LOOK_AFTER: Seconds = 10 * MINUTE  # somebody sees that nobody supervises


@dataclass(kw_only=True)
class Life:
    """One supervisor's process. `outcome`: ended, left, overtaken, yielded, crashed, refused, bug; "" while it lives."""

    supervisor: Supervisor
    process: Process
    insists: bool
    visits: bool  # it looks after the run once and leaves
    started_at: Utc
    ended_at: Utc | None = None
    outcome: str = ""
    error: BaseException | None = None
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class Journaled:
    at: Utc  # true time
    supervisor: str
    event: ev.Event
    state: RunState  # that supervisor's, with the event


@dataclass(kw_only=True)
class FaultyWorld(SimWorld):
    """`play` runs it; afterwards everything that happened lies in the fields."""

    plan: FaultPlan
    lives: list[Life] = field(default_factory=list)
    journaled: list[Journaled] = field(default_factory=list)
    ended_at: Utc | None = None  # a supervisor saw the run through to its end, and nobody resumes it
    _processes: dict[str, Process] = field(default_factory=dict)
    _gone_region: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cloud.plan_start = self._plan_start
        self._dice = self.dice("disaster")
        self._resumes = 0
        self._is_left_to_cron = Fault.CRON in self.plan.kinds and self.dice("cron").random() < CRON_ALONE

    # --- ports ---------------------------------------------------------------------------------------------------------------

    def store_of(self, who: str) -> FaultyStore:
        return FaultyStore(inner=self.store, process=self._process(who))

    def cloud_of(self, supervisor: Supervisor) -> Cloud:
        return FaultyCloud(inner=super().cloud_of(supervisor), process=self._process(supervisor.name))

    def feed_of(self, supervisor: Supervisor) -> Feed:
        return FaultyFeed(inner=super().feed_of(supervisor), process=self._process(supervisor.name))

    def _process(self, who: str) -> Process:
        if who not in self._processes:
            self._processes[who] = Process(
                name=who, timeline=self.timeline, plan=self.plan, can_stop=not who.startswith("machine")
            )
        return self._processes[who]

    def _plan_start(self, name: InstanceName, spec: AttemptSpec) -> Start:
        if self._gone_region == spec.placement.region:
            self.plan.fired[Fault.REGION_GONE] += 1
            return Start(refused=FailureKind.CAPACITY)
        return self.plan.start(name, self.timeline.now, self.pace)

    # --- the play ------------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """From the run's start to its end and some hours beyond, or to the bound."""
        self._schedule()
        limit = self.plan.quiet_from + BOUND
        self.timeline.pass_while(lambda: self.ended_at is None, limit)
        self.timeline.pass_until(self.timeline.now + AFTERMATH)
        for life in self.lives:
            if life.actor is not None:
                life.process.is_dead = True
                life.actor.dismiss()
        self._count_ends()

    def _schedule(self) -> None:
        self._send(insists=False)
        self.timeline.after(LOOK_AFTER, self._look_after)
        for when, fault in self.plan.moments:
            self.timeline.at(when, lambda f=fault: self._strike(f))  # type: ignore[misc]
        for span in self.plan.spans:
            if span.fault is Fault.REGION_GONE:
                self.timeline.at(span.start, self._lose_region)
                self.timeline.at(span.end, self._regain_region)
        if Fault.CRON in self.plan.kinds:
            self.timeline.after(5 * MINUTE, self._cron)

    @property
    def alive(self) -> list[Life]:
        return [life for life in self.lives if not life.outcome]

    def _look_after(self) -> None:
        """Somebody, or a cron job, looks after the run: where nobody drives it, they do."""
        if self.ended_at is None:
            if not self.alive:
                self._send(insists=False)
            self.timeline.after(LOOK_AFTER, self._look_after)

    def _cron(self) -> None:
        if self.ended_at is None and self.timeline.now < self.plan.quiet_from:
            self.plan.fired[Fault.CRON] += 1
            self._send(insists=False, visits=True)
            self.timeline.after(5 * MINUTE, self._cron)

    def _send(self, *, insists: bool, visits: bool = False) -> None:
        """Start a supervisor's process, now. Where all is left to cron nobody else stays either while the trouble lasts."""
        home = "home-1"
        if self.lives and Fault.OTHER_HOME in self.plan.kinds and self.timeline.now < self.plan.quiet_from:
            home = f"home-{1 + self.plan.choice(2)}"
            self.plan.fired[Fault.OTHER_HOME] += home != "home-1"
        supervisor = self.supervisor(home)
        life = Life(
            supervisor=supervisor,
            process=self._process(supervisor.name),
            insists=insists,
            visits=visits or (self._is_left_to_cron and not insists and self.timeline.now < self.plan.quiet_from),
            started_at=self.timeline.now,
        )
        self.lives.append(life)
        life.actor = Actor(self.timeline, supervisor.name, lambda: self._live(life))
        life.actor.start(self.timeline.now)

    def _send_again(self) -> None:
        if self.ended_at is None:
            self._send(insists=False)

    def _live(self, life: Life) -> None:
        try:
            state = self._drive(life)
        except Overtaken as error:
            life.outcome, life.error = "overtaken", error
        except Dismissed:
            life.outcome = "crashed"
            if self.ended_at is None:
                self.timeline.after(self._dice.uniform(10, 20 * MINUTE), self._send_again)
        except LaunchError as error:
            life.outcome, life.error = "refused", error  # as the command line would: said, with an exit code
        except Exception as error:  # a bug of ours, and the checker's to report
            life.outcome, life.error = "bug", error
        else:
            life.outcome = "yielded" if state is None else "ended" if state.is_over else "left"
            if state is not None and state.is_over:
                self._after_end(state)
        life.ended_at = self.timeline.now

    def _drive(self, life: Life) -> RunState | None:
        """The state that it leaves; None where another drives the run."""
        supervisor = life.supervisor

        def note(event: ev.Event, state: RunState) -> None:
            self.journaled.append(Journaled(self.timeline.now, supervisor.name, event, state))

        with patience(Patience(supervisor.clock.wait, self.dice(supervisor.name))):
            if not life.insists:
                holder = beacon.holder(
                    supervisor.history.store,
                    supervisor.opener,
                    monotonic=supervisor.clock.monotonic_s,
                    wait=supervisor.clock.wait,
                )
                if holder is not None:
                    return None
            if life.visits:
                supervisor.visit(note, resumes=self._resumes > 0)
                return supervisor.history.state
            return supervisor.drive(note, resumes=self._resumes > 0)

    def _after_end(self, state: RunState) -> None:
        """Whoever asked for a stop resumes it later; every other end stands."""
        assert state.terminal is not None
        if state.request is not None and state.phase is not Phase.SUCCEEDED:
            self._resumes += 1
            self.timeline.after(10 * MINUTE, self._send_again)
        else:
            self.ended_at = self.timeline.now

    # --- blows ---------------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        if self.ended_at is not None:
            return
        match fault:
            case Fault.RIVAL:
                self.plan.fired[fault] += 1
                self._send(insists=True)
            case Fault.CLOCK_STEP:
                supervisors = [life.supervisor.clock.step_utc for life in self.alive]
                for step in (*supervisors, *(agent.step_clock for agent in self.cloud.agents())):
                    self.plan.fired[fault] += 1
                    step(self._dice.uniform(-10 * MINUTE, 10 * MINUTE))
            case Fault.STOP_REQUEST:
                self.plan.fired[fault] += 1
                request = Request(uuid=self.new_nonce(), request=self._dice.choice(list(RequestKind)), by="somebody")
                self.store.create(request_key(request.uuid), codec.dumps_digested(request))
            case Fault.CHECKPOINT_DAMAGED:
                self._rot(fault, [key for key in self._keys("attempts/") if "/saves/" in key or "/commits/" in key])
            case Fault.RECORD_DAMAGED:
                self._rot(fault, self._keys("journal/")[NUM_OF_BIRTH:])

    def _rot(self, fault: Fault, keys: list[str]) -> None:
        if keys:
            self.plan.fired[fault] += 1
            key = self._dice.choice(keys)
            data = self.store.get(key)
            self.store.damage(key, data[: len(data) // 2])

    def _keys(self, prefix: str) -> list[str]:
        return [meta.key for meta in self.store.list(prefix)]

    def _lose_region(self) -> None:
        up = self.cloud.up()
        regions = sorted(
            {i.spec.placement.region for i in up} or {o.placement.region for o in self.market.offers(self.timeline.now)}
        )
        self._gone_region = self._dice.choice(regions)
        for instance in up:
            if instance.spec.placement.region == self._gone_region:
                self.plan.fired[Fault.REGION_GONE] += 1
                self.cloud.take(instance)

    def _regain_region(self) -> None:
        self._gone_region = None

    def _count_ends(self) -> None:
        fired = self.plan.fired
        for instance in self.cloud.instances.values():
            fired[Fault.ZOMBIE] += any(agent.was_woken for agent in instance.agents)
            fate = instance.fate
            fired[Fault.NOTICE_MISSING] += instance.start.no_notice and fate is not None and fate.notice and instance.was_taken

    def reader(self) -> History:
        """What anybody would read of the journal now."""
        history = History(self.store, INCARNATION)
        history.poll()
        return history
