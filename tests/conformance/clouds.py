"""Clouds to test with: real processes on this machine, and the simulated cloud, on lives that a test says."""

import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from launcher import clock, codec, processes
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.cloud.local import LocalCloud
from launcher.adapters.cloud.local_registry import HostStarted, clock_of, instance_of
from launcher.clock import ScaledClock
from launcher.core.contract import AttemptSpec, CommandProgram
from launcher.core.instance import InstancePhase, InstanceStatus, instance_name
from launcher.core.market.offer import Capacity, Placement
from launcher.core.market.trace import Life, Trace
from launcher.processes import ProcessId
from launcher.sim.body import Body
from launcher.sim.clock import SimClock
from launcher.sim.cloud import SimCloud
from launcher.sim.machine import SimMachine
from launcher.sim.market import DeckMarket
from launcher.sim.store import SimStore
from launcher.sim.timeline import Timeline
from launcher.sim.trainer import Pace
from launcher.units import HOUR, Seconds, Utc
from tests.core.markets import spot

T = TypeVar("T")

SPEED = 3600.0  # one second here is an hour there
START = 1_700_000_000.0
PLACE = Placement(
    cloud="aws", region="us-east-1", zone="us-east-1b", instance="p3", accelerator="V100", accelerators=1, capacity=Capacity.SPOT
)
AGENT = Path(__file__).with_name("local_agent.py")
LONG: Seconds = 600 * SPEED


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLife:
    """A trace in which every machine has the same life."""

    up: Seconds = LONG
    down: Seconds = 0.0
    notice: bool = True
    name: str = "one life"

    def life(self, place: str, k: int) -> Life:
        return Life(up=self.up, down=self.down, notice=self.notice)

    def mean_life(self, place: str) -> Seconds:
        return self.up


@dataclass
class Place:
    """A registry and what the tests do with it."""

    registry: Path
    speed: float = SPEED
    run: str = "quiet-otter-7f3a"
    incarnation: str = "c0ffee"
    clouds: list[LocalCloud] = field(default_factory=list)

    def cloud(self, trace: Trace, mode: str, *, now: SimClock | None = None) -> LocalCloud:
        path = clock_of(self.registry)
        self.registry.mkdir(parents=True, exist_ok=True)
        clock.create(path, speed=self.speed, market_start=START)
        command = (sys.executable, "-S", str(AGENT), mode)
        made = LocalCloud(self.registry, now or ScaledClock(path), trace, agent_command=command)
        self.clouds.append(made)
        return made

    def name(self, attempt: int = 1) -> str:
        return instance_name(self.run, self.incarnation, attempt)

    def start(self, cloud: LocalCloud, attempt: int = 1, *, placement: Placement = PLACE) -> None:
        cloud.start(self.name(attempt), self.spec(attempt, placement=placement))

    def spec(self, attempt: int = 1, *, placement: Placement = PLACE) -> AttemptSpec:
        return AttemptSpec(
            run=self.run,
            incarnation=self.incarnation,
            attempt=attempt,
            store="memory://",
            placement=placement,
            program=CommandProgram(setup=None, command="true"),
            speed=self.speed,
        )

    def status(self, cloud: LocalCloud, attempt: int = 1) -> InstanceStatus | None:
        return cloud.poll(self.run, self.incarnation).get(self.name(attempt))

    def becomes(self, cloud: LocalCloud, phase: InstancePhase, attempt: int = 1) -> InstanceStatus:
        def status() -> InstanceStatus | None:
            found = self.status(cloud, attempt)
            return found if found is not None and found.phase is phase else None

        return eventually(status)

    def told(self, what: str, attempt: int = 1) -> Path:
        """A file that the stand-in agent leaves, once it is there."""
        path = instance_of(self.registry, self.name(attempt)).path / what
        return eventually(lambda: path if path.exists() else None)

    def tree(self, attempt: int = 1) -> list[ProcessId]:
        found = [processes.identify(pid) for pid in json.loads(self.told("tree", attempt).read_text())]
        assert None not in found, "the tree lives before it is killed"
        return [process for process in found if process is not None]

    def host(self, attempt: int = 1) -> ProcessId:
        return self.started(attempt).host

    def started(self, attempt: int = 1) -> HostStarted:
        return eventually(lambda: instance_of(self.registry, self.name(attempt)).started())

    def pass_until(self, when: Utc) -> None:
        """Set the hosts' clock ahead: they take it up within a second."""
        path = clock_of(self.registry)
        jump(path, when - clock.position(path))


