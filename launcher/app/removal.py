"""Deleting a run whole, so that a kill at any instruction leaves something that `launch rm` can finish and nobody can resume.

One write turns a run into remains: `run.json` is replaced by a RunRemoval, which every opener refuses. Behind it no order is
dangerous: what is large goes first, the journal after it, then what this machine kept, then the RunRemoval itself, and last the
index entry by which the remains are found. A new run of that name cannot be born before the old one's last object is gone.

What is deleted is what lies at one store URL, and no more. A name under which this home knows several places is refused; what
this machine kept under the name of a run that has namesakes, or for an incarnation that a copy shares, stays with the others.
"""

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from launcher import codec
from launcher.adapters.cloud import local_reference
from launcher.adapters.cloud.local_registry import instances_of, locked
from launcher.adapters.history import read_head_or_removal
from launcher.adapters.store.base import Bucket, ObjectMeta, ObjectStore
from launcher.app.holding import holder
from launcher.app.home import Found, Home, ambiguous, named
from launcher.app.wiring import is_remote, open_store, registry_of
from launcher.core.contract import JOURNAL_PREFIX, PINS_PREFIX, RUN_KEY, SEGMENTS_PREFIX, RunHead, RunRemoval
from launcher.errors import LaunchError, StoreUnusable, UsageError
from launcher.units import Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of a run. `removal` is what stands, or will stand, at `run.json`; None where only the index knows the run."""

    run: str
    store: ObjectStore
    url: str | None  # where a person named it so
    removal: RunRemoval | None
    is_begun: bool  # its deletion was begun before
    num_objects: int
    size: Bytes
    num_pins: int

    @property
    def called(self) -> str:
        """What a command names the run by."""
        return self.run if self.url is None else shlex.quote(self.url)


def remains_of(home: Home, text: str) -> Remains:
    """The run meant by a name, a unique prefix or a store URL, also where it was deleted in part. Raises UsageError, Damaged."""
    store = _store_meant(home, text)
    head = read_head_or_removal(store)
    name = next((entry.run for entry in home.entries() if entry.store == store.url), None)
    if head is None and name is None:
        raise UsageError(f"there is no run at {store.url}; `launch runs` lists those of this home")
    objects = list(store.list("")) if head is not None else []
    return Remains(
        run=head.run if head is not None else name or text,
        store=store,
        url=text if "/" in text else None,
        removal=None if head is None else RunRemoval(run=head.run, incarnation=head.incarnation),
        is_begun=not isinstance(head, RunHead),
        num_objects=len(objects),
        size=sum(meta.size for meta in objects),
        num_pins=sum(meta.key.startswith(PINS_PREFIX) for meta in objects),
    )


def _store_meant(home: Home, text: str) -> ObjectStore:
    """Where several places have the name, one that is gone too is among those that may be meant."""
    if "/" in text:
        return open_store(text)
    name, urls = named(home, text)
    if len(urls) > 1:
        raise ambiguous(name, urls)
    return open_store(urls[0])


# --- what forbids it -----------------------------------------------------------------------------------------------------------


def refuse_if_alive(remains: Remains) -> None:
    """Raises UsageError, with the command that ends it, where anything of the run still lives."""
    if remains.removal is None:
        return
    run, remedy = remains.run, f"`launch cancel {remains.called}` ends it, then rm deletes it"
    held_by = holder(remains.store, remains.removal.incarnation)
    if held_by is not None:
        raise UsageError(f"process {held_by.pid} supervises {run}; {remedy}")
    busy = next(_hosts_alive(remains.removal.incarnation), None)
    if busy is not None:
        raise UsageError(f"the instance {busy} of {run} still lives here; {remedy}")
    number = None if remains.is_begun else _living_attempt(_found(remains))
    if number is not None:
        raise UsageError(f"attempt {number} of {run} has not ended; {remedy}")


def _found(remains: Remains) -> Found:
    head = read_head_or_removal(remains.store)
    if not isinstance(head, RunHead):
        raise UsageError(f"{remains.run} is being deleted by somebody else; look again in a moment")
    return Found(store=remains.store, head=head)


def _living_attempt(found: Found) -> int | None:
    history = found.read()
    attempts = history.state.attempts.values() if history.is_created else ()
    return max((a.number for a in attempts if a.is_alive or a.bill is None), default=None)


def _hosts_alive(incarnation: str) -> Iterator[str]:
    """Local instances whose host holds its lock: it does so for its whole life."""
    for instance in instances_of(registry_of(incarnation)):
        with locked(instance.lock) as is_free:
            if not is_free:
                yield instance.name


# --- the deletion --------------------------------------------------------------------------------------------------------------


def remove(home: Home, remains: Remains, *, passed: Callable[[str], None] = lambda what: None) -> None:
    """Delete it all; `passed` hears of each step done. Repeating it after a kill at any of them finishes the work."""
    removal, store = remains.removal, remains.store
    if removal is not None:
        if not remains.is_begun:
            _turn_into_remains(remains, removal)
        passed("run.json replaced")
        registry = _own_registry(home, remains, removal)
        if registry is not None:
            local_reference.stop(registry)  # before the listing: it would write into the store at its end
        for meta in _in_order(store):
            store.delete(meta.key)
            passed(meta.key)
        if isinstance(store, Bucket):
            with contextlib.suppress(StoreUnusable):  # who may not list them leaves them to the bucket's own rule
                store.abandon_uploads()
        if registry is not None:
            shutil.rmtree(registry, ignore_errors=True)
        passed("registry")
        store.delete(RUN_KEY)
        passed(RUN_KEY)
    _drop_empty_folder(home, remains)
    if not _others(home, remains, remains.run):
        home.log_of(remains.run).unlink(missing_ok=True)
    home.forget(remains.run, remains.store.url)


def _others(home: Home, remains: Remains, name: str | None = None) -> list[str]:
    """Store URLs of other runs of this home: of a name, or on this machine's disks, where copies are made."""
    places = home.places()
    urls = places.get(name, ()) if name else (url for urls in places.values() for url in urls if not is_remote(url))
    return [url for url in urls if url != remains.store.url]


