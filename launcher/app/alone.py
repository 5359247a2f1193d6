"""What a machine has saved and no supervisor has journaled yet: it goes on training and committing while nobody looks.

Commits of an attempt are numbered without gaps until its seal, so whoever can read finds the newest by key. The writer's
heartbeat says about where, which leaves a handful of reads however long the machine was alone.
"""

import contextlib
from dataclasses import replace

from launcher import codec
from launcher.adapters.commits import UnreadableCommit, read_commit
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.app.result import Result, result_of
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.run.state import Attempt
from launcher.errors import StoreError
from launcher.units import Utc


def saved_alone(history: History) -> Manifest | None:
    """The newest checkpoint of the writer beyond the journal's; None where there is none, and of a writer that is sealed."""
    writer = history.state.last_writer
    if writer is None or writer.sealed:
        return None
    with contextlib.suppress(StoreError):  # a hint for the eye
        return _newest(history.store, writer)
    return None


def beat_of(store: ObjectStore, attempt: int) -> Heartbeat | None:
    """The newest heartbeat of an attempt; None where none can be read."""
    with contextlib.suppress(StoreError, ValueError):  # a hint for the eye
        beat: Heartbeat = codec.loads_digested(Heartbeat, store.get(heartbeat_key(attempt)))
        return beat
    return None


def result_so_far(history: History, now: Utc) -> Result:
    """The result at `now` with what was saved alone: that is safe too, and a resume goes on from it."""
    result, alone = result_of(history, now), saved_alone(history)
    if alone is None:
        return result
    unseen = alone.ref.commit - history.state.attempts[alone.ref.attempt].num_commits
    unit = "step" if alone.tells_steps else result.unit
    return replace(result, step=alone.step, unit=unit, checkpoints=result.checkpoints + unseen)


def _newest(store: ObjectStore, writer: Attempt) -> Manifest | None:
    """Up from where the heartbeat was to the last number that a commit took, then down to one that can be read."""
    beat = beat_of(store, writer.number)
    top = max(writer.num_commits, beat.last_commit - 1 if beat is not None else 0)
    while isinstance(read_commit(store, CommitRef(writer.number, top + 1)), Manifest | UnreadableCommit):
        top += 1
    below = (read_commit(store, CommitRef(writer.number, number)) for number in range(top, writer.num_commits, -1))
    return next((found for found in below if isinstance(found, Manifest)), None)
