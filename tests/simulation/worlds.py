"""A supervised run in simulated time: only what a test is about need be written."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from launcher.adapters.history import History
from launcher.core.market.offer import Offer
from launcher.core.market.trace import Life, Trace
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal, Recipe, RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.loop import Listener
from launcher.sim.market import DeckMarket
from launcher.sim.trainer import Pace
from launcher.sim.world import START, SimWorld
from launcher.units import HOUR, Seconds, Utc
from tests.core.markets import on_demand, spot

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


def recipe(*, budget: float | None = None, use_spot: str = "true", retry: RetrySpec | None = None, steps: int = 5400) -> Recipe:
    base = Recipe(name="sim", trainer={"kind": "launcher.trainers.gpt", "steps": steps})
    return replace(
        base,
        resources=replace(base.resources, infra=("aws",), use_spot=use_spot),
        policy=Goal(budget=budget),
        retry=retry or RetrySpec(),
    )


_default_recipe = recipe


class Sim(SimWorld):
    """One simulated run and what it takes to drive it; `history` is the one of the newest supervisor."""

    def __init__(
        self,
        *,
        recipe: Recipe | None = None,
        trace: Trace | None = None,
        pace: Pace | None = None,
        policy: str = "spot",
        deadline_at: Utc | None = None,
        skips: bool = False,
        seed: int = 0,
        rows: tuple[Offer, ...] = OFFERS,
    ) -> None:
        super().__init__(
            recipe=recipe or _default_recipe(),
            market=DeckMarket(trace=trace or FixedTrace(), rows=rows),
            pace=pace or Pace(),
            policy=POLICIES[policy](),
            deadline_at=deadline_at,
            start=START,
            skips=skips,
            seed=seed,
        )
        self.events: list[ev.Event] = []

    def open(self) -> History:
        """A new supervisor's history, the run created if it was not."""
        return self.supervisor().open()

    def run(self, listener: Listener = lambda event, state: None) -> RunState:
        """Supervise until the run ends; what is journaled is in `events`."""

        def note(event: ev.Event, state: RunState) -> None:
            self.events.append(event)
            listener(event, state)

        return super().run(note)

    def of(self, kind: type) -> list[ev.Event]:
        return [e for e in self.events if isinstance(e, kind)]
