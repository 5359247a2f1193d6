"""One attempt's life: when it was up and when it trained, what of its work is kept, and what its end cost."""

from dataclasses import dataclass
from math import inf

from launcher.core.run.spent import gone_about
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.units import Seconds, Step, Utc

UNHEARD_MOST_S: Seconds = 10.0  # real: one heartbeat; a longer silence was no training we know of


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    up_at: Utc
    training_at: Utc | None  # None: it never came to train
    over_at: Utc
    saving: Seconds
    redone: Seconds  # training whose result is in no checkpoint
    steps_lost: Step
    preempted: bool
    noticed: bool

    @property
    def in_time(self) -> bool:
        """Warned, and all it had done is kept."""
        return self.preempted and self.noticed and self.training_at is not None and self.redone == 0


def lives(state: RunState, end: Utc) -> list[Life]:
    """Those of all attempts that ran, the newest first, as far as they had come by `end`."""
    return [_life_of(state, attempt, later_step, end) for attempt, later_step in _with_later(state)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What the end of one attempt cost."""

    steps_lost: Step = 0  # made in vain; 0 while it lives, and where nobody knows steps: of most programs under `run:`
    just_in_time: bool = False  # preempted, announced, and no work lost
    reached_step: Step = 0  # its last step, as `steps_lost` counts it: after the last sign of life an estimate; 0 where unknown


def toll(state: RunState, number: int, now: Utc) -> Toll:
    """Of attempt `number`. Before it `is_told` its last checkpoint or its last instant is not known yet.

    After that it grows only where a later attempt goes on from further back: a checkpoint was set aside, or a resume says so.
    """
    for attempt, later_step in _with_later(state):
        if attempt.number == number:
            life = _life_of(state, attempt, later_step, now)
            reached = _reached_step(state, attempt, life.over_at)
            return Toll(steps_lost=life.steps_lost, just_in_time=life.in_time, reached_step=reached)
    return Toll()


def is_told(attempt: Attempt) -> bool:
    """Whether all is known that its toll depends on: its last commit, and its last instant by its own word or by its bill."""
    end = attempt.end
    if end is None or (attempt.is_granted and not attempt.sealed):
        return False
    return end.report is not None or attempt.bill is not None


def _with_later(state: RunState) -> list[tuple[Attempt, float]]:
    """Each attempt that ran, the newest first, with the lowest step that a later one began at: what lies beyond is made anew."""
    found, later_step = [], inf
    for attempt in reversed(state.attempts.values()):
        if attempt.billed_from is not None:
            found.append((attempt, later_step))
            later_step = min(later_step, began_step(attempt) if attempt.has_trained else inf)
    return found


def began_step(attempt: Attempt) -> Step:
    """Where it went on from: by its own last word where it was gone before anybody saw it train."""
    beat = attempt.last_beat
    return beat.restored_step if beat is not None and beat.training_s > 0 else attempt.restored_step


def _life_of(state: RunState, attempt: Attempt, later_step: float, end: Utc) -> Life:
    assert attempt.billed_from is not None
    over_at = max(attempt.billed_from, min(_over_at(state, attempt), end))
    beat = attempt.last_beat
    training_at, saving = attempt.training_at, 0.0
    if beat is not None and beat.training_s > 0:
        # The machine's own stopwatch is finer than the moments at which we looked.
        last_word_at = attempt.end.report.at if attempt.end and attempt.end.report else beat.at
        training_at, saving = min(over_at, last_word_at) - beat.training_s, beat.saving_s
    if training_at is not None:
        training_at = min(max(training_at, attempt.billed_from), over_at)
    own = 0.0 if training_at is None else over_at - training_at
    kept, has_lost = _steps_kept(attempt, later_step), attempt.end is not None and attempt.is_granted
    lost = max(0, _reached_step(state, attempt, over_at) - began_step(attempt) - kept) if has_lost else 0
    redone = (own - min(saving, own)) * (lost / (lost + kept) if lost else 0.0)
    if state.counts_commits and training_at is not None and attempt.end is not None:
        redone = _unpublished(attempt, training_at, over_at)
    return Life(
        up_at=attempt.billed_from,
        training_at=training_at,
        over_at=over_at,
        saving=min(saving, own),
        redone=min(redone, own - min(saving, own)),
        steps_lost=lost,
        preempted=attempt.ended_as(EndKind.PREEMPTED),
        noticed=attempt.notice is not None,
    )


def _over_at(state: RunState, attempt: Attempt) -> Utc:
    """When it ended, by the nearest witness; a supervisor that was away saw it late."""
    if attempt.end is None:
        return inf
    if attempt.end.report is not None:
        return min(attempt.end.at, attempt.end.report.at)
    return min(attempt.end.at, attempt.bill.likely if attempt.bill else gone_about(state, attempt))


def _steps_kept(attempt: Attempt, later_step: float) -> Step:
    """Those of its own that are in its newest checkpoint, and that no later attempt makes anew."""
    saved = attempt.commit_step if attempt.commit else 0
    return max(0, int(min(saved, later_step)) - began_step(attempt))


def _reached_step(state: RunState, attempt: Attempt, over_at: Utc) -> Step:
    """The last step it made; 0 where nobody knows. After the last heartbeat of a sudden end the pace is taken to hold.

    The guess ends where the training does: nobody makes a step beyond the last one.
    """
    if state.counts_commits:
        return 0
    saved = attempt.commit_step if attempt.commit else 0
    beat = attempt.last_beat
    if beat is None:
        return saved
    unheard_s = 0.0 if attempt.end is None or attempt.end.report is not None else max(0.0, over_at - beat.at) / state.speed
    guessed = int(min(unheard_s, UNHEARD_MOST_S) * (beat.steps_per_s or 0.0)) if beat.training_s > 0 else 0
    most = inf if beat.total_steps is None else beat.total_steps
    return max(saved, beat.step, int(min(beat.step + guessed, most)))


def _unpublished(attempt: Attempt, training_at: Utc, over_at: Utc) -> Seconds:
    """Where steps are not known all since the last whole files is to be done again, unless the program had finished."""
    assert attempt.end is not None
    if attempt.end.end is EndKind.FINISHED:
        return 0.0
    since = attempt.commit_at if attempt.commit is not None and attempt.commit_at is not None else training_at
    return max(0.0, over_at - max(since, training_at))
