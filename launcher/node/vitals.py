"""What the agent knows of itself and its program, put together as a heartbeat.

Trainers measure real seconds; heartbeats carry market seconds where the ledger adds them up. The change of clocks is made here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher import log
from launcher.core.contract import (
    EMPTY_FOLDER,
    NO_SAVE,
    NONE_WHOLE,
    AgentPhase,
    AttemptSpec,
    CommandProgram,
    Heartbeat,
    TrainerProgress,
)
from launcher.core.market.offer import Capacity
from launcher.core.tempo import PUBLISH_LOOKS_S, Tempo
from launcher.units import MINUTE, Seconds, Utc

UNPUBLISHED_WARN_S: Seconds = 10 * MINUTE  # market; PRODUCT, The recipe
UNPUBLISHED_WARN_REAL_S: Seconds = 4 * PUBLISH_LOOKS_S  # a rehearsal's ten minutes may be over before the first two looks
EMPTY_WARN_REAL_S: Seconds = 30.0  # a program may be importing PyTorch still, and not have come to its first save
EMPTY_ATTEMPTS = 2  # that are given so long: where they left nothing, it is not for want of time
STALE_WARN_REAL_S: Seconds = 30.0  # after a commit: one large save may take a while, and is no reason to warn
REMEDY = (
    "write into $LAUNCH_CHECKPOINT_DIR, and leave 5 s between saves in which nothing there changes, temporary files included; "
    "or keep all in one file that each save writes within a moment and replaces by a rename"
)
TOO_FAST = "; or these lives are too short for a start and a save on this machine: begin anew with a lower local.speed"
REMEDY_OWN = "it saves every `checkpoint.every`, at a notice and at its end: write a shorter interval, such as 1m"
UNPUBLISHED = "no file published yet: {obstacle}; {remedy}"
STALE = "nothing published after commit {commit}: {obstacle}; " + REMEDY


@dataclass(slots=True, kw_only=True)
class Vitals:
    """Changed by the agent's loop, read by the post. The instants are monotonic real seconds.

    `progress` is the trainer's own, or what the publisher tells of a program that knows nothing of us; `obstacle` is why that
    publishes nothing.
    """

    spec: AttemptSpec
    nonce: str
    utc: Callable[[], Utc]
    phase: AgentPhase = AgentPhase.WAITING
    granted_at: Seconds | None = None
    ended_at: Seconds | None = None
    progress: TrainerProgress = field(default_factory=TrainerProgress)
    obstacle: str = ""
    unreadable: tuple[int, ...] = ()
    _unpublished: str = ""  # as it was first said: one warning, not one for each file that is in the way in turn
    _stale: str = ""  # the same, of the time since the newest commit
    _commit: tuple[int, Seconds] = (0, 0.0)  # the newest of this attempt, and how long it had trained when that was seen

    def compose(self, sequence: int) -> Heartbeat:
        told = self.progress
        return Heartbeat(
            attempt=self.spec.attempt,
            nonce=self.nonce,
            sequence=sequence,
            at=self.utc(),
            phase=self.phase,
            step=told.step,
            total_steps=told.total_steps,
            loss=told.loss,
            steps_per_s=told.steps_per_s,
            restored=told.restored,
            restored_step=told.restored_step,
            set_aside=told.set_aside,
            last_commit=told.last_commit,
            last_commit_step=told.last_commit_step,
            last_commit_bytes=told.last_commit_bytes,
            restoring_s=self._restoring_s(),
            training_s=self._training_s(),
            saving_s=self._market(told.saving_s),
            stall_real_s=told.stall_s,
            durable_real_s=told.durable_s,
            failed_saves=told.failed_saves,
            unreadable=self.unreadable,
            warnings=tuple(map(log.redacted, (*told.warnings, *self._own_warnings()))),  # errors' words may be in them
        )

    def _restoring_s(self) -> Seconds:
        if self.granted_at is None:
            return 0.0
        until = self._now() if self.progress.first_step_mono is None else self.progress.first_step_mono
        return self._market(until - self.granted_at)

    def _training_s(self) -> Seconds:
        first = self.progress.first_step_mono
        return 0.0 if first is None else self._market(self._now() - first)

    def _own_warnings(self) -> tuple[str, ...]:
        watched = isinstance(self.spec.program, CommandProgram) and not self.spec.save.never
        if not watched or self.spec.placement.capacity is not Capacity.SPOT:
            return ()
        saved = self.progress.last_commit > 0 or self.progress.restored is not None
        return self._warn_stale() if saved else self._warn_unpublished()

    def _warn_unpublished(self) -> tuple[str, ...]:
        has_time = not self.obstacle or (self.obstacle == EMPTY_FOLDER and self.spec.attempt <= EMPTY_ATTEMPTS)
        if not self._is_long(self._training_s(), EMPTY_WARN_REAL_S if has_time else UNPUBLISHED_WARN_REAL_S):
            return ()
        is_slow = self.spec.speed > 1 and self.obstacle in ("", EMPTY_FOLDER)  # nothing is in the way, as far as can be seen
        cause, remedy = (NO_SAVE, REMEDY_OWN) if self._saves_itself else (self.obstacle or NONE_WHOLE, REMEDY)
        said = UNPUBLISHED.format(obstacle=cause, remedy=remedy) + (TOO_FAST if is_slow else "")
        self._unpublished = self._unpublished or said
        return (self._unpublished,)

    @property
    def _saves_itself(self) -> bool:
        """Only a program that uses `launcher.train` tells how many steps it has to do."""
        return self.progress.total_steps is not None

    def _warn_stale(self) -> tuple[str, ...]:
        """Files change, and for long no look has found them whole. A program that writes nothing more is not meant."""
        if self._commit[0] != self.progress.last_commit:
            self._commit, self._stale = (self.progress.last_commit, self._training_s()), ""
        is_moving = self.obstacle not in ("", EMPTY_FOLDER)
        if not self._stale and is_moving and self._is_long(self._training_s() - self._commit[1], STALE_WARN_REAL_S):
            self._stale = STALE.format(commit=self.progress.step, obstacle=self.obstacle)
        return (self._stale,) if self._stale else ()

    def _is_long(self, market: Seconds, real_least: Seconds) -> bool:
        return market > max(UNPUBLISHED_WARN_S, self._market(real_least))

    def _now(self) -> Seconds:
        """The program's last instant once it has ended: what comes after is neither restoring nor training."""
        return time.monotonic() if self.ended_at is None else self.ended_at

    def _market(self, real: Seconds) -> Seconds:
        return Tempo(self.spec.speed).market(max(real, 0.0))
