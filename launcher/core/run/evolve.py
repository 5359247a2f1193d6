"""State after one more event: total, pure, and the only way state changes. Replaying a journal is a fold of this.

A journal may have holes, since a damaged record is voided. What a later record can only mean is then taken as told: a grant
means that the writer before it had ended and was sealed, a seal that its attempt was granted and had ended. That nothing of the
kind is missing from what we write ourselves is checked where we write it (`invariants`, called by History.append).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, assert_never

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitKind, ExitReport, RequestKind
from launcher.core.instance import EndCause
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.state import UNKNOWN_OFFER, Attempt, Bill, End, EndKind, Failures, RunState, Terminal
from launcher.units import Utc

HARDNESS = (RequestKind.STOP, RequestKind.STOP_NOW, RequestKind.CANCEL)  # of two requests the harder stands


def create(event: ev.RunCreated) -> RunState:
    return RunState(
        run=event.run,
        incarnation=event.incarnation,
        recipe=event.recipe,
        created_at=event.at,
        deadline_at=event.deadline_at,
        code=event.code,
        agent=event.agent,
        searching_since=event.at,
    )


def replay(events: Iterable[ev.Event]) -> RunState | None:
    """The state after `events`, in order; None before the run was created."""
    state: RunState | None = None
    for event in events:
        state = fold(state, event)
    return state


def fold(state: RunState | None, event: ev.Event) -> RunState | None:
    """`evolve`, for a journal from its first record on: what comes before RunCreated (a voided record) changes nothing."""
    if isinstance(event, ev.RunCreated):
        assert state is None, "a run is created once"
        return create(event)
    return None if state is None else evolve(state, event)


def evolve(state: RunState, event: ev.Event) -> RunState:
    after = _evolve(state, event)
    if after.terminal is None or not after.living:
        return after
    # Nothing lives in a run that has ended: the record that it went on is void, and after success that the attempt had ended.
    if after.terminal.phase is Phase.SUCCEEDED:
        return _imply_ends(after, event.at, after.living)
    return _evolve(_go_on(state, event.at), event)


def _evolve(state: RunState, event: ev.Event) -> RunState:
    if isinstance(event, ev.AttemptRequested):
        return _request(state, event)
    if isinstance(event, ev.AttemptEvent):
        return _evolve_attempt(state, event)
    return _evolve_run(state, event)


def _evolve_run(state: RunState, event: ev.RunEvent) -> RunState:
    match event:
        case ev.RunCreated():
            raise AssertionError("a run is created once")
        case ev.SupervisorStarted(supervisor=supervisor):
            return replace(state, supervisor=supervisor)
        case ev.SpeedChosen(speed=speed, startup_s=startup_s, work_s=work_s):
            return replace(state, speed=speed, startup_s=startup_s, work_s=work_s)
        case ev.PlanMade(plan=plan):
            return replace(state, planned=plan.task)
        case ev.MarketSighted():
            return state
        case ev.RunResumed():
            return _resume(state, event)
        case ev.RequestSeen(request=request):
            hardest = max(state.request or request.request, request.request, key=HARDNESS.index)
            return replace(state, request=hardest, requests_seen=state.requests_seen | {request.uuid})
        case ev.RecordVoided():
            return _void(state, event)
        case ev.RunSucceeded(at=at, commit=commit, step=step):
            return _end_run(state, Terminal(phase=Phase.SUCCEEDED, at=at, reason="", exit_code=0, commit=commit, step=step))
        case ev.RunPaused(at=at, exit_code=code, reason=reason, needs=needs):
            return _end_run(state, Terminal(phase=Phase.PAUSED, at=at, reason=reason, exit_code=code, needs=needs))
        case ev.RunFailed(at=at, exit_code=code, reason=reason, program_exit_code=program):
            terminal = Terminal(phase=Phase.FAILED, at=at, reason=reason, exit_code=code, program_exit_code=program)
            return _end_run(state, terminal)
        case ev.RunCancelled(at=at, reason=reason):
            return _end_run(state, Terminal(phase=Phase.CANCELLED, at=at, reason=reason, exit_code=131))
        case _:
            assert_never(event)


def _evolve_attempt(state: RunState, event: ev.AttemptEvent) -> RunState:
    old = state.attempts.get(event.attempt) or _ghost(event.attempt, event.at)
    match event:
        case ev.AttemptRequested():
            raise AssertionError("requests are folded by evolve")
        case ev.AttemptRefused(at=at, failure=failure):
            end = End(at=at, end=EndKind.REFUSED, reason=failure.message, failure=failure)
            return _end_attempt(state, old, end)
        case ev.AttemptStarted(instance_id=instance_id, billed_from=billed_from):
            # Two launches of one name can exist: once one has claimed, the attempt's instance is that one.
            known = old.instance_id if old.nonce is not None else instance_id
            return _with(state, replace(old, instance_id=known, billed_from=billed_from))
        case ev.AttemptClaimed(instance_id=instance_id, nonce=nonce):
            return _with(state, replace(old, instance_id=instance_id, nonce=nonce))
        case ev.WriterGranted():
            return _grant(state, old, event)
        case ev.TrainingStarted(at=at, heartbeat=beat):
            state, old = _as_writer(state, old, at)
            new = replace(
                old,
                training_at=at,
                restored_step=beat.restored_step,
                num_set_aside=len(beat.set_aside),
                warnings=(*old.warnings, *beat.warnings),
            )
            return _with(state, new)
        case ev.CheckpointSeen():
            return _commit(state, old, event)
        case ev.WarningSeen(warning=warning):
            return _with(state, replace(old, warnings=(*old.warnings, warning)))
        case ev.NoticeSeen(at=at, notice=notice):
            ends_at = at + max(0.0, notice.ends_at - notice.at)
            standing = None if notice.withdrawn else notice
            return _with(state, replace(old, notice=standing, notice_ends_at=ends_at, num_notices=notice.number))
        case ev.InstanceMissed():
            return _with(state, replace(old, missed=True))
        case ev.InstanceFound():
            return _with(state, replace(old, missed=False))
        case ev.AttemptUnwanted(at=at, reason=reason, drain=drain):
            first = old.unwanted_at if old.unwanted_at is not None else at
            return _with(state, replace(old, unwanted_at=first, unwanted_reason=reason, drain=drain))
        case ev.StopAtMoved(stop_at=stop_at):
            return _with(state, replace(old, stop_at=stop_at))
        case ev.AttemptExited(at=at, report=report):
            return _end_attempt(state, old, _end_of_report(old, at, report))
        case ev.AttemptLost(at=at, cause=cause, evidence=evidence, heartbeat=beat):
            end = End(at=at, end=_end_of_loss(old, cause), reason=evidence, heartbeat=beat)
            return _end_attempt(state, old, end)
        case ev.AttemptSealed():
            return _seal(state, old, event)
        case ev.InstanceEnded(low=low, likely=likely, high=high, cause=cause, wait_status=wait_status):
            # Two supervisors' clocks may disagree, so that the witnesses come in another order.
            low, likely, high = sorted((low, likely, high))
            bill = Bill(low=low, likely=likely, high=high, cause=cause, wait_status=wait_status)
            return _with(state, replace(old, bill=bill, end=old.end or _unreadable_end(event.at)))
        case _:
            assert_never(event)


def _with(state: RunState, attempt: Attempt, **changes: Any) -> RunState:
    """`state` with this `attempt`, and whatever else the event `changes`."""
    attempts = {**state.attempts, attempt.number: attempt}
    if attempt.number not in state.attempts and attempt.number < state.next_attempt:
        attempts = dict(sorted(attempts.items()))  # its request is void: later ones are known already
    return replace(state, attempts=attempts, next_attempt=max(state.next_attempt, attempt.number + 1), **changes)


def _ghost(number: int, at: Utc) -> Attempt:
    """An attempt whose request is in a voided record: unwanted, but kept, since its grant and commits may be history."""
    return Attempt(
        number=number,
        offer=UNKNOWN_OFFER,
        requested_at=at,
        reason="the record of its request was voided",
        unwanted_at=at,
        unwanted_reason="the record of its request was voided",
    )


def _request(state: RunState, event: ev.AttemptRequested) -> RunState:
    # It may be below `next_attempt`: where a RecordVoided is itself void, a later one makes up for it and uses up as many more.
    assert event.attempt not in state.attempts, "an attempt number is used once"
    attempt = Attempt(number=event.attempt, offer=event.offer, requested_at=event.at, reason=event.reason, stop_at=event.stop_at)
    return _with(state, attempt)


def _grant(state: RunState, old: Attempt, event: ev.WriterGranted) -> RunState:
    assert state.writer is None or state.writer < event.attempt, "the right to write only moves forward"
    assert old.granted_at is None, "an attempt is granted once"
    state = _imply_ends(state, event.at, [a for a in state.attempts.values() if a.is_granted and not a.sealed])
    granted = replace(old, granted_at=event.at, parent=event.parent, restored_step=state.newest_step)
    return _with(
        state,
        granted,
        writer=event.attempt,
        num_grants=state.num_grants + 1,
        branched=False,
        branch=None,
        searching_since=None,
    )


def _commit(state: RunState, old: Attempt, event: ev.CheckpointSeen) -> RunState:
    state, old = _as_writer(state, old, event.at)
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
    return _with(
        state,
        seen,
        newest_step=newest_step,
        tells_steps=state.tells_steps or event.tells_steps,
        failures=replace(state.failures, errors=0),
    )


def _seal(state: RunState, old: Attempt, event: ev.AttemptSealed) -> RunState:
    if not old.is_granted:
        state = _imply_grant(state, old, event.at)
    if old.end is None:
        state = _imply_ends(state, event.at, [state.attempts[old.number]])
    old = state.attempts[old.number]
    is_new = event.last is not None and event.last != old.commit
    num_commits = event.last.commit if event.last else 0
    failures, commit_at = state.failures, old.commit_at
    if is_new:
        # A commit that nobody had journaled is progress all the same. The failure that ended the attempt came after it.
        failures = replace(failures, errors=int(_ended_as(old, EndKind.FAILED)))
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
    return _with(
        state,
        sealed,
        newest_step=event.step if tells_step else state.newest_step,
        failures=_count_same_checkpoint(failures, sealed, sealed.commit or sealed.parent),
    )


def _as_writer(state: RunState, old: Attempt, at: Utc) -> tuple[RunState, Attempt]:
    """Only who was granted trains and commits. Where no grant is told its record is void, and what was made is history still."""
    if old.is_granted or not old.is_alive or old.number < (state.writer or 0):
        return state, old
    state = _imply_grant(_with(state, old), old, at)
    return state, state.attempts[old.number]


def _imply_grant(state: RunState, old: Attempt, at: Utc) -> RunState:
    """A sealed attempt was granted, and a grant names what is newest when it is given."""
    if old.number < (state.writer or 0):
        return _with(state, replace(old, granted_at=at))
    granted = _grant(state, old, ev.WriterGranted(at=at, attempt=old.number, parent=state.newest_commit))
    return replace(granted, searching_since=state.searching_since)


def _imply_ends(state: RunState, at: Utc, attempts: Iterable[Attempt]) -> RunState:
    """What a record says can only be if these had ended and were sealed: where they are not, the records that told are void."""
    for attempt in attempts:
        ended = replace(attempt, end=attempt.end or _unreadable_end(at), sealed=attempt.sealed or attempt.is_granted)
        state = _with(state, ended)
    return _search(state, at)


def _search(state: RunState, at: Utc) -> RunState:
    """Without a claimed machine alive one is searched for, from `at` on where it was not already."""
    is_new = state.searching_since is None and not any(a.nonce for a in state.living)
    return replace(state, searching_since=at) if is_new else state


def _unreadable_end(at: Utc) -> End:
    return End(at=at, end=EndKind.OTHER, reason="the record of its end was voided")


def _ended_as(attempt: Attempt, *kinds: EndKind) -> bool:
    return attempt.end is not None and attempt.end.end in kinds


def _count_same_checkpoint(failures: Failures, ended: Attempt, newest: CommitRef | None) -> Failures:
    """Ends that are nobody's preemption and no stop of ours, at one and the same newest commit, in a row."""
    if not _ended_as(ended, EndKind.FAILED, EndKind.KILLED):
        return replace(failures, same_checkpoint=0, any_end=False)
    same = failures.any_end and failures.at_commit == newest
    count = failures.same_checkpoint + 1 if same else 0
    return replace(failures, same_checkpoint=count, at_commit=newest, any_end=True)


