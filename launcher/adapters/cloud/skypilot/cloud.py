"""Machines of real clouds, through SkyPilot: its clusters are our instances, one task on each.

Nothing it does is quick, so everything is an errand on a thread of its own, and the loop only collects what has come back. Truth
stays with SkyPilot's server and the clouds: an errand begins by looking what was asked before, so that a restarted supervisor,
or a server that was killed in the middle of a launch, is caught up with by asking the same again.

What is believed. That a cluster is up proves nothing until its task was sent. That one is absent which had its task says that the
cloud ended it, and not who wanted that. Each look is handed out once: between two looks the cloud is silent.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from launcher import log
from launcher.adapters.cloud.skypilot.base import Cluster, ClusterName, ClusterState, LaunchState, Refused, Sky, TaskConfig
from launcher.adapters.cloud.skypilot.order import AgentHome, task_of
from launcher.core.contract import AttemptSpec
from launcher.core.instance import EndCause, FailureKind, InstanceName, InstancePhase, InstanceStatus, StartFailure
from launcher.errors import CloudUnreachable
from launcher.units import Seconds, Utc

T = TypeVar("T")

PREFIX = "launch-"  # SkyPilot's names begin with a letter, a run's need not
LOOK_WAIT_S: Seconds = 1.0  # real; a look takes about so long where nothing else keeps the machine busy


class _Errand(Generic[T]):
    """Work on a thread that ends with the process. Ask `is_done`, then take `result`."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="skypilot", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: Seconds) -> bool:
        self._thread.join(seconds)
        return self.is_done

    def result(self) -> T:
        """Raises what the work raised."""
        assert self.is_done, "ask is_done first"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # the work has returned it

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # the top of a thread: handed to whoever takes the result
            self._error = error


@dataclass(frozen=True, slots=True)
class _Seen:
    state: ClusterState
    sent_at: Utc | None  # None: no task was ever sent to it


