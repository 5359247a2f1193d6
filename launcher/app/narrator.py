"""Tells a person what happens to a run: one line for each event that matters, and where it stands in between.

Events come from the supervisor once they are journaled; step and loss are in no event, so the newest heartbeat of the writer is
read as well, by its key and without changing anything.
"""

import contextlib
import math
import time

from launcher import codec
from launcher.adapters.store.base import ObjectStore
from launcher.app.counting import at, unit_of
from launcher.app.keeping import about_kept
from launcher.app.live import Screen
from launcher.app.lives import was_announced
from launcher.app.result import log_tail
from launcher.app.show import BESIDE_UNPRICED
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.market.offer import Capacity
from launcher.core.plan.goal import TELLING_FRACTION
from launcher.core.plan.planner import Plan
from launcher.core.policy.base import Wait
from launcher.core.run import events as ev
from launcher.core.run.life import is_told, toll
from launcher.core.run.spent import has_unpriced, spent
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.core.run.view import total_steps
from launcher.errors import StoreError
from launcher.units import Seconds, Step, Utc, show_duration, show_rate, show_size, show_usd

LOOK_EVERY_S: Seconds = 0.4  # real; heartbeats come twice a second at most
WAIT_TOLD_EVERY_S: Seconds = 600.0  # real; why nothing is up changes with each look, by the times in it

_ENDS = {
    EndKind.KILLED: ("✗", "killed"),
    EndKind.FAILED: ("✗", "failed"),
    EndKind.STOPPED: ("·", "stopped"),
    EndKind.NO_CHECKPOINT: ("✗", "no restore"),
    EndKind.STORE: ("✗", "store"),
    EndKind.OTHER: ("✗", "lost"),
}


