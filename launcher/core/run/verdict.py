"""Whether a run should end now, as what, and why: read off the state alone, so that a restart comes to the same answer."""

from dataclasses import dataclass

from launcher.core.contract import NOT_STARTED, Heartbeat, RequestKind
from launcher.core.instance import FailureKind
from launcher.core.plan.goal import lateness
from launcher.core.policy.base import Phase
from launcher.core.run import barren, refusals
from launcher.core.run.purse import enough_there, time_enough
from launcher.core.run.spent import spent
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.core.run.view import remaining_work, restart_cost, total_steps
from launcher.units import Utc, show_duration, show_usd

FROM_THE_START = "--from 0"
REFUSED_ENOUGH = 2  # saves in a row of lives that are over: a single refusal may come of damage, and pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The phase to end in. Living attempts save first if `drain`.

    `reason` is one short sentence, the cause with its figures: it stands in tables. `needs` is what helps.
    """

    phase: Phase
    reason: str
    exit_code: int
    drain: bool = True
    program_exit_code: int | None = None
    needs: str = ""  # the change without which a resume would come to the same end


def judge(state: RunState, now: Utc) -> Verdict | None:
    """The first rule that says the run is over; None while it goes on."""
    for rule in (_finished, _requested, _given_up, _cannot_restore, _saves_fail, *_PAID_FOR_NOTHING, _refused, _limits):
        verdict = rule(state, now)
        if verdict is not None:
            return verdict
    return None


def _paused(exit_code: int, reason: str, *, drain: bool = True, needs: str = "") -> Verdict:
    return Verdict(phase=Phase.PAUSED, reason=reason, exit_code=exit_code, drain=drain, needs=needs)


def _last_end(state: RunState) -> Attempt | None:
    """The attempt that ended last since the run was created or resumed, in the journal's order: clocks may jump."""
    return None if state.last_ended is None else state.attempts[state.last_ended]


def _finished(state: RunState, now: Utc) -> Verdict | None:
    """By the last writer's own word, or by its last commit: a machine that came only to say so would cost a start."""
    writer = state.last_writer
    if writer is None or writer.end is None or state.branched:
        return None
    if writer.end.end is EndKind.FINISHED or _holds_the_end(state, writer):
        return Verdict(phase=Phase.SUCCEEDED, reason="training reached its end", exit_code=0)
    return None


def _holds_the_end(state: RunState, writer: Attempt) -> bool:
    """For a trainer of ours, whose end is its last commit: what a program under `run:` does after that is not known.

    A resume may have asked for more steps since.
    """
    steps = total_steps(state)
    return state.recipe.trainer is not None and writer.finished and (steps is None or state.newest_step >= steps)


def _requested(state: RunState, now: Utc) -> Verdict | None:
    match state.request:
        case RequestKind.CANCEL:
            return Verdict(phase=Phase.CANCELLED, reason="cancelled on request", exit_code=131, drain=False)
        case RequestKind.STOP:
            return _paused(130, "stopped on request")
        case RequestKind.STOP_NOW:
            return _paused(130, "stopped at once on request", drain=False)
        case _:
            return None


def _given_up(state: RunState, now: Utc) -> Verdict | None:
    failures, retry = state.failures, state.recipe.retry
    newest = _last_end(state)
    if newest is None or newest.end is None:
        return None
    report = newest.end.report
    code = report.exit_code if report else None
    if _was_not_found(newest) and not _has_saved(state):
        return Verdict(phase=Phase.FAILED, reason=newest.end.reason, exit_code=1, program_exit_code=code)
    if failures.errors > retry.error:
        reason = f"{_failed(failures.errors)}: {newest.end.reason}"
        return Verdict(phase=Phase.FAILED, reason=reason, exit_code=1, program_exit_code=code)
    if failures.any_end and failures.same_checkpoint >= retry.same_checkpoint:
        at = f"checkpoint {failures.at_commit}" if failures.at_commit else "its start"
        reason = f"the program ended {failures.same_checkpoint + 1} times in a row at {at}: {newest.end.reason}"
        return Verdict(phase=Phase.FAILED, reason=reason, exit_code=1, program_exit_code=code)
    if retry.preemption is not None and failures.preemptions > retry.preemption:
        return _paused(3, f"preempted {_times(failures.preemptions)}, and retry.preemption is {retry.preemption}")
    return None


def _was_not_found(attempt: Attempt) -> bool:
    """The next machine is given the same line, or the same name of a module."""
    end = attempt.end
    return end is not None and end.end is EndKind.FAILED and end.report is not None and end.report.exit_code in NOT_STARTED


def _has_saved(state: RunState) -> bool:
    """Since the run was created or resumed the program was there to do so: where it is not found, that lies in the machine."""
    return any(a.commit is not None and a.number >= state.first_attempt for a in state.attempts.values())


def _failed(count: int) -> str:
    return f"the program failed {_times(count)}{' without a new checkpoint in between' if count > 1 else ''}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _cannot_restore(state: RunState, now: Utc) -> Verdict | None:
    newest = _last_end(state)
    if newest is None or newest.end is None:
        return None
    if newest.end.end is EndKind.NO_CHECKPOINT and not state.branched:
        return _paused(6, newest.end.reason, needs=FROM_THE_START)
    if newest.end.end is EndKind.STORE:
        return _paused(6, newest.end.reason)
    return None


