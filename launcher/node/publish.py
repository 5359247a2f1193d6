"""The checkpoint folder of a program that knows nothing of us: restored before it starts, published while it runs.

Every two seconds a look; where two looks in a row prove the folder whole and something is new in it, it is committed as it is:
new and changed files are uploaded, the others are named where an earlier save put them. A file that is replaced before the next
look is kept open for that long, and the folder of the look before is committed with it (`look` says when). When the program has
ended by itself, with whatever exit code, nobody writes any more and one look is enough. When it was cut off by a signal, only
what was whole before counts.

A commit's step is the number of commits along the chain: the only measure of progress that such a program gives.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher import processes
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore
from launcher.checkpoint.commit import OUTAGE_MAX_S, Author, Committer, Draft, Parent, SealedMet
from launcher.checkpoint.format import Source
from launcher.checkpoint.restore import restore
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest, SetAside
from launcher.core.contract import PROGRESS_FILE, AttemptSpec, TrainerProgress
from launcher.core.tempo import PUBLISH_LOOKS_S
from launcher.errors import StoreError, StoreUnknown
from launcher.node.folder import FolderSink, InFlux, locate, source_of, source_of_held
from launcher.node.held import Held, hold
from launcher.node.look import LOOKS_IN_VAIN, Look, Seen, held_for_writing, is_whole, look, obstacle, sole_change, was_whole
from launcher.node.orders import Grant
from launcher.node.workspace import Workspace
from launcher.units import Seconds

OUTPUTS_PREFIX = "outputs/"
_BEYOND_S: Seconds = 0.01  # so that two looks are never a hair too close
_AFTER_FAILURE_S: Seconds = 5.0  # added for each failed save in a row


class Publisher:
    """`restore`, then `begin`, then `finish`, each once. `progress` is what a trainer of ours would say; `sealed` why to end.

    `obstacle` is why the last looks published nothing.
    """

    def __init__(self, store: ObjectStore, spec: AttemptSpec, place: Workspace, nonce: str) -> None:
        self.progress = TrainerProgress()
        self.sealed: str | None = None
        self.obstacle = ""
        self._store = store
        self._spec = spec
        self._place = place
        self._nonce = nonce
        self._committer: Committer | None = None
        self._published: dict[str, tuple[Seen | None, FileEntry]] = {}  # by path; Seen None: not on this disk as it was
        self._in_vain: deque[Look] = deque(maxlen=LOOKS_IN_VAIN)  # the newest, since one proved something
        self._held: Held | None = None  # of the newest look: the one file that was new in it
        self._owed: tuple[Look, Held | None] | None = None  # proved whole, and not committed yet
        self._with_outputs = False
        self._is_hurried = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="publisher", daemon=True)

    @property
    def is_idle(self) -> bool:
        """The program uses `launcher.train`, which commits by itself."""
        return (self._place.trainer / PROGRESS_FILE).exists()

    def restore(self, grant: Grant, grants: dict[int, CommitRef | None]) -> str:
        """Bring the grant's parent, or its newest whole ancestor, into the folder; says what was done. Raises StoreError."""
        if grant.parent is None:
            self._committer = self._make_committer(grant, None, ())
            return "starts from nothing"
        sink = FolderSink(self._folders())
        spec = self._spec
        found = restore(self._store, run=spec.run, incarnation=spec.incarnation, parent=grant.parent, grants=grants, sink=sink)
        sink.finish()
        self._committer = self._make_committer(grant, found.parent, found.set_aside)
        on_disk = look(self._folders(), ()).files
        self._published = {path: (on_disk.get(path), entry) for path, entry in sink.entries.items()}
        self.progress = replace(
            self.progress,
            step=found.manifest.step,
            restored=found.manifest.ref,
            restored_step=found.manifest.step,
            set_aside=found.set_aside,
        )
        num_files = len(sink.entries)
        return f"restored {num_files} file{'' if num_files == 1 else 's'} of commit {found.manifest.ref}, every digest ok"

    def begin(self) -> None:
        """The program has started."""
        self.progress = replace(self.progress, first_step_mono=time.monotonic())
        self._thread.start()

    def include_outputs(self) -> None:
        """From now on commits hold the recipe's `outputs` too: the machine may end soon."""
        self._with_outputs = True

    def hurry(self) -> None:
        """The attempt is told to end: a store that gives no answer is waited for no longer."""
        self._is_hurried = True

    def finish(self, *, torn: bool, finished: bool) -> None:
        """The last commit, after every process of the program has ended. May take as long as the store does."""
        self._ended.set()
        self._thread.join()
        if self.is_idle:
            return
        self.include_outputs()
        try:
            last = self._owed if torn else (self._look(()), None)
            if last is not None:
                patiently = store_calls(deadline=OUTAGE_MAX_S, sleep=self._sleep_unless_hurried)
                patiently(self._commit, *last, urgent=not finished, finished=finished)
        except (OSError, StoreUnknown) as error:  # the disk's, at a look; or the end of patience
            self._fail(error)

    def _sleep_unless_hurried(self, pause: Seconds) -> None:
        if self._is_hurried:
            raise StoreUnknown("told to end before the store gave an answer")
        time.sleep(pause)

    # --- looking ----------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """The thread. An error nobody foresaw counts as a failed save, said in the heartbeat, and the next look tries again."""
        before: Look | None = None
        pause: Seconds = 0.0
        while not self._ended.wait(pause) and not self.is_idle and self.sealed is None:
            try:
                before = self._look_again(before)
            except StoreUnknown as error:  # an outage passes; refusals in a row end the attempt
                self._warn(error)
            except Exception as error:
                self._fail(error)
            pause = self._pause()

    def _look_again(self, before: Look | None) -> Look:
        now = self._look(self._group())
        whole = None if before is None else self._proved(before, now)
        self._note_obstacle(now, in_vain=whole is None)
        self._held = None if before is None else self._hold(before, now)
        # A program that ended between look and stats: what its death changed is judged by `finish`.
        if whole is not None and not self._ended.is_set():
            self._owed = whole
            self._commit(*whole)
        return now

    def _proved(self, before: Look, now: Look) -> tuple[Look, Held | None] | None:
        """A look at which every file was whole: this one, or the one before it, of which one file is kept open."""
        if is_whole(before, now):
            return now, None
        held = self._held
        if held is not None and held.look is before and was_whole(held.path, before, now) and held.is_as_seen():
            return before, held
        return None

    def _note_obstacle(self, now: Look, *, in_vain: bool) -> None:
        if not in_vain:
            self._in_vain.clear()
        self._in_vain.append(now)
        self.obstacle = obstacle(tuple(self._in_vain))

    def _hold(self, before: Look, now: Look) -> Held | None:
        path = sole_change(before, now)
        return None if path is None else hold(path, locate(path, self._folders())[0], now)

    def _pause(self) -> Seconds:
        """A store that refused is left alone for a little: refusals in a row end the attempt, and some pass in seconds."""
        return PUBLISH_LOOKS_S + _BEYOND_S + self.progress.failed_saves * _AFTER_FAILURE_S

    def _look(self, group: Sequence[processes.ProcessId]) -> Look:
        seen = look(self._folders(), group)
        return seen if self._with_outputs or self._spec.outputs is None else seen.without(OUTPUTS_PREFIX)

    def _group(self) -> Sequence[processes.ProcessId]:
        return processes.descendants(os.getpid())

    def _folders(self) -> dict[str, Path]:
        if self._spec.outputs is None:
            return {"": self._place.checkpoint}
        outputs = Path(os.path.normpath(self._place.code / self._spec.outputs))
        return {"": self._place.checkpoint, OUTPUTS_PREFIX: outputs}

    # --- committing -------------------------------------------------------------------------------------------------------

    def _commit(self, whole: Look, held: Held | None, *, urgent: bool = False, finished: bool = False) -> None:
        """Commit `whole`, its file `held` from the open one, where it differs from what was published.

        A failure costs this commit only. May raise StoreUnknown.
        """
        changed = [path for path, seen in whole.files.items() if self._published.get(path, (None,))[0] != seen]
        kept = {path: entry for path, (_, entry) in self._published.items() if self._is_kept(path, whole)}
        if not whole.files or not (changed or kept.keys() != self._published.keys()):
            self._owed = None
            return
        assert self._committer is not None, "restore comes first"
        unchanged = [entry for path, entry in kept.items() if path not in changed]
        draft = Draft(
            step=self._committer.parent_step + 1, urgent=urgent, finished=finished, started_mono=time.monotonic(), facts={}
        )
        try:
            manifest = self._committer.publish(self._sources(whole, changed, held), draft, unchanged=unchanged)
        except InFlux:
            return
        except SealedMet as error:
            self.sealed = str(error)
        except StoreUnknown:
            raise
        except StoreError as error:
            self._fail(error)
        else:
            self._take(manifest, whole)

    def _fail(self, error: Exception) -> None:
        self._warn(error)
        self.progress = replace(self.progress, failed_saves=self.progress.failed_saves + 1)

    def _warn(self, error: Exception) -> None:
        self.progress = replace(self.progress, warnings=(f"a save failed: {error}",))

    def _is_kept(self, path: str, whole: Look) -> bool:
        """Published outputs stay in every commit until they are looked at again: the newest commit must name them."""
        return path in whole.files or (whole.left_out is not None and path.startswith(whole.left_out))

    def _sources(self, whole: Look, changed: list[str], held: Held | None) -> list[Source]:
        """The files to upload. Whether anybody holds one of them open is asked once, behind the last byte of the last."""

        def nobody_writes() -> None:
            if held_for_writing(self._group()) & {whole.files[path].inode for path in changed}:
                raise InFlux("a file was opened for writing while it was copied")

        def source(path: str) -> Source:
            last_check = nobody_writes if path == changed[-1] else _nothing_more
            if held is not None and path == held.path:
                return source_of_held(held, last_check)
            return source_of(path, folders, whole.files[path], last_check)

        folders = self._folders()
        return [source(path) for path in changed]

    def _take(self, manifest: Manifest, whole: Look) -> None:
        seen = {path: seen for path, (seen, _) in self._published.items()} | dict(whole.files)
        self._published = {entry.path: (seen[entry.path], entry) for entry in manifest.files}
        self._owed = None
        self.progress = replace(
            self.progress,
            step=manifest.step,
            last_commit=manifest.ref.commit,
            last_commit_step=manifest.step,
            last_commit_bytes=manifest.size,
            durable_s=manifest.durable_s,
            num_saves=self.progress.num_saves + 1,
            failed_saves=0,
            warnings=(),
        )
        assert self._committer is not None
        with contextlib.suppress(StoreError):  # what is not deleted now is deleted after the next commit
            self._committer.retire()

    def _make_committer(self, grant: Grant, parent: Parent | None, set_aside: tuple[SetAside, ...]) -> Committer:
        spec = self._spec
        author = Author(run=spec.run, incarnation=spec.incarnation, attempt=spec.attempt, grant=grant.number, nonce=self._nonce)
        return Committer(self._store, author, parent=parent, set_aside=set_aside, keep=spec.keep)


def _nothing_more() -> None:
    """The check behind a file that is not the last."""
