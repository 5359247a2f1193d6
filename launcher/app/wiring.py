"""The composition root: which concrete store, cloud, feed, trace and policy a run gets, and what the environment says.

Everything else in `app/` takes these through here, so that this one page answers "what runs when I say infra: local?".
"""

import os
from pathlib import Path

from launcher.adapters.cloud.local import LocalCloud
from launcher.adapters.cloud.local_registry import clock_of, run_registry
from launcher.adapters.market.listed import ListedFeed, listed
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import child, open_store
from launcher.clock import Clock, ScaledClock
from launcher.core.market.offer import Offer
from launcher.core.market.trace import GENERATED, Trace, from_csv, generated
from launcher.core.policy.base import Policy
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import LocalSpec, Recipe
from launcher.core.run.state import RunState
from launcher.errors import RecipeError
from launcher.supervisor import World

__all__ = ["child", "clock_of", "open_store"]

STATE_HOME_DEFAULT = "~/.local/state"


def registry_of(incarnation: str) -> Path:
    """Where the local instances of a run are written down: with this user on this machine, not in the home."""
    state_home = os.environ.get("XDG_STATE_HOME") or STATE_HOME_DEFAULT
    return run_registry(Path(state_home).expanduser(), incarnation)


def wants_colour() -> bool:
    return not os.environ.get("NO_COLOR")


def trace_of(local: LocalSpec) -> Trace:
    """The market of a rehearsal. Raises RecipeError where a file of one's own is none."""
    if local.trace in GENERATED:
        return generated(local.trace, local.seed)
    path = Path(local.trace)
    try:
        return from_csv(path.read_text(encoding="utf-8"), name=path.stem, seed=local.seed)
    except (OSError, ValueError) as error:
        raise RecipeError(f"local.trace is {local.trace}, and that cannot be used: {error}") from None


def offers_of(trace: Trace) -> tuple[Offer, ...]:
    """Everything a rehearsal could buy, unfiltered."""
    return listed(trace.mean_life)


def policy_named(strategy: str) -> Policy:
    return POLICIES[strategy]()


def policy_of(state: RunState) -> Policy:
    return policy_named(state.recipe.policy.strategy)


def local_clock(incarnation: str) -> ScaledClock:
    """The run's rehearsed clock, set going. Raises FileNotFoundError where none was made here."""
    return ScaledClock(clock_of(registry_of(incarnation)))


def local_world(recipe: Recipe, incarnation: str, store: ObjectStore, clock: Clock) -> World:
    """The world of a rehearsal: processes of this machine as instances, their lives and prices from trace and list."""
    trace = trace_of(recipe.local)
    return World(
        clock=clock,
        cloud=LocalCloud(registry_of(incarnation), clock, trace),
        store=store,
        feed=ListedFeed(recipe, trace.mean_life),
    )