def _saves_fail(state: RunState, now: Utc) -> Verdict | None:
    """Another machine would train for nothing. One that trains goes on and may yet save, if the store takes it again."""
    if not state.writer_is_sealed:
        return None
    failing = _failing_to_the_end(state)
    num_failed = sum(beat.failed_saves for beat in failing)
    if num_failed < REFUSED_ENOUGH:
        return None
    why = next((f": {beat.warnings[-1]}" for beat in failing if beat.warnings), "")
    return _paused(6, f"{num_failed} saves in a row failed{why}")


def _failing_to_the_end(state: RunState) -> list[Heartbeat]:
    """The last words of the attempts since the newest commit whose saves the store refused, newest first."""
    found: list[Heartbeat] = []
    for attempt in reversed(state.attempts.values()):
        if attempt.number < state.first_attempt:
            break
        beat = attempt.last_beat
        if beat is not None and beat.failed_saves and beat.last_commit >= attempt.num_commits:
            found.append(beat)
        if attempt.commit is not None:
            break
    return found


def _says_nothing(state: RunState, now: Utc) -> Verdict | None:
    mute = barren.mute(state)
    if len(mute) < barren.MUTE_MOST:
        return None
    why = "does the machine's role reach the store? (`launch doctor RECIPE`)"
    exited = next((attempt.end for attempt in mute if attempt.never_began), None)
    if exited is not None:
        why = exited.reason
    return _paused(5, f"{barren.MUTE_MOST} machines in a row came up and none of their agents spoke; {why}")


def _publishes_nothing(state: RunState, now: Utc) -> Verdict | None:
    if not barren.are_too_many(state) or any(a.commit is not None for a in state.living):
        return None
    # The frozen copy of a program would do the same again. Where lives are too short no resume helps, and none is suggested.
    return _paused(6, barren.why(state), needs="--allow-change workdir" if state.code is not None else "")


_PAID_FOR_NOTHING = (_says_nothing, _publishes_nothing)


def _refused(state: RunState, now: Utc) -> Verdict | None:
    newest = _last_end(state)
    if state.living or newest is None or newest.end is None or newest.end.failure is None:
        return None
    failure = newest.end.failure
    reason = refusals.told(failure, newest.offer.placement.cloud)
    if failure.failure in (FailureKind.CREDENTIALS, FailureKind.PERMISSION):
        return _paused(5, reason)
    if failure.failure is FailureKind.RECIPE and not _has_come_up(state):
        return Verdict(phase=Phase.FAILED, reason=reason, exit_code=2)
    return None


def _has_come_up(state: RunState) -> bool:
    """Since the run was created or resumed a machine came up by its recipe: what is wrong with it elsewhere is the place's."""
    return any(a.billed_from is not None and a.number >= state.first_attempt for a in state.attempts.values())


def _limits(state: RunState, now: Utc) -> Verdict | None:
    if state.deadline_at is not None and now >= state.deadline_at:
        return _paused(4, "the deadline has passed", needs=time_enough(state, now))
    if late := _late_before_the_start(state, now):
        return _paused(4, late, needs=time_enough(state, now))
    budget = state.recipe.policy.budget
    if budget is not None and spent(state, now).high >= budget:
        return _paused(4, f"the budget of {show_usd(budget)} is spent", needs=enough_there(state, now))
    # One that is asked for may be a minute from training; one that does not come or never claims is let go soon enough.
    has_machine = any(a.nonce is not None or a.is_wanted for a in state.living)
    searching = 0.0 if has_machine or state.searching_since is None else now - state.searching_since
    if searching > state.recipe.retry.capacity:
        newest = _last_end(state)
        failure = newest.end.failure if newest and newest.end else None
        reason = _nothing_found(state)
        if newest is not None and failure is not None:
            reason = f"{reason}; the last refusal: {refusals.told(failure, newest.offer.placement.cloud)}"
        return _paused(5 if failure is not None and failure.failure is FailureKind.QUOTA else 3, reason)
    return None


def _nothing_found(state: RunState) -> str:
    """Machines may have come up meanwhile and gone again before they could train."""
    since = state.searching_since
    num_up = sum(a.billed_from is not None and since is not None and a.requested_at >= since for a in state.attempts.values())
    limit = f"within {show_duration(state.recipe.retry.capacity)} (retry.capacity)"
    return f"no machine came to train {limit}, though {num_up} came up" if num_up else f"no machine {limit}"


def _late_before_the_start(state: RunState, now: Utc) -> str:
    """Why the deadline cannot be met, while not a cent has been spent on it since the run was created or resumed; else empty.

    Later it is left alone until it passes: what is trained meanwhile is kept, and the policy pays no more than it must.
    """
    if state.next_attempt > state.first_attempt or state.deadline_at is None:
        return ""
    return lateness(work=remaining_work(state), restart_cost=restart_cost(state), time=state.deadline_at - now)
