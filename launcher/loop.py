"""The one loop: observe, journal facts, decide, journal the decision, act. Level-triggered, so a crash anywhere is repaired by
running it again.

Production, the rehearsal, `launch simulate` and the fault tests run this same code; they differ in the `World` they hand in.
Every wait is on the world's clock. `supervisor` drives it to the run's end, `visit` leaves it as soon as it may.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from launcher import codec, log
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.history import History
from launcher.adapters.journal import Record
from launcher.adapters.market.base import Feed
from launcher.adapters.store.base import ObjectStore
from launcher.beacon import Lamp, Seat
from launcher.clock import Clock
from launcher.core.contract import Heartbeat, requested_key
from launcher.core.instance import InstanceName, attempt_of, instance_name
from launcher.core.policy.base import Decision, Policy, Wait
from launcher.core.run import events as ev
from launcher.core.run.deliberate import deliberate
from launcher.core.run.interpret import fact_of_seal, interpret
from launcher.core.run.observation import Watch, look
from launcher.core.run.reconcile import Command, SealCommits, StartInstance, StopInstance, reconcile
from launcher.core.run.spec import attempt_spec
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.errors import CloudUnreachable, KeyExists, StoreError
from launcher.observe import Observer
from launcher.retention import Retainer, may_retain
from launcher.seal import seal
from launcher.units import Seconds, Utc

ROUNDS_MOST = 20  # journal-and-decide rounds in one tick; each round that changes something calls for another

Listener = Callable[[ev.Event, RunState], None]
# Hears at each look that the policy wants no machine now, and why: nothing of that is journaled.
OnWait = Callable[[Wait, RunState, Utc], None]
# Waits for news, `seconds` at most, looking every `look_every`. A simulated world knows when there will be none to see.
Doze = Callable[[Seconds, Seconds], None]


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside the program. Production, simulation and tests each build one."""

    clock: Clock
    cloud: Cloud
    store: ObjectStore  # rooted at the run; the journal is objects in it
    feed: Feed
    seat: Seat = field(default_factory=Seat)
    new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex
    doze: Doze | None = None  # None: look every so often
    is_busy: Callable[[], bool] = lambda: False  # whether what was asked of the cloud would be lost with this process
    trouble: Callable[[], str] = lambda: ""  # why what was asked of the cloud has not come about for a while
    stands_still: bool = False  # its clock does, while nothing of the run is up and nobody looks: that of a rehearsal


@dataclass(frozen=True, slots=True)
class Pause:
    """A tick's result while the run goes on: when the next one is due at the latest."""

    wake_at: Utc