class SkypilotCloud:
    """Implements Cloud. Used by one thread; `secrets` are the values of those that a recipe names."""

    def __init__(self, sky: Sky, agent: AgentHome, secrets: Mapping[str, str], *, look_wait: Seconds = LOOK_WAIT_S) -> None:
        self._sky = sky
        self._agent = agent
        self._secrets = secrets
        self._look_wait = look_wait
        self._starts: dict[InstanceName, _Errand[None]] = {}
        self._stops: dict[InstanceName, _Errand[bool]] = {}
        self._running: dict[InstanceName, InstanceStatus] = {}  # their task was sent
        self._ended: dict[
            InstanceName, InstanceStatus
        ] = {}  # final; what SkyPilot forgets at once we tell for as long as we live
        self._look: _Errand[dict[InstanceName, _Seen]] | None = None
        self._sent_before_look: frozenset[InstanceName] = frozenset()

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self._collect()
        if not any(name in known for known in (self._starts, self._stops, self._running, self._ended)):
            self._starts[name] = _Errand(lambda: self._launch(name, spec))

    def stop(self, name: InstanceName) -> None:
        self._collect()
        if name not in self._stops and name not in self._ended:
            self._stops[name] = _Errand(lambda: self._end(name))

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        prefix = f"{run}-{incarnation}-"
        seen = self._seen(prefix)
        self._collect()
        return {name: self._status(name, seen.get(name)) for name in self._known(seen) if name.startswith(prefix)}

    # --- errands ---------------------------------------------------------------------------------------------------------------

    def _launch(self, name: InstanceName, spec: AttemptSpec) -> None:
        """Returns once the task was sent, by whomever."""
        cluster = _cluster_name(name)
        asked = self._sky.newest_launch(cluster)
        if asked is None and self._sky.has_job(cluster):
            return
        secrets = self._values(spec.secrets)
        request = asked.request if asked else self._sky.launch(cluster, self._task(name, spec), secrets)
        try:
            self._sky.wait_launched(request)
        except Refused:
            self._sky.down(cluster)  # a launch may fail after it has made its machine, and before it ends by itself
            raise

    def _task(self, name: InstanceName, spec: AttemptSpec) -> TaskConfig:
        return task_of(name, spec, self._agent, self._sky.zone_name(spec.placement))

    def _values(self, names: Collection[str]) -> dict[str, str]:
        missing = [name for name in names if name not in self._secrets]
        if missing:
            told = f"secrets names {' and '.join(missing)}, not set where the run is supervised from"
            raise Refused(StartFailure(failure=FailureKind.CREDENTIALS, message=told))
        return {name: self._secrets[name] for name in names}

    def _end(self, name: InstanceName) -> bool:
        cluster = _cluster_name(name)
        asked = self._sky.newest_launch(cluster)
        if asked is not None and asked.state is LaunchState.OPEN:
            self._sky.cancel(asked.request)
        return self._sky.down(cluster)

    def _look_at(self, prefix: str, known: Mapping[InstanceName, Utc]) -> dict[InstanceName, _Seen]:
        found = {cluster.name.removeprefix(PREFIX): cluster for cluster in self._sky.clusters(_cluster_name(prefix))}
        return {name: _Seen(cluster.state, known.get(name) or self._sent_at(cluster)) for name, cluster in found.items()}

    def _sent_at(self, cluster: Cluster) -> Utc | None:
        """When the launch that sent its task was asked for: from then on it may cost money. None where none was sent."""
        asked = self._sky.newest_launch(cluster.name)
        if asked is not None:
            return asked.asked_at if asked.state is LaunchState.SENT else None
        return cluster.launched_at if cluster.state is ClusterState.UP and self._sky.has_job(cluster.name) else None

    # --- what came back --------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        for name in [name for name, errand in self._starts.items() if errand.is_done]:
            self._came_up(name, self._starts.pop(name))
        for name in [name for name, errand in self._stops.items() if errand.is_done]:
            self._came_down(name, self._stops.pop(name))

    def _came_up(self, name: InstanceName, errand: _Errand[None]) -> None:
        try:
            errand.result()
        except CloudUnreachable as error:  # whoever still wants the machine asks again
            log.debug("launch_interrupted", instance=name, error=str(error))
        except Refused as refused:
            if name not in self._stops:  # else it was we who called it off
                self._ended.setdefault(name, _refused(refused.failure))
        else:
            self._running.setdefault(name, InstanceStatus(phase=InstancePhase.RUNNING, instance_id=name))

    def _came_down(self, name: InstanceName, errand: _Errand[bool]) -> None:
        try:
            was_there = errand.result()
        except CloudUnreachable as error:
            log.debug("stop_interrupted", instance=name, error=str(error))
            return
        before = self._running.pop(name, None)
        if was_there or before is not None:
            self._ended[name] = _gone(before, EndCause.STOPPED)

    # --- looking ---------------------------------------------------------------------------------------------------------------

    def _seen(self, prefix: str) -> dict[InstanceName, _Seen]:
        """The look that has just been finished. Raises CloudUnreachable while one is under way."""
        if self._look is None:
            self._collect()
            self._sent_before_look = frozenset(self._running)
            known = {name: at for name, status in self._running.items() if (at := status.billed_from) is not None}
            self._look = _Errand(lambda: self._look_at(prefix, known))
        if not self._look.wait(self._look_wait):
            raise CloudUnreachable("SkyPilot has not answered yet")
        look, self._look = self._look, None
        return look.result()

    def _known(self, seen: Mapping[InstanceName, object]) -> set[InstanceName]:
        return {*seen, *self._starts, *self._running, *self._ended}

    def _status(self, name: InstanceName, seen: _Seen | None) -> InstanceStatus:
        if name in self._ended:
            return self._ended[name]
        if seen is not None and seen.sent_at is not None:
            phase = InstancePhase.RUNNING if seen.state is ClusterState.UP else InstancePhase.UNKNOWN
            self._running[name] = InstanceStatus(phase=phase, instance_id=name, billed_from=seen.sent_at)
        elif seen is None and name in self._sent_before_look:
            self._ended[name] = _gone(self._running.pop(name), EndCause.UNTOLD)
            return self._ended[name]
        if name in self._stops:
            before = self._running.get(name)
            return InstanceStatus(
                phase=InstancePhase.STOPPING, instance_id=name, billed_from=before.billed_from if before else None
            )
        return self._running.get(name, InstanceStatus(phase=InstancePhase.STARTING))


def _cluster_name(name: str) -> ClusterName:
    return PREFIX + name


def _refused(failure: StartFailure) -> InstanceStatus:
    return InstanceStatus(phase=InstancePhase.FAILED, failure=failure)


def _gone(before: InstanceStatus | None, cause: EndCause) -> InstanceStatus:
    return InstanceStatus(
        phase=InstancePhase.GONE,
        instance_id=before.instance_id if before else None,
        billed_from=before.billed_from if before else None,
        cause=cause,
    )
