"""A cloud in simulated time: a market that takes machines away, agents on them, and a bill of its own.

The bill is kept by rules written down a second time here, from the clouds' pages and not from our ledger, so that the two can be
compared.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from launcher.core.contract import AttemptSpec
from launcher.core.instance import (
    EndCause,
    FailureKind,
    InstanceName,
    InstancePhase,
    InstanceStatus,
    StartFailure,
    instance_name,
)
from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer
from launcher.sim.machine import SimMachine
from launcher.sim.market import Fate, Market
from launcher.sim.timeline import Timeline
from launcher.sim.trainer import Pace
from launcher.units import HOUR, Seconds, Usd, Utc

LISTED_AFTER_END: Seconds = 24 * HOUR
FREE_FIRST_HOUR = ("aws",)  # "if your Spot Instance is interrupted by EC2 in the first hour, you're not charged"
LEAST_BILLED: dict[str, Seconds] = {"aws": 60.0, "gcp": 60.0}
FREE_FIRST_MINUTE = ("gcp",)

NewMachine = Callable[[AttemptSpec, str, Pace], SimMachine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one start goes: what the world has in store for it besides its market. The default is an honest one."""

    refused: FailureKind | None = None
    delay: Seconds = 0.0  # until the instance runs and costs money
    num_agents: int = 1  # 2: the start was repeated, and two jobs run on one instance
    pace: Pace | None = None  # None: the world's
    skew: Seconds = 0.0  # of the machine's clock
    dies_after: Seconds | None = None  # the hardware fails, without a word
    deaf_from: Seconds | None = None  # after so long it is cut off from everything, and goes on
    warns: tuple[tuple[Seconds, Seconds, bool], ...] = ()  # (after, lead, withdrawn): warnings that mean nothing
    no_notice: bool = False  # whatever the market would have announced
    exits_after: Seconds | None = None  # its agent cannot be set up, and its cloud says so when it ends it
    autodown: Seconds = 0.0  # after its agent ended it is up and billed for so long, unless it is stopped
    comes_back_after: Seconds | None = None  # taken away, it wakes as a zombie so long after its end


HONEST = Start()


@dataclass(kw_only=True)
class Instance:
    name: InstanceName
    spec: AttemptSpec
    offer: Offer
    requested_at: Utc
    num: int  # in its place, from 1
    start: Start = HONEST
    fate: Fate | None = None
    failure: StartFailure | None = None
    home: str = ""
    billed_from: Utc | None = None
    ended_at: Utc | None = None
    cause: EndCause = EndCause.UNTOLD
    wait_status: str | None = None
    agents: list[SimMachine] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"i-{self.name}"

    @property
    def is_up(self) -> bool:
        return self.failure is None and self.ended_at is None

    @property
    def was_taken(self) -> bool:
        return self.cause is EndCause.PREEMPTED