class Loop:
    """One supervisor's life: the history it drives and what it has seen with its own eyes."""

    def __init__(
        self,
        world: World,
        history: History,
        policy_of: Callable[[RunState], Policy],
        *,
        supervisor: str,
        listener: Listener,
        on_wait: OnWait,
    ) -> None:
        self._world = world
        self._history = history
        self._policy_of = policy_of
        self._supervisor = supervisor
        self._listener = listener
        self._on_wait = on_wait
        self._observer = Observer(world.store, world.cloud, world.feed)
        self.watch = Watch()  # a visit goes on with that of the visit before
        self._lamp = Lamp(world.store, world.clock, supervisor, world.seat)
        self._retainer = Retainer(world.store)
        self._retained_at: tuple[int, ...] = ()
        self._told_again: set[int] = set()
        self._said = ""
        self._waits_for = ""
        self._look_every: Seconds | None = None  # after a tick that found nothing to do

    @property
    def tempo(self) -> Tempo:
        return Tempo(self._history.state.speed)

    def tick(self) -> RunState | Pause:
        """One pass. Returns the state once the run has ended and nothing of it is up any more."""
        self._look_every = None
        self._hear(self._history.poll())
        self._lamp.burn(self.tempo, self._world.clock.utc_s(), self._waits_for or self._world.trouble())
        self._observe()
        wake_at = self._decide()
        for _ in range(ROUNDS_MOST):
            if not self._act():
                break
            wake_at = self._decide()
        self._history.write_due_segments()
        self._retain()
        state = self._history.state
        if state.is_over:
            return state
        self._look_every = self._interval()
        return Pause(max(wake_at, self._world.clock.utc_s() + self.tempo.read_fast))

    def sleep(self, seconds: Seconds) -> None:
        """Between two ticks: for so long, or until it is time to look again."""
        if self._look_every is None:
            self._world.clock.wait(seconds)
        elif self._world.doze is None:
            self._world.clock.wait(min(seconds, self._look_every))
        else:
            self._world.doze(seconds, self._look_every)

    def release(self) -> None:
        try:
            self._lamp.release(self._waits_for)
        except Exception as error:  # the beacon dies by itself; what ended the loop must be what is raised
            log.warning("beacon_not_released", error=str(error))

    # --- facts ---------------------------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        clock = self._world.clock
        state = self._history.state
        began = clock.monotonic_s()
        seen = self._observer.look(state, clock.utc_s())
        watched = state.unbilled
        gap_most = 2 * self.tempo.read_slow
        # One look has one instant, however long its facts take to journal: what `watch` measured ends there.
        now, mono = clock.utc_s(), clock.monotonic_s()
        self.watch = look(self.watch, seen, watched, mono, gap_most, began_mono=began)
        self._void(seen.heartbeats.values(), now)
        for _ in range(ROUNDS_MOST):
            facts = interpret(self._history.state, seen, self.watch, self._history.market, now)
            if not facts:
                return
            for fact in facts:
                self._append(fact)

    def _void(self, heartbeats: Iterable[Heartbeat], now: Utc) -> None:
        """Numbers that we or an agent cannot read are voided before anything is decided on a journal with holes."""
        unreadable = {n for beat in heartbeats for n in beat.unreadable}
        strangers = {attempt_of(name) for name in self._observer.strangers}
        event = self._history.voiding(now, unreadable, strangers)
        if event is not None:
            self._append(event)

    def _append(self, event: ev.Event) -> None:
        self._history.append(event)
        self._listener(event, self._history.state)

    def _hear(self, records: Iterable[Record]) -> None:
        for record in records:
            self._listener(record.event, self._history.state)

    # --- decisions -----------------------------------------------------------------------------------------------------------

    def _decide(self) -> Utc:
        clock = self._world.clock
        for _ in range(ROUNDS_MOST):
            history = self._history
            thought = deliberate(
                history.state,
                self._policy_of(history.state),
                history.market,
                self.watch,
                clock.utc_s(),
            )
            if thought.decision is not None:
                self._say(thought.decision)
            for event in thought.events:
                self._append(event)
            if not thought.events:
                return thought.wake_at
        return clock.utc_s()

    def _say(self, decision: Decision) -> None:
        self._waits_for = decision.reason if isinstance(decision, Wait) else ""
        if isinstance(decision, Wait):
            self._on_wait(decision, self._history.state, self._world.clock.utc_s())
        if decision.reason != self._said:
            self._said = decision.reason
            log.debug("policy_said", reason=decision.reason)

    # --- acts ----------------------------------------------------------------------------------------------------------------

    def _act(self) -> bool:
        """Carries out what follows from the state. True where an attempt was sealed: then there is more to decide."""
        commands = reconcile(self._history.state, self._world.clock.utc_s())
        if not commands and not self._observer.strangers:
            return False
        # Somebody else may have taken the run since this tick began: never act on a state that is not the newest.
        self._hear(self._history.poll())
        unreached: CloudUnreachable | None = None
        for command in commands:
            try:
                self._do(command)
            except CloudUnreachable as error:  # a seal waits for the store alone
                unreached = error
        self._stop_strangers()
        has_sealed = self._take_seals([c.attempt for c in commands if isinstance(c, SealCommits)])
        if unreached is not None and not has_sealed:
            raise unreached
        return has_sealed

    def _take_seals(self, attempts: list[int]) -> bool:
        """Journals the seals that were just set, so that no successor waits for another look at the cloud."""
        state, now = self._history.state, self._world.clock.utc_s()
        seals = self._observer.seals([state.attempts[number] for number in attempts])
        for number, sighted in seals.items():
            self._append(fact_of_seal(state.attempts[number], sighted, now))
        return bool(seals)

    def _do(self, command: Command) -> None:
        state, cloud = self._history.state, self._world.cloud
        attempt = state.attempts[command.attempt]
        name = self._name(command.attempt)
        match command:
            case SealCommits():
                seal(self._world.store, state, attempt.number, self._supervisor, self._world.new_nonce())
            case StopInstance():
                cloud.stop(name)
                self.watch = _told(self.watch, attempt.number)
            case StartInstance():
                self._tell_again(attempt.number)
                cloud.start(name, attempt_spec(state, attempt, self._world.store.url))

    def _tell_again(self, attempt: int) -> None:
        """Its request a second time, before anything is started for it."""
        if attempt in self._told_again:
            return
        with contextlib.suppress(KeyExists):  # by another life of the supervisor
            requested = codec.dumps_digested(self._history.request_of(attempt))
            self._world.store.create(requested_key(attempt), requested)
        self._told_again.add(attempt)

    def _stop_strangers(self) -> None:
        for name in self._observer.strangers:
            log.warning("stranger_stopped", instance=name)
            self._world.cloud.stop(name)

    def _name(self, attempt: int) -> InstanceName:
        state = self._history.state
        return instance_name(state.run, state.incarnation, attempt)

    def _retain(self) -> None:
        """Once per sealed attempt, as soon as no restore is ahead: then something is the supervisor's to delete."""
        state = self._history.state
        sealed = tuple(a.number for a in state.attempts.values() if a.sealed)
        if sealed == self._retained_at or not may_retain(state):
            return
        try:
            self._retainer.retain(state)
        except StoreError as error:  # room that is not given back costs a little; what trains meanwhile is worth more
            log.warning("nothing_deleted", error=str(error))
        self._retained_at = sealed

    def _interval(self) -> Seconds:
        """Between two looks for news, while something of the run is up or nothing is."""
        return self.tempo.read_fast if self._history.state.unbilled else self.tempo.read_slow


def _told(watch: Watch, attempt: int) -> Watch:
    return replace(watch, told_to_stop=watch.told_to_stop | {attempt})
