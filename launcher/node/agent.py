"""The machine's side of an attempt, from claim to exit report.

    claim -> code, setup -> (grant) -> restore -> the program -> last publish -> exit report -> linger

One loop watches everything while each of these takes its time: notices, the journal's orders, the clock, the program. Whatever
may take long (the store above all) runs on a thread beside it, so that a notice of thirty seconds is never waited away. The
program is started once; its end, however it comes, is the attempt's.
"""

import contextlib
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from launcher import codec, log
from launcher.adapters.journal import Journal
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.credentials import secrets_in
from launcher.checkpoint.commit import OUTAGE_MAX_S
from launcher.checkpoint.restore import NothingValid
from launcher.clock import Clock
from launcher.core.contract import (
    AgentPhase,
    AttemptSpec,
    Claim,
    CommandProgram,
    ExitKind,
    ExitReport,
    TrainerProgram,
    exit_key,
)
from launcher.core.run.events import Event
from launcher.core.tempo import Tempo
from launcher.errors import KeyExists, StoreError
from launcher.node.endings import Ending, classify, meaning
from launcher.node.gang import Gang
from launcher.node.logs import LogPump
from launcher.node.lookout import Lookout
from launcher.node.notices.base import NoticeSource
from launcher.node.orders import Grant
from launcher.node.post import Post
from launcher.node.prepare import Task, claim, unpack_code
from launcher.node.process import Ended, Program
from launcher.node.progress import ProgressFile, StandstillWatch, last_save_needs, last_word_needs
from launcher.node.publish import Publisher
from launcher.node.reasons import Reasons, Told
from launcher.node.vitals import Vitals
from launcher.node.workspace import SHELL, Workspace, grant_env, program_env, setup_env, warm_command
from launcher.units import Seconds

T = TypeVar("T")

TICK_S: Seconds = 0.05  # real; a rehearsed notice may leave a second
LOGS_CLOSE_MAX_S: Seconds = 10.0  # the last lines are worth so much delay of the exit report, not more
POST_CLOSE_MAX_S: Seconds = 5.0
# Whoever signals all of a machine does so process by process, and ours may be the last to hear of it or to run on a busy machine.
SIGNALS_APART_S: Seconds = 0.5
LINGER_BEYOND_S: Seconds = 60.0  # past the announced end: then the cloud forgot us, and an idle machine costs money


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the agent is given of the world. `env` is for programs; `secrets` among it are kept out of the log.

    `node` is which of the attempt's machines this is. Node 0 is the attempt; the others write nothing that is its.
    """

    spec: AttemptSpec
    spec_path: Path
    root: Path
    env: Mapping[str, str]
    instance_id: str
    host: str
    host_pid: int | None
    store: ObjectStore
    clock: Clock
    sources: tuple[NoticeSource, ...]
    node: int = 0


class _EndsEarly(Exception):
    """Before the program was started the attempt came to its end."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def attend(machine: Machine) -> None:
    """Be the attempt's agent, or its node's, until its end. Returns at once, having written nothing, where another agent is."""
    mine = Claim(
        attempt=machine.spec.attempt,
        node=machine.node,
        instance_id=machine.instance_id,
        nonce=uuid.uuid4().hex,
        host=machine.host,
        pid=os.getpid(),
    )
    if claim(machine.store, mine):
        _Agent(machine, mine.nonce).attend()


