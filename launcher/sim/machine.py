"""A machine that exists only in simulated time, and writes what a real one would write.

It stands in for the agent and the trainer together: it claims, waits for its grant, restores the grant's parent, makes steps at a
steady pace, commits real checkpoints, saves at a notice, and reports its end. Everything that reaches the store goes through the
code that real machines use; only the training is arithmetic. Between two things that it does it needs no time of ours: its
heartbeat is written when somebody reads it.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from launcher import codec
from launcher.adapters.journal import Journal, Record
from launcher.adapters.records import Decode, decode_record
from launcher.adapters.retry import Patience, patience
from launcher.adapters.store.base import ObjectStore
from launcher.checkpoint.commit import Author, Committer, Draft, Parent, SealedMet
from launcher.checkpoint.format import bytes_source
from launcher.checkpoint.restore import MemoryFiles, NothingValid, restore
from launcher.clock import Clock
from launcher.core.checkpoint import rules
from launcher.core.checkpoint.manifest import SetAside
from launcher.core.contract import (
    SUPERVISOR_KEY,
    AgentPhase,
    AttemptSpec,
    Beacon,
    Claim,
    ExitKind,
    ExitReport,
    Heartbeat,
    Notice,
    exit_key,
    heartbeat_key,
    notice_key,
)
from launcher.core.run.events import Event, RecordVoided
from launcher.core.tempo import Tempo
from launcher.errors import KeyExists, KeyMissing, Overtaken, StoreError, StoreUnknown
from launcher.node.orders import Dismissed, Grant, Orders, heed, read_orders
from launcher.node.prepare import claim
from launcher.sim.timeline import Timeline
from launcher.units import Seconds, Step, Utc

FIRST_SAVE_STEPS: Step = 5  # as checkpoint/schedule: the first save measures what the interval is made of
STORE_AGAIN: Seconds = 30.0  # after the store gave no answer, for what must be done
MARGIN_REAL: Seconds = 0.25  # as Tempo's LAST_SAVE_MARGIN_S
LINGER_BEYOND: Seconds = 60.0  # as the agent's


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a machine is given of its world."""

    timeline: Timeline
    clock: Clock  # its own, perhaps wrong
    store: ObjectStore
    nonce: str
    dice: random.Random
    exited: Callable[[], None]  # its agent has ended
    decode: Decode = decode_record


