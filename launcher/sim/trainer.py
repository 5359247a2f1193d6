"""A program that trains in simulated time: steps at a steady pace, and real commits of them.

Only the training is arithmetic: which step it has reached follows from the time. Its saves and its restore go through the code
that real trainers use, so what it leaves in the store is what they would leave. Each save that lands plans the next thing that
training itself brings.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher.adapters import commits
from launcher.adapters.retry import patience
from launcher.checkpoint.commit import Author, Committer, Draft, Parent, SealedMet
from launcher.checkpoint.format import bytes_source
from launcher.checkpoint.restore import MemoryFiles, restore
from launcher.core.checkpoint import rules
from launcher.core.checkpoint.manifest import CommitRef, Grants, Manifest, SetAside
from launcher.core.contract import AgentPhase, AttemptSpec, ExitKind
from launcher.core.tempo import Tempo
from launcher.errors import StoreError, StoreUnknown
from launcher.node.orders import Grant
from launcher.sim.body import STORE_AGAIN, Body
from launcher.units import Seconds, Step, Utc

FIRST_SAVE_STEPS: Step = 5  # as checkpoint/schedule: the first save measures what the interval is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a program behaves, in market seconds. `fails_at` makes it exit 3 when it reaches that step."""

    boot_s: Seconds = 60.0  # from the instance's first billed second to its claim
    restore_s: Seconds = 30.0  # from the grant to the first new step
    step_s: Seconds = 1.0
    stall_s: Seconds = 0.1  # of training, by each save
    durable_s: Seconds = 5.0  # from the call of a save to its commit
    save_every: Step | None = 300  # None: by the recipe's rule
    total_steps: Step = 5400
    fails_at: Step | None = None
    is_mute: bool = False  # boots, and never says a word
    tells_losses: bool = True  # each save carries the curve since its parent; a sweep has nobody to read it


@dataclass(frozen=True, slots=True)
class Ending:
    """Why training ended or is about to."""

    outcome: ExitKind
    reason: str
    exit_code: int | None = None


