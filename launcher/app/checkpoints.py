"""The checkpoints of a run: those that are its history, those that are not, and what is still there of each.

History is the chain of grants from the newest commit down its parents. What an attempt committed beside it (a run that went
back with `--from`, an attempt that fell back past a damaged one) lies in the store too, and is marked. Retention deletes bytes
and never a commit, so a commit whose bytes are gone by `checkpoint.keep` is "let go", which is not damage. The journal may be
behind: a machine goes on committing, and letting go of its older ones, while no supervisor looks; so the store is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.adapters.commits import read_commit
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed, SetAside
from launcher.core.checkpoint.rules import expendable, keep_rule, pinned, shards_of
from launcher.core.contract import PINS_PREFIX
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.errors import UsageError
from launcher.retention import NUM_INTACT_KEPT
from launcher.units import Step, Utc

NEWEST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One commit. `manifest` is None where it cannot be read; `seen_at` is the first instant at which it was known of."""

    ref: CommitRef
    manifest: Manifest | None
    in_history: bool
    kept: bool  # all its bytes are there
    let_go: bool  # bytes are missing, and retention was free to delete them, or did
    pinned: bool
    set_aside: str | None  # what a restore found wrong with it
    seen_at: Utc | None


def checkpoints_of(history: History) -> tuple[Checkpoint, ...]:
    """All commits of all attempts, the newest first."""
    state, store = history.state, history.store
    commits = dict(_commits(history))
    newest = _newest(state, commits)
    in_history = _refs_of_history(state, commits, newest)
    present = {meta.key for meta in store.list("attempts/")}
    kept = {ref for ref, m in commits.items() if m is not None and all(f.key in present for f in m.files)}
    chain = sorted((m for ref, m in commits.items() if m is not None and ref in in_history), key=lambda m: m.ref, reverse=True)
    protected = frozenset([m.ref for m in chain if m.ref in kept][:NUM_INTACT_KEPT])
    free = expendable([(m.ref, m.step, m.loss) for m in chain], keep_rule(state.recipe.checkpoint.keep), protected)
    # The newest is never let go, so all of it missing is damage; of an older one that is what retention leaves.
    stripped = {m.ref for m in chain if m.ref != newest and not any(f.key in present for f in shards_of(m))}
    pins = pinned(meta.key for meta in store.list(PINS_PREFIX))
    aside, seen = {bad.ref: bad.culprit for bad in set_aside_in(history)}, _seen(history)
    found = [
        Checkpoint(
            ref=ref,
            manifest=manifest,
            in_history=ref in in_history,
            kept=ref in kept,
            let_go=manifest is not None and ref not in kept and (ref in free | stripped or ref not in in_history),
            pinned=ref in pins,
            set_aside=aside.get(ref),
            seen_at=next((at for known, at in seen if known.attempt == ref.attempt and known.commit >= ref.commit), None),
        )
        for ref, manifest in commits.items()
    ]
    return tuple(sorted(found, key=lambda c: c.ref, reverse=True))


def _commits(history: History) -> Iterator[tuple[CommitRef, Manifest | None]]:
    """Each attempt's commits upwards to its seal or the first free number."""
    for attempt in history.state.attempts.values():
        number = 1
        while attempt.is_granted:
            ref = CommitRef(attempt.number, number)
            commit = read_commit(history.store, ref)
            # A number without anything, below one that was seen, had a manifest once: the numbers have no gaps.
            if isinstance(commit, Sealed) or (commit is None and number > attempt.num_commits):
                break
            yield ref, commit if isinstance(commit, Manifest) else None
            number += 1


def _newest(state: RunState, commits: dict[CommitRef, Manifest | None]) -> CommitRef | None:
    """The newest commit of the history, be it journaled or not: until it is sealed the last writer may have added to it."""
    writer = state.last_writer
    if state.branched or writer is None or writer.sealed:
        return state.newest_commit
    return max((ref for ref in commits if ref.attempt == writer.number), default=state.newest_commit)


def _refs_of_history(
    state: RunState, commits: dict[CommitRef, Manifest | None], newest: CommitRef | None
) -> frozenset[CommitRef]:
    """The walk of `chain_of`, with the commits in it that cannot be read."""
    grants = {a.number: a.parent for a in state.attempts.values()}
    refs: set[CommitRef] = set()
    ref = newest
    while ref is not None:
        refs.add(ref)
        ref = manifests.before(ref, commits.get(ref), grants)
    return frozenset(refs)


def set_aside_in(history: History) -> tuple[SetAside, ...]:
    """What restores found bad, each checkpoint once, as the attempts that fell back past it told."""
    found: dict[CommitRef, SetAside] = {}
    for record in history.records:
        event = record.event
        beat = event.heartbeat if isinstance(event, ev.TrainingStarted | ev.AttemptLost) else None
        beat = event.report.last if isinstance(event, ev.AttemptExited) else beat
        found |= {bad.ref: bad for bad in (beat.set_aside if beat else ())}
    return tuple(found.values())


def _seen(history: History) -> list[tuple[CommitRef, Utc]]:
    """Commits and when the supervisor first knew of them, in the journal's order; not every commit has a record of its own."""
    seen: list[tuple[CommitRef, Utc]] = []
    for record in history.records:
        match record.event:
            case ev.CheckpointSeen(ref=ref, at=at):
                seen.append((ref, at))
            case ev.AttemptSealed(last=CommitRef() as last, at=at):
                seen.append((last, at))
            case _:
                pass
    return seen


# --- one of them ---------------------------------------------------------------------------------------------------------------


def meant(found: tuple[Checkpoint, ...], text: str) -> Checkpoint:
    """The checkpoint named "0003-0007", "3-7", by its step, or `newest`. Raises UsageError, naming what there is."""
    history = [c for c in found if c.in_history]
    if text == NEWEST:
        if not history:
            raise UsageError("the run has no checkpoint yet")
        return history[0]
    if text.isdigit():
        return _of_step(history, int(text))
    ref = parse_ref(text)
    hit = next((c for c in found if c.ref == ref), None)
    if hit is None:
        raise UsageError(f"there is no checkpoint {ref}; `launch ckpt ls` lists them")
    return hit


def parse_ref(text: str) -> CommitRef:
    attempt, dash, commit = text.partition("-")
    if not (dash and attempt.isdigit() and commit.isdigit()):
        raise UsageError(f"{text!r} names no checkpoint; write one like 0003-0007 or 3-7, a step such as 120, or {NEWEST}")
    return CommitRef(int(attempt), int(commit))


def _of_step(history: list[Checkpoint], step: Step) -> Checkpoint:
    """The newest of that step: a final commit may repeat the step of the one before it."""
    steps = [c.manifest.step for c in history if c.manifest is not None]
    for checkpoint in history:
        if checkpoint.manifest is not None and checkpoint.manifest.step == step:
            return checkpoint
    near = sorted(sorted(set(steps), key=lambda s: abs(s - step))[:2])
    hint = f"the nearest are of {' and '.join(map(str, near))}" if near else "the run has none"
    raise UsageError(f"no checkpoint is of step {step}; {hint}")


def is_complete(store: ObjectStore, manifest: Manifest) -> bool:
    """Whether all files of a checkpoint are there, by their keys; their bytes are not read."""
    prefixes = {file.key.rpartition("/")[0] + "/" for file in manifest.files}
    present = {meta.key for prefix in prefixes for meta in store.list(prefix)}
    return all(file.key in present for file in manifest.files)
