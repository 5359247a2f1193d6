"""What the checkpoint tests share: small commits through the real code, ways to damage them, trainers as processes."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher import codec, processes
from launcher.adapters.store.base import Chunks, ObjectMeta, ObjectStore, Span
from launcher.adapters.store.files import FileStore
from launcher.checkpoint import format as layout
from launcher.checkpoint.commit import Author, Committer, Draft, Parent
from launcher.checkpoint.format import NamedTensor, Source
from launcher.checkpoint.restore import MemoryFiles, Restored, restore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed
from launcher.core.contract import (
    METRICS_FILE,
    PROGRESS_FILE,
    AttemptSpec,
    KeepRule,
    SaveRule,
    TrainerProgram,
    TrainerProgress,
    commit_key,
)
from launcher.core.market.offer import Capacity, Placement
from launcher.errors import KeyMissing

ROOT = Path(__file__).parents[2]
RUN, INCARNATION = "quiet-otter", "5eed"
PATIENCE_S = 150.0  # two busy cores; only a failure waits so long
PLACE = Placement(
    cloud="aws",
    region="us-east-1",
    zone="us-east-1b",
    instance="p4d",
    accelerator="A100",
    accelerators=8,
    capacity=Capacity.SPOT,
)
SHARD = layout.shard_name(0)


# --- commits ------------------------------------------------------------------------------------------------------------------


def author(attempt: int = 1) -> Author:
    return Author(run=RUN, incarnation=INCARNATION, attempt=attempt, grant=10 * attempt, nonce=f"nonce-{attempt}")


def committer(store: ObjectStore, attempt: int = 1, *, parent: Parent | None = None, keep: KeepRule | None = None) -> Committer:
    return Committer(store, author(attempt), parent=parent, keep=keep or KeepRule(last=100))


def draft(step: int, loss: float | None = None) -> Draft:
    return Draft(step=step, loss=loss, started_mono=time.monotonic(), facts={})


def tensor(name: str, words: list[int]) -> NamedTensor:
    return NamedTensor(name=name, dtype="I64", shape=(len(words),), data=b"".join(w.to_bytes(8, "little") for w in words))


def sources(step: int) -> tuple[Source, ...]:
    """A shard of two tensors and a state file, different at each step."""
    shard = layout.safetensors_source(SHARD, [tensor("model.a", [step, 1, 2]), tensor("model.b", [step + 7] * 5)])
    return shard, layout.bytes_source("state.json", json.dumps({"step": step}).encode())


def save(writer: Committer, step: int, loss: float | None = None) -> Manifest:
    def lines(after: int) -> bytes:
        return "".join(json.dumps({"step": n, "loss": 1 / n}) + "\n" for n in range(after + 1, step + 1)).encode()

    return writer.publish(sources(step), draft(step, loss), metrics=lines)


def seal(store: ObjectStore, ref: CommitRef) -> None:
    sealed = Sealed(run=RUN, incarnation=INCARNATION, ref=ref, supervisor="s1", nonce="n")
    store.create(commit_key(ref), manifests.write(sealed))


def restored(
    store: ObjectStore, parent: CommitRef, grants: Mapping[int, CommitRef | None] | None = None
) -> tuple[Restored, MemoryFiles]:
    sink = MemoryFiles()
    found = restore(store, run=RUN, incarnation=INCARNATION, parent=parent, grants=grants or {}, sink=sink)
    return found, sink


def key_of(manifest: Manifest, path: str) -> str:
    return next(entry.key for entry in manifest.files if entry.path == path)


def flip(store: ObjectStore, key: str, bit: int) -> None:
    data = bytearray(store.get(key))
    data[bit // 8] ^= 1 << bit % 8
    store.replace(key, bytes(data))


def commits(store: ObjectStore, attempt: int) -> list[Manifest]:
    """The manifests of an attempt, read upwards as the supervisor does."""
    found: list[Manifest] = []
    while True:
        try:
            commit = manifests.read(store.get(commit_key(CommitRef(attempt, len(found) + 1))))
        except KeyMissing:
            return found
        if isinstance(commit, Sealed):
            return found
        found.append(commit)


def curve(store: ObjectStore, chain: list[Manifest]) -> list[tuple[int, float]]:
    """(step, loss) of the metrics of all commits, in order."""
    lines = [line for manifest in chain for line in store.get(key_of(manifest, METRICS_FILE)).splitlines()]
    return [(point["step"], point["loss"]) for point in map(json.loads, lines)]


@dataclass
class Wrapped:
    """A store that calls `before(key)` ahead of each create and `after(key)` behind it; either may raise."""

    inner: ObjectStore
    before: Callable[[str], None] = lambda key: None
    after: Callable[[str], None] = lambda key: None
    before_get: Callable[[str], None] = lambda key: None

    @property
    def url(self) -> str:
        return self.inner.url

    def create(self, key: str, data: Chunks) -> None:
        self.before(key)
        self.inner.create(key, data)
        self.after(key)

    def replace(self, key: str, data: bytes) -> None:
        self.inner.replace(key, data)

    def get(self, key: str, span: Span | None = None) -> bytes:
        self.before_get(key)
        return self.inner.get(key, span)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


@dataclass
class Once:
    """Raises `error` the first time a key with `part` in it is met."""

    part: str
    error: BaseException
    met: list[str] = field(default_factory=list)

    def __call__(self, key: str) -> None:
        if self.part in key and not self.met:
            self.met.append(key)
            raise self.error


# --- trainers as processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A folder that stands for an attempt's machine, and the store of its run."""

    folder: Path
    store: FileStore

    @property
    def notice_file(self) -> Path:
        return self.folder / "notice"

    def env(
        self, attempt: int, parent: CommitRef | None, args: dict[str, Any], rule: SaveRule, failed_max: int
    ) -> dict[str, str]:
        spec = AttemptSpec(
            run=RUN,
            incarnation=INCARNATION,
            attempt=attempt,
            store=self.store.url,
            placement=PLACE,
            program=TrainerProgram(module="m", args=args),
            save=rule,
            failed_saves_max=failed_max,
        )
        spec_path, chain_path = self.folder / "spec.json", self.folder / "chain.json"
        spec_path.write_bytes(codec.dumps(spec))
        chain_path.write_text(json.dumps({str(attempt): str(parent or "")}))
        return plain_env(self.folder, args) | {
            "LAUNCH_SPEC": str(spec_path),
            "LAUNCH_CHAIN": str(chain_path),
            "LAUNCH_GRANT": "2",
            "LAUNCH_PARENT": str(parent or ""),
            "LAUNCH_NONCE": "n",
            "LAUNCH_NOTICE_FILE": str(self.notice_file),
        }

    def start(
        self,
        program: list[str],
        *,
        attempt: int = 1,
        parent: CommitRef | None = None,
        args: dict[str, Any] | None = None,
        rule: SaveRule | None = None,
        failed_max: int = 3,
        **kwargs: Any,
    ) -> subprocess.Popen[str]:
        env = self.env(attempt, parent, args or {}, rule or SaveRule(steps=10), failed_max)
        return start(program, env, **kwargs)

    def run(
        self,
        program: Callable[[], object],
        *,
        attempt: int = 1,
        parent: CommitRef | None = None,
        args: dict[str, Any] | None = None,
        rule: SaveRule | None = None,
    ) -> tuple[int, str]:
        return run(program, self.env(attempt, parent, args or {}, rule or SaveRule(steps=10), failed_max=3))

    def progress(self) -> TrainerProgress | None:
        try:
            return codec.loads(TrainerProgress, (self.folder / PROGRESS_FILE).read_bytes())
        except FileNotFoundError:
            return None


def machine(folder: Path) -> Machine:
    folder.mkdir(parents=True, exist_ok=True)
    return Machine(folder=folder, store=FileStore(folder.parent / "store"))


def plain_env(folder: Path, args: dict[str, Any]) -> dict[str, str]:
    """The environment of a script that no agent started."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "LAUNCH_TRAINER_DIR": str(folder), "LAUNCH_TRAINER": json.dumps(args)}


def run(program: Callable[[], object], env: dict[str, str]) -> tuple[int, str]:
    """Exit code and all output of a program that ends by itself, in this process: another would import PyTorch once more."""
    said, code = io.StringIO(), 0
    at_sigterm = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.setattr(processes, "die_with_parent", lambda: True)  # whoever started the tests may end before them
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            program()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            said.write(str(end.code))
        finally:
            signal.signal(signal.SIGTERM, at_sigterm)
    return code, said.getvalue()


def start(program: list[str], env: dict[str, str], **kwargs: Any) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *program], env=env, **pipes, **kwargs)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and all output."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out + err


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
