"""Deleting what no restore will need: shards of sealed attempts, never a commit, a seal, a claim or a curve.

An agent deletes only saves of its own attempt; what lies in sealed attempts is the supervisor's to delete. A save that no commit
names was never a checkpoint. The others go by `checkpoint.keep` over the chain of grants. While a restore is ahead nothing goes:
only a restore reads every byte, so until one has succeeded nobody knows how far down the chain it has to go.
"""

import itertools
from collections.abc import Iterator

from launcher.adapters.commits import read_commit
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.checkpoint.rules import expendable, keep_rule, pinned
from launcher.core.contract import METRICS_FILE, PINS_PREFIX, attempt_prefix
from launcher.core.run.state import RunState

NUM_INTACT_KEPT = 2  # the newest whole commit and the one to fall back to should its bytes turn out damaged


def chain_of(state: RunState, store: ObjectStore) -> Iterator[Manifest]:
    """The commits that are history, newest first: from the newest one down its parents. Unreadable ones are passed over."""
    grants = {a.number: a.parent for a in state.attempts.values()}
    ref = state.newest_commit
    while ref is not None:
        found = read_commit(store, ref)
        manifest = found if isinstance(found, Manifest) else None
        if manifest is not None:
            yield manifest
        ref = manifests.before(ref, manifest, grants)


def may_retain(state: RunState) -> bool:
    """Whether the chain's top is proven: its writer has restored and committed, and nobody else is about to restore.

    A run that goes back (`--from`) has a new top only after the next grant; the old line stays whole until then.
    """
    writer = state.last_writer
    has_committed = writer is not None and writer.commit is not None and not state.branched
    return has_committed and all(a.training_at is not None for a in state.living)


def retain(state: RunState, store: ObjectStore) -> int:
    """Deletes what may go now; returns the number of objects deleted. Safe to repeat and to be killed in."""
    return Retainer(store).retain(state)


class Retainer:
    """Remembers what it kept, and attempts with nothing left to delete: a long run retains hundreds of times.

    What the rule lets go once it never wants back, so only what came on top since is read and judged again.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._top: CommitRef | None = None  # of the chain, when it was last looked at
        self._below: list[Manifest] = []  # what was left of it then, newest first and that one included
        self._cleared: set[int] = set()

    def retain(self, state: RunState) -> int:
        """As the function."""
        if not may_retain(state):
            return 0
        store = self._store
        pins = pinned(meta.key for meta in store.list(PINS_PREFIX))  # before all else: one set later protects from then on
        chain = self._chain(state)
        # At the run's end all are looked at once more: a listing may have lagged, and a machine given up may have written since.
        done = frozenset() if state.phase.is_ended else self._cleared
        sizes = {n: _sizes_of_saves(store, n) for n in state.attempts if n not in done}
        protected = {*pins, *_newest_intact(chain, sizes), *(a.parent for a in state.living if a.parent)}
        candidates = [(m.ref, m.step, m.loss) for m in chain]
        dropped = expendable(candidates, keep_rule(state.recipe.checkpoint.keep), protected)
        kept = [m for m in chain if m.ref not in dropped]
        kept += [m for ref in pins if isinstance(m := read_commit(store, ref), Manifest)]
        keep_keys = {f.key for m in kept for f in m.files}
        sealed = {a.number for a in state.attempts.values() if a.sealed}
        num_deleted = 0
        for number in sorted(sealed & sizes.keys()):
            shards = {key for key in sizes[number] if not _is_curve(key)}
            for key in sorted(shards - keep_keys):
                store.delete(key)
                num_deleted += 1
            if not shards & keep_keys:
                self._cleared.add(number)
        self._top = chain[0].ref if chain else None
        self._below = [m for m in chain if m.ref not in dropped or m.ref.attempt not in sealed]
        return num_deleted

    def _chain(self, state: RunState) -> list[Manifest]:
        """The chain less what was deleted of it: what lies below the top of the last look is known, and is not read again."""
        new: list[Manifest] = []
        for manifest in chain_of(state, self._store):
            if manifest.ref == self._top:
                return new + self._below
            new.append(manifest)
        return new


def _sizes_of_saves(store: ObjectStore, attempt: int) -> dict[str, int]:
    return {meta.key: meta.size for meta in store.list(f"{attempt_prefix(attempt)}saves/")}


def _newest_intact(chain: list[Manifest], sizes: dict[int, dict[str, int]]) -> list[CommitRef]:
    """Those of the chain whose files are all there in full length. Their bytes are for a restore to read."""
    known = {key: size for of_attempt in sizes.values() for key, size in of_attempt.items()}
    intact = (m.ref for m in chain if all(known.get(f.key) == f.size for f in m.files))
    return list(itertools.islice(intact, NUM_INTACT_KEPT))


def _is_curve(key: str) -> bool:
    """Whether it is `attempts/0003/saves/0017/metrics.jsonl`: without one of them the run's curve has a hole."""
    return key.split("/")[4:] == [METRICS_FILE]
