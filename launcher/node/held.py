"""A file kept open, so that it can be judged and read after its name has passed to another.

A file that was replaced by a rename lives on for whoever has it open, unchanged. One at a time is kept, for about as long as the
program keeps it itself: its bytes stay on the disk until it is let go.
"""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from launcher.node.look import Look, Seen, seen_of
from launcher.units import Bytes


class Held:
    """The file at `path` in `look`. Closed with the last reference to it."""

    def __init__(self, path: str, look: Look, fd: int) -> None:
        self.path = path
        self.look = look
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    @property
    def seen(self) -> Seen:
        return self.look.files[self.path]

    def is_as_seen(self) -> bool:
        return seen_of(os.fstat(self._fd)) == self.seen

    def chunks(self, size: Bytes) -> Iterator[bytes]:
        """Its bytes from the first on, however often they are asked for."""
        at = 0
        while chunk := os.pread(self._fd, size, at):
            yield chunk
            at += len(chunk)


def hold(path: str, place: Path, look: Look) -> Held | None:
    """The file that `look` saw at `place`; None where another has its name already, or nobody may read it."""
    try:
        held = Held(path, look, os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError:
        return None
    return held if held.is_as_seen() else None