class SimTrainer:
    """One program on one machine, from its grant to its last save. `ended` is told once nothing is on its way any more."""

    def __init__(self, body: Body, spec: AttemptSpec, pace: Pace, ended: Callable[[Ending], None]) -> None:
        self.train_from: Utc | None = None  # the first new step began
        self.trained_from: Utc | None = None  # the same, and kept when training is over
        self.ending: Ending | None = None  # to tell once the last save has landed
        self._body = body
        self._spec = spec
        self._pace = pace
        self._ended = ended
        self._tempo = Tempo(spec.speed)
        self._committer: Committer | None = None
        self._restored: CommitRef | None = None
        self._restored_step: Step = 0
        self._set_aside: tuple[SetAside, ...] = ()
        self._step: Step = 0  # the newest one that was told or saved
        self._saved: Step = 0
        self._stopped: Step | None = None  # training ended there, and the last save takes that
        self._stalled: Seconds = 0.0
        self._saves_begun = 0
        self._last_save_at: Utc = 0.0
        self._in_flight: Step | None = None
        self._held: Draft | None = None  # a commit that was about to land when this machine was cut off
        self._failed_saves = 0
        self._newest: Manifest | None = None  # that landed

    @property
    def has_begun(self) -> bool:
        return self._committer is not None

    @property
    def is_training(self) -> bool:
        return not self._body.is_over and self.train_from is not None

    def begin(self, grant: Grant, grants: Grants) -> None:
        """Restore what is granted, and train. Raises NothingValid, StoreError."""
        parent = self._restore(grant, grants) if grant.parent is not None else None
        spec, body = self._spec, self._body
        author = Author(run=spec.run, incarnation=spec.incarnation, attempt=spec.attempt, grant=grant.number, nonce=body.nonce)
        self._committer = Committer(
            body.store,
            author,
            parent=parent,
            set_aside=self._set_aside,
            keep=spec.keep,
            monotonic=self._monotonic_real,
            landed=commits.remember,
        )
        self._restored = parent.ref if parent else None
        self._step = self._saved = self._restored_step = parent.step if parent else 0
        self.train_from = self.trained_from = self._last_save_at = body.now + self._pace.restore_s
        body.at(self.train_from, self._plan, is_news=False)  # the first heartbeat that tells of it is

    def _restore(self, grant: Grant, grants: Grants) -> Parent | None:
        assert grant.parent is not None
        spec, body = self._spec, self._body
        with patience(body.patience()):
            found = restore(
                body.store,
                run=spec.run,
                incarnation=spec.incarnation,
                parent=grant.parent,
                grants=grants,
                sink=MemoryFiles(),
            )
        self._set_aside = found.set_aside
        return found.parent

    def stop(self, reason: str) -> None:
        """Make no more steps: save what was made, and end."""
        self._step = self.step_at(self._body.now)
        self.ending = Ending(ExitKind.DRAINED, reason)
        self.save()

    def stand_still(self) -> None:
        """The program is gone; its machine is not."""
        self.train_from = None

    def wake_late(self) -> None:
        """Go on where the machine was cut off: the commit that was about to land lands now."""
        held, self._held = self._held, None
        if held is not None:
            self._land(held)
        elif self._committer is not None:
            self.save(urgent=True)

    # --- what it shows ------------------------------------------------------------------------------------------------------

    def step_at(self, now: Utc) -> Step:
        if self._stopped is not None:
            return self._stopped
        if self.train_from is None or now < self.train_from:
            return self._restored_step
        made = int((now - self.train_from - self._stalled) / self._pace.step_s + 1e-6)
        return min(self._last_step(), max(self._step, self._restored_step + made))

    def has_news(self) -> bool:
        """Whether it has made steps that were neither told nor saved."""
        return self._step != self.step_at(self._body.now)

    def tell(self, phase: AgentPhase, at: Utc) -> dict[str, Any]:
        """What of a heartbeat training shows at true time `at`; `phase`: the one shown last."""
        self._step = self.step_at(at)
        news: dict[str, Any] = {
            "step": self._step,
            "restored": self._restored,
            "restored_step": self._restored_step,
            "set_aside": self._set_aside,
            "failed_saves": self._failed_saves,
        }
        newest = self._newest
        if newest is not None:
            news |= {
                "last_commit": newest.ref.commit,
                "last_commit_step": newest.step,
                "stall_real_s": newest.stall_s,
                "durable_real_s": newest.durable_s,
            }
        if self.train_from is not None and at > self.train_from:
            news |= {
                "phase": AgentPhase.TRAINING if phase is AgentPhase.RESTORING else phase,
                "training_s": at - self.train_from,
                "restoring_s": self._pace.restore_s,
                "saving_s": min(self._stalled, at - self.train_from),
                "steps_per_s": 1 / self._tempo.real(self._pace.step_s),
                "total_steps": self._pace.total_steps,
            }
        return news

    # --- what comes next ----------------------------------------------------------------------------------------------------

    def _last_step(self) -> Step:
        total = self._pace.total_steps
        return total if self._pace.fails_at is None else min(total, max(self._pace.fails_at, self._restored_step))

    def _when(self, step: Step) -> Utc:
        assert self.train_from is not None
        return self.train_from + self._stalled + (step - self._restored_step) * self._pace.step_s

    def _plan(self) -> None:
        """The next thing that training itself brings: a save, or its end."""
        if self.ending is not None or self._in_flight is not None:
            return
        end = self._when(self._last_step())
        save_at = self._next_save()
        begun, stalled = self._saves_begun, self._stalled
        if save_at is not None and save_at < end:
            self._body.at(save_at, lambda: self._on_time(begun, stalled, self._begin_save), is_news=False)
        else:
            self._body.at(end, lambda: self._on_time(begun, stalled, self._finish))

    def _on_time(self, begun: int, stalled: Seconds, action: Callable[[], None]) -> None:
        """A save that came in between has planned anew."""
        if self.ending is None and (self._saves_begun, self._stalled) == (begun, stalled):
            action()

    def _next_save(self) -> Utc | None:
        rule, pace = self._spec.save, self._pace
        if rule.never:
            return None
        if pace.save_every is not None:
            return self._when(self._saved + pace.save_every)
        if rule.steps is not None:
            return self._when((self.step_at(self._body.now) // rule.steps + 1) * rule.steps)
        if rule.seconds is None and self._saves_begun == 0:
            return self._when(self._restored_step + FIRST_SAVE_STEPS)
        interval = rule.seconds or rules.save_interval(pace.stall_s, rule.mean_life, pace.durable_s, rule.max_loss)
        return max(self._last_save_at + interval, self._when(self._saved + 1))  # a step may be longer than the interval

    def _finish(self) -> None:
        if self.step_at(self._body.now) == self._pace.fails_at:
            self._ended(Ending(ExitKind.PROGRAM_FAILED, "the program exited with code 3", 3))
            return
        self.ending = Ending(ExitKind.FINISHED, "training reached its end", 0)
        self.save()

    # --- saves --------------------------------------------------------------------------------------------------------------

    def save(self, *, urgent: bool = False) -> None:
        """Save now, or as soon as the save on its way has landed."""
        if self._in_flight is None:
            self._begin_save(urgent=urgent)

    def _begin_save(self, *, urgent: bool = False) -> None:
        now = self._body.now
        if self._committer is None or not self._has_begun(now):
            self._landed()
            return
        step = self.step_at(now)
        if self.ending is not None:
            self._stopped = step
        finished = self.ending is not None and self.ending.outcome is ExitKind.FINISHED
        if step == self._saved and not finished:
            self._landed()
            return
        self._saves_begun += 1
        self._last_save_at = now
        self._step = self._in_flight = step
        self._stalled += self._pace.stall_s
        draft = Draft(
            step=step,
            urgent=urgent,
            finished=finished,
            stall_s=self._tempo.real(self._pace.stall_s),
            started_mono=self._monotonic_real(),
            facts={},
        )
        self._body.after(self._pace.durable_s, lambda: self._land(draft), is_news=urgent)

    def _land(self, draft: Draft) -> None:
        committer = self._committer
        assert committer is not None
        if self._body.is_deaf:
            self._held = draft
            return
        state = bytes_source("state", f"{draft.step}".encode())
        try:
            with patience(self._body.patience()):
                committer.publish((state,), draft, metrics=self._curve_to(draft.step))
                with contextlib.suppress(StoreError):  # what is not deleted now is deleted after the next commit
                    committer.retire()
        except SealedMet as error:
            self._ended(Ending(ExitKind.SEALED, str(error)))
        except StoreError as error:
            self._failed(draft, error)
        else:
            self._in_flight = None
            self._saved = draft.step
            self._failed_saves = 0
            self._newest = committer.manifests[-1]
            self._landed()

    def _curve_to(self, step: Step) -> Callable[[Step], bytes] | None:
        return (lambda since: f"{since + 1}-{step}\n".encode()) if self._pace.tells_losses else None

    def _failed(self, draft: Draft, error: StoreError) -> None:
        """No answer is an outage, which passes; refusals in a row end the attempt."""
        self._failed_saves += not isinstance(error, StoreUnknown)
        self._in_flight = None
        if self.ending is None and self._failed_saves >= self._spec.failed_saves_max:
            self._ended(Ending(ExitKind.STORE_FAILED, str(error)))
        elif self.ending is not None or draft.urgent:
            self._body.after(STORE_AGAIN, self.save)
        else:
            self._plan()

    def _landed(self) -> None:
        """What waited for a save, or for the news that none is needed."""
        if self.ending is None:
            if self.is_training:
                self._plan()
            return
        is_finished = self.ending.outcome is ExitKind.FINISHED
        now = self._body.now
        if not is_finished and self._committer is not None and self._has_begun(now) and self.step_at(now) > self._saved:
            self._begin_save()  # a save was on its way when it was told to end; steps were made since
            return
        self._ended(self.ending)

    def _has_begun(self, now: Utc) -> bool:
        """Whether a program runs that has made steps, or may."""
        return self.train_from is not None and now >= self.train_from

    def _monotonic_real(self) -> Seconds:
        return self._tempo.real(self._body.now)
