"""Whether what was written of an end is what happened, and whether no supervisor ended by a mistake of ours."""

from collections.abc import Iterator

from launcher.core.contract import ExitKind, ExitReport, exit_key
from launcher.core.instance import EndCause
from launcher.core.run import events as ev
from launcher.core.run.state import Attempt, EndKind
from launcher.errors import StoreError
from launcher.sim.checkers.evidence import Evidence, evidence_of
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault

STORE_FAULTS = frozenset(
    (
        Fault.STORE_AWAY,
        Fault.STORE_STORM,
        Fault.STORE_SLOW,
        Fault.CREATE_FAILED,
        Fault.CREATE_LATE,
        Fault.CREATE_UNANSWERED,
        Fault.READ_TRUNCATED,
        Fault.READ_CORRUPTED,
        Fault.WRITE_CORRUPTED,
        Fault.CHECKPOINT_DAMAGED,
        Fault.RECORD_DAMAGED,
    )
)


def outcomes(world: FaultyWorld) -> Iterator[str]:
    """An attempt's end is written as its own report or, where there is none, the cloud says it came."""
    seen = evidence_of(world)
    attempts = seen.state.attempts if seen.state else {}
    for instance in world.cloud.instances.values():
        attempt = attempts.get(instance.spec.attempt)
        if attempt is not None and attempt.end is not None:
            report = seen.exits.get(attempt.number)
            if attempt.end.report is None and _came_too_late(world, attempt):
                report = None
            for what in _contradictions(seen, attempt, instance, report):
                yield f"attempt {attempt.number} is written down as {attempt.end.end.value}, and {what}"


def _came_too_late(world: FaultyWorld, attempt: Attempt) -> bool:
    """Its report landed after the loss had been written down and billed: nobody looks for it any more."""
    lost = [j.at for j in world.journaled if isinstance(j.event, ev.AttemptLost) and j.event.attempt == attempt.number]
    return bool(lost) and world.store.created_at(exit_key(attempt.number)) > lost[-1]


def _contradictions(seen: Evidence, attempt: Attempt, instance: Instance, report: ExitReport | None) -> Iterator[str]:
    assert attempt.end is not None
    end = attempt.end.end
    outcome = None if report is None else report.outcome
    was_warned = any(seen.of(ev.NoticeSeen, attempt.number))
    match end:
        case EndKind.FAILED:
            if outcome is not ExitKind.PROGRAM_FAILED:
                yield f"its program did not fail ({outcome})"
        case EndKind.FINISHED:
            if outcome is not ExitKind.FINISHED:
                yield f"its training did not finish ({outcome})"
        case EndKind.PREEMPTED:
            if outcome in (ExitKind.PROGRAM_FAILED, ExitKind.FINISHED):
                yield f"its program ended by itself ({outcome.value})"
            if not was_warned and instance.cause in (EndCause.STOPPED, EndCause.EXITED) and _was_told(attempt):
                yield f"the cloud told that it ended otherwise ({instance.cause.value})"
        case EndKind.STOPPED:
            is_told = any(seen.of(ev.AttemptUnwanted, attempt.number)) or attempt.unwanted_at is not None  # its request is void
            if not is_told and outcome is not ExitKind.DRAINED and not _stopped(attempt):
                yield "nobody wanted it to end"
        case EndKind.KILLED:
            if instance.cause is EndCause.PREEMPTED and _was_told(attempt):
                yield "the cloud told that it took it"
        case EndKind.REFUSED:
            yield from _ran_before(seen, attempt)
        case _:
            pass
    reported = attempt.end.report
    if reported is not None and reported != report:
        yield "the report that is quoted is not the one it left"


def _ran_before(seen: Evidence, attempt: Attempt) -> Iterator[str]:
    refusal = next(seen.of(ev.AttemptRefused, attempt.number), None)
    for kind in (ev.AttemptStarted, ev.AttemptClaimed):
        ran = next(seen.of(kind, attempt.number), None)
        if ran is not None and refusal is not None and ran.number < refusal.number:
            yield "it was seen to run before"


def _was_told(attempt: Attempt) -> bool:
    """Whether the cloud named the cause of the end in time."""
    return attempt.bill is not None and attempt.bill.cause is not EndCause.UNTOLD


def _stopped(attempt: Attempt) -> bool:
    return attempt.bill is not None and attempt.bill.cause is EndCause.STOPPED


def no_bug(world: FaultyWorld) -> Iterator[str]:
    """A supervisor ends with the run, or for a reason that the world gave it."""
    for life in world.lives:
        if life.outcome == "bug":
            yield f"{life.supervisor.name} ended with {type(life.error).__name__}: {life.error}"
        if life.outcome == "refused" and not (isinstance(life.error, StoreError) and STORE_FAULTS & world.plan.kinds):
            yield f"{life.supervisor.name} refused with {type(life.error).__name__}: {life.error}"
