"""Before the grant: be the attempt, or stand back; and have the code in place.

Two machines may be started for one attempt (a start was repeated, a cloud answered late). The claim is created, never replaced,
so exactly one agent is the attempt. The other writes nothing and exits.
"""

import contextlib
import hashlib
import io
import threading
from collections.abc import Callable

from launcher import codec
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import Claim, claim_key
from launcher.errors import Damaged, KeyExists, StoreUnknown
from launcher.node.workspace import Workspace


def claim(store: ObjectStore, mine: Claim) -> bool:
    """True where this agent is the attempt. Raises StoreUnknown where the store does not answer within its deadline."""
    return store_calls()(_claim_once, store, mine)


def _claim_once(store: ObjectStore, mine: Claim) -> bool:
    with contextlib.suppress(KeyExists):  # perhaps by ourselves, in a try whose answer was lost: the nonce tells
        store.create(claim_key(mine.attempt, mine.node), codec.dumps_digested(mine))
    try:
        standing: Claim = codec.loads_digested(Claim, store.get(claim_key(mine.attempt, mine.node)))
    except ValueError as error:
        raise StoreUnknown(f"the claim arrived damaged: {error}") from error
    return standing.nonce == mine.nonce


def unpack_code(store: ObjectStore, key: str, place: Workspace) -> None:
    """The frozen workdir, as the run was started with it. What leads out of the folder is refused where Python can do that."""
    import tarfile  # 13 ms that an attempt without code, or a losing agent, need not wait for

    with tarfile.open(fileobj=io.BytesIO(_read_code(store, key))) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and newer have it
        tar.extractall(place.code)


def _read_code(store: ObjectStore, key: str) -> bytes:
    """The bytes that the key's name is the SHA-256 of. Raises Damaged where two reads in a row are not."""
    for _ in range(2):
        data: bytes = store_calls()(store.get, key)
        if hashlib.sha256(data).hexdigest() in key:
            return data
    raise Damaged(key, "the program's code is not what the run was started with: its SHA-256 is not the one in its name")


class Task:
    """Work that takes its time, on a thread, while the agent's loop goes on watching. Ask `is_done`, then take `result`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="task", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> None:
        """Raises what the work raised."""
        assert self.is_done, "ask is_done first"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # the top of a thread's loop: handed to whoever takes the result
            self._error = error
