"""The right to write: granted to one attempt after the other, used by its commits, ended by its seal."""

from dataclasses import replace

from launcher.core.run import events as ev
from launcher.core.run.ends import count_same_checkpoint, imply_ends
from launcher.core.run.state import Attempt, EndKind, RunState, with_attempt
from launcher.units import Utc


def grant(state: RunState, old: Attempt, event: ev.WriterGranted) -> RunState:
    assert state.writer is None or state.writer < event.attempt, "the right to write only moves forward"
    assert old.granted_at is None, "an attempt is granted once"
    state = imply_ends(state, event.at, [a for a in state.attempts.values() if a.is_granted and not a.sealed])
    granted = replace(old, granted_at=event.at, parent=event.parent, restored_step=state.newest_step)
    return with_attempt(
        state,
        granted,
        writer=event.attempt,
        num_grants=state.num_grants + 1,
        branched=False,
        branch=None,
        searching_since=None,
    )


def commit(state: RunState, old: Attempt, event: ev.CheckpointSeen) -> RunState:
    state, old = as_writer(state, old, event.at)
    assert old.commit is None or old.commit.commit <= event.ref.commit, "commits are numbered upwards"
    seen = replace(
        old,
        commit=event.ref,
        commit_step=event.step,
        commit_at=event.at,
        commit_size=event.size,
        num_commits=event.ref.commit,
        durable_s=event.durable_s,
        stall_s=event.stall_s,
    )
    newest_step = event.step if state.writer == old.number else state.newest_step
    return with_attempt(
        state,
        seen,
        newest_step=newest_step,
        tells_steps=state.tells_steps or event.tells_steps,
        failures=replace(state.failures, errors=0),
    )


def seal(state: RunState, old: Attempt, event: ev.AttemptSealed) -> RunState:
    if not old.is_granted:
        state = _imply_grant(state, old, event.at)
    if old.end is None:
        state = imply_ends(state, event.at, [state.attempts[old.number]])
    old = state.attempts[old.number]
    is_new = event.last is not None and event.last != old.commit
    num_commits = event.last.commit if event.last else 0
    failures, commit_at = state.failures, old.commit_at
    if is_new:
        # A commit that nobody had journaled is progress all the same. The failure that ended the attempt came after it.
        failures = replace(failures, errors=int(old.ended_as(EndKind.FAILED)))
        commit_at = old.end.at if old.end else event.at  # it landed at the very end
    sealed = replace(
        old,
        sealed=True,
        finished=event.finished,
        commit=event.last,
        commit_step=old.commit_step if event.step is None else event.step,
        commit_at=commit_at,
        num_commits=num_commits,
    )
    tells_step = event.step is not None and state.writer == old.number
    return with_attempt(
        state,
        sealed,
        newest_step=event.step if tells_step else state.newest_step,
        failures=count_same_checkpoint(failures, sealed, sealed.commit or sealed.parent),
    )


def as_writer(state: RunState, old: Attempt, at: Utc) -> tuple[RunState, Attempt]:
    """Only who was granted trains and commits. Where no grant is told its record is void, and what was made is history still."""
    if old.is_granted or not old.is_alive or old.number < (state.writer or 0):
        return state, old
    state = _imply_grant(with_attempt(state, old), old, at)
    return state, state.attempts[old.number]


def _imply_grant(state: RunState, old: Attempt, at: Utc) -> RunState:
    """A sealed attempt was granted, and a grant names what is newest when it is given."""
    if old.number < (state.writer or 0):
        return with_attempt(state, replace(old, granted_at=at))
    granted = grant(state, old, ev.WriterGranted(at=at, attempt=old.number, parent=state.newest_commit))
    return replace(granted, searching_since=state.searching_since)
