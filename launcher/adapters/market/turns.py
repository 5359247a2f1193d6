"""Who reads a file of the home, changes it and replaces it takes a turn: the later would write without what the earlier added."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from launcher.units import Seconds

BUSY_MOST_S: Seconds = 2.0  # another writer is done in milliseconds, or hangs: nobody is kept waiting for what is but a help
_LOOK_S: Seconds = 0.02


class Busy(OSError):
    """Another process has had its turn for too long."""


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """At writing `path`, until the end of the block, or of the process. Raises Busy, and OSError where no lock can be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        give_up_at = time.monotonic() + BUSY_MOST_S
        while not _is_taken(handle):
            if time.monotonic() > give_up_at:
                raise Busy(f"{path} is being written by another process")
            time.sleep(_LOOK_S)
        yield
    finally:
        os.close(handle)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
