"""Asking a run's supervisor for something: an object in the store that only the supervisor turns into history."""

import getpass
import socket
import uuid

from launcher import codec
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import REQUESTS_PREFIX, Request, RequestKind, request_key
from launcher.core.run.state import RunState


def ask(store: ObjectStore, kind: RequestKind) -> Request:
    """File a request; the supervisor sees it at its next look."""
    request = Request(uuid=uuid.uuid4().hex, request=kind, by=_somebody())
    store.create(request_key(request.uuid), codec.dumps(request))
    return request


def withdraw_unseen(store: ObjectStore, state: RunState) -> None:
    """Delete what was asked of a run that had ended before it could be heard: the run that goes on later is not meant."""
    for meta in list(store.list(REQUESTS_PREFIX)):
        if meta.key.removeprefix(REQUESTS_PREFIX).removesuffix(".json") not in state.requests_seen:
            store.delete(meta.key)


def _somebody() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