def _end_attempt(state: RunState, old: Attempt, end: End) -> RunState:
    """An exit report that comes after the loss was journaled says more, and stands in its place."""
    ended = replace(old, end=end)
    if old.end is not None:
        return _search(_with(state, ended), end.at)
    failures = _count_end(state.failures, end)
    if not old.is_granted and end.end in (EndKind.FAILED, EndKind.KILLED):
        # Nothing will be sealed, where others are counted.
        failures = _count_same_checkpoint(failures, ended, state.newest_commit)
    return _search(_with(state, ended, last_ended=old.number, failures=failures), end.at)


def _count_end(failures: Failures, end: End) -> Failures:
    if end.end is EndKind.FAILED:
        return replace(failures, errors=failures.errors + 1)
    if end.end is EndKind.PREEMPTED:
        return replace(failures, preemptions=failures.preemptions + 1)
    return failures


def _end_of_report(old: Attempt, at: Utc, report: ExitReport) -> End:
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
        ExitKind.NODE_LOST: EndKind.PREEMPTED,  # as a machine alone that vanished without a word: see _end_of_loss
        ExitKind.SEALED: EndKind.OTHER,
    }
    return End(at=at, end=kinds[report.outcome], reason=report.reason, report=report, heartbeat=report.last)


def _is_being_taken(attempt: Attempt) -> bool:
    """A notice stands. One that comes after we stopped the instance is the sound of our own stop."""
    return attempt.notice is not None and (attempt.unwanted_at is None or attempt.drain)


