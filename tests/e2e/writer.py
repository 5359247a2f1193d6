"""One life of a supervisor and its machine on a store, to be killed anywhere: `python -m tests.e2e.writer URL LIFE`.

It opens the journal, appends, copies a segment, commits two checkpoints, reads one back whole, and seals the attempt. Every byte
of a shard follows from the life and the step, so that whoever finds one can tell whether it is whole.
"""

import hashlib
import sys

from launcher.adapters.store.open import open_store
from launcher.checkpoint import format as layout
from launcher.checkpoint.format import Source
from launcher.core.checkpoint.manifest import CommitRef
from launcher.units import Bytes, Step
from tests.conformance.journals import NOW, Noted, Started, journal
from tests.training import scene

NUM_RECORDS = 2  # of each life
STEPS = (1, 2)
SHARD_BYTES: Bytes = 600_000  # travels in many small writes, so that one may be cut anywhere
SHARD = "shard.bin"


def main(url: str, life: int) -> None:
    store = open_store(url)
    history = journal(store, f"sup-{life}")
    history.open(Started(who=f"sup-{life}"), NOW)
    for number in range(NUM_RECORDS):
        history.append(Noted(text=f"note {number} of life {life}"), NOW)
    history.write_segment(1, history.last)
    attempt = scene.committer(store, life)
    manifests = [attempt.publish([shard(life, step)], scene.draft(step)) for step in STEPS]
    scene.restored(store, manifests[0].ref)
    scene.seal(store, CommitRef(life, len(STEPS) + 1))


def shard(life: int, step: Step) -> Source:
    return layout.bytes_source(SHARD, shard_bytes(life, step))


def shard_bytes(life: int, step: Step) -> bytes:
    return hashlib.shake_128(f"{life} {step}".encode()).digest(SHARD_BYTES)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
