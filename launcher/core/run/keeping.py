"""A failed machine that stays up for a look (`retry.keep_failed`): one at most, and as long as nothing else ends it.

Only the attempt with which a run ends is kept: where the run goes on, be it by waiting, it is let go. Its agent stays for as
long, so that no cloud takes the machine for idle; the supervisor stays too, and sees its bill end.
"""

from launcher.core.policy.base import Phase
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.core.run.verdict import judge
from launcher.core.tempo import Tempo
from launcher.units import Seconds, Utc


def keep_failed(state: RunState) -> Seconds:
    """How long a machine is kept whose attempt the user's program ended; 0: not at all. A person needs a minute to look.

    Its agent has said its last word, and hears of no supervisor: `autostop` holds.
    """
    wanted, tempo = state.recipe.retry.keep_failed, Tempo(state.speed)
    return min(max(wanted, tempo.look_floor), max(state.recipe.autostop, tempo.autostop_floor)) if wanted else 0.0


def kept(state: RunState, now: Utc) -> Attempt | None:
    """Whose machine is kept now; None where none is."""
    if not state.recipe.retry.keep_failed or not state.attempts or state.request is not None:
        return None
    newest = next(reversed(state.attempts.values()))
    if newest.end is None or newest.end.end is not EndKind.FAILED or newest.bill is not None:
        return None
    return newest if now < kept_until(state, newest) and _fails_by(state, newest, now) else None


def _fails_by(state: RunState, newest: Attempt, now: Utc) -> bool:
    """Whether the run ends with this attempt as FAILED, or may yet: the seal may show that it is given up."""
    if state.terminal is not None:
        return state.terminal.phase is Phase.FAILED
    verdict = judge(state, now)
    return newest.needs_seal if verdict is None else verdict.phase is Phase.FAILED


def kept_until(state: RunState, attempt: Attempt) -> Utc:
    """When the machine of a kept attempt is let go at the latest, by the budget too."""
    assert attempt.end is not None, "what is kept has ended"
    until = attempt.end.at + keep_failed(state)
    return until if attempt.stop_at is None else min(until, attempt.stop_at)
