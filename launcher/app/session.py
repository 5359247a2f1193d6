"""One supervising process, from opening the run's journal to its result: what `train`, `resume` and a take-over share.

open the journal -> (what `resume` changes) -> what is missing before the first attempt -> the loop -> the proof -> the result
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from launcher import log
from launcher.adapters.history import History
from launcher.app import rehearsal, wiring
from launcher.app.alone import result_so_far
from launcher.app.attention import Attention, AttentiveClock
from launcher.app.home import Found, Home
from launcher.app.live import Screen
from launcher.app.narrator import Narrator
from launcher.app.opening import begin
from launcher.app.proof import Proof, changed_mathematics, has_reference, not_compared, proof_of
from launcher.app.remembering import Remembering
from launcher.app.requests import withdraw_unseen
from launcher.app.result import Result, result_of
from launcher.app.signals import Detached, Signals
from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.errors import Overtaken, StoreError
from launcher.loop import Listener, OnWait, World
from launcher.supervisor import new_supervisor_id, supervise
from launcher.units import Seconds
from launcher.visit import visit

if TYPE_CHECKING:
    from launcher.app.clouds import Agreed

REFERENCE_WAIT_MOST_S: Seconds = 600.0  # real; it began before the run and is not taken away, so it is done or stuck by then

Change = Callable[[History], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a visit found. `back_in`: real seconds until the next one is due; None once the run is over.

    `was_over`: as it was opened already, by another visit that came and went meanwhile.
    """

    result: Result
    back_in: Seconds | None
    was_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    home: Home
    found: Found
    screen: Screen
    insist: bool = False
    is_verbose: bool = False
    agreed: "Agreed | None" = None  # on clouds: what somebody has just said yes to
    opened: Callable[[], None] = lambda: None  # called once it drives the run: all that it needs is there

    def run(self, change: Change = lambda history: None) -> Result:
        """Supervise until the run ends; `change` is journaled first. Raises Overtaken, Detached, KeyboardInterrupt."""
        supervisor = new_supervisor_id()
        with Signals() as signals, _logging(self.home, self.found, is_verbose=self.is_verbose):
            history = begin(self.found, supervisor=supervisor, insist=self.insist)
            try:
                change(history)
                self._look_after(supervise, history, supervisor, signals)
                self._tidy(history)
                return result_of(history, self.found.market_now(history), self._proof(history, signals))
            except Detached:
                log.info("detached", resume=self.found.addressed(f"launch resume {self.found.head.run}"))
                raise

    def visit(self) -> Visit:
        """Look after the run once, for as short as that takes. Raises Overtaken.

        A signal ends this process and is no wish to end the run: what calls for visits has time limits of its own.
        """
        supervisor, signals = new_supervisor_id(), Signals()
        with _logging(self.home, self.found, is_verbose=self.is_verbose):
            history = begin(self.found, supervisor=supervisor)
            was_over = history.state.is_over
            back_at = self._look_after(visit, history, supervisor, signals)
            if back_at is not None:
                now = self.found.market_now(history)
                return Visit(result=result_so_far(history, now), back_in=max(0.0, back_at - now) / history.state.speed)
            self._tidy(history)
            proof = self._proof(history, signals)
            return Visit(result=result_of(history, self.found.market_now(history), proof), back_in=None, was_over=was_over)

    def _look_after(self, by: Callable[..., T], history: History, supervisor: str, signals: Signals) -> T | None:
        """What `by`, one of the two ways to drive a run, answers; None where nothing was left to drive."""
        if not history.state.is_over:
            try:
                world, listener, on_wait = self._set_up(history, supervisor, signals)
                return by(world, history, wiring.policy_of, supervisor=supervisor, listener=listener, on_wait=on_wait)
            except rehearsal.StoppedEarly as stopped:
                rehearsal.end_early(history, stopped)
        return None

    def _tidy(self, history: History) -> None:
        """Once the run is over."""
        withdraw_unseen(history.store, history.state)
        if history.state.recipe.is_local and history.state.phase is not Phase.SUCCEEDED:
            wiring.stop_reference(history.state)  # whoever pauses a run wants the machine back

    def _set_up(self, history: History, supervisor: str, signals: Signals) -> tuple[World, Listener, OnWait]:
        """All that the loop needs. The beacon that burns meanwhile goes out where something fails."""
        lamp = Lamp(history.store, SystemClock(), supervisor)
        lamp.burn(Tempo(), wake_at=0.0)
        try:
            self._prepare(history, signals)
            return self._world(history, signals)
        except Overtaken:
            raise  # the beacon is another's now
        except BaseException:
            with contextlib.suppress(StoreError):  # what went wrong first is what is told
                lamp.release()
            raise

    def _prepare(self, history: History, signals: Signals) -> None:
        if history.state.recipe.is_local:
            rehearsal.prepare(history, self.screen, signals)
        else:
            from launcher.app import clouds  # only here: a rehearsal needs no price lists

            clouds.prepare(history, self.home, self.agreed)

    def _world(self, history: History, signals: Signals) -> tuple[World, Listener, OnWait]:
        narrator = Narrator(self.screen, history.store, history.plan)
        attention = Attention(history, narrator, signals, self.screen)
        clock = AttentiveClock(wiring.clock_of(history), attention, speed=history.state.speed)
        world = wiring.world_of(history, clock, self.home.path)
        attention.trouble = world.trouble
        self.opened()
        remembering = Remembering(self.home.path, history)
        remembering.note()  # what a supervisor that crashed had no time for

        def hear(event: ev.Event, state: RunState) -> None:
            narrator.hear(event, state)
            remembering.hear(event, state)

        return world, hear, narrator.wait

    # --- the proof -------------------------------------------------------------------------------------------------------------

    def _proof(self, history: History, signals: Signals) -> Proof | None:
        """None for a run that has not succeeded, or that has no reference because its program is not ours."""
        proof = proof_of(history)
        if proof is None or proof.compared or changed_mathematics(history):
            return proof
        wiring.start_reference(history.state, history.store)  # it may have been killed with everything else
        try:
            reason = rehearsal.wait_until(lambda: self._reference_end(history), history, signals, at_most=REFERENCE_WAIT_MOST_S)
        except rehearsal.StoppedEarly:
            return not_compared("the uninterrupted run was not awaited")
        return not_compared(reason) if reason else proof_of(history)

    def _reference_end(self, history: History) -> str | None:
        """Empty once the reference has finished, why it never will where that is known, None while it runs."""
        if has_reference(history.store):
            return ""
        step, total = wiring.reference_steps(history.state)
        self.screen.move(f"waiting for the uninterrupted run: step {step}{f'/{total}' if total else ''}")
        return wiring.reference_failure(history.state)


@contextlib.contextmanager
def _logging(home: Home, found: Found, *, is_verbose: bool) -> Iterator[None]:
    """What the supervisor says goes to the run's log in the home; to stderr only where that was asked for."""
    shown = (log.Sink(),) if is_verbose else ()
    with contextlib.ExitStack() as files:
        with contextlib.suppress(OSError):  # a home that cannot be written keeps no log
            path = home.log_of(found.head.run)
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = files.enter_context(path.open("a", encoding="utf-8"))
            shown = (log.Sink(stream=stream, lowest=log.Level.DEBUG), *shown)
        log.configure(*shown)
        try:
            yield
        finally:
            log.configure(log.Sink())
