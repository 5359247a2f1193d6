"""What decides: the policy port, what a policy may know, and what it may answer.

The same object drives production, the rehearsal, `launch simulate`, a replay and the fault tests.
"""

import enum
from dataclasses import dataclass
from typing import Protocol

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.units import Seconds, Usd, Utc


class Phase(enum.Enum):
    """Where a run stands. Only SUCCEEDED is final; `resume` goes on from PAUSED, FAILED and CANCELLED.

    WAITING -> PROVISIONING -> RUNNING -> DRAINING -> (WAITING | PAUSED | SUCCEEDED | FAILED | CANCELLED)
    """

    WAITING = "WAITING"
    PROVISIONING = "PROVISIONING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    PAUSED = "PAUSED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_ended(self) -> bool:
        return self in (Phase.PAUSED, Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One earlier or present attempt, as a policy sees it. `end` is None while it lives, else "preempted", "refused", …"""

    number: int
    placement: Placement
    started_at: Utc
    ended_at: Utc | None
    end: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What a policy may know of a run. Journaled with each decision, so any decision can be replayed.

    `remaining_work` is in seconds of useful training at `work_per_s` = 1, 0 where it is not known (`run:`).
    `restart_cost` is from request to first new step.
    `notice_ends_at` is set while a notice stands. `budget` and `deadline` are None where the recipe names none.
    """

    now: Utc
    phase: Phase
    deadline: Utc | None
    remaining_work: Seconds
    work_per_s: float
    num_nodes: int
    restart_cost: Seconds
    checkpoint_age: Seconds
    current: Placement | None  # of the newest wanted attempt
    notice_ends_at: Utc | None
    spent: Usd
    budget: Usd | None
    allowed: frozenset[str]  # Capacity values the recipe permits
    attempts: tuple[AttemptSummary, ...]

    def allows(self, capacity: Capacity) -> bool:
        return capacity.value in self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Go on where we are."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Have no machine until `until`, or until the market changes."""

    until: Utc
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Be on the first of `ranked` that will have us; the attempt now running, if any, ends when its successor is ready."""

    ranked: tuple[Offer, ...]
    reason: str


Decision = Hold | Wait | Move


class Policy(Protocol):
    """A frozen value with parameters and no memory. Equal arguments give equal decisions; the reason holds the numbers."""

    @property
    def name(self) -> str: ...

    def decide(self, run: RunView, market: MarketView) -> Decision: ...
