"""A machine that exists only in simulated time, and writes what a real one would write.

Here is its agent: it claims, waits for its grant, has its trainer restore and train, passes notices on, and reports the end.
Everything that reaches the store goes through the code that real machines use. Between two things that it does it needs no time
of ours: its heartbeat is written when somebody reads it.
"""

import math
from dataclasses import replace

from launcher import codec
from launcher.adapters.journal import Journal, Record
from launcher.adapters.retry import patience
from launcher.checkpoint.restore import NothingValid
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
from launcher.sim.body import STORE_AGAIN, Body
from launcher.sim.trainer import Ending, Pace, SimTrainer
from launcher.units import Seconds, Step, Utc

MARGIN_REAL: Seconds = 0.25  # as Tempo's LAST_SAVE_MARGIN_S
BOOT_SOON: Seconds = 600.0  # whoever boots within that is never waited for in vain
LINGER_BEYOND: Seconds = 60.0  # as the agent's


class SimMachine:
    """One agent of one attempt, from boot to `kill`."""

    def __init__(self, body: Body, spec: AttemptSpec, instance_id: str, pace: Pace) -> None:
        self.instance_id = instance_id
        self.spec = spec
        self.pace = pace
        self.claimed_at: Utc | None = None
        self.ended_at: Utc | None = None
        self.was_woken = False  # as a zombie
        self._body = body
        self._tempo = Tempo(spec.speed)
        self._trainer = SimTrainer(body, spec, pace, self._report)
        self._journal = Journal(body.store, incarnation=spec.incarnation, event_type=Event, known=body.known)
        self._orders = Orders(attempt=spec.attempt)
        self._will_look = False
        self._beat = Heartbeat(attempt=spec.attempt, nonce=body.nonce, sequence=0, at=0.0, phase=AgentPhase.WAITING)
        self._lingers_until: Utc | None = None
        self._has_reported = False
        self._notice_ends: Utc | None = None
        self._unheard: Utc | None = None  # announced before the claim
        self._num_notices = 0
        self._beacon: tuple[str, int] | None = None
        self._supervisor_moved_at: Utc = 0.0
        body.after(pace.boot_s, self._claim)

    @property
    def attempt(self) -> int:
        return self.spec.attempt

    @property
    def nonce(self) -> str:
        return self._body.nonce

    @property
    def is_over(self) -> bool:
        """Killed, or its agent has ended."""
        return self._body.is_over

    @property
    def is_deaf(self) -> bool:
        return self._body.is_deaf

    @property
    def train_from(self) -> Utc | None:
        """The first new step began."""
        return self._trainer.train_from

    @property
    def trained_from(self) -> Utc | None:
        """The same, and kept when training is over."""
        return self._trainer.trained_from

    @property
    def is_training(self) -> bool:
        return self._trainer.is_training

    @property
    def has_trained(self) -> bool:
        """Whether it made a new step, ever."""
        began = self.trained_from
        return began is not None and began < (self._body.now if self.ended_at is None else self.ended_at)

    @property
    def is_steady(self) -> bool:
        """Looks show nothing new until something happens to it: it boots as it should, waits or trains, unwarned and untold."""
        if self.is_over or self.is_deaf:
            return False
        if self.claimed_at is None:
            return not self.pace.is_mute and self.pace.boot_s <= BOOT_SOON
        waits = not self._trainer.has_begun
        return (waits or self.is_training) and self._trainer.ending is None and self._notice_ends is None

    def step_at(self, now: Utc) -> Step:
        return self._trainer.step_at(now)

    # --- what is done to it -------------------------------------------------------------------------------------------------

    def journal_grew(self) -> None:
        """Somebody appended: it reads that at its next poll."""
        if self.claimed_at is not None and not self.is_over and not self._will_look and not self.is_deaf:
            self._will_look = True
            pause = self._tempo.grant_poll if self._orders.grant is None else self._tempo.journal_poll
            self._body.after(pause, self._look, is_news=False)

    def warn(self, ends_at: Utc, *, withdrawn: bool = False) -> None:
        """The cloud announces the end of this machine, or takes that back. It stands there for an agent that has yet to begin."""
        if self.is_over or self.claimed_at is None:
            self._unheard = None if withdrawn else ends_at
            return
        self._num_notices += 1
        self._notice_ends = None if withdrawn else ends_at
        now, clock = self._body.now, self._body.clock
        told = Notice(
            attempt=self.attempt,
            number=self._num_notices,
            at=clock.utc_s(),
            ends_at=ends_at - now + clock.utc_s(),
            source="sim",
            withdrawn=withdrawn,
        )
        self._post(notice_key(self.attempt, self._num_notices), codec.dumps_digested(told))
        if withdrawn or not self.spec.save.on_notice:
            return
        self._trainer.save(urgent=True)
        last = self._tempo.market(MARGIN_REAL) + self.pace.durable_s
        if ends_at - now > last:
            number = self._num_notices
            self._body.at(ends_at - last, lambda: self._leave(number, ends_at))

    def step_clock(self, seconds: Seconds) -> None:
        """Its wall clock is set, right or wrong."""
        self._body.clock.step_utc(seconds)
        if self.claimed_at is not None and not self._body.is_over:
            self._watch_budget()

    def kill(self) -> None:
        """SIGKILL, or the plug. Its last heartbeat is the one that was due before."""
        if not self.is_over:
            self.say()
            self._body.is_over = True
            self.ended_at = self._body.now

    def cut_off(self) -> None:
        """From now on it reads nothing, and nobody reads it; it goes on."""
        self._body.is_deaf = True

    def wake_late(self) -> None:
        """A machine everybody takes for dead, which was only away: it goes on where it was, and meets what was decided since."""
        if self.is_over:
            return
        self._body.is_deaf = False
        self.was_woken = True
        self._trainer.wake_late()
        self.journal_grew()

    def say(self) -> None:
        """Bring the heartbeat to the newest one that was due by now."""
        if self.claimed_at is None or self.is_over or self.pace.is_mute or self.is_deaf:
            return
        now = self._body.now
        number = 1 + int((now - self.claimed_at) / self._tempo.heartbeat)
        if number <= self._beat.sequence and not self._trainer.has_news():
            return
        at = self.claimed_at + (number - 1) * self._tempo.heartbeat
        skew = self._body.clock.utc_s() - now
        self._refresh(at, number, at + skew)
        try:
            self._body.store.replace(heartbeat_key(self.attempt), codec.dumps_digested(self._beat))
        except StoreError:
            self._beat = replace(self._beat, sequence=max(0, self._beat.sequence - 1))

    # --- from boot to grant -------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        mine = Claim(attempt=self.attempt, instance_id=self.instance_id, nonce=self._body.nonce, host="sim", pid=self.attempt)
        if self.pace.is_mute:
            return
        try:
            with patience(self._body.patience()):
                is_mine = claim(self._body.store, mine)
        except (StoreError, ValueError):
            self._body.after(STORE_AGAIN, self._claim)
            return
        if not is_mine:
            self._end()
            return
        self.claimed_at = self._supervisor_moved_at = self._body.now
        self.say()
        self._watch_budget()
        self._body.after(self.spec.grant_wait, self._give_up_waiting, is_news=False)
        self._body.after(self.spec.autostop, self._check_supervisor, is_news=False)
        if self._unheard is not None:
            self.warn(self._unheard)
        self._look()

    def _look(self) -> None:
        """Read the journal's orders, as far as it can be read."""
        self._will_look = False
        if self.is_deaf:
            return
        try:
            with patience(self._body.patience()):
                fresh = self._journal.poll()
        except Overtaken:
            self._obey(Dismissed(reason="the journal is another run's now", drain=False, sealed=True))
            return
        except StoreError:
            self._body.after(self._tempo.journal_poll, self._look)
            return
        self._supervisor_moved_at = self._body.now
        stop_at = self._orders.stop_at
        records = [entry for entry in fresh if isinstance(entry, Record)]
        is_plain = len(records) == len(fresh) and not any(isinstance(r.event, RecordVoided) for r in records)
        if is_plain and not self._orders.unreadable:
            self._orders = heed(self._orders, records)
        else:
            self._orders = read_orders(self._orders, self._journal.known())
            self._beat = replace(self._beat, unreadable=self._orders.unreadable, sequence=0)
        if self._orders.stop_at != stop_at:
            self._watch_budget()
        if self._orders.dismissed is not None:
            self._obey(self._orders.dismissed)
        elif self._orders.grant is not None:
            self._begin(self._orders.grant)

    def _begin(self, grant: Grant) -> None:
        if self._trainer.has_begun or self._trainer.ending is not None:
            return
        try:
            self._trainer.begin(grant, self._orders.grants)
        except NothingValid as error:
            self._report(Ending(ExitKind.NOTHING_VALID, str(error)))
        except StoreError:
            self._body.after(STORE_AGAIN, lambda: self._begin(grant))
        else:
            self._beat = replace(self._beat, phase=AgentPhase.RESTORING)
            assert self.train_from is not None
            self._body.at(self._next_beat(self.train_from), self.say)  # the first that tells of training

    # --- the end ------------------------------------------------------------------------------------------------------------

    def _leave(self, number: int, ends_at: Utc) -> None:
        """The announced end is near: save for the last time, and stay until the cloud takes the machine."""
        if self._num_notices == number and self._notice_ends is not None and self._trainer.ending is None:
            self._lingers_until = ends_at + LINGER_BEYOND
            self._drain("the machine ends: notice by sim")

    def _obey(self, order: Dismissed) -> None:
        if order.drain:
            self._drain(order.reason)
        else:
            self._report(Ending(ExitKind.SEALED if order.sealed else ExitKind.DRAINED, order.reason))

    def _drain(self, reason: str) -> None:
        if self._trainer.ending is None:
            self._beat = replace(self._beat, phase=AgentPhase.DRAINING)
            grace = self._tempo.market(self.spec.kill_grace_real) + 2 * (self.pace.stall_s + self.pace.durable_s)
            self._body.after(grace, lambda: self._cut_short(reason))
            self._trainer.stop(reason)

    def _cut_short(self, reason: str) -> None:
        """A last save that takes longer than its grace is killed."""
        if not self._body.is_deaf:
            self._report(Ending(ExitKind.DRAINED, reason))

    def _watch_budget(self) -> None:
        """Its own clock says when `stop_at` is, which may be wrong and may be set meanwhile."""
        stop_at = self.spec.stop_at if self._orders.stop_at is None else self._orders.stop_at
        if stop_at is None:
            return
        left = stop_at - self._body.clock.utc_s()
        if left > 0:
            self._body.after(left, self._watch_budget)
        else:
            self._drain("the budget ends here (stop_at)")

    def _give_up_waiting(self) -> None:
        if self._orders.grant is None:
            self._report(Ending(ExitKind.DRAINED, f"no grant came within {self.spec.grant_wait:.0f} s"))

    def _check_supervisor(self) -> None:
        """Has one moved since? The beacon tells, and any record."""
        now = self._body.now
        try:
            if self.is_deaf:
                raise StoreUnknown("cut off")
            beacon: Beacon = codec.loads_digested(Beacon, self._body.store.get(SUPERVISOR_KEY))
            if (beacon.supervisor, beacon.sequence) != self._beacon:
                self._beacon = (beacon.supervisor, beacon.sequence)
                self._supervisor_moved_at = now
        except (KeyMissing, StoreError, ValueError):
            pass
        alone = now - self._supervisor_moved_at
        if alone >= self.spec.autostop:
            self._drain(f"no sign of a supervisor for {alone:.0f} s (autostop)")
        else:
            self._body.after(max(60.0, self.spec.autostop - alone), self._check_supervisor, is_news=False)

    def _report(self, ending: Ending) -> None:
        if self.is_over or self._has_reported:
            return
        self._has_reported = True
        self._body.timeline.tell()
        clock = self._body.clock
        self._refresh(self._body.now, self._beat.sequence + 1, clock.utc_s())
        report = ExitReport(
            attempt=self.attempt,
            nonce=self._body.nonce,
            at=clock.utc_s(),
            outcome=ending.outcome,
            reason=ending.reason,
            exit_code=ending.exit_code,
            last=self._beat,
        )
        self._post(exit_key(self.attempt), codec.dumps_digested(report))
        if self._lingers_until is None:
            self._end()
        else:
            self._trainer.stand_still()
            self._body.at(self._lingers_until, self._end)

    def _end(self) -> None:
        if not self.is_over:
            self._body.is_over = True
            self.ended_at = self._body.now
            self._body.exited()

    # --- what it writes -----------------------------------------------------------------------------------------------------

    def _refresh(self, at: Utc, sequence: int, told_at: Utc) -> None:
        """The heartbeat as it is at true time `at`."""
        news = self._trainer.tell(self._beat.phase, at)
        self._beat = replace(self._beat, sequence=max(sequence, self._beat.sequence), at=told_at, **news)

    def _post(self, key: str, data: bytes) -> None:
        """A small letter: kept until the store takes it, while this machine lives."""

        def send() -> None:
            if self.is_deaf:
                self._body.after(STORE_AGAIN, send)
                return
            try:
                with patience(self._body.patience()):
                    self._body.store.create(key, data)
            except KeyExists:
                pass  # ours, from a try whose answer was lost
            except StoreError:
                self._body.after(STORE_AGAIN, send)

        send()

    def _next_beat(self, after: Utc) -> Utc:
        assert self.claimed_at is not None
        beat = self._tempo.heartbeat
        return self.claimed_at + (math.floor((after - self.claimed_at) / beat) + 1) * beat