class SimMachine:
    """One agent of one attempt, from boot to `kill`."""

    def __init__(self, body: Body, spec: AttemptSpec, instance_id: str, pace: Pace) -> None:
        self.instance_id = instance_id
        self.spec = spec
        self.pace = pace
        self.is_over = False  # killed, or its agent has ended
        self.train_from: Utc | None = None  # the first new step began
        self.trained_from: Utc | None = None  # the same, and kept when training is over
        self.claimed_at: Utc | None = None
        self.ended_at: Utc | None = None
        self.restored_steps: Step = 0
        self.was_woken = False  # as a zombie
        self.is_deaf = False  # cut off: reads nothing, and nobody reads it
        self._body = body
        self._tempo = Tempo(spec.speed)
        self._journal = Journal(body.store, incarnation=spec.incarnation, event_type=Event, decode=body.decode)
        self._orders = Orders(attempt=spec.attempt)
        self._num_read = 0
        self._will_look = False
        self._beat = Heartbeat(attempt=spec.attempt, nonce=body.nonce, sequence=0, at=0.0, phase=AgentPhase.WAITING)
        self._committer: Committer | None = None
        self._stalled: Seconds = 0.0
        self._saved: Step = 0
        self._stopped: Step | None = None  # training ended there, and the last save takes that
        self._saves_begun = 0
        self._last_save_at: Utc = 0.0
        self._in_flight: Step | None = None
        self._held: Draft | None = None  # a commit that was about to land when this machine was cut off
        self._ending: tuple[ExitKind, str, int | None] | None = None  # to report once the last save has landed
        self._lingers_until: Utc | None = None
        self._notice_ends: Utc | None = None
        self._num_notices = 0
        self._beacon: tuple[str, int] | None = None
        self._supervisor_moved_at: Utc = 0.0
        body.timeline.after(pace.boot_s, self._claim)

    @property
    def is_steady(self) -> bool:
        """Trains, unwarned and untold: until something happens to it, looking at it shows nothing but more steps."""
        return self.is_training and self._ending is None and self._notice_ends is None and not self._will_look

    @property
    def is_training(self) -> bool:
        return not self.is_over and self.train_from is not None

    @property
    def has_trained(self) -> bool:
        """Whether it made a new step, ever."""
        began = self.trained_from
        return began is not None and began < (self._body.timeline.now if self.ended_at is None else self.ended_at)

    @property
    def nonce(self) -> str:
        return self._body.nonce

    @property
    def attempt(self) -> int:
        return self.spec.attempt

    # --- what is done to it -------------------------------------------------------------------------------------------------

    def journal_grew(self) -> None:
        """Somebody appended: it reads that at its next poll."""
        if self.claimed_at is not None and not self.is_over and not self._will_look and not self.is_deaf:
            self._will_look = True
            pause = self._tempo.grant_poll if self._orders.grant is None else self._tempo.journal_poll
            self._after(pause, self._look)

    def warn(self, ends_at: Utc, *, withdrawn: bool = False) -> None:
        """The cloud announces the end of this machine, or takes that back."""
        if self.is_over or self.claimed_at is None:
            return
        self._num_notices += 1
        self._notice_ends = None if withdrawn else ends_at
        clock = self._body.clock
        told = Notice(
            attempt=self.attempt,
            number=self._num_notices,
            at=clock.utc_s(),
            ends_at=ends_at - self._body.timeline.now + clock.utc_s(),
            source="sim",
            withdrawn=withdrawn,
        )
        self._post(notice_key(self.attempt, self._num_notices), codec.dumps(told))
        if withdrawn or not self.spec.save.on_notice:
            return
        self._save(urgent=True)
        last = self._tempo.market(MARGIN_REAL) + self.pace.durable_s
        if ends_at - self._body.timeline.now > last:
            number = self._num_notices
            self._at(ends_at - last, lambda: self._leave(number, ends_at))

    def kill(self) -> None:
        """SIGKILL, or the plug. Its last heartbeat is the one that was due before."""
        if not self.is_over:
            self.say()
            self.is_over = True
            self.ended_at = self._body.timeline.now

    def wake_late(self) -> None:
        """A machine everybody takes for dead, which was only away: it goes on where it was, and meets what was decided since."""
        if self.is_over:
            return
        self.is_deaf = False
        self.was_woken = True
        held, self._held = self._held, None
        if held is not None:
            self._land(held)
        elif self._committer is not None:
            self._save(urgent=True)
        self.journal_grew()

    def say(self) -> None:
        """Bring the heartbeat to the newest one that was due by now."""
        if self.claimed_at is None or self.is_over or self.pace.is_mute or self.is_deaf:
            return
        now = self._body.timeline.now
        number = 1 + int((now - self.claimed_at) / self._tempo.heartbeat)
        if number <= self._beat.sequence and self._beat.step == self.step_at(now):
            return
        at = self.claimed_at + (number - 1) * self._tempo.heartbeat
        skew = self._body.clock.utc_s() - now
        self._refresh(at, number, at + skew)
        self._do(lambda: self._body.store.replace(heartbeat_key(self.attempt), codec.dumps(self._beat)))

    def step_at(self, now: Utc) -> Step:
        if self._stopped is not None:
            return self._stopped
        if self.train_from is None or now < self.train_from:
            return self._beat.restored_step
        made = int((now - self.train_from - self._stalled) / self.pace.step_s + 1e-6)
        return min(self._last_step(), max(self._beat.step, self._beat.restored_step + made))

    # --- before training ----------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = self._body.timeline.now
        mine = Claim(attempt=self.attempt, instance_id=self.instance_id, nonce=self._body.nonce, host="sim", pid=self.attempt)
        if self.pace.is_mute:
            return
        try:
            with patience(self._patience()):
                is_mine = claim(self._body.store, mine)
        except (StoreError, ValueError):
            self._after(STORE_AGAIN, self._claim)
            return
        if not is_mine:
            self._end()
            return
        self.claimed_at = self._supervisor_moved_at = now
        self.say()
        if self.spec.stop_at is not None:
            self._at(self.spec.stop_at - self._body.clock.utc_s() + now, lambda: self._drain("the budget ends here (stop_at)"))
        self._after(self.spec.grant_wait, self._give_up_waiting)
        self._after(self.spec.autostop, self._check_supervisor, is_news=False)
        self._look()

    def _look(self) -> None:
        """Read the journal's orders, as far as it can be read."""
        self._will_look = False
        if self.is_deaf:
            return
        try:
            with patience(self._patience()):
                fresh = self._journal.poll()
        except Overtaken:
            self._obey(Dismissed(reason="the journal is another run's now", drain=False, sealed=True))
            return
        except StoreError:
            self._after(self._tempo.journal_poll, self._look)
            return
        self._supervisor_moved_at = self._body.timeline.now
        records = [entry for entry in fresh if isinstance(entry, Record)]
        if (
            len(records) == len(fresh)
            and not self._orders.unreadable
            and not any(isinstance(r.event, RecordVoided) for r in records)
        ):
            self._orders = heed(self._orders, records)
        else:
            self._orders = read_orders(self._orders, self._journal.known())
            self._beat = replace(self._beat, unreadable=self._orders.unreadable, sequence=0)
        if self._orders.dismissed is not None:
            self._obey(self._orders.dismissed)
        elif self._orders.grant is not None and self._committer is None:
            self._restore(self._orders.grant)

    def _restore(self, grant: Grant) -> None:
        parent: Parent | None = None
        set_aside: tuple[SetAside, ...] = ()
        spec, body = self.spec, self._body
        if grant.parent is not None:
            try:
                with patience(self._patience()):
                    found = restore(
                        body.store,
                        run=spec.run,
                        incarnation=spec.incarnation,
                        parent=grant.parent,
                        grants=self._orders.grants,
                        sink=MemoryFiles(),
                    )
            except NothingValid as error:
                self._report(ExitKind.NOTHING_VALID, str(error))
                return
            except StoreError:
                self._after(STORE_AGAIN, lambda: self._restore(grant) if self._committer is None else None)
                return
            parent, set_aside = found.parent, found.set_aside
        author = Author(run=spec.run, incarnation=spec.incarnation, attempt=self.attempt, grant=grant.number, nonce=body.nonce)
        self._committer = Committer(
            body.store, author, parent=parent, set_aside=set_aside, keep=spec.keep, monotonic=self._monotonic_real
        )
        step = parent.step if parent else 0
        self._saved = step
        self._beat = replace(
            self._beat,
            phase=AgentPhase.RESTORING,
            restored=parent.ref if parent else None,
            restored_step=step,
            step=step,
            set_aside=set_aside,
        )
        self.train_from = self.trained_from = body.timeline.now + self.pace.restore_s
        self._last_save_at = self.train_from
        self._at(self.train_from, self._plan)
        self._at(self._next_beat(self.train_from), self.say)  # the first that tells of training

    # --- training -----------------------------------------------------------------------------------------------------------

    def _last_step(self) -> Step:
        total = self.pace.total_steps
        return total if self.pace.fails_at is None else min(total, max(self.pace.fails_at, self._beat.restored_step))

    def _when(self, step: Step) -> Utc:
        assert self.train_from is not None
        return self.train_from + self._stalled + (step - self._beat.restored_step) * self.pace.step_s

    def _plan(self) -> None:
        """The next thing that training itself brings: a save, or its end."""
        if self._ending is not None or self._in_flight is not None:
            return
        last = self._last_step()
        end = self._when(last)
        save_at = self._next_save()
        begun, stalled = self._saves_begun, self._stalled
        if save_at is not None and save_at < end:
            self._at(save_at, lambda: self._on_time(begun, stalled, self._begin_save), is_news=False)
        else:
            self._at(end, lambda: self._on_time(begun, stalled, self._finish))

    def _on_time(self, begun: int, stalled: Seconds, action: Callable[[], None]) -> None:
        """A save that came in between has planned anew."""
        if self._ending is None and (self._saves_begun, self._stalled) == (begun, stalled):
            action()

    def _next_save(self) -> Utc | None:
        rule, pace = self.spec.save, self.pace
        if rule.never:
            return None
        if pace.save_every is not None:
            return self._when(self._saved + pace.save_every)
        if rule.steps is not None:
            return self._when((self.step_at(self._body.timeline.now) // rule.steps + 1) * rule.steps)
        if rule.seconds is None and self._saves_begun == 0:
            return self._when(self._beat.restored_step + FIRST_SAVE_STEPS)
        interval = rule.seconds or rules.save_interval(pace.stall_s, rule.mean_life, pace.durable_s, rule.max_loss)
        return max(self._last_save_at + interval, self._when(self._saved + 1))  # a step may be longer than the interval

    def _finish(self) -> None:
        if self.step_at(self._body.timeline.now) == self.pace.fails_at:
            self._report(ExitKind.PROGRAM_FAILED, "the program exited with code 3", exit_code=3)
            return
        self._ending = (ExitKind.FINISHED, "training reached its end", 0)
        self._save()

    def _save(self, *, urgent: bool = False) -> None:
        """Save now, or as soon as the save on its way has landed."""
        if self._in_flight is None:
            self._begin_save(urgent=urgent)

    def _begin_save(self, *, urgent: bool = False) -> None:
        now = self._body.timeline.now
        if self._committer is None or self.train_from is None or now < self.train_from:
            self._landed()
            return
        step = self.step_at(now)
        if self._ending is not None:
            self._stopped = step
        finished = self._ending is not None and self._ending[0] is ExitKind.FINISHED
        if step == self._saved and not finished:
            self._landed()
            return
        self._saves_begun += 1
        self._last_save_at = now
        self._in_flight = step
        self._beat = replace(self._beat, step=step)
        self._stalled += self.pace.stall_s
        draft = Draft(
            step=step,
            urgent=urgent,
            finished=finished,
            stall_s=self._tempo.real(self.pace.stall_s),
            started_mono=self._monotonic_real(),
            facts={},
        )
        self._after(self.pace.durable_s, lambda: self._land(draft), is_news=urgent)

    def _land(self, draft: Draft) -> None:
        committer = self._committer
        assert committer is not None
        if self.is_deaf:
            self._held = draft
            return
        state = bytes_source("state", f"{draft.step}".encode())
        try:
            with patience(self._patience()):
                committer.publish((state,), draft, metrics=lambda since: f"{since + 1}-{draft.step}\n".encode())
                committer.retire()
        except SealedMet as error:
            self._report(ExitKind.SEALED, str(error))
            return
        except StoreError as error:
            self._beat = replace(self._beat, failed_saves=self._beat.failed_saves + 1)
            self._in_flight = None
            if self._ending is None and self._beat.failed_saves > self.spec.failed_saves_max:
                self._report(ExitKind.STORE_FAILED, str(error))
            elif self._ending is not None or draft.urgent:
                self._after(STORE_AGAIN, self._save)
            else:
                self._plan()
            return
        self._in_flight = None
        self._saved = draft.step
        self._beat = replace(
            self._beat,
            last_commit=len(committer.manifests),
            last_commit_step=draft.step,
            failed_saves=0,
            stall_real_s=draft.stall_s,
            durable_real_s=committer.manifests[-1].durable_s,
        )
        self._landed()

    def _landed(self) -> None:
        """What waited for a save, or for the news that none is needed."""
        if self._ending is None:
            if self.is_training:
                self._plan()
            return
        outcome, reason, code = self._ending
        if (
            outcome is not ExitKind.FINISHED
            and self._committer is not None
            and self.step_at(self._body.timeline.now) > self._saved
        ):
            self._begin_save()  # a save was on its way when it was told to end; steps were made since
            return
        self._report(outcome, reason, exit_code=code)

    # --- the end ------------------------------------------------------------------------------------------------------------

    def _leave(self, number: int, ends_at: Utc) -> None:
        """The announced end is near: save for the last time, and stay until the cloud takes the machine."""
        if self._num_notices == number and self._notice_ends is not None and self._ending is None:
            self._lingers_until = ends_at + LINGER_BEYOND
            self._drain("the machine ends: notice by sim")

    def _obey(self, order: Dismissed) -> None:
        if order.drain:
            self._drain(order.reason)
        elif order.sealed:
            self._report(ExitKind.SEALED, order.reason)
        else:
            self._report(ExitKind.DRAINED, order.reason)

    def _drain(self, reason: str) -> None:
        if self._ending is None:
            self._beat = replace(self._beat, step=self.step_at(self._body.timeline.now), phase=AgentPhase.DRAINING)
            self._ending = (ExitKind.DRAINED, reason, None)
            self._save()

    def _give_up_waiting(self) -> None:
        if self._orders.grant is None:
            self._report(ExitKind.DRAINED, f"no grant came within {self.spec.grant_wait:.0f} s")

    def _check_supervisor(self) -> None:
        """Has one moved since? The beacon tells, and any record."""
        now = self._body.timeline.now
        try:
            if self.is_deaf:
                raise StoreUnknown("cut off")
            beacon: Beacon = codec.loads(Beacon, self._body.store.get(SUPERVISOR_KEY))
            if (beacon.supervisor, beacon.sequence) != self._beacon:
                self._beacon = (beacon.supervisor, beacon.sequence)
                self._supervisor_moved_at = now
        except (KeyMissing, StoreError, ValueError):
            pass
        alone = now - self._supervisor_moved_at
        if alone >= self.spec.autostop:
            self._drain(f"no sign of a supervisor for {alone:.0f} s (autostop)")
        else:
            self._after(max(60.0, self.spec.autostop - alone), self._check_supervisor, is_news=False)

    def _report(self, outcome: ExitKind, reason: str, *, exit_code: int | None = None) -> None:
        if self.is_over:
            return
        self._body.timeline.tell()
        now, clock = self._body.timeline.now, self._body.clock
        self._refresh(now, self._beat.sequence + 1, clock.utc_s())
        report = ExitReport(
            attempt=self.attempt,
            nonce=self._body.nonce,
            at=clock.utc_s(),
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            last=self._beat,
        )
        self._post(exit_key(self.attempt), codec.dumps(report))
        if self._lingers_until is None:
            self._end()
        else:
            self.train_from = None
            self._at(self._lingers_until, self._end)

    def _end(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.ended_at = self._body.timeline.now
            self._body.exited()

    # --- helpers ------------------------------------------------------------------------------------------------------------

    def _refresh(self, at: Utc, sequence: int, told_at: Utc) -> None:
        """The heartbeat as it is at true time `at`."""
        step = self.step_at(at)
        beat = replace(self._beat, sequence=max(sequence, self._beat.sequence), at=told_at, step=step)
        if self.train_from is not None and at > self.train_from:
            phase = AgentPhase.TRAINING if beat.phase is AgentPhase.RESTORING else beat.phase
            beat = replace(
                beat,
                phase=phase,
                training_s=at - self.train_from,
                restoring_s=self.pace.restore_s,
                saving_s=min(self._stalled, at - self.train_from),
                steps_per_s=1 / self._tempo.real(self.pace.step_s),
                total_steps=self.pace.total_steps,
            )
        self._beat = beat

    def _post(self, key: str, data: bytes) -> None:
        """A small letter: kept until the store takes it, while this machine lives."""

        def send() -> None:
            if self.is_deaf:
                self._after(STORE_AGAIN, send)
                return
            try:
                with patience(self._patience()):
                    self._body.store.create(key, data)
            except KeyExists:
                pass  # ours, from a try whose answer was lost
            except StoreError:
                self._after(STORE_AGAIN, send)

        send()

    def _do(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StoreError:
            self._beat = replace(self._beat, sequence=max(0, self._beat.sequence - 1))

    def _next_beat(self, after: Utc) -> Utc:
        assert self.claimed_at is not None
        beat = self._tempo.heartbeat
        return self.claimed_at + (math.floor((after - self.claimed_at) / beat) + 1) * beat

    def _monotonic_real(self) -> Seconds:
        return self._tempo.real(self._body.timeline.now)

    def _patience(self) -> Patience:
        """A machine's own waits between tries are shorter than anything that happens to it here."""
        return Patience(lambda _: None, self._body.dice)

    def _at(self, when: Utc, action: Callable[[], None], *, is_news: bool = True) -> None:
        self._body.timeline.at(when, lambda: None if self.is_over else action(), is_news=is_news)

    def _after(self, seconds: Seconds, action: Callable[[], None], *, is_news: bool = True) -> None:
        self._at(self._body.timeline.now + seconds, action, is_news=is_news)
