"""Deleting what no restore will need: shards of sealed attempts, never a commit, a seal, a claim or a curve.

An agent deletes only saves of its own attempt; what lies in sealed attempts is the supervisor's to delete. A save that no commit
names was never a checkpoint. The others go by `checkpoint.keep` over the chain of grants.
"""

import contextlib
from collections.abc import Iterator

from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.checkpoint.rules import expendable, keep_rule
from launcher.core.contract import METRICS_FILE, PINS_PREFIX, attempt_prefix
from launcher.core.run.state import RunState
from launcher.observe import read_commit


def chain_of(state: RunState, store: ObjectStore) -> Iterator[Manifest]:
    """The commits that are history, newest first: from the newest one down its parents. Unreadable ones end the walk early."""
    ref = state.newest_commit
    while ref is not None:
        found = read_commit(store, ref)
        if not isinstance(found, Manifest):
            # Its own number tells the one before it, as restore does; before the first, the grant's parent.
            ref = CommitRef(ref.attempt, ref.commit - 1) if ref.commit > 1 else _parent(state, ref.attempt)
            continue
        yield found
        ref = found.parent


def _parent(state: RunState, attempt: int) -> CommitRef | None:
    known = state.attempts.get(attempt)
    return known.parent if known else None


def retain(state: RunState, store: ObjectStore) -> int:
    """Deletes what may go now; returns the number of objects deleted. Safe to repeat and to be killed in."""
    pinned = frozenset(_pins(store))  # before anything else: a pin set later protects from the next time on
    chain = list(chain_of(state, store))
    sealed = {a.number for a in state.attempts.values() if a.sealed}
    protected = {*pinned, *(m.ref for m in chain[:2]), *(a.parent for a in state.living if a.parent)}
    candidates = [(m.ref, m.step, m.loss) for m in chain]
    dropped = expendable(candidates, keep_rule(state.recipe.checkpoint.keep), protected)
    kept = [m for m in chain if m.ref not in dropped]
    pinned_elsewhere = [m for ref in pinned if isinstance(m := read_commit(store, ref), Manifest)]
    keep_keys = {f.key for m in (*kept, *pinned_elsewhere) for f in m.files}
    keep_keys |= {f.key for m in chain for f in m.files if f.path == METRICS_FILE}
    count = 0
    for number in sorted(sealed):
        for meta in store.list(f"{attempt_prefix(number)}saves/"):
            if meta.key not in keep_keys:
                store.delete(meta.key)
                count += 1
    return count


def _pins(store: ObjectStore) -> Iterator[CommitRef]:
    for meta in store.list(PINS_PREFIX):
        with contextlib.suppress(ValueError):
            yield CommitRef.parse(meta.key.removeprefix(PINS_PREFIX).removesuffix(".json"))
