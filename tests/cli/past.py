"""Runs that are over, in a home: most are simulated and then written out, one is made by hand with real checkpoints in it."""

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.history import History
from launcher.adapters.store.files import FileStore
from launcher.app import cli
from launcher.app.home import Entry
from launcher.checkpoint.commit import Author, Committer
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed, write
from launcher.core.contract import RUN_KEY, KeepRule, RunHead, commit_key, log_key
from launcher.core.instance import EndCause
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.sim.trainer import Pace
from launcher.units import HOUR
from tests import builders
from tests.simulation.worlds import START, FixedTrace, Sim, recipe
from tests.training import scene

INCARNATION = "inc"


def home() -> Path:
    return Path(os.environ["LAUNCH_HOME"])


def launch(*words: str) -> int:
    return cli.main(list(words))


def document(capsys: pytest.CaptureFixture[str], *words: str):
    """What a command says with -o json, which must be one document."""
    capsys.readouterr()
    assert launch(*words, "-o", "json") == 0
    return json.loads(capsys.readouterr().out)


def everything() -> dict[str, tuple[int, bytes]]:
    """All files of the home and of the register of local instances, with their times."""
    roots = [home(), Path(os.environ["XDG_STATE_HOME"])]
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@contextlib.contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Meanwhile nobody but root may look into `folder`, and this process is not root."""
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@functools.cache
def preempted() -> Sim:
    """Succeeded in its second attempt, which was not ready yet when the market took the first, with notice. Read it only."""
    sim = Sim(recipe=local(), pace=Pace(boot_s=150), trace=FixedTrace(up=HOUR))
    sim.run()
    return sim


@functools.cache
def handed_over() -> Sim:
    """Succeeded in its second attempt, which was ready before the first one's notice ran out. Read it only."""
    sim = Sim(recipe=local(), trace=FixedTrace(up=HOUR))
    sim.run()
    return sim


@functools.cache
def preempted_silently() -> Sim:
    sim = Sim(recipe=local(), trace=FixedTrace(up=HOUR, notice=lambda place, k: False))
    sim.run()
    return sim


@functools.cache
def failed() -> Sim:
    sim = Sim(recipe=local(), pace=Pace(fails_at=1000))
    sim.run()
    return sim


@functools.cache
def out_of_budget() -> Sim:
    sim = Sim(recipe=local(budget=0.5))
    sim.run()
    return sim


@functools.cache
def out_of_time() -> Sim:
    """Time enough for 90 min of work, but not where a machine is lost without a word."""
    base, time = local(), 1.6 * HOUR
    trace = FixedTrace(up=HOUR, notice=lambda place, k: False)
    sim = Sim(recipe=replace(base, policy=replace(base.policy, deadline=time)), trace=trace, deadline_at=START + time)
    sim.run()
    return sim


def cut(store: FileStore, num_records: int) -> None:
    """As if the journal had ended there, its copies too."""
    for path in sorted((home() / "runs").glob("*/*/*.json*")):
        of_journal = path.parent.name in ("journal", "segments") and store.url.endswith(path.parent.parent.name)
        if of_journal and int(path.stem.split("-")[-1]) > num_records:
            path.unlink()


def without_copies(store: FileStore) -> FileStore:
    """A run whose numbered records are all there is of its journal."""
    for meta in list(store.list("segments/")):
        store.delete(meta.key)
    return store


def number_of(sim: Sim, kind: type) -> int:
    """The journal number of the first event of a kind."""
    return next(record.number for record in sim.history.records if isinstance(record.event, kind))


def local(**changes):
    """A simulated run's recipe, for a rehearsal: its clock is where its journal ends, not where the test's wall clock is."""
    base = recipe(**changes)
    return replace(base, resources=replace(base.resources, infra=("local",)))


def store_of(run: str) -> FileStore:
    return FileStore(home() / "runs" / run)


def note(run: str, *, age_s: float = 0.0) -> FileStore:
    """The head and the index entry of a run."""
    store = store_of(run)
    created_at = time.time() - age_s
    head = RunHead(run=run, incarnation=INCARNATION, created_at=created_at, launch_version="0")
    store.create(RUN_KEY, codec.dumps_digested(head))
    index = home() / "index" / f"{run}.json"
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_bytes(codec.dumps(Entry(run=run, store=store.url, created_at=created_at)))
    return store


def keep(sim: Sim, run: str = "r", *, age_s: float = 0.0) -> FileStore:
    """Write a simulated run out into the home."""
    for meta in sim.store.list(""):
        path = home() / "runs" / run / meta.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sim.store.get(meta.key))
    return note(run, age_s=age_s)


def log(store: FileStore, attempt: int, *chunks: str) -> None:
    for number, chunk in enumerate(chunks, start=1):
        store.create(log_key(attempt, number), chunk.encode())


def with_checkpoints(
    run: str = "r", steps: tuple[int, ...] = (10, 20, 30), of: Recipe | None = None
) -> tuple[FileStore, list[Manifest]]:
    """A paused run of one attempt that made real checkpoints, written by the real code."""
    store = note(run)
    history = History(store, INCARNATION, writer="s1")
    now = builders.NOW
    history.open(ev.SupervisorStarted(at=now, supervisor="s1", host="h", pid=1))
    history.append(ev.RunCreated(at=now, run=run, incarnation=INCARNATION, recipe=of or local(), deadline_at=None, code=None))
    history.append(builders.requested(history.state))
    for event in (builders.started(1), builders.claimed(1), builders.granted(1)):
        history.append(event)
    author = Author(run=run, incarnation=INCARNATION, attempt=1, grant=6, nonce="nonce-1")
    writer = Committer(store, author, parent=None, keep=KeepRule(last=100))
    made = [scene.save(writer, step) for step in steps]
    for manifest in made:
        history.append(builders.committed(1, manifest.ref.commit, manifest.step))
    history.append(builders.lost(1))
    end = CommitRef(1, len(made) + 1)
    store.create(commit_key(end), write(Sealed(run=run, incarnation=INCARNATION, ref=end, supervisor="s1", nonce="n")))
    history.append(builders.sealed(1, made[-1].ref, made[-1].step))
    history.append(
        ev.InstanceEnded(at=now, attempt=1, low=now, likely=now, high=now, cause=EndCause.PREEMPTED, wait_status="signal 9")
    )
    history.append(ev.RunPaused(at=now, exit_code=130, reason="stopped on request"))
    return store, made


def unsupervised(*, seen: int) -> tuple[FileStore, Committer]:
    """A run whose machine goes on alone: of its commits, of which it keeps three, the journal knows the first `seen`."""
    store = note("r")
    history = History(store, INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s1", host="h", pid=1))
    created = ev.RunCreated(at=builders.NOW, run="r", incarnation=INCARNATION, recipe=local(), deadline_at=None, code=None)
    history.append(created)
    history.append(builders.requested(history.state))
    for event in (builders.started(1), builders.claimed(1), builders.granted(1)):
        history.append(event)
    for number in range(1, seen + 1):
        history.append(builders.committed(1, number, 10 * number))
    author = Author(run="r", incarnation=INCARNATION, attempt=1, grant=6, nonce="nonce-1")
    return store, Committer(store, author, parent=None, keep=KeepRule(last=3))


def commit_on(writer: Committer, *steps: int) -> None:
    for step in steps:
        scene.save(writer, step)
        writer.retire()
