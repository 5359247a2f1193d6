"""How the trainer's process speaks to its agent: one small file in the trainer's folder, replaced a few times a second.

Where no step can be taken, because bytes move, the file is only touched: the agent takes that for a sign of life too.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from launcher import codec, log
from launcher.adapters import durable
from launcher.core.contract import PROGRESS_FILE, TrainerProgress
from launcher.units import Seconds

GAP_S: Seconds = 0.2  # five words a second are enough for a person and for the agent


class Voice:
    """Writes the progress file; mute where there is no folder to write into."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / PROGRESS_FILE
        self._said_at: Seconds = -math.inf
        self._touched_at: Seconds = -math.inf

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._said_at >= GAP_S

    def say(self, compose: Callable[[], TrainerProgress]) -> None:
        if self._path is not None:
            self._said_at = time.monotonic()
            data = codec.dumps(compose())
            try:
                durable.replace_atomically(self._path, data)
            except OSError as error:  # a full disk: the next one may succeed, and training is worth more than a status
                log.debug("progress_not_written", error=str(error))

    def show_life(self) -> None:
        """Bytes move, though no step is taken. Any thread may call this."""
        now = time.monotonic()
        if self._path is not None and now - self._touched_at >= GAP_S:
            self._touched_at = now
            with contextlib.suppress(OSError):
                os.utime(self._path)
