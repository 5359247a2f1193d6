"""A cloud on this machine: instances are process groups, their lives and the capacity of places come from a trace.

Truth is in the registry (local_registry.py), so any process of this user may start, stop and poll, and a new supervisor finds
what an old one left. `start` writes an order and spawns a host process (local_host.py); all that happens afterwards is the
host's doing, whether or not anybody looks. The k-th machine started in a place gets the trace's k-th life, so equal seeds give
equal lives however the processes are timed. A place that took a machine back refuses until its gap is over.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from launcher import processes
from launcher.adapters.cloud.local_registry import (
    INSTANCE_VARIABLE,
    HostOrder,
    HostStarted,
    InstanceEnded,
    InstanceFolder,
    StartRefused,
    instance_of,
    instances_of,
    locked,
)
from launcher.clock import Clock
from launcher.codec import dumps
from launcher.core.contract import AttemptSpec
from launcher.core.instance import EndCause, FailureKind, InstanceName, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.trace import Trace
from launcher.errors import CloudUnreachable
from launcher.units import Seconds, Utc, show_duration

# The warning before a spot machine is taken away. AWS: EC2 User Guide, "Spot Instance interruption notices", two minutes.
# GCP: Compute Engine, "Spot VMs", 30 s best effort. Azure: "Scheduled Events", Preempt, at least 30 s. All as in PRODUCT.
NOTICE_LEAD: Mapping[str, Seconds] = MappingProxyType({"aws": 120.0, "gcp": 30.0, "azure": 30.0})
NOTICE_LEAD_OTHER: Seconds = 30.0
ENDED_KEPT: Seconds = 86400.0  # market: ended instances are reported for a day
# A stop is answered in two steps: the agent gives its trainer the grace, then needs a moment for its own report.
REPORT_REAL_S: Seconds = 2.0
SWEEP_AT_MOST_S: Seconds = 10.0  # real
AGENT_COMMAND = (sys.executable, "-P", "-m", "launcher.node")  # -P: the program's own files must not shadow ours
_HOST_COMMAND = (sys.executable, "-P", "-m", "launcher.adapters.cloud.local_host")


class LocalCloud:
    """Implements Cloud over one run's registry, which holds a clock file (launcher.clock.create)."""

    def __init__(
        self,
        registry: Path,
        clock: Clock,
        trace: Trace,
        *,
        boot: Seconds = 0.0,
        notice_lead: Mapping[str, Seconds] = NOTICE_LEAD,
        agent_command: Sequence[str] = AGENT_COMMAND,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._trace = trace
        self._boot = boot
        self._notice_lead = notice_lead
        self._agent_command = tuple(agent_command)
        self._hosts: dict[InstanceName, subprocess.Popen[bytes]] = {}  # those this process spawned: reaped here
        self._ends: dict[InstanceName, InstanceStatus] = {}  # an end is final, so it is read once

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        instance = instance_of(self._registry, name)
        with self._reaching(), locked(self._registry / "start.lock") as is_mine:
            if not is_mine:
                raise CloudUnreachable(f"another supervisor is starting an instance in {self._registry}")
            if instance.order() is None and instance.refused() is None:
                self._admit(instance, spec)
            if self._lacks_host(instance):
                self._spawn(instance)

    def stop(self, name: InstanceName) -> None:
        instance = instance_of(self._registry, name)
        with self._reaching():
            if instance.path.exists() and instance.ended() is None:
                instance.write_stop()

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        with self._reaching():
            mine = [i for i in instances_of(self._registry) if i.name.rpartition("-")[0] == f"{run}-{incarnation}"]
            seen = {instance.name: self._status(instance) for instance in mine}
        return {name: status for name, status in seen.items() if status is not None and not self._is_forgotten(status)}

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise CloudUnreachable(f"the registry of local instances, {self._registry}, cannot be used: {error}") from error

    # --- starting ---

    def _admit(self, instance: InstanceFolder, spec: AttemptSpec) -> None:
        """Accept or refuse a start, once and for all."""
        place, now = spec.placement.place, self._clock.utc_s()
        before = [(other, order) for other in instances_of(self._registry) if (order := other.order()) and order.place == place]
        open_at = max((_refuses_until(other, order, now) for other, order in before), default=now)
        if open_at > now:
            message = f"no capacity in {place}: a machine was taken back there, more in {show_duration(open_at - now)}"
            failure = StartFailure(failure=FailureKind.CAPACITY, message=message)
            instance.write_refused(StartRefused(at=now, failure=failure))
        else:
            instance.write_order(self._order(spec, number=len(before) + 1), dumps(spec))

    def _order(self, spec: AttemptSpec, *, number: int) -> HostOrder:
        cloud, place = spec.placement.cloud, spec.placement.place
        life = self._trace.life(place, number)
        lead = self._notice_lead.get(cloud, NOTICE_LEAD_OTHER)
        return HostOrder(
            place=place,
            number=number,
            up=life.up,
            down=life.down,
            notice_lead=max(lead, spec.notice_lead_min) if life.notice else None,
            notice_is_stretched=lead < spec.notice_lead_min,
            notice_source=f"{cloud}, rehearsed",
            boot=self._boot,
            stop_grace_real=spec.kill_grace_real + REPORT_REAL_S,
            command=self._agent_command,
        )

    def _lacks_host(self, instance: InstanceFolder) -> bool:
        """No host has begun, and none that this process spawned is about to. Another's loses to the lock, so a guess will do."""
        if instance.order() is None or instance.started() is not None:
            return False
        return instance.refused() is None and not instance.is_stopping() and not self._is_host_coming(instance.name)

    def _spawn(self, instance: InstanceFolder) -> None:
        command = [*_HOST_COMMAND, str(instance.path)]
        self._hosts[instance.name] = processes.spawn_detached(command, folder=instance.path, log=instance.host_log)

    def _is_host_coming(self, name: InstanceName) -> bool:
        return name in self._hosts and self._hosts[name].poll() is None

    # --- looking ---

    def _is_forgotten(self, status: InstanceStatus) -> bool:
        return status.ended_at is not None and self._clock.utc_s() - status.ended_at > ENDED_KEPT

    def _status(self, instance: InstanceFolder) -> InstanceStatus | None:
        """None where the instance was never really started: then it is as absent as one that nobody ordered."""
        if instance.name not in self._ends:
            status = self._status_now(instance)
            if status is None or status.ended_at is None:
                return status
            self._ends[instance.name] = status
        self._is_host_coming(instance.name)  # reaps it
        return self._ends[instance.name]

    def _status_now(self, instance: InstanceFolder) -> InstanceStatus | None:
        is_coming = self._is_host_coming(instance.name)  # asked first: one that has ended by now has written what it had to
        started = instance.started()
        if started is None:
            return self._unstarted_status(instance, is_coming=is_coming)
        # In this order: a host that is no longer there has written its end before, unless it was killed.
        is_hosted = started.boot_id == processes.boot_id() and processes.is_alive(started.host)
        ended = instance.ended()
        if ended is None and is_hosted:
            return InstanceStatus(
                phase=self._phase(instance, started), instance_id=started.instance_id, billed_from=started.started_at
            )
        return _gone(started, ended or self._bury(instance, started))

    def _phase(self, instance: InstanceFolder, started: HostStarted) -> InstancePhase:
        if instance.is_stopping():
            return InstancePhase.STOPPING
        return InstancePhase.RUNNING if started.started_at <= self._clock.utc_s() else InstancePhase.STARTING

    def _unstarted_status(self, instance: InstanceFolder, *, is_coming: bool) -> InstanceStatus | None:
        refused = instance.refused() or self._failed_host(instance)
        if refused is not None:
            return InstanceStatus(phase=InstancePhase.FAILED, failure=refused.failure)
        if is_coming:
            return InstanceStatus(phase=InstancePhase.STOPPING if instance.is_stopping() else InstancePhase.STARTING)
        return InstanceStatus(phase=InstancePhase.GONE, cause=EndCause.STOPPED) if instance.is_stopping() else None

    def _failed_host(self, instance: InstanceFolder) -> StartRefused | None:
        """A host of ours that ended by an error before it began; one that was killed is simply started again."""
        host = self._hosts.get(instance.name)
        if host is None or (host.returncode or 0) <= 0:
            return None
        said = instance.host_log.read_text(errors="replace").strip().rpartition("\n")[2]
        failure = StartFailure(failure=FailureKind.UNREACHABLE, message=f"its host process failed: {said} ({instance.host_log})")
        refused = StartRefused(at=self._clock.utc_s(), failure=failure)
        instance.write_refused(refused)
        return refused

    def _bury(self, instance: InstanceFolder, started: HostStarted) -> InstanceEnded:
        """End what a killed host left: by the mark that all processes of an instance carry."""
        survivors: tuple[processes.ProcessId, ...] = ()
        if started.boot_id == processes.boot_id():
            survivors = processes.kill_marked(INSTANCE_VARIABLE, started.instance_id, at_most=SWEEP_AT_MOST_S)
        ended = InstanceEnded(at=self._clock.utc_s(), cause=EndCause.KILLED, wait_status=None, survivors=survivors)
        instance.end(ended)
        return ended


def _refuses_until(instance: InstanceFolder, order: HostOrder, now: Utc) -> Utc:
    """When the place of this earlier instance has capacity again, as far as this one's end goes; 0 when nothing is wrong."""
    started, ended = instance.started(), instance.ended()
    if started is None or (ended is None and now < started.kill_at):
        return 0.0
    if ended is not None and ended.cause is not EndCause.PREEMPTED:
        return 0.0
    return (started.kill_at if ended is None else ended.at) + order.down


def _gone(started: HostStarted, ended: InstanceEnded) -> InstanceStatus:
    return InstanceStatus(
        phase=InstancePhase.GONE,
        instance_id=started.instance_id,
        billed_from=started.started_at if started.started_at <= ended.at else None,
        ended_at=ended.at,
        cause=ended.cause,
        wait_status=ended.wait_status,
    )