class _Agent:
    def __init__(self, machine: Machine, nonce: str) -> None:
        spec, node, tempo = machine.spec, machine.node, Tempo(machine.spec.speed)
        self._machine = machine
        self._spec = spec
        self._nonce = nonce
        self._place = Workspace(root=machine.root)
        self._place.make()
        self._vitals = Vitals(spec=spec, nonce=nonce, utc=machine.clock.utc_s)
        journal = Journal(machine.store, incarnation=spec.incarnation, event_type=Event)
        self._post = Post(machine.store, journal, spec.attempt, tempo, self._vitals.compose, node=node)
        reasons = Reasons(spec, machine.host_pid, machine.clock.utc_s)
        self._gang = Gang(machine.store, spec.attempt, node=node, num_nodes=spec.num_nodes, tempo=tempo)
        self._lookout = Lookout(spec, machine.clock, machine.sources, self._place.notice_file, self._post, reasons, self._gang)
        secrets = secrets_in(machine.env) | {name: machine.env[name] for name in spec.secrets if name in machine.env}
        for value in secrets.values():
            log.redact(value)
        self._logs = LogPump(machine.store, spec.attempt, secrets, speed=spec.speed, node=node)
        self._progress = ProgressFile(self._place.trainer)
        self._publisher = Publisher(machine.store, spec, self._place, nonce)
        self._program: Program | None = None
        self._lingers = False

    def attend(self) -> None:
        self._post.start()
        self._gang.start()
        try:
            ending = self._live()
        except _EndsEarly as early:
            ending = early.ending
        except Exception as error:  # ours, or this disk's: it must be in the report, or the attempt is repeated for ever
            import traceback

            self._logs.say("".join(traceback.format_exception(error)))
            ending = Ending(outcome=ExitKind.PROGRAM_FAILED, reason=f"launch's agent itself failed: {error!r}")
        finally:
            if self._program is not None:
                self._program.kill()
        self._report(ending)
        self._stay(self._stays_s(ending))

    def _live(self) -> Ending:
        self._prepare()
        self._warm_up()
        grant = self._await_grant()
        self._restore(grant)
        return self._train(self._begin(grant))

    # --- before the program -----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        code = self._spec.code
        if code is not None:
            self._do(lambda: unpack_code(self._machine.store, code, self._place))
        if isinstance(self._spec.program, CommandProgram) and self._spec.program.setup is not None:
            self._set_up(self._spec.program.setup)

    def _set_up(self, script: str) -> None:
        env = setup_env(self._machine.env, self._spec, self._place)
        setup = self._start((SHELL, "-e", "-c", script), env)
        ended = self._until(setup.poll)
        self._program = None
        if ended.exit_code != 0:
            self._end_early(self._last_look(SIGNALS_APART_S))
            exited = f"exited with code {ended.exit_code}{meaning(ended)}"
            how = exited if ended.signal is None else f"was killed by signal {ended.signal}"
            ending = Ending(
                outcome=ExitKind.SETUP_FAILED, reason=f"`setup` {how}", exit_code=ended.exit_code, signal=ended.signal
            )
            raise _EndsEarly(ending)

    def _warm_up(self) -> None:
        """A trainer of ours imports PyTorch while the attempt before still saves. It trains only once it is told the grant."""
        if isinstance(self._spec.program, TrainerProgram):
            self._start(warm_command(self._spec.program, self._spec.store), self._program_env(), listens=True)

    def _await_grant(self) -> Grant:
        self._post.hurry()
        grant = self._until(lambda: self._post.orders.grant)
        self._vitals.granted_at = time.monotonic()
        self._turn(AgentPhase.RESTORING)
        self._place.write_chain(self._post.orders.grants)
        return grant

    def _restore(self, grant: Grant) -> None:
        """For a program that knows nothing of us; `launcher.train` restores by itself."""
        if isinstance(self._spec.program, CommandProgram):
            grants = self._post.orders.grants
            self._do(lambda: self._logs.say(self._publisher.restore(grant, grants)))
            self._vitals.progress = self._publisher.progress

    def _do(self, work: Callable[[], None]) -> None:
        """Work on a thread while the loop watches. It is repeated while the store gives no answer, so it must be repeatable."""
        task = Task(lambda: store_calls(deadline=OUTAGE_MAX_S)(work))
        self._until(lambda: task.is_done or None)
        try:
            task.result()
        except NothingValid as error:
            raise _EndsEarly(Ending(outcome=ExitKind.NOTHING_VALID, reason=str(error))) from error
        except StoreError as error:
            raise _EndsEarly(Ending(outcome=ExitKind.STORE_FAILED, reason=str(error))) from error

    def _until(self, answer: Callable[[], T | None]) -> T:
        """The answer, once there is one. Raises _EndsEarly where the attempt is told to end before."""
        while (found := answer()) is None:
            self._end_early(self._look_around())
            time.sleep(TICK_S)
        self._end_early(self._last_look(0.0))
        return found

    def _end_early(self, told: Told | None) -> None:
        if told is not None:
            self._lingers = told.lingers
            raise _EndsEarly(Ending(outcome=told.outcome, reason=told.reason))

    # --- the program ------------------------------------------------------------------------------------------------------

    def _begin(self, grant: Grant) -> Program:
        granted = grant_env(grant, self._nonce, self._vitals.progress.restored_step)
        if isinstance(self._spec.program, TrainerProgram):
            assert self._program is not None, "a trainer of ours is warm before its grant"
            self._program.tell(json.dumps(granted))
            return self._program
        program = self._start((SHELL, "-c", self._spec.program.command), {**self._program_env(), **granted})
        if self._gang.is_led:
            self._turn(AgentPhase.TRAINING)
        else:
            self._publisher.begin()
        return program

    def _program_env(self) -> dict[str, str]:
        return program_env(self._machine.env, self._spec, self._place, self._machine.spec_path)

    def _train(self, program: Program) -> Ending:
        watch = StandstillWatch(hang_min=self._spec.hang_min_real, moved_at=time.monotonic())
        told: Told | None = None
        hang: str | None = None
        while (ended := program.poll()) is None:
            self._take_progress()
            told = self._obey(program, told)
            if told is not None and told.lingers and self._vitals.progress.outcome is not None:
                program.kill()  # it has saved and said so; Python's own end takes a second that the report may not have
            if told is None and hang is None:
                hang = self._end_hang(program, watch)
            time.sleep(TICK_S)
        self._take_progress()
        self._vitals.ended_at = time.monotonic()
        is_explained = hang is not None or self._vitals.progress.outcome is not None
        told = told or self._last_look(0.0 if is_explained else SIGNALS_APART_S)
        if told is None and hang is None and ended.exit_code != 0:
            told = self._hear_others()
        return self._wind_up(ended, told, hang)

    def _hear_others(self) -> Told | None:
        """The program failed, perhaps for want of another machine: each that lives has a moment to say so."""
        if self._gang.is_led:
            return None
        looks_before, until = self._gang.num_looks, time.monotonic() + self._gang.word_s
        while time.monotonic() < until and not self._gang.have_spoken(looks_before):
            if self._post.orders.dismissed is not None:
                return self._look_around()
            time.sleep(TICK_S)
        return self._gang.cause(looks_before)

    def _start(self, command: tuple[str, ...], env: Mapping[str, str], *, listens: bool = False) -> Program:
        self._program = Program(command, env, self._place.code, self._logs.write_fd, listens=listens)
        return self._program

    def _take_progress(self) -> None:
        """The trainer's own word, where it speaks; else the publisher's."""
        self._vitals.progress = self._progress.read() or self._publisher.progress
        self._vitals.obstacle = self._publisher.obstacle
        started = self._vitals.progress.first_step_mono is not None
        if started and self._vitals.phase is AgentPhase.RESTORING:
            self._turn(AgentPhase.TRAINING)

    def _obey(self, program: Program, before: Told | None) -> Told | None:
        """Tell the program to end where there is a reason; a later and harder one overrules the first."""
        told = self._look_around() or self._saves_fail()
        if told is None or (before is not None and (told.drain or not before.drain)):
            return before
        self._lingers = told.lingers
        self._turn(AgentPhase.DRAINING)
        if told.drain:
            program.terminate(self._drain_grace())
        else:
            program.kill()
        return told

    def _saves_fail(self) -> Told | None:
        failed, told = self._vitals.progress.failed_saves, self._vitals.progress
        if self._publisher.sealed is not None:
            return Told(reason=self._publisher.sealed, drain=False, outcome=ExitKind.SEALED)
        if failed >= self._spec.failed_saves_max:
            why = f": {told.warnings[-1]}" if told.warnings else ""
            return Told(reason=f"{failed} saves in a row failed{why}", outcome=ExitKind.STORE_FAILED)
        return None

    def _drain_grace(self) -> Seconds:
        """To end in peace: the plain grace, and the last save at twice its usual time."""
        told = self._vitals.progress
        return self._spec.kill_grace_real + 2 * (told.stall_s + told.durable_s)

    def _end_hang(self, program: Program, watch: StandstillWatch) -> str | None:
        """A program that never spoke to us cannot be told from one that works in silence."""
        own = self._progress.progress
        if own is None and not isinstance(self._spec.program, TrainerProgram):
            return None
        hang = watch.hang(own, self._progress.version, time.monotonic())
        if hang is not None:
            program.kill()
        return hang

    # --- the end ----------------------------------------------------------------------------------------------------------

    def _wind_up(self, ended: Ended, told: Told | None, hang: str | None) -> Ending:
        self._gang.part()
        ending = classify(ended, self._vitals.progress, told, hang)
        self._turn(AgentPhase.DRAINING)
        is_commands = isinstance(self._spec.program, CommandProgram) and not self._gang.is_led
        is_ours_to_save = is_commands and (told is None or told.drain)
        return self._publish_last(ended, ending) if is_ours_to_save else ending

    def _publish_last(self, ended: Ended, ending: Ending) -> Ending:
        """What a program leaves behind is whole where it ended by its own exit, be it in failure, or as it was told to.

        An exit closes all files; only a signal cuts one off in the middle.
        """
        finished = ending.outcome is ExitKind.FINISHED
        in_order = not ended.torn and (ended.exit_code is not None or ending.outcome is ExitKind.DRAINED)
        failed_before = self._publisher.progress.failed_saves
        task = Task(lambda: self._publisher.finish(torn=not in_order, finished=finished))
        while not task.is_done:
            told = self._look_around()
            if told is not None and not told.drain:
                return ending
            if told is not None:
                self._publisher.hurry()
            time.sleep(TICK_S)
        task.result()
        self._take_progress()
        if self._publisher.sealed is not None:
            return replace(ending, outcome=ExitKind.SEALED, reason=self._publisher.sealed)
        if finished and self._publisher.progress.failed_saves > failed_before:
            reason = f"the program finished, but its last files are not in the store: {self._publisher.progress.warnings[-1]}"
            return replace(ending, outcome=ExitKind.STORE_FAILED, reason=reason)
        return ending

    def _report(self, ending: Ending) -> None:
        """The report is the attempt's last word; it follows the last line of the log, so that a reader of it finds all."""
        self._logs.say(f"{ending.outcome.value}: {ending.reason}")
        self._logs.close(LOGS_CLOSE_MAX_S)
        report = ExitReport(
            attempt=self._spec.attempt,
            nonce=self._nonce,
            at=self._machine.clock.utc_s(),
            outcome=ending.outcome,
            reason=log.redacted(ending.reason),
            exit_code=ending.exit_code,
            signal=ending.signal,
            hang=ending.hang,
            last=self._post.stop(POST_CLOSE_MAX_S),
        )
        with contextlib.suppress(KeyExists):  # ours, from a try whose answer was lost
            key = exit_key(self._spec.attempt, self._machine.node)
            store_calls()(self._machine.store.create, key, codec.dumps_digested(report))

    def _stays_s(self, ending: Ending) -> Seconds:
        """How long (real) the machine is not to look idle: until it is taken, since its end is the cloud's then, and so is its
        bill; or for somebody to look at what failed, as long as the budget pays, and no supervisor need end it.
        """
        if self._lingers:
            self._lookout.let_go()
            return max(self._lookout.warned_left, 0.0) + LINGER_BEYOND_S
        if ending.outcome not in (ExitKind.PROGRAM_FAILED, ExitKind.SETUP_FAILED):
            return 0.0
        spec, ordered = self._spec, self._post.orders.stop_at
        stop_at = spec.stop_at if ordered is None else ordered
        paid = math.inf if stop_at is None else stop_at - self._machine.clock.utc_s()
        return Tempo(spec.speed).real(min(spec.keep_failed, paid))

    def _stay(self, seconds: Seconds) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._lookout.is_called_off():
            time.sleep(TICK_S)

    # --- looking around ---------------------------------------------------------------------------------------------------

    def _look_around(self) -> Told | None:
        self._vitals.unreadable = self._post.orders.unreadable
        told = self._lookout.look(self._last_save_needs())
        if self._lookout.has_warned:
            self._publisher.include_outputs()
        while self._lookout.hints:
            self._logs.say(self._lookout.hints.pop().text)
        return told

    def _last_look(self, wait_s: Seconds) -> Told | None:
        """After an end: a signal to all of a machine reaches a program with us, and what it does at that is no end of its own."""
        until = time.monotonic() + wait_s
        while not (is_called_off := self._lookout.is_called_off()) and time.monotonic() < until:
            time.sleep(TICK_S)
        return self._look_around() if is_called_off else None

    def _last_save_needs(self) -> Seconds:
        if self._gang.is_led:
            return math.inf  # it saves nothing, and node 0 says when the gang ends
        own = self._progress.progress
        if own is not None:
            return last_save_needs(own)
        return last_word_needs(self._lookout.lead, self._spec.kill_grace_real, self._publisher.progress.durable_s)

    def _turn(self, phase: AgentPhase) -> None:
        if self._vitals.phase is not phase:
            self._vitals.phase = phase
            self._post.hurry()
