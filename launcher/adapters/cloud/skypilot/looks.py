"""One look at the machines of a run: by their own cloud where it can be asked, else by SkyPilot.

A cloud answers in a second and positively, also of what another user's SkyPilot has launched. SkyPilot alone knows whether a task
was ever sent to a machine: that one is up proves nothing until then.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from launcher.adapters.cloud.base import Machine, Providers
from launcher.adapters.cloud.skypilot.base import (
    Cluster,
    ClusterState,
    LaunchState,
    Sky,
    cluster_name,
    instance_of,
)
from launcher.core.instance import EndCause, InstanceName, InstancePhase, InstanceStatus
from launcher.core.market.offer import Placement
from launcher.errors import CloudUnreachable
from launcher.units import Utc

UNSEEN = InstanceStatus(phase=InstancePhase.UNKNOWN)  # its heartbeat tells whether it is there
_PHASES = {ClusterState.UP: InstancePhase.RUNNING, ClusterState.BROKEN: InstancePhase.BROKEN}


class Looks:
    """`placements`: where machines of the run may be, `num_nodes` of each name. Of those somebody has seen `were_up` running."""

    def __init__(
        self,
        sky: Sky,
        providers: Providers,
        placements: Mapping[InstanceName, Placement],
        num_nodes: int = 1,
        *,
        were_up: Collection[InstanceName] = (),
    ) -> None:
        self._sky = sky
        self._providers = providers
        self._placements = dict(placements)
        self._given = frozenset(placements)  # of these another SkyPilot may have started machines
        self._num_nodes = num_nodes
        self._may_be_anothers = frozenset(were_up)  # this SkyPilot has shown none of them

    def expect(self, name: InstanceName, placement: Placement) -> None:
        self._placements[name] = placement

    def forget(self, names: Iterable[InstanceName]) -> None:
        """Of those the end is known: nothing of them is anywhere any more."""
        self._given = self._given.difference(names)

    def all(self, run: str, incarnation: str, sent: Mapping[InstanceName, Utc | None]) -> dict[InstanceName, InstanceStatus]:
        """What is known of each that is there, or has ended and is still listed. `sent`: those that have their task for certain,
        and since when they may cost money.
        """
        machines: dict[InstanceName, list[Machine]] = defaultdict(list)
        for machine in self._listed(run, incarnation, sent):
            machines[machine.name].append(machine)
        found = {name: self._of_cloud(name, those, sent) for name, those in machines.items()}
        expected = tuple(self._placements)
        if not expected or not all(map(self.is_covered, expected)):
            for cluster in self._sky.clusters(cluster_name(f"{run}-{incarnation}-")):
                name = instance_of(cluster.name)
                found.setdefault(name, self._of_skypilot(cluster, sent.get(name)))
            self._may_be_anothers = others = self._may_be_anothers - found.keys()
            found |= {name: UNSEEN for name in others if self._is_anothers(name)}
        return found

    def _is_anothers(self, name: InstanceName) -> bool:
        """Whether another SkyPilot has launched it, as far as this one can tell, and its cloud cannot be asked."""
        return not self.is_covered(name) and self._sky.newest_launch(cluster_name(name)) is None

    def is_covered(self, name: InstanceName) -> bool:
        """Whether its own cloud is asked, which lists what has ended as such: that it lists nothing proves little."""
        return name in self._placements and self._placements[name].cloud in self._providers

    def standing(self, name: InstanceName) -> list[Machine]:
        """Those of that name that are up, where their cloud can be asked. Of what only we can have launched none while away."""
        try:
            return self._standing(name)
        except CloudUnreachable:
            if name in self._given:
                raise
            return []

    def end(self, name: InstanceName) -> bool:
        """Has its cloud end what is up of that name. False where nothing is, or nobody can be asked."""
        standing = self._standing(name)
        for machine in standing:
            self._providers[machine.cloud].end(machine)
        return bool(standing)

    def _standing(self, name: InstanceName) -> list[Machine]:
        run, incarnation, _ = name.rsplit("-", 2)
        place = self._placements.get(name)
        if place is None:
            listed = list(self._listed(run, incarnation, ()))
        elif place.cloud in self._providers:
            listed = self._providers[place.cloud].machines(run, incarnation, [place.region])
        else:
            listed = []
        return [machine for machine in listed if machine.name == name and machine.is_up]

    def _listed(self, run: str, incarnation: str, sent: Collection[InstanceName]) -> Iterator[Machine]:
        """By the clouds, in every region where a machine of the run may be.

        One that does not answer may be away, or not be enabled: it hides what may be there, and nothing else.
        """
        names: dict[tuple[str, str], set[InstanceName]] = defaultdict(set)
        for name, placement in tuple(self._placements.items()):
            names[placement.cloud, placement.region].add(name)
        for (cloud, region), here in names.items():
            if cloud not in self._providers:
                continue
            try:
                listed = self._providers[cloud].machines(run, incarnation, [region])
            except CloudUnreachable:
                if here & (self._given | set(sent)):
                    raise
                continue
            yield from listed

    def _of_cloud(
        self, name: InstanceName, machines: Collection[Machine], sent: Mapping[InstanceName, Utc | None]
    ) -> InstanceStatus:
        up = [machine for machine in machines if machine.is_up]
        last = max((machine for machine in machines if not machine.is_up), key=lambda machine: machine.billed_from, default=None)
        if not up and last is not None:
            return InstanceStatus(
                phase=InstancePhase.GONE,
                instance_id=name,
                billed_from=last.billed_from,
                ended_at=last.ended_at,
                cause=last.cause,
            )
        phase = InstancePhase.RUNNING if name in sent else self._phase(name)
        if phase is InstancePhase.RUNNING and len(up) < self._num_nodes:
            phase = InstancePhase.BROKEN
        cause = EndCause.UNTOLD if last is None else last.cause
        billed_from = None if phase is InstancePhase.STARTING else min(machine.billed_from for machine in up)
        return InstanceStatus(phase=phase, instance_id=name, billed_from=billed_from, cause=cause)

    def _phase(self, name: InstanceName) -> InstancePhase:
        """Of a machine that is up: UNKNOWN where another SkyPilot has launched it, and this one cannot say what runs there."""
        cluster = cluster_name(name)
        asked = self._sky.newest_launch(cluster)
        if asked is not None:
            return InstancePhase.RUNNING if asked.state is LaunchState.SENT else InstancePhase.STARTING
        if self._sky.job(cluster) is not None:
            return InstancePhase.RUNNING
        return InstancePhase.STARTING if self._sky.knows(cluster) else InstancePhase.UNKNOWN

    def _of_skypilot(self, cluster: Cluster, sent_at: Utc | None) -> InstanceStatus:
        sent_at = sent_at or self._sent_at(cluster)
        if sent_at is None:
            return InstanceStatus(phase=InstancePhase.STARTING)
        phase = _PHASES.get(cluster.state, InstancePhase.UNKNOWN)
        return InstanceStatus(phase=phase, instance_id=instance_of(cluster.name), billed_from=sent_at)

    def _sent_at(self, cluster: Cluster) -> Utc | None:
        """When the launch that sent its task was asked for: from then on it may cost money. None where none was sent."""
        asked = self._sky.newest_launch(cluster.name)
        if asked is not None:
            return asked.asked_at if asked.state is LaunchState.SENT else None
        return cluster.launched_at if cluster.state is ClusterState.UP and self._sky.job(cluster.name) is not None else None
