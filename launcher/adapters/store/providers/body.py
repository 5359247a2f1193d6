"""A part of an object as the file that botocore wants to sign, and would send from."""

import io


class Body(io.BytesIO):
    """Reads in place. A real BytesIO would be copied whole, since aiohttp asks one for its buffer to learn its length."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """A copy, since what a cancelled request still holds of it must not change."""
        end = len(self._data) if size is None or size < 0 else self._at + size
        found = bytes(self._data[self._at : end])
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, min(start + offset, len(self._data)))
        return self._at

    def tell(self) -> int:
        return self._at

    def getbuffer(self) -> memoryview:
        return self._data[:]

    def close(self) -> None:
        """Lets go of the part, since what is known of a request holds its file."""
        self._data = memoryview(b"")
        super().close()
