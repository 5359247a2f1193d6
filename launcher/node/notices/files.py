"""The notice of a rehearsed machine: its host writes a file, and removes it to take the notice back."""

import json
from pathlib import Path

from launcher.node.notices.base import NoticeSource, Warned


class FileNotices(NoticeSource):
    """The file holds {"ends_at", "source", "stretched"}."""

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
