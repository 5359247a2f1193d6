"""What the attempts of all runs of this home taught about their places: one line each, in one file.

The lines follow from the runs' journals, so a line that could not be written is no loss: the next look at that run writes it.
Each has its own digest, and the file is replaced as a whole, so a line is whole or absent whenever a writer is killed; writers
take turns. A damaged line goes to a file aside, and the others count. Of more than KEPT_MOST those go that were told first: by
no date, since a clock far ahead, today's or one of then, would forget all the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from launcher import codec
from launcher.adapters import durable
from launcher.adapters.market.turns import turn
from launcher.core.market.lives import Lesson
from launcher.units import HOUR, Seconds, Utc

KEPT: Seconds = 180 * 24 * HOUR  # what is older is not asked any more; it would weigh 1/64 (lives.py)
KEPT_MOST = 2000  # 1 MB, read in 0.05 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """`num_damaged`: lines that are not as they were written."""

    lessons: tuple[Lesson, ...] = ()
    num_damaged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """`lesson` None: whole, but a newer launch wrote it, and only that reads it."""

    text: bytes
    lesson: Lesson | None


class Memory:
    """Raises OSError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, *, since: Utc = 0.0) -> Remembered:
        """Those that ended since, the oldest first. Nothing where nothing was remembered yet."""
        lines, damaged = self._lines()
        by_key = {line.lesson.key: line.lesson for line in lines if line.lesson is not None and line.lesson.at >= since}
        return Remembered(lessons=tuple(sorted(by_key.values(), key=lambda one: one.at)), num_damaged=len(damaged))

    def add(self, lessons: Iterable[Lesson]) -> int:
        """Remember those that are not known yet; gives how many. All of them or none. Raises `turns.Busy` too."""
        wanted = tuple(lessons)
        with turn(self._path):
            lines, damaged = self._lines()
            known = {line.lesson.key: line for line in lines if line.lesson is not None}
            fresh = {one.key: one for one in sorted(wanted, key=lambda one: one.at) if one.key not in known}
            kept = [*known.values(), *(_Line(text=_written(one), lesson=one) for one in fresh.values())][-KEPT_MOST:]
            others = [line for line in lines if line.lesson is None][-KEPT_MOST:]
            if damaged:
                self._set_aside(damaged)
            if fresh or damaged or len(others) + len(kept) < len(lines):
                durable.replace_durably(self._path, b"".join(line.text + b"\n" for line in [*others, *kept]))
            return sum(one.key in fresh for line in kept if (one := line.lesson) is not None)

    def _lines(self) -> tuple[list[_Line], list[bytes]]:
        """The whole lines, and what stands in the others."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return [], []
        lines, damaged = [], []
        for text in filter(None, data.split(b"\n")):
            try:
                codec.loads_digested(codec.Json, text)
            except ValueError:
                damaged.append(text)
                continue
            lines.append(_Line(text=text, lesson=_understood(text)))
        return lines, damaged

    def _set_aside(self, damaged: list[bytes]) -> None:
        """Kept, since somebody may read more in it than we do. Done again after a kill, each line still stands there once."""
        path = self._path.with_suffix(".damaged")
        old = path.read_bytes().split(b"\n") if path.exists() else []
        new = dict.fromkeys([*filter(None, old), *damaged])
        durable.replace_durably(path, b"".join(text + b"\n" for text in new))


def _written(lesson: Lesson) -> bytes:
    return codec.dumps_digested(lesson)


def _understood(text: bytes) -> Lesson | None:
    try:
        lesson: Lesson = codec.loads_digested(Lesson, text)
    except ValueError:
        return None
    return lesson
