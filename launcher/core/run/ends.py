"""How attempts end, and what that counts for towards giving up.

The kind of an end comes from the exit report, or where there is none from what was seen. Where the record of an end is void, a
later one may imply it.
"""

from collections.abc import Iterable
from dataclasses import replace

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitKind, ExitReport
from launcher.core.instance import EndCause
from launcher.core.run.state import Attempt, End, EndKind, Failures, RunState, with_attempt
from launcher.units import Utc


def end_attempt(state: RunState, old: Attempt, end: End) -> RunState:
    """An exit report that comes after the loss was journaled says more, and stands in its place."""
    ended = replace(old, end=end)
    if old.end is not None:
        return _search(with_attempt(state, ended), end.at)
    failures = _count_end(state.failures, end)
    if not old.is_granted and end.end in (EndKind.FAILED, EndKind.KILLED) and not ended.never_began:
        # Nothing will be sealed, where others are counted.
        failures = count_same_checkpoint(failures, ended, state.newest_commit)
    return _search(with_attempt(state, ended, last_ended=old.number, failures=failures), end.at)


def imply_ends(state: RunState, at: Utc, attempts: Iterable[Attempt]) -> RunState:
    """What a record says can only be if these had ended and were sealed: where they are not, the records that told are void."""
    for attempt in attempts:
        ended = replace(attempt, end=attempt.end or unreadable_end(at), sealed=attempt.sealed or attempt.is_granted)
        state = with_attempt(state, ended)
    return _search(state, at)


def _search(state: RunState, at: Utc) -> RunState:
    """Without a claimed machine alive one is searched for, from `at` on where it was not already."""
    is_new = state.searching_since is None and not any(a.nonce for a in state.living)
    return replace(state, searching_since=at) if is_new else state


def end_of_report(old: Attempt, at: Utc, report: ExitReport) -> End:
    if old.end is not None and report.outcome is ExitKind.SEALED:
        return replace(old.end, report=report, heartbeat=report.last)  # that it was sealed came of the end that is known
    kinds = {
        ExitKind.FINISHED: EndKind.FINISHED,
        ExitKind.DRAINED: EndKind.PREEMPTED if _is_being_taken(old) else EndKind.STOPPED,
        ExitKind.PROGRAM_FAILED: EndKind.FAILED,
        ExitKind.SETUP_FAILED: EndKind.FAILED,
        ExitKind.KILLED: EndKind.KILLED,
        ExitKind.NOTHING_VALID: EndKind.NO_CHECKPOINT,
        ExitKind.STORE_FAILED: EndKind.STORE,
        ExitKind.NODE_LOST: EndKind.PREEMPTED,  # as a machine alone that vanished without a word: see end_of_loss
        ExitKind.SEALED: EndKind.OTHER,
    }
    return End(at=at, end=kinds[report.outcome], reason=report.reason, report=report, heartbeat=report.last)


def end_of_loss(old: Attempt, cause: EndCause) -> EndKind:
    if cause is EndCause.PREEMPTED or _is_being_taken(old):
        return EndKind.PREEMPTED
    if old.unwanted_at is not None or cause is EndCause.STOPPED:
        return EndKind.STOPPED
    # A machine that vanished from a spot market without a word was most likely taken by it; one seen to be killed was not.
    if cause is EndCause.UNTOLD:
        return EndKind.PREEMPTED
    return EndKind.KILLED  # EXITED too: an agent that ends without a word was ended by something


def _is_being_taken(attempt: Attempt) -> bool:
    """A notice stands. One that comes after we stopped the instance is the sound of our own stop."""
    return attempt.notice is not None and (attempt.unwanted_at is None or attempt.drain)


def unreadable_end(at: Utc) -> End:
    return End(at=at, end=EndKind.OTHER, reason="the record of its end was voided")


def _count_end(failures: Failures, end: End) -> Failures:
    if end.end is EndKind.FAILED:
        return replace(failures, errors=failures.errors + 1)
    if end.end is EndKind.PREEMPTED:
        return replace(failures, preemptions=failures.preemptions + 1)
    return failures


def count_same_checkpoint(failures: Failures, ended: Attempt, newest: CommitRef | None) -> Failures:
    """Ends that are nobody's preemption and no stop of ours, at one and the same newest commit, in a row."""
    if not ended.ended_as(EndKind.FAILED, EndKind.KILLED):
        return replace(failures, same_checkpoint=0, any_end=False)
    same = failures.any_end and failures.at_commit == newest
    count = failures.same_checkpoint + 1 if same else 0
    return replace(failures, same_checkpoint=count, at_commit=newest, any_end=True)
