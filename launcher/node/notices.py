"""A machine's end, announced: where the warning comes from, and who is told.

A source is looked at often and answers what stands *now*: a warning, or nothing. So a warning that is taken back simply is no
longer there, and a source needs no memory. `NoticeBoard` turns that level into the two things others want: a file that exists
while a warning stands (the program looks at it), and one numbered record for each change (the supervisor reads them).

A rehearsed cloud writes a file. SIGTERM to the agent is a warning too: whoever sends it waits for us, so nothing is gained by
going on; the last save begins at once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launcher.core.contract import SOURCE_SIGTERM, Notice
from launcher.units import Seconds, Utc

REWRITE_GAP_S: Seconds = 1.0  # real; how stale the seconds in the notice file may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """The end of this machine as a source announces it. With `awaited` the sender waits for our exit, else time decides."""

    ends_at: Utc
    source: str
    stretched: bool = False
    awaited: bool = False


class NoticeSource(Protocol):
    def read(self) -> Warned | None:
        """The warning that stands now. A source that cannot be read says what it said before."""
        ...


class FileNotices:
    """The host of a local instance writes {"ends_at", "source", "stretched"} to a file, and removes it to take it back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Warned | None = None

    def read(self) -> Warned | None:
        try:
            raw = json.loads(self._path.read_bytes())
            self._last = Warned(ends_at=float(raw["ends_at"]), source=str(raw["source"]), stretched=bool(raw.get("stretched")))
        except FileNotFoundError:
            self._last = None
        except (OSError, ValueError, KeyError, TypeError):
            pass  # half-written, or a passing fault of the disk: the next look is a moment away
        return self._last


class SignalNotices:
    """SIGTERM to the agent; the sender kills after `grace` market seconds. The signal handler calls `heed`."""

    def __init__(self, utc: Callable[[], Utc], grace: Seconds) -> None:
        self._utc = utc
        self._grace = grace
        self._heeded = False
        self._last: Warned | None = None

    def heed(self) -> None:
        self._heeded = True

    def read(self) -> Warned | None:
        if self._heeded and self._last is None:
            self._last = Warned(ends_at=self._utc() + self._grace, source=SOURCE_SIGTERM, awaited=True)
        return self._last


def standing(sources: tuple[NoticeSource, ...]) -> Warned | None:
    """Of the warnings that stand, the one to obey: who waits for our exit goes first, then the soonest end."""
    warned = [seen for seen in (source.read() for source in sources) if seen is not None]
    return min(warned, key=lambda seen: (not seen.awaited, seen.ends_at), default=None)


class NoticeBoard:
    """Keeps the program's notice file true and numbers the records."""

    def __init__(self, path: Path, attempt: int) -> None:
        self._path = path
        self._attempt = attempt
        self._number = 0
        self._written_left: Seconds | None = None
        self.warned: Warned | None = None

    def update(self, seen: Warned | None, now: Utc, left_real: Seconds) -> Notice | None:
        """The record to keep where `seen` differs from what stood before, else None. `left_real` goes into the file."""
        changed, before = seen != self.warned, self.warned
        self.warned = seen
        self._show(left_real)
        if not changed:
            return None
        self._number += 1
        told = seen or before
        assert told is not None, "two different values cannot both be None"
        return Notice(
            attempt=self._attempt,
            number=self._number,
            at=now,
            ends_at=told.ends_at,
            source=told.source,
            stretched=told.stretched,
            withdrawn=seen is None,
        )

    def _show(self, left_real: Seconds) -> None:
        if self.warned is None:
            if self._written_left is not None:
                self._path.unlink(missing_ok=True)
                self._written_left = None
            return
        if self._written_left is None or abs(self._written_left - left_real) >= REWRITE_GAP_S:
            aside = self._path.with_suffix(".new")
            aside.write_text(f"{max(left_real, 0.0):.1f}\n")
            aside.replace(self._path)
            self._written_left = left_real