def _own_registry(home: Home, remains: Remains, removal: RunRemoval) -> Path | None:
    """What this machine wrote down of the run; None where a copy of it that stays has the same."""
    for url in _others(home, remains):
        with contextlib.suppress(LaunchError):
            head = read_head_or_removal(open_store(url))
            if head is not None and head.incarnation == removal.incarnation:
                return None
    return registry_of(removal.incarnation)


def _turn_into_remains(remains: Remains, removal: RunRemoval) -> None:
    """From here on nobody can open the run. Who opened it a moment before has left a record, and then it is theirs."""
    found = _found(remains)
    history = found.read()
    remains.store.replace(RUN_KEY, codec.dumps_digested(removal))
    if history.poll():
        remains.store.replace(RUN_KEY, codec.dumps_digested(found.head))
        raise UsageError(f"somebody opened {remains.run} at this very moment; nothing was deleted")


def _in_order(store: ObjectStore) -> list[ObjectMeta]:
    """All objects but `run.json`, the journal behind the rest."""
    objects = [meta for meta in store.list("") if meta.key != RUN_KEY]
    return sorted(objects, key=lambda meta: (meta.key.startswith((JOURNAL_PREFIX, SEGMENTS_PREFIX)), meta.key))


def _drop_empty_folder(home: Home, remains: Remains) -> None:
    """A folder of the home is not left behind empty; a store has no such thing and needs no rule for it."""
    folder, _, name = remains.store.url.rpartition("/")
    if folder == home.runs_url:
        with contextlib.suppress(OSError):
            (home.path / "runs" / unquote(name)).rmdir()
