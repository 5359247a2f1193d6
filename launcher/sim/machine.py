"""A machine that exists only in simulated time, and writes what a real one would write.

It stands in for the agent and the trainer together: it claims, waits for its grant, restores the grant's parent, makes steps at a
steady pace, commits real manifests through the real store protocol, saves at a notice, and reports its end. It is brought up to
date whenever the cloud is asked (`advance`), so that no thread and no event queue is needed.
"""

from dataclasses import dataclass, replace

from launcher import codec
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest, Sealed, read, write
from launcher.core.contract import (
    AgentPhase,
    AttemptSpec,
    Claim,
    ExitKind,
    ExitReport,
    Heartbeat,
    Notice,
    claim_key,
    commit_key,
    exit_key,
    heartbeat_key,
    notice_key,
    save_prefix,
)
from launcher.errors import KeyExists
from launcher.units import Seconds, Step, Utc

HEARTBEAT_S: Seconds = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a simulated program behaves. Market seconds; `fails_at` makes it exit 3 when it reaches that step."""

    boot_s: Seconds = 60.0
    restore_s: Seconds = 30.0
    step_s: Seconds = 1.0
    save_every: Step = 300
    total_steps: Step = 5400
    fails_at: Step | None = None
    is_mute: bool = False  # boots, and never says a word


class SimMachine:
    """One instance of one attempt, alive until `kill`."""

    def __init__(self, store: ObjectStore, spec: AttemptSpec, instance_id: str, started_at: Utc, pace: Pace) -> None:
        self.instance_id = instance_id
        self.started_at = started_at
        self.is_over = False
        self._store = store
        self._spec = spec
        self._pace = pace
        self._history = History(store, spec.incarnation)
        self._at = started_at
        self._nonce = f"nonce-{instance_id}"
        self._beat = Heartbeat(attempt=spec.attempt, nonce=self._nonce, sequence=0, at=started_at, phase=AgentPhase.WAITING)
        self._is_claimed = False
        self._granted_at: Utc | None = None
        self._grant: int = 0
        self._commits = 0
        self._parent: CommitRef | None = None
        self._restored: Step = 0
        self._saved: Step = 0

    def advance(self, now: Utc) -> None:
        """Do all that a real machine would have done until `now`."""
        while not self.is_over and self._at + HEARTBEAT_S <= now:
            self._at += HEARTBEAT_S
            self._live()

    def notice(self, number: int, ends_at: Utc) -> None:
        """The cloud warns: tell it, and save at once."""
        if self.is_over or not self._is_claimed:
            return
        told = Notice(attempt=self._spec.attempt, number=number, at=self._at, ends_at=ends_at, source="sim")
        self._create(notice_key(self._spec.attempt, number), codec.dumps(told))
        self._save(urgent=True)

    def drain(self, reason: str) -> None:
        """The last save, and the exit report."""
        self._save(urgent=True)
        self._exit(ExitKind.DRAINED, reason)

    def kill(self) -> None:
        self.is_over = True

    # --- a life --------------------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        if self._pace.is_mute or self._at < self.started_at + self._pace.boot_s:
            return
        if not self._is_claimed and not self._claim():
            self.is_over = True
            return
        if self._spec.stop_at is not None and self._at >= self._spec.stop_at:
            self.drain("the budget ends here")
            return
        self._history.poll()
        me = self._history.state.attempts.get(self._spec.attempt)
        if me is None or me.unwanted_at is not None:
            self.drain("the journal shows it unwanted")
            return
        if self._granted_at is None and me.granted_at is not None:
            self._restore(me.parent)
        if self._granted_at is not None:
            self._train()
        self._say()

    def _claim(self) -> bool:
        claim = Claim(
            attempt=self._spec.attempt, instance_id=self.instance_id, nonce=self._nonce, host="sim", pid=self._spec.attempt
        )
        self._is_claimed = self._create(claim_key(self._spec.attempt), codec.dumps(claim))
        return self._is_claimed

    def _restore(self, parent: CommitRef | None) -> None:
        self._granted_at = self._at
        self._grant = self._history.records[-1].number
        self._parent = parent
        if parent is not None:
            manifest = read(self._store.get(commit_key(parent)))
            assert isinstance(manifest, Manifest), "a grant names a manifest"
            self._restored = self._saved = manifest.step
        self._beat = replace(self._beat, restored=parent, restored_step=self._restored, step=self._restored)

    def _train(self) -> None:
        assert self._granted_at is not None
        training_s = self._at - self._granted_at - self._pace.restore_s
        if training_s <= 0:
            self._beat = replace(self._beat, phase=AgentPhase.RESTORING)
            return
        step = min(self._pace.total_steps, self._restored + int(training_s / self._pace.step_s))
        if self._pace.fails_at is not None and step >= self._pace.fails_at:
            step = self._pace.fails_at
        self._beat = replace(self._beat, phase=AgentPhase.TRAINING, step=step, training_s=training_s)
        if step == self._pace.fails_at:
            self._exit(ExitKind.PROGRAM_FAILED, "the program exited with code 3", exit_code=3)
        elif step == self._pace.total_steps:
            self._save(urgent=False, finished=True)
            self._exit(ExitKind.FINISHED, "training reached its end", exit_code=0)
        elif step - self._saved >= self._pace.save_every:
            self._save(urgent=False)

    def _save(self, *, urgent: bool, finished: bool = False) -> None:
        step = self._beat.step
        if self._granted_at is None or (step == self._saved and not finished):
            return
        ref = CommitRef(self._spec.attempt, self._commits + 1)
        shard = FileEntry(path="shard", key=f"{save_prefix(ref.attempt, ref.commit)}shard", size=1, pieces=())
        self._create(shard.key, b"x")
        manifest = Manifest(
            run=self._spec.run,
            incarnation=self._spec.incarnation,
            ref=ref,
            save=ref.commit,
            grant=self._grant,
            nonce=self._nonce,
            parent=self._parent,
            parent_sha256=None,
            step=step,
            files=(shard,),
            finished=finished,
            urgent=urgent,
            stall_s=0.1,
            durable_s=5.0,
        )
        if self._create(commit_key(ref), write(manifest)):
            self._commits, self._parent, self._saved = ref.commit, ref, step
            self._beat = replace(self._beat, last_commit=ref.commit, last_commit_step=step)
        elif isinstance(read(self._store.get(commit_key(ref))), Sealed):
            self.is_over = True

    def _say(self) -> None:
        if not self.is_over:
            self._beat = replace(self._beat, sequence=self._beat.sequence + 1, at=self._at)
            self._store.replace(heartbeat_key(self._spec.attempt), codec.dumps(self._beat))

    def _exit(self, outcome: ExitKind, reason: str, exit_code: int | None = None) -> None:
        report = ExitReport(
            attempt=self._spec.attempt,
            nonce=self._nonce,
            at=self._at,
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            last=self._beat,
        )
        if not self.is_over and self._is_claimed:
            self._create(exit_key(self._spec.attempt), codec.dumps(report))
        self.is_over = True

    def _create(self, key: str, data: bytes) -> bool:
        try:
            self._store.create(key, data)
        except KeyExists:
            return False
        return True