def jump(path: Path, by: Seconds) -> None:
    """Set a clock file that is in use, as a mistaken hand would."""
    setting = codec.loads(clock.Setting, path.read_bytes())
    aside = path.with_suffix(".aside")
    aside.write_bytes(codec.dumps(replace(setting, market_anchor=setting.market_anchor + by)))
    shutil.copystat(path, aside)
    aside.replace(path)


def eventually(look: Callable[[], T | None], *, within_s: float = 120.0) -> T:
    """What `look` finds, as soon as it is something."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def is_dead(tree: list[ProcessId]) -> bool:
    return not any(map(processes.is_alive, tree))


class Ground(Protocol):
    """A cloud on which every machine has the same life. `exits`: an agent ends by itself soon after it began."""

    cloud: Cloud

    def start(self, attempt: int = 1) -> None: ...

    def status(self, attempt: int = 1) -> InstanceStatus | None: ...

    def becomes(self, phase: InstancePhase, attempt: int = 1) -> InstanceStatus: ...

    def wait_until(self, when: Utc) -> None:
        """Of the market's clock; of local instances only what admits new ones heeds it."""
        ...


class LocalGround:
    def __init__(self, place: Place, life: OneLife, *, exits: bool) -> None:
        self._place = place
        self._now = SimClock(start=START)
        self.cloud = place.cloud(life, "fails" if exits else "polite", now=self._now)

    def start(self, attempt: int = 1) -> None:
        self._place.start(self.cloud, attempt)

    def status(self, attempt: int = 1) -> InstanceStatus | None:
        return self._place.status(self.cloud, attempt)

    def becomes(self, phase: InstancePhase, attempt: int = 1) -> InstanceStatus:
        if phase is InstancePhase.RUNNING:  # it runs from an instant of the hosts' clock, which has gone on meanwhile
            self.wait_until(self._place.started(attempt).started_at)
        return self._place.becomes(self.cloud, phase, attempt)

    def wait_until(self, when: Utc) -> None:
        self._now.wait(when - self._now.utc_s())


class SimGround:
    def __init__(self, place: Place, life: OneLife, *, exits: bool) -> None:
        self._place = place
        self._grant_wait = HOUR if exits else LONG  # nobody grants anything here
        self._timeline = Timeline(START)
        self._store = SimStore(self._timeline)
        market = DeckMarket(trace=life, rows=(replace(spot("us-east-1b"), placement=PLACE),))
        self.cloud = SimCloud(timeline=self._timeline, market=market, pace=Pace(), new_machine=self._machine)

    def _machine(self, spec: AttemptSpec, instance_id: str, pace: Pace, skew: Seconds, exited: Callable[[], None]) -> SimMachine:
        body = Body(
            timeline=self._timeline,
            clock=SimClock(self._timeline),
            store=self._store,
            nonce=instance_id,
            dice=random.Random(0),
            exited=exited,
        )
        return SimMachine(body, spec, instance_id, pace)

    def start(self, attempt: int = 1) -> None:
        spec = replace(self._place.spec(attempt), grant_wait=self._grant_wait, autostop=LONG)
        self.cloud.start(self._place.name(attempt), spec)

    def status(self, attempt: int = 1) -> InstanceStatus | None:
        return self.cloud.poll(self._place.run, self._place.incarnation).get(self._place.name(attempt))

    def becomes(self, phase: InstancePhase, attempt: int = 1) -> InstanceStatus:
        def is_there() -> bool:
            found = self.status(attempt)
            return found is not None and found.phase is phase

        self._timeline.pass_while(lambda: not is_there(), self._timeline.now + LONG)
        found = self.status(attempt)
        assert found is not None, "it did not happen"
        assert found.phase is phase, "it did not happen"
        return found

    def wait_until(self, when: Utc) -> None:
        self._timeline.pass_until(when)
