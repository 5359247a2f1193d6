"""What a trainer that uses `launcher.train` says of itself, and how its silence is judged.

The trainer replaces one small file several times a second. While that file is there it, and not the agent, saves and commits.
Where no step can be taken, while a checkpoint is read or uploaded, it touches the file as long as bytes move.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from launcher import codec
from launcher.core.contract import PROGRESS_FILE, TrainerProgress
from launcher.core.tempo import HANG_STEPS, LAST_SAVE_MARGIN_S
from launcher.units import Seconds, show_duration

LAST_SAVE_FLOOR_S: Seconds = 0.5  # real; a save, the exit of Python included, is never trusted to be quicker
LAST_SAVE_SAFETY = 1.5  # the last save meets the same upload lane at a worse moment than the measured one
SHARE_FOR_UNKNOWN = 0.9  # of a short notice's lead, for a program of which nothing can be measured: a save in vain costs a life


class ProgressFile:
    """Reads PROGRESS_FILE where it changed; keeps the last whole one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS_FILE
        self.version: tuple[int, int] | None = None  # another one is a sign of life
        self.progress: TrainerProgress | None = None

    def read(self) -> TrainerProgress | None:
        try:
            status = os.stat(self._path)
            version = (status.st_ino, status.st_mtime_ns)
            if version != self.version:
                self.progress = codec.loads(TrainerProgress, self._path.read_bytes())
                self.version = version
        except (OSError, ValueError):
            pass  # not there yet, or being replaced: the next look is a moment away
        return self.progress


@dataclass(slots=True, kw_only=True)
class StandstillWatch:
    """Tells a hang from slowness: nothing new for `hang_min`, or for HANG_STEPS median steps where that is longer."""

    hang_min: Seconds  # real
    moved_at: Seconds  # monotonic, real
    _sign: tuple[int, int] | None = None

    def hang(self, progress: TrainerProgress | None, sign: tuple[int, int] | None, now: Seconds) -> str | None:
        """What stands still, as a sentence; None while something moves. `sign` is another one whenever the trainer wrote."""
        if sign != self._sign:
            self._sign, self.moved_at = sign, now
        median = 0.0 if progress is None or progress.step_s_median is None else progress.step_s_median
        limit = max(self.hang_min, HANG_STEPS * median)
        if now - self.moved_at <= limit:
            return None
        where = "the trainer reported nothing" if progress is None else f"no step after step {progress.step}"
        return f"{where} for {show_duration(now - self.moved_at)} (limit {show_duration(limit)}): a hang"


def last_save_needs(progress: TrainerProgress) -> Seconds:
    """Real seconds before the end at which a trainer must be told to save for the last time."""
    save = LAST_SAVE_SAFETY * (progress.stall_s + progress.durable_s) + (progress.step_s_median or 0.0)
    return max(save, LAST_SAVE_FLOOR_S) + LAST_SAVE_MARGIN_S


def last_word_needs(lead: Seconds, grace: Seconds, publish: Seconds) -> Seconds:
    """The same for a program we know nothing of: its grace, for its folder is published once it has exited; then that."""
    return min(grace + 2 * publish + LAST_SAVE_MARGIN_S, SHARE_FOR_UNKNOWN * lead)
