"""What a run's programs printed: the chunks that its machines uploaded, as one stream of bytes with a mark at each attempt.

Chunks of an attempt are numbered without gaps, so the next one is asked for by its key and no listing is needed. Bytes are passed
on as they came: secrets were taken out on the machine, and progress bars are not ours to judge.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import log_key, log_prefix
from launcher.errors import KeyMissing


@dataclass(frozen=True, slots=True)
class Piece:
    """Some output of one attempt."""

    attempt: int
    data: bytes


@dataclass
class Logbook:
    """A cursor over the output of a run's attempts, of one node each."""

    store: ObjectStore
    node: int = 0
    _read: dict[int, int] = field(default_factory=dict)  # attempt -> chunks read

    def fresh(self, attempts: Iterable[int]) -> Iterator[Piece]:
        """What was uploaded since the last call, attempt by attempt."""
        for attempt in attempts:
            while (data := self._chunk(attempt, self._read.get(attempt, 0) + 1)) is not None:
                self._read[attempt] = self._read.get(attempt, 0) + 1
                yield Piece(attempt, data)

    def _chunk(self, attempt: int, number: int) -> bytes | None:
        try:
            return self.store.get(log_key(attempt, number, self.node))
        except KeyMissing:
            return None

    def tail(self, attempts: Iterable[int], num_lines: int) -> list[Piece]:
        """The last lines of all output so far; `fresh` goes on behind them. Reads no more chunks than they fill."""
        numbers = list(attempts)
        counts = {n: sum(1 for _ in self.store.list(log_prefix(n, self.node))) for n in numbers}
        self._read.update(counts)
        found: list[Piece] = []
        wanted = num_lines
        for attempt in reversed(numbers):
            for number in range(counts[attempt], 0, -1):
                if wanted <= 0:
                    return found[::-1]
                data = _last_lines(self._chunk(attempt, number) or b"", wanted)
                wanted -= len(data.splitlines())
                found.append(Piece(attempt, data))
        return found[::-1]


def _last_lines(data: bytes, num_lines: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[-num_lines:])