class Narrator:
    def __init__(self, screen: Screen, store: ObjectStore, plan: Plan | None) -> None:
        self._screen = screen
        self._store = store
        self._plan = plan
        self._beat: Heartbeat | None = None
        self._looked_mono: Seconds = 0.0
        self._warned: set[str] = set()
        self._ends_told: set[int] = set()
        self._wait_told = ""
        self._wait_told_at: Utc = -math.inf

    def hear(self, event: ev.Event, state: RunState) -> None:
        """The supervisor's listener."""
        match event:
            case ev.AttemptStarted(attempt=number):
                self._wait_told, self._wait_told_at = "", -math.inf
                self._screen.event("▶", f"attempt {number}", _place(state.attempts[number]))
            case ev.AttemptRefused(attempt=number, failure=failure):
                self._screen.event("·", "refused", f"{state.attempts[number].offer.placement}: {failure.message}")
            case ev.TrainingStarted(heartbeat=beat):
                self._training(state, beat)
            case ev.WarningSeen(warning=warning):
                self._warn(warning)
            case ev.CheckpointSeen(attempt=number, urgent=True) if was_announced(state.attempts[number]):
                self._screen.event(
                    " ", "saved", f"{unit_of(state)} {event.step} at the notice ({show_size(event.size)}, verified)"
                )
            case ev.NoticeSeen(attempt=number) if state.attempts[number].notice and not was_announced(state.attempts[number]):
                self._screen.event("·", "ending", f"attempt {number} is told to end")
            case ev.NoticeSeen(attempt=number, notice=notice) if notice.withdrawn:
                self._screen.event("·", "notice", f"withdrawn; attempt {number} goes on")
            case ev.NoticeSeen():
                self._screen.event("⚠", "notice", _notice(event, state.speed))
            case ev.AttemptExited() | ev.AttemptLost() | ev.AttemptSealed() | ev.InstanceEnded():
                self._end(state, state.attempts[event.attempt], event.at)
            case ev.RequestSeen(request=request):
                self._screen.event("·", request.request.value, f"asked for by {request.by}")
            case ev.RecordVoided(numbers=numbers):
                self._screen.event("⚠", "journal", f"record {max(numbers)} cannot be read and is void")
            case _:
                self._terminal(event, state)

    def wait(self, wait: Wait, state: RunState, now: Utc) -> None:
        """Why no machine is asked for."""
        self.waits_for(wait.reason, state, now)

    def waits_for(self, reason: str, state: RunState, now: Utc) -> None:
        """What the run waits for: at once, and again where that has changed since a while ago."""
        if reason != self._wait_told and now - self._wait_told_at >= WAIT_TOLD_EVERY_S * state.speed:
            self._wait_told, self._wait_told_at = reason, now
            self._screen.event("·", "waiting", reason)

    def look(self, state: RunState, now: Utc) -> None:
        """Reads the writer's heartbeat where that is due, and redraws the moving line."""
        if time.monotonic() - self._looked_mono >= LOOK_EVERY_S:
            self._looked_mono = time.monotonic()
            self._beat = self._newest_beat(state) or self._beat
            beat, writer = self._beat, state.last_writer
            # Only once its start is journaled, so that "resumed at step 100" is said before the line tells of step 103.
            trains = writer is not None and writer.is_alive and writer.training_at is not None
            if writer is None or beat is None or not trains or beat.attempt != state.writer:
                self._screen.move(_standing(state, now), is_progress=False)
            elif beat.last_commit_step >= writer.commit_step:  # else it is from before what was told last
                self._screen.move(self._progress(state, beat, now))

    def _newest_beat(self, state: RunState) -> Heartbeat | None:
        writer = state.last_writer
        if writer is None or not writer.is_alive:
            return None
        with contextlib.suppress(StoreError, ValueError):  # a hint for the eye; the supervisor reads it for itself
            beat: Heartbeat = codec.loads_digested(Heartbeat, self._store.get(heartbeat_key(writer.number)))
            return beat
        return None

    def _progress(self, state: RunState, beat: Heartbeat, now: Utc) -> str:
        writer = state.attempts[beat.attempt]
        tells_steps = beat.step > 0 and (not state.counts_commits or beat.loss is not None or beat.total_steps is not None)
        parts = [f"training    {at(beat.step, 'step', total_steps(state))}" if tells_steps else "training"]
        if beat.loss is not None:
            parts.append(f"loss {beat.loss:.2f}")
        if beat.steps_per_s is not None:
            parts.append(f"{beat.steps_per_s:.0f} it/s")
        parts.append(str(writer.offer.placement))
        if beat.last_commit:
            unit = "step" if tells_steps else unit_of(state)
            size = show_size(beat.last_commit_bytes)
            parts.append(f"saved {unit} {beat.last_commit_step} ({size}{_age(writer, beat, now, state.speed)})")
        elif beat.restored is None:
            parts.append("nothing saved yet")
        parts.append(self._money(state, beat, now))
        return "  ".join(parts)

    def _money(self, state: RunState, beat: Heartbeat, now: Utc) -> str:
        """What was spent, and of what: as planned, once enough is done as it went so far; nothing where the work is not known."""
        paid, total = spent(state, now).likely, total_steps(state)
        chosen = self._plan.chosen if self._plan else None
        if has_unpriced(state):
            return f"{show_usd(paid)}{BESIDE_UNPRICED}"
        if not total or chosen is None or state.work_s is None:
            return show_usd(paid)
        done = min(1.0, beat.step / total)
        return f"{show_usd(paid)} of about {show_usd(paid / done if done > TELLING_FRACTION else chosen.estimate.usd)}"

    def _warn(self, warning: str) -> None:
        """Once, however many attempts say so."""
        if warning not in self._warned:
            self._warned.add(warning)
            self._screen.event("⚠", "warning", warning)

    def _training(self, state: RunState, beat: Heartbeat) -> None:
        for bad in beat.set_aside:
            self._screen.event("⚠", "set aside", f"checkpoint {bad.ref}: {bad.culprit}")
        for warning in beat.warnings:
            self._warn(warning)
        if beat.restored is not None:
            self._screen.event(" ", "resumed", _resumed(state, beat))

    def _end(self, state: RunState, attempt: Attempt, now: Utc) -> None:
        """Once for each attempt, when all that the line tells is known: so it says of the loss what the report will."""
        end = attempt.end
        if end is None or attempt.number in self._ends_told or not is_told(attempt):
            return
        if end.end is EndKind.PREEMPTED and attempt.bill is None:
            return
        self._ends_told.add(attempt.number)
        if end.end is EndKind.PREEMPTED:
            self._screen.event("✗", "preempted", _preemption(state, attempt, now))
        elif end.end is EndKind.FINISHED and end.heartbeat is not None and _has_only_restored(end.heartbeat):
            self._screen.event(" ", "resumed", f"{_resumed(state, end.heartbeat)}: {end.reason}")
        elif end.end in _ENDS:
            mark, word = _ENDS[end.end]
            self._screen.event(mark, word, f"attempt {attempt.number}: {end.reason}{_lost(state, attempt, now)}")

    def _terminal(self, event: ev.Event, state: RunState) -> None:
        match event:
            case ev.RunSucceeded(step=step):
                self._screen.event("✓", "done", f"{_position(state, step)}{_last_loss(state, step)}")
            case ev.RunPaused(reason=reason):
                self._screen.event("‖", "paused", f"{reason}; {_saved(state)}")
            case ev.RunFailed(reason=reason):
                self._screen.event("✗", "failed", reason)
                for line in log_tail(self._store, state):
                    self._screen.say(f"          {line}")
                if told := about_kept(state, event.at):
                    self._screen.event("·", "kept", f"{told}, and `launch ssh {state.run}` is a shell on it")
            case ev.RunCancelled():
                self._screen.event("✗", "cancelled", f"{_saved(state)}; checkpoints stay")
            case _:
                pass


