"""PUBLIC: checkpoints and preemptions for a training script, in a loop that reads top to bottom.

    checkpointer = train.Checkpointer(model=model, optimizer=optimizer, scheduler=schedule, data=order)
    for step in checkpointer.steps(1000):
        loss = ...                       # one step: forward, backward, optimizer.step(), scheduler.step()
        checkpointer.record(loss)

The loop starts after the newest checkpoint; between steps the state is saved in the background by the recipe's rule, at once at a
preemption notice, and a last time when the machine must go. Everything registered by name is saved with every random stream,
so a resumed run goes on to the bit. Without an agent (a script run by hand) the same loop is a plain loop.

Fine print: one process for now. Register all that changes: another model (an average, say), a `torch.Generator` or a
`random.Random` of your own goes under any name. A script that stops before its last step calls `finish()`.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import torch

from launcher import log, processes
from launcher.adapters import durable
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.checkpoint import facts, stage, verify
from launcher.checkpoint import format as layout
from launcher.checkpoint import restore as restoring
from launcher.checkpoint.commit import OUTAGE_MAX_S, Author, Committer, Draft
from launcher.checkpoint.engine import Engine, PendingSave, Tally
from launcher.checkpoint.meter import LossCurve, StepMeter, metrics_lines
from launcher.checkpoint.schedule import Schedule
from launcher.checkpoint.surroundings import Surroundings, arguments
from launcher.checkpoint.voice import Voice
from launcher.core.checkpoint.manifest import CommitRef, Manifest, SetAside
from launcher.core.contract import FINAL_FILE, METRICS_FILE, AttemptSpec, ExitKind, TrainerProgress
from launcher.errors import LaunchError, StoreError
from launcher.units import Seconds, Step

__all__ = ["Checkpointer", "PendingSave", "arguments"]

T = TypeVar("T")


class Checkpointer:
    """Keeps one training run durable. Parts are given by name; a resumed script must register the same names.

    `must_match` names facts (a corpus digest, say) of which another value makes it another training: resuming is refused.
    """

    def __init__(
        self,
        *,
        model: stage.Part,
        optimizer: stage.Part,
        must_match: Mapping[str, str] | None = None,
        **others: stage.Part | None,
    ) -> None:
        named = {"model": model, "optimizer": optimizer, **others}
        self._parts: dict[str, stage.Part] = {name: part for name, part in named.items() if part is not None}
        self._must_match = dict(must_match or {})
        self._facts: dict[str, str] = {}
        self._around = Surroundings.read()
        self._voice = Voice(self._around.folder)
        self._engine: Engine | None = None
        self._schedule: Schedule | None = None
        self._restored: restoring.Restored | None = None
        self._set_aside: tuple[SetAside, ...] = ()
        self._step: Step = 0
        self._total: Step | None = None
        self._meter = StepMeter()
        self._losses = LossCurve()
        self._is_open = False
        self._is_ending = False
        self._has_met_notice = False
        self._num_landed = 0
        self._stall_s: Seconds = 0.0
        self._saving_s: Seconds = 0.0
        self._warnings: tuple[str, ...] = ()
        self.num_skipped = 0  # saves asked for while one was under way
        num_nodes = self._around.spec.num_nodes if self._around.spec else 1
        if num_nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise LaunchError(
                "launcher.train works in one process for now; start the script alone on one machine, "
                "or leave launcher.train out and save into $LAUNCH_CHECKPOINT_DIR"
            )
        if self._around.spec or self._around.folder:
            processes.die_with_parent()
            signal.signal(signal.SIGTERM, self._on_sigterm)
        self._write_progress()

    # --- the loop ---------------------------------------------------------------------------------------------------------

    def steps(self, total: Step) -> Iterator[Step]:
        """The steps still to do, up to `total`: restores before the first, saves between, commits after the last."""
        self._total = total
        first = self.restore() + 1
        if self._is_ending:
            self._exit(ExitKind.DRAINED, "told to end before the first step")
        for step in range(first, total + 1):
            self._step = step
            self._meter.begin()
            yield step
            self._meter.end()
            if step < total:
                self._between_steps()
        self.finish()

    def record(self, loss: Any) -> None:
        """The loss of this step, a number or a tensor of one; it becomes part of the run's curve."""
        self._losses.record(self._step, float(loss.detach() if torch.is_tensor(loss) else loss))

    def restore(self) -> Step:
        """Put back the newest checkpoint of the run and give its step; 0 where there is none. `steps` does this by itself."""
        if not self._is_open:
            self._is_open = True
            try:
                self._open()
            except restoring.NothingValid as error:
                self._set_aside = error.set_aside
                self._exit(ExitKind.NOTHING_VALID, str(error))
            except StoreError as error:
                self._exit(ExitKind.STORE_FAILED, f"the checkpoint could not be read: {error}")
            except stage.StateMismatch as error:
                self._exit(ExitKind.PROGRAM_FAILED, str(error))
            self._write_progress()
        return self._step

    def save(self, step: Step, *, urgent: bool = False) -> PendingSave:
        """Stage the state now, upload behind. While a save is under way this one is skipped and counted; an urgent one waits."""
        self._step = max(self._step, step)  # a loop of the user's own counts for itself
        return self._save(step, urgent=urgent, finished=False)

    def finish(self) -> None:
        """The training is done: commit its end, and wait until that is durable. `steps` does this after its last step."""
        if self._engine is None:
            self._leave_results()
        elif not (self._restored and self._restored.manifest.finished and self._restored.manifest.step == self._step):
            self._commit_end()
        were_done = self._restored is not None and self._restored.manifest.step == self._step
        self._write_progress(ExitKind.FINISHED, f"all {self._step} steps {'were done already' if were_done else 'are done'}")

    # --- opening ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._facts = facts.environment() | self._must_match
        spec = self._around.spec
        if spec is None:
            return
        store = open_store(spec.store)
        own = self._patiently(lambda: verify.own_commits(store, spec.attempt, self._around.nonce))
        parent = own[-1].ref if own else self._around.parent
        if parent is not None:
            self._restored = self._put_back(store, spec, parent)
            self._step = self._restored.manifest.step
        author = Author(
            run=spec.run, incarnation=spec.incarnation, attempt=spec.attempt, grant=self._around.grant, nonce=self._around.nonce
        )
        committer = Committer(
            store,
            author,
            parent=self._restored.parent if self._restored else None,
            set_aside=self._set_aside,
            keep=spec.keep,
            own=own,
        )
        self._engine = Engine(committer, self._voice.show_life)
        self._schedule = Schedule(spec.save, speed=spec.speed, step=self._step, now=time.monotonic())

    def _put_back(self, store: ObjectStore, spec: AttemptSpec, parent: CommitRef) -> restoring.Restored:
        sink = restoring.WatchedFiles(self._voice.show_life)
        run, incarnation, grants = spec.run, spec.incarnation, self._around.grants
        restored = self._patiently(
            lambda: restoring.restore(store, run=run, incarnation=incarnation, parent=parent, grants=grants, sink=sink)
        )
        self._set_aside = restored.set_aside
        for bad in restored.set_aside:
            log.warning("checkpoint_set_aside", checkpoint=str(bad.ref), culprit=bad.culprit)
        manifest = restored.manifest
        facts.refuse_other_training(manifest.facts, self._must_match)
        for warning in facts.warnings(manifest.facts, self._facts):
            self._warn(warning)
        shard = layout.shard_name(0)
        if not {shard, stage.STATE_FILE} <= sink.files.keys():
            raise stage.StateMismatch(f"checkpoint {manifest.ref} holds no training state of launcher.train")
        aliases = next(entry.aliases for entry in manifest.files if entry.path == shard)
        stage.put_back(self._parts, sink.files[shard], aliases, sink.files[stage.STATE_FILE])
        log.info("restored", ref=str(manifest.ref), step=manifest.step)
        return restored

    def _patiently(self, work: Callable[[], T]) -> T:
        """What `work` answers, repeated through an outage of the store, for hours."""
        result: T = store_calls(deadline=OUTAGE_MAX_S, sleep=self._sleep_unless_ending)(work)
        return result

    def _sleep_unless_ending(self, pause: Seconds) -> None:
        """Between two tries of a store that gives no answer."""
        if self._is_ending:
            self._exit(ExitKind.DRAINED, "told to end before the checkpoint could be read")
        self._voice.show_life()
        time.sleep(pause)

    # --- between two steps ------------------------------------------------------------------------------------------------

    def _between_steps(self) -> None:
        if self._engine is not None:
            self._take_note_of_saves()
        if self._is_ending:
            self._drain()
        if self._engine is not None and self._schedule is not None:
            if self._is_new_notice():
                self.save(self._step, urgent=True)
            elif self._schedule.is_due(self._step, time.monotonic()):
                self.save(self._step)
        if self._voice.is_due:
            self._write_progress()

    def _take_note_of_saves(self) -> None:
        """What the saving thread has come to since the last step. Ends the process where no later save can count."""
        assert self._around.spec is not None
        assert self._engine is not None
        assert self._schedule is not None
        tally = self._engine.tally
        if tally.num_saves > self._num_landed and tally.last is not None:
            self._num_landed = tally.num_saves
            self._schedule.landed(tally.durable_s)
            self._losses.forget_until(tally.last.step)
        if tally.sealed is not None:
            self._exit(ExitKind.SEALED, str(tally.sealed))
        if tally.failed_saves >= self._around.spec.failed_saves_max:
            self._exit(ExitKind.STORE_FAILED, f"{tally.failed_saves} saves in a row failed; the last: {tally.warnings[-1]}")

    def _is_new_notice(self) -> bool:
        """Once for each notice: the file goes away where a notice is withdrawn, and comes again with the next."""
        spec, path = self._around.spec, self._around.notice_file
        stands = path is not None and os.path.exists(path)
        is_new = stands and not self._has_met_notice
        self._has_met_notice = stands
        return is_new and spec is not None and spec.save.on_notice and not spec.save.never

    def _on_sigterm(self, number: int, frame: object) -> None:
        self._is_ending = True

    def _drain(self) -> NoReturn:
        """The last save, which training waits for; then the end."""
        reason = "told to end"
        if self._around.spec is not None and not self._around.spec.save.never:
            manifest = self.save(self._step, urgent=True).wait()
            self._take_note_of_saves()
            reason += f": saved step {manifest.step}" if manifest else "; the last save failed"
        self._exit(ExitKind.DRAINED, reason)

    # --- saving -----------------------------------------------------------------------------------------------------------

    def _save(self, step: Step, *, urgent: bool, finished: bool) -> PendingSave:
        self.restore()
        if self._engine is None or self._schedule is None:
            return PendingSave.none(step)
        called_at = time.monotonic()
        under_way = self._engine.under_way
        if under_way is not None and not urgent:
            self.num_skipped += 1
            return under_way
        self._engine.wait()
        staged = stage.capture(self._parts)
        self._stall_s = time.monotonic() - called_at
        self._saving_s += self._stall_s
        self._schedule.saved(at=called_at, stall=self._stall_s)
        draft = Draft(
            step=step,
            loss=self._losses.of(step),
            urgent=urgent and not finished,
            finished=finished,
            stall_s=self._stall_s,
            started_mono=called_at,
            facts=self._facts,
        )
        losses = self._losses.snapshot()
        return self._engine.save(staged.sources(), draft, lambda parent_step: metrics_lines(losses, parent_step))

    def _commit_end(self) -> None:
        assert self._around.spec is not None
        assert self._engine is not None
        give_up_at = time.monotonic() + OUTAGE_MAX_S
        while self._save(self._step, urgent=True, finished=True).wait() is None:
            self._take_note_of_saves()  # ends it where the store refused too often
            if self._is_ending:
                self._exit(ExitKind.DRAINED, "told to end; the last save failed")
            if time.monotonic() >= give_up_at:
                self._exit(ExitKind.STORE_FAILED, self._engine.tally.warnings[-1])
            self._voice.show_life()
        self._take_note_of_saves()

    def _leave_results(self) -> None:
        """Without an agent: the curve and the final weights, under the names a checkpoint would give them."""
        folder = self._around.folder
        if folder is not None:
            staged = stage.capture({"model": self._parts["model"]})
            weights = [tensor for tensor in staged.tensors if tensor.name.startswith("model.")]
            durable.replace_atomically(folder / METRICS_FILE, metrics_lines(self._losses.snapshot(), 0))
            source = layout.safetensors_source(FINAL_FILE, weights)
            durable.replace_atomically(folder / FINAL_FILE, b"".join(source.chunks()))

    # --- saying how it stands ---------------------------------------------------------------------------------------------

    def _warn(self, text: str) -> None:
        log.warning("training_warned", text=text)
        self._warnings += (text,)

    def _exit(self, outcome: ExitKind, reason: str) -> NoReturn:
        """End this process knowingly: 0 where nothing is wrong with the program or the store, else 1 with a sentence."""
        self._write_progress(outcome, reason)
        raise SystemExit(0 if outcome in (ExitKind.DRAINED, ExitKind.SEALED) else f"launch: {reason}")

    def _write_progress(self, outcome: ExitKind | None = None, reason: str = "") -> None:
        self._voice.say(lambda: self._progress(outcome, reason))

    def _progress(self, outcome: ExitKind | None, reason: str) -> TrainerProgress:
        tally = self._engine.tally if self._engine else Tally()
        last: Manifest | None = tally.last
        pace = self._meter.pace()
        return TrainerProgress(
            step=self._step,
            total_steps=self._total,
            loss=self._losses.newest,
            steps_per_s=pace.steps_per_s,
            restored=self._restored.manifest.ref if self._restored else None,
            restored_step=self._restored.manifest.step if self._restored else 0,
            set_aside=self._set_aside,
            first_step_mono=self._meter.first_step_mono,
            startup_cpu_s=self._meter.startup_cpu_s,
            step_s_median=pace.median,
            step_s_low=pace.low,
            step_s_alone=pace.alone,
            load=pace.load,
            last_commit=last.ref.commit if last else 0,
            last_commit_step=last.step if last else 0,
            last_commit_bytes=last.size if last else 0,
            stall_s=self._stall_s,
            durable_s=tally.durable_s,
            saving_s=self._saving_s,
            num_saves=tally.num_saves,
            failed_saves=tally.failed_saves,
            warnings=(*self._warnings, *tally.warnings),
            outcome=outcome,
            reason=reason,
        )
