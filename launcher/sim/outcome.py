"""What became of a run, simulated or recorded, in the figures that policies are compared by. All times are of the market."""

from dataclasses import dataclass
from itertools import accumulate

from launcher.core.policy.base import Phase
from launcher.core.run.ledger import Times, ledger
from launcher.core.run.spent import attempt_cost
from launcher.core.run.state import Attempt, RunState
from launcher.units import Seconds, Step, Usd, UsdPerHour, Utc

Point = tuple[Seconds, Usd]  # since the run's start, and what it had cost by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`cost` is the cloud's own bill, `on_demand` what the same useful work would have cost on the cheapest sure machine."""

    policy: str
    trace: str
    seed: int
    phase: Phase
    exit_code: int
    reason: str
    took: Seconds  # to its end; of a run without one, to where the simulation gave up
    cost: Usd
    on_demand: Usd | None
    attempts: int  # that had a machine
    preemptions: int
    steps_lost: Step
    checkpoints: int
    times: Times
    spending: tuple[Point, ...]

    @property
    def is_finished(self) -> bool:
        return self.phase is Phase.SUCCEEDED

    @property
    def goodput(self) -> float:
        """Useful seconds over elapsed ones."""
        return self.times.share(self.times.useful)

    @property
    def restarts(self) -> int:
        """Starts beyond the first."""
        return max(0, self.attempts - 1)


def outcome_of(
    state: RunState,
    now: Utc,
    *,
    policy: str,
    trace: str,
    seed: int,
    on_demand_price: UsdPerHour | None,
    cost: Usd | None = None,
) -> Outcome:
    """Of the run in `state`, at `now` where it has not ended. `cost` None: what its ledger says."""
    books = ledger(state, now, on_demand_price=on_demand_price)
    end = state.terminal
    return Outcome(
        policy=policy,
        trace=trace,
        seed=seed,
        phase=state.phase,
        exit_code=end.exit_code if end else 0,
        reason=end.reason if end else "",
        took=(end.at if end else now) - state.created_at,
        cost=books.spent.likely if cost is None else cost,
        on_demand=books.on_demand,
        attempts=sum(a.billed_from is not None for a in state.attempts.values()),
        preemptions=books.preemptions,
        steps_lost=books.steps_lost,
        checkpoints=sum(a.num_commits for a in state.attempts.values()),
        times=books.times,
        spending=spending(state, now),
    )


def spending(state: RunState, now: Utc) -> tuple[Point, ...]:
    """What the run had cost at each instant at which a machine came or went: straight lines between them, never falling.

    A life costs what it was billed in the end, so one that was forgiven costs nothing from its first second.
    """
    lives = [life for a in state.attempts.values() if (life := _life(state, a, now)) is not None]
    instants = sorted({0.0, *(at for start, end, _ in lives for at in (start, end))})
    totals = [sum((usd * _share(start, end, at) for start, end, usd in lives if start <= at), 0.0) for at in instants]
    return tuple(zip(instants, accumulate(totals, max), strict=True))


def _life(state: RunState, attempt: Attempt, now: Utc) -> tuple[Seconds, Seconds, Usd] | None:
    if attempt.billed_from is None:
        return None
    start = attempt.billed_from - state.created_at
    end = (attempt.bill.likely if attempt.bill else now) - state.created_at
    return start, max(start, end), attempt_cost(attempt, now, state.recipe.num_nodes).likely


def _share(start: Seconds, end: Seconds, at: Seconds) -> float:
    """The part of a life begun by `at` that lies before it."""
    return 1.0 if end <= at else (at - start) / (end - start)
