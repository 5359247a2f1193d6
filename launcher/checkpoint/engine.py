"""Saving behind the training: one thread uploads and commits what the loop has staged, one save at a time.

Training never waits for the store, and a store that refuses never stops training: that save failed, is counted and said, and the
next one tries again. One that gives no answer is said and not counted, since outages pass, if only after hours. Only a seal ends
it, since nothing written after it can count. At most one save is under way: two at once would need memory for two states, and the
newer could overtake the older.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from launcher import log
from launcher.adapters.store.base import Buffer
from launcher.checkpoint.commit import Committer, Draft, SealedMet
from launcher.checkpoint.format import Source
from launcher.core.checkpoint.manifest import Manifest
from launcher.errors import StoreError, StoreUnknown
from launcher.units import Seconds, Step

NUM_WARNINGS_MAX = 8  # of the newest; they travel in every heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the saves of this process have come to."""

    num_saves: int = 0
    failed_saves: int = 0  # refused, in a row; those that got no answer in between do not count
    durable_s: Seconds = 0.0  # of the newest success, from the call to the commit
    last: Manifest | None = None
    warnings: tuple[str, ...] = ()
    sealed: SealedMet | None = None


class PendingSave:
    """A save under way. Training may go on; `wait` is for who must know."""

    def __init__(self, step: Step, future: Future[Manifest | None]) -> None:
        self.step = step
        self._future = future

    @staticmethod
    def none(step: Step) -> "PendingSave":
        """A save that is not made: nobody is there to keep it."""
        future: Future[Manifest | None] = Future()
        future.set_result(None)
        return PendingSave(step, future)

    @property
    def is_done(self) -> bool:
        return self._future.done()

    def wait(self) -> Manifest | None:
        """The durable checkpoint, or None where this save failed; the reason is among the tally's warnings."""
        return self._future.result()


class Engine:
    """Runs saves of one attempt. Its methods belong to the training thread; the tally may be read at any time.

    `moved` is called, on the saving thread, for each piece that is uploaded.
    """

    def __init__(self, committer: Committer, moved: Callable[[], None] = lambda: None) -> None:
        self.tally = Tally(last=committer.manifests[-1] if committer.manifests else None)
        self._moved = moved
        self._committer = committer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="save")
        self._pending: PendingSave | None = None

    @property
    def under_way(self) -> PendingSave | None:
        return None if self._pending is None or self._pending.is_done else self._pending

    def save(self, sources: Sequence[Source], draft: Draft, metrics: Callable[[Step], bytes]) -> PendingSave:
        """Upload and commit in the background. `sources` must not change any more."""
        assert self.under_way is None, "one save at a time"
        self._pending = PendingSave(draft.step, self._thread.submit(self._run, self._watched(sources), draft, metrics))
        return self._pending

    def wait(self) -> None:
        """Until no save is under way."""
        if self._pending is not None:
            self._pending.wait()

    def _watched(self, sources: Sequence[Source]) -> list[Source]:
        def chunks(source: Source) -> Iterator[Buffer]:
            for chunk in source.chunks():
                self._moved()
                yield chunk

        return [replace(source, chunks=functools.partial(chunks, source)) for source in sources]

    def _run(self, sources: Sequence[Source], draft: Draft, metrics: Callable[[Step], bytes]) -> Manifest | None:
        try:
            manifest = self._committer.publish(sources, draft, metrics=metrics)
        except SealedMet as error:
            self.tally = replace(self.tally, sealed=error)
            return None
        except StoreUnknown as error:
            self._warn(f"the save of step {draft.step} got no answer: {error}")
            return None
        except Exception as error:  # whatever the store, or the bytes, came up with: training must not die of a save
            self._warn(f"the save of step {draft.step} failed: {error}")
            self.tally = replace(self.tally, failed_saves=self.tally.failed_saves + 1)
            return None
        self.tally = replace(
            self.tally,
            num_saves=self.tally.num_saves + 1,
            failed_saves=0,
            durable_s=time.monotonic() - draft.started_mono,
            last=manifest,
        )
        self._retire()
        return manifest

    def _warn(self, warning: str) -> None:
        log.warning("save_failed", text=warning)
        self.tally = replace(self.tally, warnings=(*self.tally.warnings, warning)[-NUM_WARNINGS_MAX:])

    def _retire(self) -> None:
        """Old files that cannot be deleted now are met again after the next save."""
        try:
            self._committer.retire()
        except StoreError as error:
            log.debug("retention_failed", error=str(error))
