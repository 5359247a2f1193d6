"""A part of an object as the file that botocore wants to sign."""

import io
from typing import Any

from launcher.units import Bytes


class Body(io.RawIOBase):
    """Reads in place."""

    def __init__(self, data: tuple[memoryview, ...]) -> None:
        self._data = data
        self._at: Bytes = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> Bytes:
        start = self._at
        for view in self._data:
            if start < len(view):
                found = view[start : start + len(into)]
                into[: len(found)] = found
                self._at += len(found)
                return len(found)
            start -= len(view)
        return 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        size = sum(map(len, self._data))
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence]
        self._at = max(0, min(start + offset, size))
        return self._at

    def close(self) -> None:
        """Lets go of the part, since what is known of a request holds its file."""
        self._data = ()
        super().close()