@dataclass(kw_only=True)
class SimCloud:
    """Instances of any number of runs. `plan_start` says how each start goes; `new_machine` makes the agent on it."""

    timeline: Timeline
    market: Market
    pace: Pace
    new_machine: Callable[[AttemptSpec, str, Pace, Seconds, Callable[[], None]], SimMachine]
    plan_start: Callable[[InstanceName, AttemptSpec], Start] = lambda name, spec: HONEST
    reports_ends: bool = True  # whether an ended instance is listed with the time of its end
    instances: dict[InstanceName, Instance] = field(default_factory=dict)
    starts: list[InstanceName] = field(default_factory=list)  # every start that bought a machine, in order
    _settled: dict[tuple[InstanceName, str, bool], InstanceStatus] = field(default_factory=dict)  # what changes no more

    # --- the port -----------------------------------------------------------------------------------------------------------

    def start(self, name: InstanceName, spec: AttemptSpec, *, home: str = "") -> None:
        if name in self.instances:
            return
        place = spec.placement.place
        earlier = [i for i in self.instances.values() if i.spec.placement.place == place and i.failure is None]
        now = self.timeline.now
        fate = self.market.fate(
            spec.placement,
            nodes=spec.num_nodes,
            k=len(earlier) + 1,
            taken_at=earlier[-1].ended_at if earlier and earlier[-1].was_taken else None,
            now=now,
        )
        how = self.plan_start(name, spec)
        instance = Instance(
            name=name,
            spec=spec,
            offer=self._offer(spec),
            requested_at=now,
            num=len(earlier) + 1,
            start=how,
            fate=fate,
            home=home,
        )
        self.instances[name] = instance
        if how.refused is not None or fate is None:
            kind = how.refused or FailureKind.CAPACITY
            instance.failure = StartFailure(failure=kind, message=f"{place}: {kind.value}")
            return
        self.starts.append(name)
        self.timeline.after(how.delay, lambda: self._boot(instance))

    def stop(self, name: InstanceName) -> None:
        instance = self.instances.get(name)
        if instance is not None and instance.is_up:
            self._end(instance, EndCause.STOPPED)

    def poll(self, run: str, incarnation: str, *, home: str = "") -> dict[InstanceName, InstanceStatus]:
        prefix = instance_name(run, incarnation, 0)[:-1]
        now = self.timeline.now
        return {
            name: self._settled.get((name, home, self.reports_ends)) or self._status(instance, home)
            for name, instance in self.instances.items()
            if (instance.ended_at is None or now < instance.ended_at + LISTED_AFTER_END) and name.startswith(prefix)
        }

    # --- what only the world knows ------------------------------------------------------------------------------------------

    def agents(self) -> Iterator[SimMachine]:
        for instance in self.instances.values():
            yield from instance.agents

    def up(self) -> list[Instance]:
        return [i for i in self.instances.values() if i.is_up]

    def dollars(self) -> Usd:
        """What everything cost so far: the cloud's own bill."""
        return sum(self.bill_of(i) for i in self.instances.values())

    def bill_of(self, instance: Instance) -> Usd:
        if instance.billed_from is None:
            return 0.0
        cloud = instance.spec.placement.cloud
        end = instance.ended_at if instance.ended_at is not None else self.timeline.now
        life = end - instance.billed_from
        if instance.was_taken and instance.spec.placement.capacity is Capacity.SPOT:
            free_for = HOUR if cloud in FREE_FIRST_HOUR else 60.0 if cloud in FREE_FIRST_MINUTE else 0.0
            if life < free_for:
                return 0.0
        if life <= 0:
            return 0.0
        return instance.spec.num_nodes * instance.offer.price * max(life, LEAST_BILLED.get(cloud, 0.0)) / HOUR

    def take(self, instance: Instance) -> None:
        """The market wants it back, now."""
        if instance.is_up:
            self._end(instance, EndCause.PREEMPTED)

    # --- lives --------------------------------------------------------------------------------------------------------------

    def _offer(self, spec: AttemptSpec) -> Offer:
        offers = {o.placement: o for o in self.market.offers(self.timeline.now)}
        return offers[spec.placement]

    def _boot(self, instance: Instance) -> None:
        if not instance.is_up:
            return
        now, how, fate = self.timeline.now, instance.start, instance.fate
        assert fate is not None
        instance.billed_from = now
        for _ in range(how.num_agents if how.exits_after is None else 0):
            pace = how.pace or self.pace
            agent = self.new_machine(instance.spec, instance.id, pace, how.skew, lambda: self._agent_ended(instance))
            instance.agents.append(agent)
        lead = notice_lead(instance.spec) if fate.notice and not how.no_notice else None
        if lead is not None:
            self.timeline.at(fate.ends_at - lead, lambda: self._warn(instance, fate.ends_at))
        self.timeline.at(fate.ends_at, lambda: self.take(instance))
        for after, false_lead, withdrawn in how.warns:
            self.timeline.after(after, lambda ends=now + after + false_lead, w=withdrawn: self._warn(instance, ends, withdrawn=w))  # type: ignore[misc]
        if how.dies_after is not None:
            self.timeline.after(how.dies_after, lambda: self._end(instance, EndCause.UNTOLD) if instance.is_up else None)
        if how.exits_after is not None:
            self.timeline.after(how.exits_after, lambda: self._end(instance, EndCause.EXITED) if instance.is_up else None)
        if how.deaf_from is not None:
            self.timeline.after(how.deaf_from, lambda: self._cut_off(instance))

    def _warn(self, instance: Instance, ends_at: Utc, *, withdrawn: bool = False) -> None:
        if instance.is_up:
            for agent in instance.agents:
                agent.warn(ends_at, withdrawn=withdrawn)

    def _cut_off(self, instance: Instance) -> None:
        for agent in instance.agents:
            agent.cut_off()

    def _agent_ended(self, instance: Instance) -> None:
        if instance.start.autodown:
            self.timeline.after(instance.start.autodown, lambda: self._idle(instance))
        else:
            self._idle(instance)

    def _idle(self, instance: Instance) -> None:
        if instance.is_up and all(agent.is_over for agent in instance.agents):
            self._end(instance, EndCause.EXITED)

    def _end(self, instance: Instance, cause: EndCause) -> None:
        instance.ended_at = self.timeline.now
        instance.cause = cause
        if instance.agents and cause is not EndCause.UNTOLD:  # else nobody was there to end, or to see it end
            instance.wait_status = "exit 0" if cause is EndCause.EXITED else "signal 9"
        back = instance.start.comes_back_after
        for agent in instance.agents:
            if back is not None and agent.is_training and cause is not EndCause.EXITED:
                agent.say()
                agent.cut_off()
                self.timeline.after(back, agent.wake_late)
            else:
                agent.kill()

    def _status(self, instance: Instance, home: str) -> InstanceStatus:
        status = self._status_now(instance, home)
        if not instance.is_up:
            self._settled[instance.name, home, self.reports_ends] = status
        return status

    def _status_now(self, instance: Instance, home: str) -> InstanceStatus:
        if instance.failure is not None:
            return InstanceStatus(phase=InstancePhase.FAILED, failure=instance.failure)
        if (
            instance.home != home
        ):  # its records lie on the machine that started it; only a look-up by label tells whether it is there
            phase = InstancePhase.UNKNOWN if instance.is_up else InstancePhase.GONE
            return InstanceStatus(phase=phase, instance_id=instance.id, billed_from=instance.billed_from)
        if instance.billed_from is None and instance.is_up:
            return InstanceStatus(phase=InstancePhase.STARTING, instance_id=instance.id)
        told = self.reports_ends and not instance.is_up
        return InstanceStatus(
            phase=InstancePhase.RUNNING if instance.is_up else InstancePhase.GONE,
            instance_id=instance.id,
            billed_from=instance.billed_from,
            ended_at=instance.ended_at if told else None,
            cause=instance.cause if told or instance.is_up else EndCause.UNTOLD,
            wait_status=instance.wait_status if told else None,
        )


def notice_lead(spec: AttemptSpec) -> Seconds:
    """How long before the end the cloud warns; in rehearsed time stretched, as a local instance does."""
    return max(NOTICE_LEAD.get(spec.placement.cloud, 0.0), spec.notice_lead_min)