def _end_of_loss(old: Attempt, cause: EndCause) -> EndKind:
    if cause is EndCause.PREEMPTED or _is_being_taken(old):
        return EndKind.PREEMPTED
    if old.unwanted_at is not None or cause is EndCause.STOPPED:
        return EndKind.STOPPED
    # A machine that vanished from a spot market without a word was most likely taken by it; one seen to be killed was not.
    if cause is EndCause.UNTOLD:
        return EndKind.PREEMPTED
    return EndKind.KILLED  # EXITED too: an agent that ends without a word was ended by something


def _void(state: RunState, event: ev.RecordVoided) -> RunState:
    """Each newly voided record may have been a request, so it uses up an attempt number."""
    new = frozenset(event.numbers) - state.voided
    waiting = frozenset(a.number for a in state.living if not a.is_granted) if new else frozenset()
    state = replace(
        state,
        voided=state.voided | new,
        doubtful=state.doubtful | waiting,
        next_attempt=state.next_attempt + len(new),
    )
    for request in event.requests:
        state = _recall(state, request, event.at)
    return state


def _recall(state: RunState, request: ev.AttemptRequested, at: Utc) -> RunState:
    """The machine of a void request is no more wanted for that, and costs what it costs."""
    known = state.attempts.get(request.attempt)
    ghost = known or replace(_ghost(request.attempt, at), drain=False)  # no record tells of it: it has nothing to save
    stop_at = request.stop_at if ghost.stop_at is None else ghost.stop_at
    state = _with(state, replace(ghost, offer=request.offer, requested_at=request.at, stop_at=stop_at))
    return _imply_ends(state, at, [state.attempts[ghost.number]]) if known is None and state.terminal else state


def _resume(state: RunState, event: ev.RunResumed) -> RunState:
    assert state.terminal is None or state.terminal.phase is not Phase.SUCCEEDED, "success is final"
    return replace(
        _go_on(state, event.at),
        recipe=event.recipe,
        deadline_at=event.deadline_at,
        code=event.code or state.code,
        newest_step=event.step if event.branched else state.newest_step,
        branched=event.branched or state.branched,
        branch=event.parent if event.branched else state.branch,
    )


def _go_on(state: RunState, at: Utc) -> RunState:
    """What a resume starts anew, whatever else it changes."""
    ended_at = state.terminal.at if state.terminal else at
    state = _imply_ends(state, at, [a for a in state.attempts.values() if a.is_alive or a.needs_seal])
    return replace(
        state,
        pauses=(*state.pauses, (ended_at, at)),
        terminal=None,
        request=None,
        failures=Failures(),
        searching_since=at,
        first_attempt=state.next_attempt,
        last_ended=None,
    )


def _end_run(state: RunState, terminal: Terminal) -> RunState:
    state = _imply_ends(state, terminal.at, [a for a in state.attempts.values() if a.is_alive or a.needs_seal])
    return replace(state, terminal=terminal)
