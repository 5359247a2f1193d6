"""What a program prints, carried to the store in numbered chunks.

A program must never wait for our bucket. So one thread does nothing but empty the pipe into memory, and another cuts what has
gathered into chunks and uploads them. Memory is bounded: where the store is away for long, the oldest text is dropped and the log
says how much. Chunks end at line ends, so that a secret (a single line) is never cut in two and slips past the redaction.
"""

import os
import threading
import time
from collections.abc import Mapping

from launcher import log
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import log_key
from launcher.errors import KeyExists, StoreError
from launcher.units import Bytes, Seconds

CHUNK_S: Seconds = 5.0  # market: how old the text of a followed log may be, and what an unannounced kill takes along
CHUNK_FLOOR_S: Seconds = 0.5  # real; a rehearsed life lasts seconds, and a create takes its time
CHUNK_BYTES: Bytes = 256 * 1024
BACKLOG_BYTES_MAX: Bytes = 8 * 2**20  # text kept while the store does not answer
RETRY_S: Seconds = 0.5  # between two tries of a chunk; the text waits in memory meanwhile
READ_BYTES: Bytes = 65536  # a Linux pipe holds as much
SECRET_CHARS_MIN = 4  # a shorter "secret" would blot out ordinary text


class LogPump:
    """Takes text through `write_fd` (give it to programs as stdout and stderr) and uploads it until `close`."""

    def __init__(
        self, store: ObjectStore, attempt: int, secrets: Mapping[str, str], *, speed: float = 1.0, node: int = 0
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._node = node
        self._chunk_s = max(CHUNK_FLOOR_S, CHUNK_S / speed)
        self._secrets = {v.encode(): f"[{k}]".encode() for k, v in secrets.items() if len(v) >= SECRET_CHARS_MIN}
        self._number = 0
        self._backlog = bytearray()
        self._num_dropped = 0
        self._changed = threading.Condition()
        self._ended = False
        self._read_fd, self.write_fd = os.pipe()
        self._reader = threading.Thread(target=self._empty_pipe, name="log-reader", daemon=True)
        self._uploader = threading.Thread(target=self._upload_chunks, name="log-uploader", daemon=True)
        self._reader.start()
        self._uploader.start()

    def say(self, sentence: str) -> None:
        """A line of the agent's own among the program's; one of an error may hold a library's words."""
        self._take(f"launch: {log.redacted(sentence)}\n".encode())

    def close(self, within_s: Seconds) -> None:
        """Uploads what is there and ends; gives up after `within_s`. Text that a living process still writes is lost."""
        give_up_at = time.monotonic() + within_s
        os.close(self.write_fd)
        self._reader.join(within_s / 2)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._uploader.join(max(0.0, give_up_at - time.monotonic()))

    def _empty_pipe(self) -> None:
        while data := os.read(self._read_fd, READ_BYTES):
            self._take(data)
        os.close(self._read_fd)

    def _take(self, data: bytes) -> None:
        with self._changed:
            self._backlog += data
            excess = len(self._backlog) - BACKLOG_BYTES_MAX
            if excess > 0:
                del self._backlog[:excess]
                self._num_dropped += excess
            if len(self._backlog) >= CHUNK_BYTES:
                self._changed.notify_all()

    def _upload_chunks(self) -> None:
        """A chunk that the store did not take is sent again as it is: perhaps it is there, and only the answer was lost."""
        chunk = b""
        while True:
            with self._changed:
                if not chunk:
                    self._changed.wait_for(lambda: self._ended or len(self._backlog) >= CHUNK_BYTES, timeout=self._chunk_s)
                    chunk = self._cut(whole=self._ended)
                if not chunk and self._ended:
                    return
            if chunk and self._upload(chunk):
                chunk = b""
            elif chunk:
                time.sleep(RETRY_S)

    def _cut(self, *, whole: bool) -> bytes:
        """The next chunk, up to the last line end where there is one; the rest waits for its end."""
        size = min(len(self._backlog), CHUNK_BYTES)
        line_end = 1 + max(self._backlog.rfind(b"\n", 0, size), self._backlog.rfind(b"\r", 0, size))  # \r: progress bars
        if line_end and not (whole and size == len(self._backlog)):
            size = line_end
        elif size < CHUNK_BYTES and not whole:
            return b""
        chunk = bytes(self._backlog[:size])
        del self._backlog[:size]
        if self._num_dropped:
            chunk = f"launch: {self._num_dropped} bytes of log dropped while the store did not answer\n".encode() + chunk
            self._num_dropped = 0
        return self._redacted(chunk)

    def _redacted(self, text: bytes) -> bytes:
        for value, name in self._secrets.items():
            text = text.replace(value, name)
        return text

    def _upload(self, chunk: bytes) -> bool:
        """False where it must be tried again. Only we write these numbers, so a taken one holds this chunk."""
        try:
            self._store.create(log_key(self._attempt, self._number + 1, self._node), chunk)
        except KeyExists:
            pass
        except StoreError:
            return False
        self._number += 1
        return True
