"""Where a checkpoint's bytes go: files first, under a save prefix nobody used before, and the manifest last, by create.

A reader that sees a manifest may trust every file it names; a save killed half way left nothing but waste. The manifest goes to
the attempt's next commit number with create-if-absent, never by rename: it must lose against a `Sealed` already there, since
then another attempt owns the run's history. A create without an answer is settled first, with the same bytes, before
anything else goes to that number; it may still land.

Retention deletes files of this attempt's own older saves, only after a commit of its own succeeded. Manifests and metrics stay:
a missing commit number would move the seal, missing metrics would tear the curve. No torch here: the agent publishes
the folders of unmodified programs through the same door.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launcher.adapters import retry
from launcher.adapters.store.base import ObjectStore
from launcher.checkpoint import format as layout
from launcher.checkpoint import verify
from launcher.checkpoint.format import Source
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint import rules
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest, Sealed, SetAside
from launcher.core.contract import METRICS_FILE, PINS_PREFIX, KeepRule, attempt_prefix, commit_key, save_prefix
from launcher.core.tempo import Tempo
from launcher.errors import Damaged, KeyExists, KeyMissing, LaunchError, StoreUnknown, StoreUnusable
from launcher.units import Seconds, Step

OUTAGE_MAX_S: Seconds = Tempo().store_outage_max  # real: a store without an answer is waited for as long as the client does
NUM_NEWEST_KEPT = 2  # the newest commit and the one to fall back to should it turn out damaged, whatever the rule says
NUMBERS_LOST_MOST = 3  # in a row, to damage on the way: a store that damages more does so to all


class SealedMet(LaunchError):
    """This attempt is no longer the writer: its next commit number is taken. Stop training; nothing more can count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes, and by which right."""

    run: str
    incarnation: str
    attempt: int
    grant: int  # journal number of the WriterGranted
    nonce: str  # of the claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The commit that the next one follows."""

    ref: CommitRef
    sha256: str
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a commit says of itself, besides its files."""

    step: Step
    loss: float | None = None
    urgent: bool = False
    finished: bool = False
    stall_s: Seconds = 0.0
    started_mono: Seconds  # the Committer's monotonic reading at the call of the save
    facts: dict[str, str]


class Committer:
    """The commits of one attempt, numbered from 1 without gaps, save where a number was lost to damage. One thread at a time."""

    def __init__(
        self,
        store: ObjectStore,
        author: Author,
        *,
        parent: Parent | None,
        set_aside: tuple[SetAside, ...] = (),
        keep: KeepRule,
        own: Sequence[Manifest] = (),
        monotonic: Callable[[], Seconds] = time.monotonic,
        landed: Callable[[Manifest, bytes], None] = lambda manifest, data: None,
    ) -> None:
        """`own` are the commits that an earlier process of this attempt has made; `monotonic` is real time, for `durable_s`.

        `landed` hears of each commit that stands, with its bytes.
        """
        self.parent = parent
        self.manifests: list[Manifest] = list(own)
        self._store = store
        self._author = author
        self._set_aside = set_aside
        self._keep = keep
        self._monotonic = monotonic
        self._landed = landed
        self._num_saves = max((manifest.save for manifest in own), default=0)
        self._pending: tuple[Manifest, bytes] | None = None
        self._kept: list[Manifest] = list(own)  # those the rule has not let go: what it lets go once, it never wants back
        # Keys this attempt has written, and may delete again once no kept manifest names them.
        self._uploaded = {file.key for manifest in own for file in manifest.files if self._may_go(file)}

    @property
    def parent_step(self) -> Step:
        return self.parent.step if self.parent else 0

    def publish(
        self,
        sources: Sequence[Source],
        draft: Draft,
        *,
        unchanged: Sequence[FileEntry] = (),
        metrics: Callable[[Step], bytes] | None = None,
    ) -> Manifest:
        """Upload `sources`, then commit them together with `unchanged` files of earlier saves.

        `metrics` gives the lines since a step; it is called once the parent is certain. Raises StoreError (this save failed) or
        SealedMet (no later save can succeed either).
        """
        self.settle()
        self._num_saves += 1
        extra = (layout.bytes_source(METRICS_FILE, metrics(self.parent_step)),) if metrics else ()
        entries = tuple(self._upload(source) for source in (*sources, *extra))
        manifest = self._manifest(draft, (*entries, *unchanged))
        self._pending = (manifest, manifests.write(manifest))
        self.settle()
        return self.manifests[-1]

    def settle(self) -> None:
        """Bring a manifest whose create got no answer to its end: it stands, or this raises as `publish` does.

        A number whose bytes were damaged on their way is lost, and the next one takes the commit.
        """
        for _ in range(NUMBERS_LOST_MOST):
            if self._pending is None:
                return
            manifest, data = self._pending
            if _stands(self._store, manifest.ref, data):
                self._pending = None
                self._take(manifest, data)
            else:
                self._pending = _at_the_next_number(manifest)
        if self._pending is not None:
            raise Damaged(commit_key(manifest.ref), f"{NUMBERS_LOST_MOST} manifests in a row were damaged on their way there")

    def _take(self, manifest: Manifest, data: bytes) -> None:
        self.manifests.append(manifest)
        self._kept.append(manifest)
        self._uploaded -= {file.key for file in manifest.files if not self._may_go(file)}
        self.parent = Parent(ref=manifest.ref, sha256=manifests.sha256_of(data), step=manifest.step)
        self._landed(manifest, data)

    def retire(self) -> None:
        """Delete the files of this attempt that neither the rule nor a pin keeps. Call after a success of `publish`."""
        pinned = rules.pinned(meta.key for meta in self._store.list(PINS_PREFIX))
        newest = {manifest.ref for manifest in self.manifests[-NUM_NEWEST_KEPT:]}
        chain = [(manifest.ref, manifest.step, manifest.loss) for manifest in self._kept]
        expendable = rules.expendable(chain, self._keep, pinned | newest)
        self._kept = [manifest for manifest in self._kept if manifest.ref not in expendable]
        for key in sorted(self._uploaded - {file.key for manifest in self._kept for file in manifest.files}):
            self._store.delete(key)
            self._uploaded.discard(key)

    def _may_go(self, file: FileEntry) -> bool:
        """Of what it committed an attempt deletes only its own files, and no curve."""
        return file.path != METRICS_FILE and file.key.startswith(attempt_prefix(self._author.attempt))

    def _upload(self, source: Source) -> FileEntry:
        key = save_prefix(self._author.attempt, self._num_saves) + source.path
        self._uploaded.add(key)
        return retry.store_calls()(_upload_once, self._store, key, source)

    def _manifest(self, draft: Draft, files: tuple[FileEntry, ...]) -> Manifest:
        author, parent = self._author, self.parent
        return Manifest(
            run=author.run,
            incarnation=author.incarnation,
            ref=CommitRef(author.attempt, self.manifests[-1].ref.commit + 1 if self.manifests else 1),
            save=self._num_saves,
            grant=author.grant,
            nonce=author.nonce,
            parent=parent.ref if parent else None,
            parent_sha256=parent.sha256 if parent else None,
            step=draft.step,
            loss=draft.loss,
            files=files,
            set_aside=self._set_aside,
            finished=draft.finished,
            urgent=draft.urgent,
            stall_s=draft.stall_s,
            durable_s=self._monotonic() - draft.started_mono,
            facts=draft.facts,
        )


def _upload_once(store: ObjectStore, key: str, source: Source) -> FileEntry:
    """Create `key`; where a try before this one did so unheard, what stands there must be the same bytes."""
    digests = layout.PieceDigests()
    try:
        store.create(key, digests.passing(source.chunks()))
    except KeyExists:
        return _already_there(store, key, source)
    return layout.file_entry(source, key, digests)


def _already_there(store: ObjectStore, key: str, source: Source) -> FileEntry:
    digests = layout.PieceDigests()
    for _ in digests.passing(source.chunks()):
        pass
    entry = layout.file_entry(source, key, digests)
    if culprit := verify.file_culprit(store, entry):
        raise StoreUnusable(f"{key} exists already, and is not what this save wrote: {culprit}")
    return entry


def _create_and_read_back(store: ObjectStore, key: str, data: bytes) -> bytes:
    """What stands at `key` after a try to create it. A lost answer turns our own success into "exists", so only reading tells."""
    with contextlib.suppress(KeyExists):
        store.create(key, data)
    try:
        return store.get(key)
    except KeyMissing as error:
        raise StoreUnknown(f"{key} was created and cannot be read yet") from error


def _stands(store: ObjectStore, ref: CommitRef, data: bytes) -> bool:
    """Whether `data` is the commit `ref` now; False where it was damaged on its way there, and the number is lost.

    Raises SealedMet where the number is another's, Damaged where nobody can tell.
    """
    found = retry.store_calls()(_create_and_read_back, store, commit_key(ref), data)
    if found == data:
        return True
    try:
        commit, again = verify.fetch_commit(store, ref)
    except Damaged:
        if _is_alike(found, data):
            return False
        raise
    if again == data:  # what came first was damaged on its way back
        return True
    if isinstance(commit, Sealed):
        raise SealedMet(f"attempt {ref.attempt} was sealed at {ref} by {commit.supervisor}: it is no longer the writer")
    raise SealedMet(f"another process has committed {ref}: this one is not the writer")


def _is_alike(damaged: bytes, data: bytes) -> bool:
    """Whether most bytes of `data` are where they should be; hardly any of a seal's are."""
    return 2 * sum(a == b for a, b in zip(damaged, data, strict=False)) > len(data)


def _at_the_next_number(manifest: Manifest) -> tuple[Manifest, bytes]:
    """The manifest as the commit behind its own, and its bytes."""
    later = replace(manifest, ref=CommitRef(manifest.ref.attempt, manifest.ref.commit + 1))
    return later, manifests.write(later)
