"""Attempts in a row that were paid for nothing: which they are, what it lies in, what helps.

Their agents never spoke, or they trained a program under `run:` and published nothing.

Agents are mute where a machine cannot reach the store, or has no network or package index to set them up from. It cannot tell us;
its cloud can where the set-up failed. One that vanishes young may as well have been taken by the market, and tells neither.

Of programs that publish nothing two causes look alike from outside. Either the program never leaves its folder whole for two
looks, or never writes there: then a mended program helps. Or, in a rehearsal, its lives are over before a first save: then longer
lives do, and a run keeps its speed. What tells them apart is whether a look found something in the way, and how long the longest
of them trained.
"""

import math
from collections.abc import Iterable

from launcher.core.contract import NO_SAVE, NOTHING_IN_THE_WAY
from launcher.core.instance import EndCause
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.core.run.view import restart_cost
from launcher.units import Seconds

UNPUBLISHED_MOST = 10  # a market in a bad mood may cut some lives short of the first save, but hardly so many in a row
TRAINING_ENOUGH_S: Seconds = 30.0  # real; importing PyTorch, a first save and two looks at it take a busy machine about so long

MUTE_MOST = 3  # one may be a bad machine, two a bad place, and each is paid for until nobody waits for it any more
# A machine whose agent could not start is idle, and SkyPilot deletes such a one after 5 min and not before; the market does both.
MUTE_LIFE_S: Seconds = 300.0


def mute(state: RunState) -> tuple[Attempt, ...]:
    """The newest attempts in a row that came up and whose agents never spoke until they were let go or vanished, newest first.

    Since the run was created or resumed, and since the last machine that did speak: a writer may outlive its successors. One that
    the cloud says was preempted, or that had a notice, does not count, nor does one that was let go for another reason.
    """
    found: list[Attempt] = []
    for attempt in reversed(state.attempts.values()):
        if state.searching_since is None or attempt.number < state.first_attempt or attempt.has_spoken or len(found) == MUTE_MOST:
            break
        if attempt.requested_at >= state.searching_since and _is_mute(state, attempt):
            found.append(attempt)
    return tuple(found)


def _is_mute(state: RunState, attempt: Attempt) -> bool:
    if attempt.billed_from is None or attempt.num_notices or attempt.number in state.doubtful or _was_taken(attempt):
        return False
    if attempt.is_silent or attempt.never_began:
        return True
    vanished = attempt.end is not None and attempt.end.cause is EndCause.UNTOLD and attempt.ended_as(EndKind.PREEMPTED)
    if not vanished or attempt.bill is None:
        return False
    # As long as it was up for certain: whoever looks seldom finds it gone long after.
    return attempt.bill.low - attempt.billed_from >= max(MUTE_LIFE_S, restart_cost(state))


def _was_taken(attempt: Attempt) -> bool:
    causes = (attempt.end.cause if attempt.end else None, attempt.bill.cause if attempt.bill else None)
    return EndCause.PREEMPTED in causes


def unpublished(state: RunState) -> tuple[Attempt, ...]:
    """The newest attempts in a row that trained a program under `run:` and left no checkpoint, newest first, at most the limit.

    Since the run was created or resumed; those that never trained do not count, nor does one whose last commit may yet show.
    A recipe that wants no checkpoints (`checkpoint.every: never`) has none to miss.
    """
    if state.recipe.trainer is not None or state.recipe.checkpoint.every == "never":
        return ()
    found: list[Attempt] = []
    for attempt in reversed(state.attempts.values()):
        if attempt.commit is not None or attempt.number < state.first_attempt or len(found) == UNPUBLISHED_MOST:
            break
        if attempt.sealed and attempt.has_trained:
            found.append(attempt)
    return tuple(found)


def are_too_many(state: RunState) -> bool:
    return len(unpublished(state)) == UNPUBLISHED_MOST


def are_too_short(state: RunState) -> bool:
    """Whether the lives of `unpublished` were over before a save could be: nothing was in the way, and none trained for long."""
    barren = unpublished(state)
    longest_s = max((_trained_s(a) for a in barren), default=0.0) / state.speed
    return state.speed > 1 and longest_s < TRAINING_ENOUGH_S and not _in_the_way(barren)


def why(state: RunState) -> str:
    """What it lies in, as far as can be seen, in one sentence with its figures (real seconds)."""
    barren = unpublished(state)
    head = f"{len(barren)} attempts in a row published nothing"
    trained = [_trained_s(a) / state.speed for a in barren]
    if are_too_short(state):
        lived, starting = ([part(a) / state.speed for a in barren] for part in (_lived_s, _starting_s))
        return (
            f"{head}: in lives of {_range(lived)} here starting took {_range(starting)}, "
            f"and the program's {_range(trained)} came to no whole save"
        )
    if found := _in_the_way(barren):
        return f"{head}: {found}"
    if any(_tells_steps(a) for a in barren):
        return f"{head}: {NO_SAVE} in {_range(trained)} of training"
    return f"{head}: the program wrote nothing into $LAUNCH_CHECKPOINT_DIR in {_range(trained)} of training"


def slower(state: RunState) -> float:
    """A speed at which the shortest of these lives had had time to train and save, in one digit that counts."""
    barren = unpublished(state)
    needed_s = TRAINING_ENOUGH_S + max(_starting_s(a) for a in barren) / state.speed
    speed = max(1.0, min(_lived_s(a) for a in barren) / needed_s)
    digit: float = 10.0 ** math.floor(math.log10(speed))
    return math.floor(speed / digit) * digit


def _in_the_way(barren: Iterable[Attempt]) -> str:
    """What the newest of the agents' warnings names as the obstacle, its remedy left out; empty where it names none."""
    said = next((warning for attempt in barren for warning in reversed(attempt.warnings)), "")
    cause = said.partition(";")[0]
    found = cause.partition(": ")[2] or cause
    return "" if found in NOTHING_IN_THE_WAY else found


def _tells_steps(attempt: Attempt) -> bool:
    """Whether its program uses `launcher.train`, as far as its last heartbeat shows."""
    beat = attempt.last_beat
    return beat is not None and (beat.step > attempt.restored_step or beat.total_steps is not None)


def _lived_s(attempt: Attempt) -> Seconds:
    """Market seconds, as all of these."""
    assert attempt.end is not None, "only what has ended is judged"
    return max(0.0, (attempt.bill.likely if attempt.bill else attempt.end.at) - _since(attempt))


def _starting_s(attempt: Attempt) -> Seconds:
    return _lived_s(attempt) - _trained_s(attempt)


def _trained_s(attempt: Attempt) -> Seconds:
    beat = attempt.last_beat
    if attempt.training_at is None:
        return 0.0 if beat is None else beat.training_s
    return max(0.0, _lived_s(attempt) - (attempt.training_at - _since(attempt)))


def _since(attempt: Attempt) -> float:
    return attempt.requested_at if attempt.billed_from is None else attempt.billed_from


def _range(real: list[Seconds]) -> str:
    low, high = (f"{found:.0f}" for found in (min(real), max(real)))
    return f"{high} s" if low == high else f"{low} to {high} s"
