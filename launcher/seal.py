"""The end of an attempt's commits: whoever finds the seal at a number adds nothing behind it."""

from launcher.adapters.commits import read_commit
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint.manifest import CommitRef, Sealed, write
from launcher.core.contract import commit_key
from launcher.core.run.state import RunState
from launcher.errors import KeyExists, StoreUnknown

COMMITS_AHEAD_MOST = 100_000  # of an attempt beyond the newest one seen: a supervisor may have been away for days


def seal(store: ObjectStore, state: RunState, attempt: int, supervisor: str, nonce: str) -> None:
    """Creates `Sealed` at the first free commit number of an ended attempt. Repeating it finds the seal and does nothing."""
    first = state.attempts[attempt].num_commits + 1
    for number in range(first, first + COMMITS_AHEAD_MOST):
        ref = CommitRef(attempt, number)
        found = read_commit(store, ref)
        if found is None:
            if _create_seal(store, state, ref, supervisor, nonce):
                return
            found = read_commit(store, ref)  # whoever was quicker: a manifest in its last instant, or another supervisor's seal
        if isinstance(found, Sealed):
            return
    raise StoreUnknown(f"no free number above {commit_key(CommitRef(attempt, first))} to seal attempt {attempt} at")


def _create_seal(store: ObjectStore, state: RunState, ref: CommitRef, supervisor: str, nonce: str) -> bool:
    sealed = Sealed(run=state.run, incarnation=state.incarnation, ref=ref, supervisor=supervisor, nonce=nonce)
    try:
        store.create(commit_key(ref), write(sealed))
    except KeyExists:
        return False
    return True
