"""Machines of real clouds, through SkyPilot: its clusters are our instances, one task on each.

Nothing it does is quick, so everything is an errand on a thread of its own, and the loop only collects what has come back. Truth
stays with SkyPilot's server and the clouds: an errand begins by looking what was asked before, so that a restarted supervisor,
or a server that was killed in the middle of a launch, is caught up with by asking the same again.

What is believed. That a machine is up proves nothing until its task was sent. That one is absent which had its task says that the
cloud ended it, and not who wanted that. Each look is handed out once: between two looks the cloud is silent.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from launcher import log
from launcher.adapters.cloud.base import Providers
from launcher.adapters.cloud.skypilot.base import ClusterName, LaunchState, Refused, Sky, TaskConfig, cluster_name
from launcher.adapters.cloud.skypilot.errand import Errand
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.looks import Looks
from launcher.adapters.cloud.skypilot.order import AgentHome, task_of
from launcher.adapters.cloud.skypilot.setups import SetUps
from launcher.core.contract import AttemptSpec
from launcher.core.instance import EndCause, InstanceName, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.offer import Placement
from launcher.errors import CloudUnreachable
from launcher.units import Seconds, Utc

LOOK_WAIT_S: Seconds = 1.0  # real; a look takes about so long where nothing else keeps the machine busy
# SkyPilot's client waits for an answer without a limit (`get` in sky/client/sdk.py), also where its server is on another machine
# and the connection died while this one slept. A look takes seconds, a deletion a minute or two; both may be asked for again.
STUCK_AFTER_S: Seconds = 600.0
TROUBLE_AFTER_S: Seconds = 60.0  # of an error that is met again and again: what passes sooner is nobody's concern
# A launch that another user's SkyPilot was given shows nowhere before the cloud lists its machine: half a minute on the lab, and
# half a minute more where SkyPilot must make its role in the account. On other clouds its agent's claim is the first to show.
LISTED_WITHIN_S: Seconds = 120.0
CLAIMED_WITHIN_S: Seconds = 600.0


class SkypilotCloud:
    """Implements Cloud. Used by one thread; secrets go by `handover`.

    `placements`: of the machines that others may have started before; `asked_at`: when, of those that were not seen yet;
    `heard`: those whose agents have spoken.
    """

    def __init__(
        self,
        sky: Sky,
        agent: AgentHome,
        handover: Handover,
        *,
        providers: Providers | None = None,
        placements: Mapping[InstanceName, Placement] | None = None,
        asked_at: Mapping[InstanceName, Utc] | None = None,
        heard: Collection[InstanceName] = (),
        num_nodes: int = 1,
        look_wait: Seconds = LOOK_WAIT_S,
        stuck_after: Seconds = STUCK_AFTER_S,
        now: Callable[[], Utc] = time.time,
    ) -> None:
        self._sky = sky
        self._agent = agent
        self._handover = handover
        self._asked_at = asked_at or {}
        were_up = (placements or {}).keys() - self._asked_at.keys()
        self._looks = Looks(sky, providers or {}, placements or {}, num_nodes, were_up=were_up)
        self._set_ups = SetUps(sky, heard, stuck_after)
        self._look_wait = look_wait
        self._stuck_after = stuck_after
        self._now = now
        self._starts: dict[InstanceName, Errand[None]] = {}
        self._stops: dict[InstanceName, Errand[bool]] = {}
        self._handed_over: set[InstanceName] = set()  # starts that go on without us, on SkyPilot's server
        self._running: dict[InstanceName, InstanceStatus] = {}  # their task was sent
        # Final: what SkyPilot forgets at once we tell for as long as we live.
        self._ended: dict[InstanceName, InstanceStatus] = {}
        self._look: Errand[dict[InstanceName, InstanceStatus]] | None = None
        self._asked: set[InstanceName] = set()  # to start or to stop, since the look before
        self._troubles: dict[InstanceName, tuple[Seconds, str]] = {}  # since when (monotonic), and the newest; "": of the looks
        self._sent_before_look: frozenset[InstanceName] = frozenset()

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self._collect()
        self._asked.add(name)
        self._looks.expect(name, spec.placement)
        if not any(name in known for known in (self._starts, self._stops, self._running, self._ended)):
            self._starts[name] = Errand(lambda: self._launch(name, spec))

    def stop(self, name: InstanceName) -> None:
        self._collect()
        self._asked.add(name)
        if name in self._stops and self._stops[name].is_stuck(self._stuck_after):
            del self._stops[name]
        if name not in self._stops and name not in self._ended:
            self._stops[name] = Errand(lambda: self._end(name))

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        self._troubles = {name: told for name, told in self._troubles.items() if name in self._asked or not name}
        self._asked.clear()
        seen = self._seen(run, incarnation)
        self._collect()
        self._end_unready()
        names = {*seen, *self._starts, *self._running, *self._ended}
        statuses = {name: self._status(name, seen.get(name)) for name in names if name.startswith(f"{run}-{incarnation}-")}
        return {name: status for name, status in statuses.items() if status is not None}

    def is_busy(self) -> bool:
        """Whether an errand, or what it has to tell, would be lost with this process: it is begun anew by the next."""
        return bool(self._stops or self._starts.keys() - self._handed_over) or self._set_ups.is_busy()

    def trouble(self) -> str:
        """What has kept SkyPilot or a cloud from being asked for a while; empty where nothing does."""
        lasting = [told for since, told in self._troubles.values() if time.monotonic() - since >= TROUBLE_AFTER_S]
        return lasting[0] if lasting else ""

    def _note(self, name: InstanceName, error: CloudUnreachable | None) -> None:
        since, _ = self._troubles.pop(name, (time.monotonic(), ""))
        if error is not None:
            self._troubles[name] = (since, str(error))

    # --- errands ---------------------------------------------------------------------------------------------------------------

    def _launch(self, name: InstanceName, spec: AttemptSpec) -> None:
        """Returns once the task was sent, by whomever."""
        cluster = cluster_name(name)
        asked = self._sky.newest_launch(cluster)
        if asked is None and self._sky.job(cluster) is not None:
            return
        if asked is None and not self._sky.knows(cluster):
            self._leave_to_another(name)
        request = asked.request if asked else self._sky.launch(cluster, self._task(name, spec))
        if asked is None or asked.state is LaunchState.OPEN:
            self._handed_over.add(name)
        try:
            self._sky.wait_launched(request)
        except Refused:
            self._sky.down(cluster)  # a launch may fail after it has made its machine, and before it ends by itself
            self._handover.drop(cluster)
            raise
        self._handover.drop(cluster)

    def _leave_to_another(self, name: InstanceName) -> None:
        """Raises CloudUnreachable where another user's SkyPilot has launched it, or may be about to."""
        shows_within = LISTED_WITHIN_S if self._looks.is_covered(name) else CLAIMED_WITHIN_S
        # Of clocks that differ either may be ahead; one that was set far back would wait for what has long passed.
        if abs(self._now() - self._asked_at.get(name, -math.inf)) < shows_within:
            raise CloudUnreachable(f"{name} may be on its way: whoever asked for it may have left it to a SkyPilot that goes on")
        if self._looks.standing(name):
            raise CloudUnreachable(f"{name} was launched from elsewhere, and its agent will say who it is")

    def _task(self, name: InstanceName, spec: AttemptSpec) -> TaskConfig:
        secrets = self._handover.put(cluster_name(name), spec.secrets)
        return task_of(name, spec, self._agent, self._sky.zone_name(spec.placement), secrets)

    def _end(self, name: InstanceName) -> bool:
        """By SkyPilot, and by the cloud itself what that leaves."""
        try:
            was_there = self._down(cluster_name(name))
        except CloudUnreachable:
            self._looks.end(name)  # a machine costs money while SkyPilot is broken, too
            raise
        return self._looks.end(name) or was_there

    def _down(self, cluster: ClusterName) -> bool:
        asked = self._sky.newest_launch(cluster)
        if asked is not None and asked.state is LaunchState.OPEN:
            self._sky.cancel(asked.request)
        was_there = self._sky.down(cluster)
        self._handover.drop(cluster)
        return was_there

    # --- what came back --------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        for name in [name for name, errand in self._starts.items() if errand.is_done]:
            self._came_up(name, self._starts.pop(name))
        for name in [name for name, errand in self._stops.items() if errand.is_done]:
            self._came_down(name, self._stops.pop(name))

    def _came_up(self, name: InstanceName, errand: Errand[None]) -> None:
        try:
            errand.result()
        except CloudUnreachable as error:  # whoever still wants the machine asks again
            log.debug("launch_interrupted", instance=name, error=str(error))
            self._note(name, error)
            return
        except Refused as refused:
            if name not in self._stops:  # else it was we who called it off
                self._ended.setdefault(name, _refused(refused.failure))
        else:
            self._running.setdefault(name, InstanceStatus(phase=InstancePhase.RUNNING, instance_id=name))
            self._set_ups.launched(name)
        self._note(name, None)

    def _came_down(self, name: InstanceName, errand: Errand[bool]) -> None:
        try:
            was_there = errand.result()
        except CloudUnreachable as error:
            log.debug("stop_interrupted", instance=name, error=str(error))
            self._note(name, error)
            return
        self._note(name, None)
        before = self._running.pop(name, None)
        if was_there or before is not None:
            self._ended[name] = self._ended_by_us(name, _gone(before, EndCause.STOPPED))

    def _ended_by_us(self, name: InstanceName, gone: InstanceStatus) -> InstanceStatus:
        why = self._set_ups.failed.get(name)
        if why is None:
            return replace(gone, cause=EndCause.STOPPED)
        return replace(gone, cause=EndCause.EXITED, wait_status=f"its agent did not start: {why}")

    def _end_unready(self) -> None:
        """A machine whose agent will never speak: it is ended before anybody hears of it, since it is not waited for then."""
        self._set_ups.look(tuple(self._running))
        for name in self._set_ups.failed.keys() & self._running.keys():
            self.stop(name)

    # --- looking ---------------------------------------------------------------------------------------------------------------

    def _seen(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        """The look that has just been finished. Raises CloudUnreachable while one is under way."""
        if self._look is None:
            self._collect()
            self._sent_before_look = frozenset(self._running)
            sent = {name: status.billed_from for name, status in self._running.items()}
            self._looks.forget(self._ended)
            self._look = Errand(lambda: self._looks.all(run, incarnation, sent))
        if not self._look.wait(self._look_wait):
            if self._look.is_stuck(self._stuck_after):
                self._look = None
            raise CloudUnreachable("the clouds have not answered yet")
        look, self._look = self._look, None
        try:
            seen = look.result()
        except CloudUnreachable as error:
            self._note("", error)
            raise
        self._note("", None)
        return seen

    def _status(self, name: InstanceName, seen: InstanceStatus | None) -> InstanceStatus | None:
        """None for one that had its task and is not listed any more, by a cloud that would list its end."""
        if name in self._ended:
            return self._ended[name]
        if seen is None and name in self._sent_before_look:
            if self._looks.is_covered(name):
                return None
            seen = _gone(self._running[name], EndCause.UNTOLD)
        if seen is not None and seen.phase is InstancePhase.GONE and name not in self._starts:
            self._running.pop(name, None)
            self._handover.drop(cluster_name(name))  # whoever launched it may have left before it came up
            self._ended[name] = self._ended_by_us(name, seen) if name in self._stops else seen
            return self._ended[name]
        if seen is not None and seen.phase in (InstancePhase.RUNNING, InstancePhase.BROKEN, InstancePhase.UNKNOWN):
            self._running[name] = seen
        if seen is not None and seen.phase is InstancePhase.RUNNING:
            self._handover.drop(cluster_name(name))  # they have arrived, and whoever launched it may have left since
        status = self._running.get(name, InstanceStatus(phase=InstancePhase.STARTING))
        return replace(status, phase=InstancePhase.STOPPING) if name in self._stops else status


def _refused(failure: StartFailure) -> InstanceStatus:
    return InstanceStatus(phase=InstancePhase.FAILED, failure=failure)


def _gone(before: InstanceStatus | None, cause: EndCause) -> InstanceStatus:
    return InstanceStatus(
        phase=InstancePhase.GONE,
        instance_id=before.instance_id if before else None,
        billed_from=before.billed_from if before else None,
        cause=cause,
    )
