"""Deleting a run whole, so that a kill at any instruction leaves something that `launch rm` can finish and nobody can resume.

One write turns a run into remains: `run.json` is replaced by a RunRemoval, which every opener refuses. Behind it no order is
dangerous: what is large goes first, the journal after it, then what this machine kept, then the RunRemoval itself, and last the
index entry by which the remains are found. A new run of that name cannot be born before the old one's last object is gone.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from launcher import codec
from launcher.adapters.cloud import local_reference
from launcher.adapters.cloud.local_registry import instances_of, locked
from launcher.adapters.history import read_head_or_removal
from launcher.adapters.store.base import ObjectMeta, ObjectStore
from launcher.app.holding import holder
from launcher.app.home import Found, Home, find
from launcher.app.wiring import child, open_store, registry_of
from launcher.core.contract import JOURNAL_PREFIX, PINS_PREFIX, RUN_KEY, SEGMENTS_PREFIX, RunHead, RunRemoval
from launcher.errors import UsageError
from launcher.units import Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of a run. `removal` is what stands, or will stand, at `run.json`; None where only the index knows the run."""

    run: str
    store: ObjectStore
    removal: RunRemoval | None
    is_begun: bool  # its deletion was begun before
    num_objects: int
    size: Bytes
    num_pins: int


def remains_of(home: Home, text: str) -> Remains:
    """The run meant by a name, a unique prefix or a store URL, also where it was deleted in part. Raises UsageError, Damaged."""
    known = {entry.run: entry.store for entry in home.entries()}
    store = open_store(text if "/" in text else known.get(text) or find(home, text).store.url)
    head = read_head_or_removal(store)
    if head is None and text not in known:
        raise UsageError(f"there is no run at {store.url}; `launch runs` lists those of this home")
    objects = list(store.list("")) if head is not None else []
    return Remains(
        run=head.run if head is not None else text,
        store=store,
        removal=None if head is None else RunRemoval(run=head.run, incarnation=head.incarnation),
        is_begun=not isinstance(head, RunHead),
        num_objects=len(objects),
        size=sum(meta.size for meta in objects),
        num_pins=sum(meta.key.startswith(PINS_PREFIX) for meta in objects),
    )


# --- what forbids it -----------------------------------------------------------------------------------------------------------


def refuse_if_alive(remains: Remains) -> None:
    """Raises UsageError, with the command that ends it, where anything of the run still lives."""
    if remains.removal is None:
        return
    run = remains.run
    held_by = holder(remains.store)
    if held_by is not None:
        raise UsageError(f"process {held_by.pid} supervises {run}; `launch cancel {run}` ends it, then rm deletes it")
    busy = next(_hosts_alive(remains.removal.incarnation), None)
    if busy is not None:
        raise UsageError(f"the instance {busy} of {run} still lives here; `launch cancel {run}` ends it, then rm deletes it")
    if not remains.is_begun:
        _refuse_living_attempts(_found(remains))


def _found(remains: Remains) -> Found:
    head = read_head_or_removal(remains.store)
    if not isinstance(head, RunHead):
        raise UsageError(f"{remains.run} is being deleted by somebody else; look again in a moment")
    return Found(store=remains.store, head=head)


def _refuse_living_attempts(found: Found) -> None:
    history = found.read()
    attempts = history.state.attempts.values() if history.is_created else ()
    open_ones = [a.number for a in attempts if a.is_alive or a.bill is None]
    if open_ones:
        run = found.head.run
        raise UsageError(f"attempt {open_ones[-1]} of {run} has not ended; `launch cancel {run}` ends it, then rm deletes it")


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
        local_reference.stop(registry_of(removal.incarnation))  # before the listing: it would write into the store at its end
        for meta in _in_order(store):
            store.delete(meta.key)
            passed(meta.key)
        shutil.rmtree(registry_of(removal.incarnation), ignore_errors=True)
        passed("registry")
        store.delete(RUN_KEY)
        passed(RUN_KEY)
    home.log_of(remains.run).unlink(missing_ok=True)
    _drop_empty_folder(home, remains)
    home.forget(remains.run)


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
    if remains.store.url == child((home.path / "runs").as_uri(), remains.run):
        with contextlib.suppress(OSError):
            (home.path / "runs" / remains.run).rmdir()
