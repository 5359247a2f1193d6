"""What must be done for the world to match the state: commands, derived anew each time, each safe to repeat.

Nothing in flight is remembered: a supervisor that dies after journaling a decision and before acting on it acts on it when it is
run again, because the same command follows from the same state.
"""

from dataclasses import dataclass

from launcher.core.run.interpret import taken_by
from launcher.core.run.keeping import kept
from launcher.core.run.state import Attempt, RunState
from launcher.units import Utc


@dataclass(frozen=True, slots=True)
class StartInstance:
    attempt: int


@dataclass(frozen=True, slots=True)
class StopInstance:
    attempt: int


@dataclass(frozen=True, slots=True)
class SealCommits:
    attempt: int


Command = StartInstance | StopInstance | SealCommits


def reconcile(state: RunState, now: Utc) -> tuple[Command, ...]:
    """Wanted minus seen, in the order to do it: stops first, which return at once, while a seal may wait for a slow store."""
    seals = [SealCommits(a.number) for a in state.unsettled if a.needs_seal]
    stops = [StopInstance(a.number) for a in state.unsettled if _should_stop(state, a, now)]
    starts = [StartInstance(a.number) for a in state.unsettled if _should_start(a)]
    return (*stops, *seals, *starts)


def _should_start(attempt: Attempt) -> bool:
    """An attempt that has a claim or was seen to run is never started again: if its instance is absent, it is lost."""
    return attempt.is_wanted and attempt.nonce is None and attempt.billed_from is None


def _should_stop(state: RunState, attempt: Attempt, now: Utc) -> bool:
    if attempt.bill is not None or _is_being_taken(state, attempt, now) or kept(state, now) is attempt:
        return False
    if attempt.end is not None:
        return True
    return attempt.unwanted_at is not None and not attempt.drain


def _is_being_taken(state: RunState, attempt: Attempt, now: Utc) -> bool:
    """A notice stands: the cloud ends this instance within minutes, and some clouds charge less when they do it themselves.

    A clock that stands before the journaled end was set back: it would wait for what has long passed.
    """
    if attempt.notice is None or attempt.end is None:
        return False
    return attempt.end.at <= now < taken_by(state, attempt)