def _position(state: RunState, step: Step) -> str:
    """After "done": the steps alone, where there are some."""
    return at(step, unit_of(state), total_steps(state)).removeprefix("step ")


def _last_loss(state: RunState, step: Step) -> str:
    """Of the step that training ended with, where the last word of its machine tells it."""
    end = state.last_writer.end if state.last_writer else None
    beat = end.heartbeat if end else None
    return f"  loss {beat.loss:.2f}" if beat is not None and beat.loss is not None and beat.step == step else ""


def _saved(state: RunState) -> str:
    """What a resume goes on from."""
    told = at(state.newest_step, unit_of(state))
    return told if state.counts_commits and not state.newest_step else f"at {told}"


def _place(attempt: Attempt) -> str:
    offer = attempt.offer
    kind = "spot" if offer.placement.capacity is Capacity.SPOT else "on-demand"
    return f"{offer.placement} ({kind}, {show_rate(offer.price)})"


def _notice(event: ev.NoticeSeen, speed: float) -> str:
    left = event.notice.ends_at - event.at
    if left <= 0:  # it came while nobody supervised
        return f"ran out {show_duration(-left)} ago{' there' if speed != 1 else ''}"
    here = f" = {left / speed:.1f} s here" if speed != 1 else ""
    stretched = " (stretched to leave real time)" if event.notice.stretched else ""
    return f"{show_duration(left)} left there{here}{stretched}" if here else f"{show_duration(left)} left"


def _has_only_restored(beat: Heartbeat) -> bool:
    """All steps were done before it came: no start of training is journaled of it."""
    return beat.restored is not None and beat.training_s == 0


def _resumed(state: RunState, beat: Heartbeat) -> str:
    return f"at {unit_of(state)} {beat.restored_step} (checkpoint {beat.restored}, digest ok)"


def _preemption(state: RunState, attempt: Attempt, now: Utc) -> str:
    kept_all = toll(state, attempt.number, now).just_in_time and not state.counts_commits
    in_time = "  (just in time)" if kept_all else ""
    warned = "" if attempt.notice is not None else "  (no notice)"
    return f"{_how(attempt)}attempt {attempt.number}{_lost(state, attempt, now)}{warned}{in_time}"


def _how(attempt: Attempt) -> str:
    """What ended its processes, as a column; nothing where the cloud does not tell: that it was preempted stands before it."""
    assert attempt.bill is not None, "told once the instance's end is known"
    status = attempt.bill.wait_status
    return f"{'SIGKILL' if status == 'signal 9' else status:<14} " if status else ""


def _lost(state: RunState, attempt: Attempt, now: Utc) -> str:
    """Nothing of an attempt that did not come to train, and where steps are not known."""
    beat = attempt.end.heartbeat if attempt.end else None
    if beat is None or beat.training_s == 0 or state.counts_commits:
        return ""
    steps = toll(state, attempt.number, now).steps_lost
    return f", lost: {steps} step{'' if steps == 1 else 's'}"


def _age(attempt: Attempt, beat: Heartbeat, now: Utc, speed: float) -> str:
    """Of the checkpoint that the heartbeat tells of, where the journal knows when it came: it hears of some alone."""
    is_known = attempt.commit_at is not None and beat.last_commit == attempt.num_commits
    return (
        "" if attempt.commit_at is None or not is_known else f", {show_duration(max(0.0, now - attempt.commit_at) / speed)} ago"
    )


def _standing(state: RunState, now: Utc) -> str:
    """Where a run stands that does not train just now."""
    if told := about_kept(state, now):
        return f"keeping {told}"
    coming = [a for a in state.wanted if not a.is_granted] or [a for a in state.living if a.is_granted]
    if not coming:
        return "waiting for a machine"
    attempt = coming[-1]
    doing = "restoring" if attempt.is_granted else "starting" if attempt.billed_from is None else "preparing"
    return f"{doing} attempt {attempt.number} at {attempt.offer.placement}"
