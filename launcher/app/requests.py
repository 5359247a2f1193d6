"""Asking a run's supervisor for something: an object in the store that only the supervisor turns into history."""

import contextlib
import getpass
import socket
import uuid

from launcher import codec
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import REQUESTS_PREFIX, Request, RequestKind, request_key
from launcher.core.run.state import RunState
from launcher.errors import KeyExists


def ask(store: ObjectStore, kind: RequestKind) -> Request:
    """File a request; the supervisor sees it at its next look."""
    request = Request(uuid=uuid.uuid4().hex, request=kind, by=somebody())
    with contextlib.suppress(KeyExists):  # our own, where the answer was lost
        store.create(request_key(request.uuid), codec.dumps_digested(request))
    return request


def unseen(store: ObjectStore, state: RunState) -> tuple[Request, ...]:
    """What was asked for and is not in the journal yet."""
    return tuple(_read(store, key) for key in _unseen_keys(store, state))


def withdraw_unseen(store: ObjectStore, state: RunState) -> None:
    """Delete what was asked of a run that had ended before it could be heard: the run that goes on later is not meant."""
    for key in _unseen_keys(store, state):
        store.delete(key)


def _unseen_keys(store: ObjectStore, state: RunState) -> list[str]:
    keys = [meta.key for meta in store.list(REQUESTS_PREFIX)]
    return [key for key in keys if key.removeprefix(REQUESTS_PREFIX).removesuffix(".json") not in state.requests_seen]


def _read(store: ObjectStore, key: str) -> Request:
    request: Request = codec.loads_digested(Request, store.get(key))
    return request


def somebody() -> str:
    """Who types this, for the journal and the pins: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
