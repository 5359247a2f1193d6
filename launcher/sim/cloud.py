"""A cloud in simulated time: places with lives from a trace, machines that write what real ones write, and a bill of its own."""

from dataclasses import dataclass, field

from launcher.adapters.store.base import ObjectStore
from launcher.clock import Clock
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
from launcher.core.market.trace import Trace
from launcher.errors import CloudUnreachable
from launcher.sim.machine import Pace, SimMachine
from launcher.units import Seconds, Utc


@dataclass(kw_only=True)
class _Instance:
    name: InstanceName
    place: str
    machine: SimMachine | None
    failure: StartFailure | None = None
    kill_at: Utc = 0.0
    warn_at: Utc | None = None
    is_warned: bool = False
    ended_at: Utc | None = None
    cause: EndCause = EndCause.UNTOLD
    wait_status: str | None = None


@dataclass(kw_only=True)
class SimCloud:
    """Capacity, notices and kills from `trace`; `outages` are spans of time in which the API does not answer."""

    clock: Clock
    store: ObjectStore
    trace: Trace
    pace: Pace = field(default_factory=Pace)
    notice_lead: Seconds = 120.0
    outages: tuple[tuple[Utc, Utc], ...] = ()
    starts: list[InstanceName] = field(default_factory=list)  # every start that bought a machine, in order
    _instances: dict[InstanceName, _Instance] = field(default_factory=dict)

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self._reach()
        if name in self._instances:
            return
        place = spec.placement.place
        earlier = [i for i in self._instances.values() if i.place == place and i.machine is not None]
        now = self.clock.utc_s()
        life = self.trace.life(place, len(earlier) + 1)
        is_taken = bool(earlier) and earlier[-1].cause is EndCause.PREEMPTED
        if is_taken and now < earlier[-1].kill_at + self.trace.life(place, len(earlier)).down:
            failure = StartFailure(failure=FailureKind.CAPACITY, message=f"{place} has no capacity")
            self._instances[name] = _Instance(name=name, place=place, machine=None, failure=failure)
            return
        machine = SimMachine(self.store, spec, f"i-{len(self._instances) + 1}", now, self.pace)
        kill_at = now + life.up
        self._instances[name] = _Instance(
            name=name,
            place=place,
            machine=machine,
            kill_at=kill_at,
            warn_at=kill_at - self.notice_lead if life.notice else None,
        )
        self.starts.append(name)

    def stop(self, name: InstanceName) -> None:
        self._reach()
        instance = self._instances.get(name)
        if instance is not None and instance.machine is not None and instance.ended_at is None:
            instance.machine.kill()
            self._end(instance, self.clock.utc_s(), EndCause.STOPPED)

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        self._advance()
        self._reach()
        prefix = instance_name(run, incarnation, 0)[:-1]
        return {name: _status(i) for name, i in self._instances.items() if name.startswith(prefix)}

    def lives(self) -> list[tuple[InstanceName, Utc, Utc | None]]:
        """What was really up, and from when to when: the bill, kept apart from any ledger."""
        return [(i.name, i.machine.started_at, i.ended_at) for i in self._instances.values() if i.machine is not None]

    def _reach(self) -> None:
        now = self.clock.utc_s()
        if any(start <= now < end for start, end in self.outages):
            raise CloudUnreachable("the simulated cloud does not answer")

    def _advance(self) -> None:
        now = self.clock.utc_s()
        for instance in self._instances.values():
            machine = instance.machine
            if machine is None or instance.ended_at is not None:
                continue
            if instance.warn_at is not None and not instance.is_warned and now >= instance.warn_at:
                instance.is_warned = True
                machine.advance(instance.warn_at)
                machine.notice(1, instance.kill_at)
            machine.advance(min(now, instance.kill_at))
            if now >= instance.kill_at:
                if instance.is_warned:
                    machine.drain("the notice ran out")
                machine.kill()
                self._end(instance, instance.kill_at, EndCause.PREEMPTED)
            elif machine.is_over and not instance.is_warned:
                self._end(instance, now, EndCause.EXITED)

    def _end(self, instance: _Instance, at: Utc, cause: EndCause) -> None:
        instance.ended_at = at
        instance.cause = cause
        instance.wait_status = "exit 0" if cause is EndCause.EXITED else "signal 9"


def _status(instance: _Instance) -> InstanceStatus:
    if instance.failure is not None:
        return InstanceStatus(phase=InstancePhase.FAILED, failure=instance.failure)
    assert instance.machine is not None
    return InstanceStatus(
        phase=InstancePhase.RUNNING if instance.ended_at is None else InstancePhase.GONE,
        instance_id=instance.machine.instance_id,
        billed_from=instance.machine.started_at,
        ended_at=instance.ended_at,
        cause=instance.cause,
        wait_status=instance.wait_status,
    )
