"""One machine in simulated time without a supervisor, and plans that hit every call: only what a test is about is written."""

import random
from collections.abc import Callable

from launcher import codec
from launcher.adapters.journal import Journal
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed
from launcher.core.contract import AttemptSpec, CommandProgram, ExitReport, commit_key, exit_key
from launcher.core.market.offer import Placement
from launcher.core.run import events as ev
from launcher.sim.body import Body
from launcher.sim.clock import SimClock
from launcher.sim.faults import Fault, FaultPlan
from launcher.sim.faulty import Process
from launcher.sim.machine import SimMachine
from launcher.sim.store import SimStore
from launcher.sim.timeline import Timeline
from launcher.sim.trainer import Pace
from launcher.sim.world import INCARNATION, RUN
from launcher.units import HOUR, Seconds
from tests.core.markets import spot

PLACE = spot("us-east-1a", 0.9).placement
STARTED = ev.SupervisorStarted(at=0.0, supervisor="sup-1", host="h", pid=1)


def spec_of(attempt: int = 1, *, place: Placement = PLACE, num_nodes: int = 1) -> AttemptSpec:
    return AttemptSpec(
        run=RUN,
        incarnation=INCARNATION,
        attempt=attempt,
        store=f"memory://{RUN}",
        placement=place,
        num_nodes=num_nodes,
        program=CommandProgram(setup=None, command="true"),
        grant_wait=1e9,
        autostop=1e9,
    )


class Bench:
    """A timeline, a store, machines, and a journal in which the test writes what a supervisor would."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.store = SimStore(self.timeline)
        self.machines: list[SimMachine] = []
        self.exited: list[str] = []  # nonces of agents that ended by themselves
        self.store.on_append = self._tell
        self._journal = Journal(self.store, incarnation=INCARNATION, event_type=ev.Event, writer="sup-1")

    def _tell(self) -> None:
        for machine in self.machines:
            machine.journal_grew()

    def machine(
        self,
        spec: AttemptSpec | None = None,
        *,
        pace: Pace | None = None,
        store: ObjectStore | None = None,
        nonce: str = "n",
        exited: Callable[[], None] | None = None,
    ) -> SimMachine:
        body = Body(
            timeline=self.timeline,
            clock=SimClock(self.timeline),
            store=store or self.store,
            nonce=nonce,
            dice=random.Random(0),
            exited=exited or (lambda: self.exited.append(nonce)),
        )
        machine = SimMachine(body, spec or spec_of(), f"i-{nonce}", pace or Pace())
        self.machines.append(machine)
        return machine

    def journal(self, *events: ev.Event) -> None:
        if not self._journal.is_open:
            self._journal.open(STARTED, self.timeline.now)
        for event in events:
            self._journal.append(event, self.timeline.now)

    def grant(self, attempt: int = 1, parent: CommitRef | None = None) -> None:
        self.journal(ev.WriterGranted(at=self.timeline.now, attempt=attempt, parent=parent))

    def seal(self, attempt: int, number: int) -> None:
        """What a supervisor creates before it grants another the right to write."""
        ref = CommitRef(attempt, number)
        mark = Sealed(run=RUN, incarnation=INCARNATION, ref=ref, supervisor="sup-1", nonce="seal")
        self.store.create(commit_key(ref), manifests.write(mark))

    def commits(self, attempt: int = 1) -> list[Manifest]:
        keys = [meta.key for meta in self.store.list(f"attempts/{attempt:04d}/commits/")]
        read = [manifests.read(self.store.get(key)) for key in keys]
        return [commit for commit in read if isinstance(commit, Manifest)]

    def report(self, attempt: int = 1) -> ExitReport:
        report: ExitReport = codec.loads_digested(ExitReport, self.store.get(exit_key(attempt)))
        return report


def always(*faults: Fault, seed: int = 0, lasts: Seconds = HOUR) -> FaultPlan:
    """These faults hit every call and every start until `lasts`."""
    return FaultPlan(seed, 0.0, lasts, only=faults, rate=1.0)


def process(timeline: Timeline, plan: FaultPlan, *, can_stop: bool = True) -> Process:
    return Process(name="sup-1", timeline=timeline, plan=plan, can_stop=can_stop)


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [meta.key for meta in store.list(prefix)]
