"""State after one more event: total, pure, and the only way state changes. Replaying a journal is a fold of this.

A journal may have holes, since a damaged record is voided. What a later record can only mean is then taken as told: a grant
means that the writer before it had ended and was sealed, a seal that its attempt was granted and had ended. That nothing of the
kind is missing from what we write ourselves is checked where we write it (`invariants`, called by History.append).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from launcher.core.contract import RequestKind
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run import holes, writer
from launcher.core.run.ends import end_attempt, end_of_loss, end_of_report, imply_ends, unreadable_end
from launcher.core.run.state import Attempt, Bill, End, EndKind, Failures, RunState, Terminal, with_attempt
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
        return imply_ends(after, event.at, after.living)
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
            return holes.void(state, event)
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
    old = state.attempts.get(event.attempt) or holes.ghost(event.attempt, event.at)
    match event:
        case ev.AttemptRequested():
            raise AssertionError("requests are folded by evolve")
        case ev.AttemptRefused(at=at, failure=failure):
            end = End(at=at, end=EndKind.REFUSED, reason=failure.message, failure=failure)
            return end_attempt(state, old, end)
        case ev.AttemptStarted(instance_id=instance_id, billed_from=billed_from):
            # Two launches of one name can exist: once one has claimed, the attempt's instance is that one.
            known = old.instance_id if old.nonce is not None else instance_id
            return with_attempt(state, replace(old, instance_id=known, billed_from=billed_from))
        case ev.AttemptClaimed(instance_id=instance_id, nonce=nonce):
            return with_attempt(state, replace(old, instance_id=instance_id, nonce=nonce))
        case ev.WriterGranted():
            return writer.grant(state, old, event)
        case ev.TrainingStarted(at=at, heartbeat=beat):
            state, old = writer.as_writer(state, old, at)
            new = replace(
                old,
                training_at=at,
                restored_step=beat.restored_step,
                num_set_aside=len(beat.set_aside),
                warnings=(*old.warnings, *beat.warnings),
            )
            return with_attempt(state, new)
        case ev.CheckpointSeen():
            return writer.commit(state, old, event)
        case ev.WarningSeen(warning=warning):
            return with_attempt(state, replace(old, warnings=(*old.warnings, warning)))
        case ev.NoticeSeen(at=at, notice=notice):
            ends_at = at + max(0.0, notice.ends_at - notice.at)
            standing = None if notice.withdrawn else notice
            return with_attempt(state, replace(old, notice=standing, notice_ends_at=ends_at, num_notices=notice.number))
        case ev.InstanceMissed():
            return with_attempt(state, replace(old, missed=True))
        case ev.InstanceFound():
            return with_attempt(state, replace(old, missed=False))
        case ev.AttemptUnwanted(at=at, reason=reason, drain=drain, silent=silent):
            first = old.unwanted_at if old.unwanted_at is not None else at
            return with_attempt(state, replace(old, unwanted_at=first, unwanted_reason=reason, is_silent=silent, drain=drain))
        case ev.StopAtMoved(stop_at=stop_at):
            given_back = None if old.notice is None else old.given_back or old.stop_at
            return with_attempt(state, replace(old, stop_at=stop_at, given_back=given_back))
        case ev.AttemptExited(at=at, report=report):
            return end_attempt(state, old, end_of_report(old, at, report))
        case ev.AttemptLost(at=at, cause=cause, evidence=evidence, heartbeat=beat):
            end = End(at=at, end=end_of_loss(old, cause), reason=evidence, heartbeat=beat, cause=cause)
            return end_attempt(state, old, end)
        case ev.AttemptSealed():
            return writer.seal(state, old, event)
        case ev.InstanceEnded(low=low, likely=likely, high=high, cause=cause, wait_status=wait_status):
            # Two supervisors' clocks may disagree, so that the witnesses come in another order.
            low, likely, high = sorted((low, likely, high))
            bill = Bill(low=low, likely=likely, high=high, cause=cause, wait_status=wait_status)
            return with_attempt(state, replace(old, bill=bill, end=old.end or unreadable_end(event.at)))
        case _:
            assert_never(event)


def _request(state: RunState, event: ev.AttemptRequested) -> RunState:
    # It may be below `next_attempt`: where a RecordVoided is itself void, a later one makes up for it and uses up as many more.
    assert event.attempt not in state.attempts, "an attempt number is used once"
    attempt = Attempt(number=event.attempt, offer=event.offer, requested_at=event.at, reason=event.reason, stop_at=event.stop_at)
    return with_attempt(state, attempt)


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
    state = _with_all_ended(state, at)
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
    return replace(_with_all_ended(state, terminal.at), terminal=terminal)


def _with_all_ended(state: RunState, at: Utc) -> RunState:
    return imply_ends(state, at, [a for a in state.attempts.values() if a.is_alive or a.needs_seal])
