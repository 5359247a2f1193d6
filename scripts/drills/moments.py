"""Moments in the life of an attempt that can be waited for to the millisecond: a save begins, a commit begins, a restore reads.

The store of a rehearsal is a folder, so the kernel can tell when something happens in it. Linux's directory notifications
(fcntl(2), F_NOTIFY) come as a signal, which is waited for synchronously; so this is for a process with one thread.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from scripts.drills.scene import LOOK_S

_SIGNAL = signal.SIGIO


def prepare() -> None:
    """Once, before anything is awaited: else the first notification would end this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [_SIGNAL])


def something_created(folder: Path, *, at_most: float, is_over: Callable[[], bool]) -> bool:
    """Wait until a name appears in `folder`, which may itself have to appear first. False where it did not come to that."""
    return _happens(folder, fcntl.DN_CREATE | fcntl.DN_RENAME, at_most, is_over)


def something_read(folder: Path, *, at_most: float, is_over: Callable[[], bool]) -> bool:
    """Wait until a file in `folder` is read."""
    return _happens(folder, fcntl.DN_ACCESS, at_most, is_over)


def _happens(folder: Path, acts: int, at_most: float, is_over: Callable[[], bool]) -> bool:
    end = time.monotonic() + at_most
    while not folder.is_dir():
        if is_over() or time.monotonic() > end:
            return False
        time.sleep(LOOK_S / 10)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.fcntl(handle, fcntl.F_NOTIFY, acts)
        while not is_over() and time.monotonic() < end:
            if signal.sigtimedwait([_SIGNAL], 0.2) is not None:
                return True
        return False
    finally:
        os.close(handle)
        signal.sigtimedwait([_SIGNAL], 0)  # one that came too late is nobody's
