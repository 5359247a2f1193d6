"""A supervised run in simulated time: only what a test is about need be written."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.memory import MemoryStore
from launcher.core.market.offer import Offer
from launcher.core.market.trace import Life
from launcher.core.policy.base import Policy
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal, Recipe, RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.sim.clock import SimClock
from launcher.sim.cloud import SimCloud
from launcher.sim.machine import Pace
from launcher.supervisor import World, supervise
from launcher.units import HOUR, Seconds, Utc
from tests.core.markets import on_demand, spot

START: Utc = 1_800_000_000.0
OFFERS = (spot("us-east-1a", 0.9), spot("us-east-1b", 1.0), spot("us-west-2a", 1.1), on_demand("us-east-1a", 3.0))


@dataclass(frozen=True, slots=True)
class FixedTrace:
    """Every machine lives `up` and its place then refuses for `down`; `silent` ones get no notice."""

    up: Seconds = 2 * HOUR
    down: Seconds = HOUR
    notice: Callable[[str, int], bool] = lambda place, k: True
    name: str = "fixed"

    def life(self, place: str, k: int) -> Life:
        if place.endswith("on-demand"):
            return Life(up=1e9, down=0.0, notice=False)
        return Life(up=self.up, down=self.down, notice=self.notice(place, k))

    def mean_life(self, place: str) -> Seconds:
        return self.up


@dataclass(frozen=True, slots=True)
class FixedFeed:
    rows: tuple[Offer, ...] = OFFERS

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return self.rows


def recipe(*, budget: float | None = None, use_spot: str = "true", retry: RetrySpec | None = None, steps: int = 5400) -> Recipe:
    base = Recipe(name="sim", trainer={"kind": "launcher.trainers.gpt", "steps": steps})
    return replace(
        base,
        resources=replace(base.resources, infra=("aws",), use_spot=use_spot),
        policy=Goal(budget=budget),
        retry=retry or RetrySpec(),
    )


@dataclass(kw_only=True)
class Sim:
    """One simulated run and what it takes to drive it; `history` is the one of the newest supervisor."""

    recipe: Recipe = field(default_factory=recipe)
    trace: FixedTrace = field(default_factory=FixedTrace)
    pace: Pace = field(default_factory=Pace)
    clock: SimClock = field(default_factory=lambda: SimClock(START))
    store: ObjectStore = field(default_factory=MemoryStore)
    deadline_at: Utc | None = None
    policy: str = "spot"
    events: list[ev.Event] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.cloud = SimCloud(clock=self.clock, store=self.store, trace=self.trace, pace=self.pace)

    def open(self) -> History:
        """A new supervisor's history, the run created if it was not."""
        self.count += 1
        history = History(self.store, "inc", writer=f"sup-{self.count}")
        now = self.clock.utc_s()
        history.open(ev.SupervisorStarted(at=now, supervisor=f"sup-{self.count}", host="sim", pid=self.count))
        if not history.is_created:
            created = ev.RunCreated(
                at=now, run="r", incarnation="inc", recipe=self.recipe, deadline_at=self.deadline_at, code=None
            )
            history.append(created)
            work_s = self.pace.total_steps * self.pace.step_s
            history.append(ev.SpeedChosen(at=now, speed=1.0, startup_s=90.0, work_s=work_s, reason="test"))
        return history

    def world(self) -> World:
        return World(clock=self.clock, cloud=self.cloud, store=self.store, feed=FixedFeed())

    def run(self, listener: Callable[[ev.Event, RunState], None] | None = None) -> RunState:
        """Supervise until the run ends."""
        self.history = self.open()
        hear = listener or (lambda event, state: None)

        def note(event: ev.Event, state: RunState) -> None:
            self.events.append(event)
            hear(event, state)

        return supervise(self.world(), self.history, self.policy_of, supervisor=f"sup-{self.count}", listener=note)

    def policy_of(self, state: RunState) -> Policy:
        return POLICIES[self.policy]()

    def of(self, kind: type) -> list[ev.Event]:
        return [e for e in self.events if isinstance(e, kind)]
