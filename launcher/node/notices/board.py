"""Who is told of an end that is announced: a file that exists while a warning stands, and one numbered record for each change.

The program looks at the file, the supervisor reads the records.
"""

from pathlib import Path

from launcher.core.contract import Notice
from launcher.node.notices.base import Warned
from launcher.units import Seconds, Utc

REWRITE_GAP_S: Seconds = 1.0  # real; how stale the seconds in the notice file may be


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
