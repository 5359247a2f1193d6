"""Whether a store will carry a run: tried out with a few objects, which are deleted again. Each finding names its remedy."""

import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from launcher.adapters.retry import first_contact
from launcher.adapters.store.base import Bucket, ObjectStore
from launcher.adapters.store.probe import PROBES_PREFIX
from launcher.app.checkup import Finding, Verdict, clock_finding
from launcher.errors import KeyExists, KeyMissing, StoreError
from launcher.units import Bytes, Seconds, show_size

NUM_TIMED = 5
SMALL: Bytes = 1000  # about a record
LARGE: Bytes = 8 * 2**20  # long enough to forget the latency, short enough to wait for
SLOW_CREATE_S: Seconds = 0.5  # a tick of the supervisor makes a handful of calls, and a notice may be 30 s long
SLOW_BYTES_PER_S: Bytes = 5 * 10**6  # a checkpoint of 1 GB would take over three minutes
_STORE_FAILED = StoreError.exit_code

T = TypeVar("T")


class StoreCheckup:
    """One look at a store. `utc` and `monotonic` are this machine's clocks, in seconds."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        utc: Callable[[], Seconds] = time.time,
        monotonic: Callable[[], Seconds] = time.monotonic,
    ) -> None:
        self._store = store
        self._utc = utc
        self._monotonic = monotonic
        self._prefix = f"{PROBES_PREFIX}{uuid.uuid4().hex}/"
        self._keys: list[str] = []

    def findings(self) -> Iterator[Finding]:
        """One after the other; the first that cannot be tried out is the last."""
        checks = (
            ("reachable", self._reachable),
            ("create", self._create),
            ("read", self._read),
            ("latency", self._latency),
            ("throughput", self._throughput),
            ("clock", self._clock),
            ("lifecycle", self._lifecycle),
            ("delete", self._delete),
        )
        try:
            for name, check in checks:
                try:
                    yield check(name)
                except StoreError as error:
                    yield _failed(name, error)
                    return
        finally:
            self._clean_up()

    @first_contact()
    def _reachable(self, check: str) -> Finding:
        _, took = self._timed(self._made, bytes(SMALL))
        return Finding(check=check, verdict=Verdict.GOOD, text=f"the first object was written after {took * 1000:.0f} ms")

    def _create(self, check: str) -> Finding:
        try:
            self._store.create(self._keys[0], b"another's")
        except KeyExists:
            return Finding(check=check, verdict=Verdict.GOOD, text="what exists cannot be created again")
        return Finding(
            check=check,
            verdict=Verdict.BAD,
            text="the store ignores create-if-absent, on which every checkpoint and the journal rest",
            remedy="use another store",
            exit_code=_STORE_FAILED,
        )

    def _read(self, check: str) -> Finding:
        key = self._made(data := random.randbytes(SMALL))
        if self._store.get(key) != data:
            text, remedy = "other bytes came back than were written", "see whether a proxy lies in between; try once more"
            return Finding(check=check, verdict=Verdict.BAD, text=text, remedy=remedy, exit_code=_STORE_FAILED)
        if key not in {meta.key for meta in self._store.list(self._prefix)}:
            return Finding(check=check, verdict=Verdict.GOOD, text="what was written is read; a listing does not show it yet")
        return Finding(check=check, verdict=Verdict.GOOD, text="what was written is read, and listed")

    def _latency(self, check: str) -> Finding:
        creates, reads = [], []
        for _ in range(NUM_TIMED):
            key, create_s = self._timed(self._made, random.randbytes(SMALL))
            _, read_s = self._timed(self._store.get, key)
            creates.append(create_s)
            reads.append(read_s)
        create_s, read_s = statistics.median(creates), statistics.median(reads)
        is_slow = create_s > SLOW_CREATE_S
        return Finding(
            check=check,
            verdict=Verdict.POOR if is_slow else Verdict.GOOD,
            text=f"create {create_s * 1000:.0f} ms, read {read_s * 1000:.0f} ms (median of {NUM_TIMED})",
            remedy="choose a bucket nearer to the machines" if is_slow else None,
            figures={"create_s": create_s, "read_s": read_s},
        )

    def _throughput(self, check: str) -> Finding:
        key, up_s = self._timed(self._made, random.randbytes(LARGE))
        _, down_s = self._timed(self._store.get, key)
        up, down = LARGE / max(up_s, 1e-6), LARGE / max(down_s, 1e-6)
        is_slow = min(up, down) < SLOW_BYTES_PER_S
        return Finding(
            check=check,
            verdict=Verdict.POOR if is_slow else Verdict.GOOD,
            text=f"up {show_size(round(up))}/s, down {show_size(round(down))}/s, from here ({show_size(LARGE)} each)",
            remedy="choose a bucket nearer to the machines, or save less often (checkpoint.every)" if is_slow else None,
            figures={"up_bytes_per_s": up, "down_bytes_per_s": down},
        )

    def _clock(self, check: str) -> Finding:
        if not isinstance(self._store, Bucket):
            return Finding(check=check, verdict=Verdict.GOOD, text="the store is this machine's")
        before = self._utc()
        key = self._made(bytes(SMALL))
        written_at, after = self._store.written_at(key), self._utc()
        # The store tells whole seconds, and wrote at some instant in between.
        ahead = max(0.0, before - (written_at + 1)) or min(0.0, after - written_at)
        return clock_finding(check, ahead)

    def _lifecycle(self, check: str) -> Finding:
        if not isinstance(self._store, Bucket):
            return Finding(check=check, verdict=Verdict.GOOD, text="a folder deletes nothing by itself")
        rules = self._store.lifecycle()
        if rules is None:
            text, remedy = "its rules may not be read", "see to it that none deletes objects under this URL"
            return Finding(check=check, verdict=Verdict.UNTOLD, text=text, remedy=remedy)
        if deleting := [rule.prefix for rule in rules if rule.deletes]:
            where = "everything here" if "" in deleting else ", ".join(deleting)
            text, remedy = f"a rule of the bucket deletes {where} after a while", "exempt this URL: checkpoints would vanish"
            return Finding(check=check, verdict=Verdict.POOR, text=text, remedy=remedy)
        if not any(rule.aborts_uploads and not rule.prefix for rule in rules):
            text, remedy = "no rule ends abandoned uploads, which cost money unseen", "add one that ends them after 7 days"
            return Finding(check=check, verdict=Verdict.POOR, text=text, remedy=remedy)
        return Finding(check=check, verdict=Verdict.GOOD, text="nothing is deleted but abandoned uploads")

    def _delete(self, check: str) -> Finding:
        for key in self._keys:
            self._store.delete(key)
        try:
            self._store.get(self._keys[0])
        except KeyMissing:
            self._keys.clear()
            return Finding(check=check, verdict=Verdict.GOOD, text="what was tried out here is gone again")
        text, remedy = f"{self._keys[0]} is still there", "allow deleting, or old checkpoints stay and cost"
        return Finding(check=check, verdict=Verdict.BAD, text=text, remedy=remedy, exit_code=_STORE_FAILED)

    def _made(self, data: bytes) -> str:
        key = f"{self._prefix}{len(self._keys):02d}"
        self._keys.append(key)
        self._store.create(key, data)
        return key

    def _timed(self, act: Callable[..., T], *args: Any) -> tuple[T, Seconds]:
        begun = self._monotonic()
        return act(*args), self._monotonic() - begun

    @first_contact()
    def _clean_up(self) -> None:
        for key in self._keys:
            try:
                self._store.delete(key)
            except StoreError:
                return  # told already, by what failed before


def _failed(check: str, error: StoreError) -> Finding:
    said, _, remedy = str(error).partition("; ")
    return Finding(check=check, verdict=Verdict.BAD, text=said, remedy=remedy or None, exit_code=error.exit_code)
