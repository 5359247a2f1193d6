"""States of a run in a line or two: only what a test is about need be written."""

from dataclasses import replace
from typing import Any

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import AgentPhase, Claim, ExitKind, ExitReport, Heartbeat, Notice
from launcher.core.instance import EndCause, InstancePhase, InstanceStatus
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.evolve import create, evolve
from launcher.core.run.state import RunState
from launcher.core.run.view import view
from launcher.units import Seconds, Utc
from tests.core.markets import spot

NOW: Utc = 1_000_000.0


def recipe(**changes: Any) -> Recipe:
    return replace(Recipe(name="r", trainer={"kind": "launcher.trainers.gpt", "steps": 1000}), **changes)


def new_run(of: Recipe | None = None, *, deadline_at: Utc | None = None) -> RunState:
    created = ev.RunCreated(at=NOW, run="r", incarnation="inc", recipe=of or recipe(), deadline_at=deadline_at, code=None)
    return create(created)


def after(state: RunState, *events: ev.Event) -> RunState:
    for event in events:
        state = evolve(state, event)
    return state


def requested(state: RunState, zone: str = "us-east-1a", *, at: Utc = NOW, stop_at: Utc | None = None) -> ev.AttemptRequested:
    return ev.AttemptRequested(
        at=at, attempt=state.next_attempt, offer=spot(zone), reason="test", view=view(state, at), stop_at=stop_at
    )


def started(n: int, *, at: Utc = NOW) -> ev.AttemptStarted:
    return ev.AttemptStarted(at=at, attempt=n, instance_id=f"i-{n}", billed_from=at)


def claimed(n: int, *, at: Utc = NOW) -> ev.AttemptClaimed:
    return ev.AttemptClaimed(at=at, attempt=n, instance_id=f"i-{n}", nonce=f"nonce-{n}")


def granted(n: int, parent: CommitRef | None = None, *, at: Utc = NOW) -> ev.WriterGranted:
    return ev.WriterGranted(at=at, attempt=n, parent=parent)


def committed(n: int, commit: int, step: int, *, at: Utc = NOW) -> ev.CheckpointSeen:
    return ev.CheckpointSeen(
        at=at, attempt=n, ref=CommitRef(n, commit), step=step, size=1, stall_s=0.1, durable_s=1.0, urgent=False
    )


def lost(n: int, cause: EndCause = EndCause.PREEMPTED, *, at: Utc = NOW) -> ev.AttemptLost:
    return ev.AttemptLost(at=at, attempt=n, cause=cause, evidence="test", heartbeat=None)


def sealed(
    n: int, last: CommitRef | None = None, step: int | None = None, *, at: Utc = NOW, finished: bool = False
) -> ev.AttemptSealed:
    return ev.AttemptSealed(at=at, attempt=n, last=last, step=step, finished=finished)


def exited(n: int, outcome: ExitKind, *, at: Utc = NOW, exit_code: int | None = None) -> ev.AttemptExited:
    return ev.AttemptExited(at=at, attempt=n, report=report(n, outcome, exit_code=exit_code))


def report(n: int, outcome: ExitKind, *, exit_code: int | None = None) -> ExitReport:
    return ExitReport(
        attempt=n, nonce=f"nonce-{n}", at=NOW, outcome=outcome, reason="test", exit_code=exit_code, last=heartbeat(n)
    )


def heartbeat(n: int, sequence: int = 1, *, step: int = 0, training_s: Seconds = 0.0) -> Heartbeat:
    phase = AgentPhase.TRAINING if training_s else AgentPhase.WAITING
    return Heartbeat(attempt=n, nonce=f"nonce-{n}", sequence=sequence, at=NOW, phase=phase, step=step, training_s=training_s)


def noticed(n: int, *, at: Utc = NOW, ends_in: Seconds = 120.0, number: int = 1, withdrawn: bool = False) -> ev.NoticeSeen:
    told = Notice(attempt=n, number=number, at=at, ends_at=at + ends_in, source="test", withdrawn=withdrawn)
    return ev.NoticeSeen(at=at, attempt=n, notice=told)


def claim(n: int) -> Claim:
    return Claim(attempt=n, instance_id=f"i-{n}", nonce=f"nonce-{n}", host="h", pid=1)


def running(n: int, **changes: Any) -> InstanceStatus:
    return replace(InstanceStatus(phase=InstancePhase.RUNNING, instance_id=f"i-{n}", billed_from=NOW), **changes)


def gone(n: int, cause: EndCause = EndCause.PREEMPTED, **changes: Any) -> InstanceStatus:
    return running(n, phase=InstancePhase.GONE, ended_at=NOW, cause=cause, **changes)


def training_run(of: Recipe | None = None, *, at: Utc = NOW) -> RunState:
    """One attempt, granted and up."""
    state = new_run(of)
    return after(state, requested(state, at=at), started(1, at=at), claimed(1, at=at), granted(1, at=at))


def barren(state: RunState) -> tuple[ev.Event, ...]:
    """One more attempt, which trains, publishes nothing, and is taken by the market."""
    n = state.next_attempt
    trained = ev.TrainingStarted(at=NOW, attempt=n, heartbeat=heartbeat(n))
    said = ev.WarningSeen(at=NOW, attempt=n, warning="model.pt kept changing")
    begun = (requested(state), started(n), claimed(n), granted(n, state.newest_commit), trained, said)
    return (*begun, lost(n), sealed(n))


def short_lived(state: RunState, *, said: str = "", start_s: Seconds = 9.0, trains_s: Seconds = 3.0) -> tuple[ev.Event, ...]:
    """One more of these: it lives so long (real) and, where no warning was `said`, tells the steps of `launcher.train`."""
    n, begun_at, end_at = state.next_attempt, NOW + start_s * state.speed, NOW + (start_s + trains_s) * state.speed
    beat = heartbeat(n, step=0 if said else 118, training_s=1.0)
    trained = ev.TrainingStarted(at=begun_at, attempt=n, heartbeat=replace(beat, warnings=(said,) if said else ()))
    ended = replace(lost(n, at=end_at), heartbeat=beat)
    gone = ev.InstanceEnded(at=end_at, attempt=n, low=end_at, likely=end_at, high=end_at, cause=ended.cause, wait_status=None)
    return (requested(state), started(n), claimed(n), granted(n, state.newest_commit), trained, ended, sealed(n), gone)
