"""Time, as one thing that can be swapped: all that decides anything asks a `Clock`.

In production market time is the time on the wall. In a rehearsal it runs `speed` times faster, the same for all processes of
the run: they share one small file that says which market instant belongs to which reading of the machine's monotonic clock.
The file's content changes only when the clock is set; whoever uses it *touches* it each second. The touch writes the monotonic
reading as the file's mtime, so a late touch can never undo a new setting, as rewriting the content could.

When nobody touched it for CLOCK_STALE_S, or the machine was started anew, nobody lived in that time and none has passed:
whoever opens the clock next sets it going from where it stood. A supervisor goes on from the run's newest record where that is
later: the record may have been stamped a moment before the clock counted as standing, or on another machine. A process that was
only slow goes on with the others.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from launcher import processes
from launcher.codec import dumps, loads
from launcher.units import Seconds, Utc

CLOCK_REFRESH_S: Seconds = 1.0  # real
CLOCK_STALE_S: Seconds = 3.0  # real; three touches missed by everybody, even on a busy machine, is nobody there
_NS = 1_000_000_000


class Clock(Protocol):
    """Everything here is in market seconds."""

    def utc_s(self) -> Utc: ...

    def monotonic_s(self) -> Seconds:
        """Never goes back or jumps; readings of one process compare, and only those."""
        ...

    def wait(self, seconds: Seconds) -> None: ...


class SystemClock:
    """Market time is real time."""

    def utc_s(self) -> Utc:
        return time.time()

    def monotonic_s(self) -> Seconds:
        return time.monotonic()

    def wait(self, seconds: Seconds) -> None:
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The content of a clock file: at the monotonic reading `monotonic_anchor` of boot `boot_id` it was `market_anchor`."""

    boot_id: str
    monotonic_anchor: Seconds  # real
    market_anchor: Utc
    speed: float

    def __post_init__(self) -> None:
        assert self.speed > 0, f"a clock runs forward: speed is {self.speed}"

    def market_at(self, monotonic: Seconds) -> Utc:
        return self.market_anchor + (monotonic - self.monotonic_anchor) * self.speed


def create(path: Path, *, speed: float, market_start: Utc, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Make the clock file of a rehearsal, going from `market_start`. One that is there already and whole is left as it is."""
    try:
        _read(path)
    except (FileNotFoundError, ValueError):
        now = monotonic()
        setting = Setting(boot_id=processes.boot_id(), monotonic_anchor=now, market_anchor=market_start, speed=speed)
        _publish(path, setting, touched=now)


def position(path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> Utc:
    """Where the clock stands, for lookers-on: reading it this way does not keep it going. Raises FileNotFoundError."""
    setting, touched = _read(path)
    now = monotonic()
    return setting.market_at(now if _is_going(setting, touched, now, processes.boot_id()) else touched)


def still_s(path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> Seconds | None:
    """Real seconds since anybody kept the clock going; None across a start of the machine. Raises FileNotFoundError."""
    setting, touched = _read(path)
    return max(0.0, monotonic() - touched) if setting.boot_id == processes.boot_id() else None


class ScaledClock:
    """The clock of a rehearsal, kept going by use, from `not_before` at the earliest. Raises FileNotFoundError where `create`
    has not been.

    Call `refresh` in loops that ask for no time over seconds; `utc_s` and `wait` do it by themselves.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        boot: str | None = None,
        not_before: Utc = 0.0,
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._sleep = sleep
        self._latest = 0.0
        self._touched = monotonic()
        self._setting = self._going_setting(boot or processes.boot_id(), not_before)

    @property
    def speed(self) -> float:
        return self._setting.speed

    @property
    def path(self) -> Path:
        return self._path

    def utc_s(self) -> Utc:
        self.refresh()
        # Another process may have set the clock a moment back; here it stands still until that moment has passed.
        self._latest = max(self._latest, self._setting.market_at(self._monotonic()))
        return self._latest

    def monotonic_s(self) -> Seconds:
        return self._monotonic() * self.speed

    def wait(self, seconds: Seconds) -> None:
        end = self._monotonic() + seconds / self.speed
        while (left := end - self._monotonic()) > 0:
            self.refresh()
            self._sleep(min(left, CLOCK_REFRESH_S))
        self.refresh()

    def refresh(self) -> None:
        """Show the others that somebody lives, and adopt what another may have set; does nothing within a second."""
        now = self._monotonic()
        if now - self._touched >= CLOCK_REFRESH_S:
            self._touched = now
            # The run was deleted, or the file is damaged: this process goes on, and ends, by the setting it has.
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._setting, _ = _read(self._path)
                _touch(self._path, now)

    def _going_setting(self, boot: str, not_before: Utc) -> Setting:
        setting, touched = _read(self._path)
        is_going = _is_going(setting, touched, self._touched, boot)
        stands_at = setting.market_at(self._touched if is_going else touched)
        if is_going and stands_at >= not_before:
            _touch(self._path, self._touched)
            return setting
        setting = replace(setting, boot_id=boot, monotonic_anchor=self._touched, market_anchor=max(stands_at, not_before))
        _publish(self._path, setting, touched=self._touched)
        return setting


def _is_going(setting: Setting, touched: Seconds, now: Seconds, boot: str) -> bool:
    return setting.boot_id == boot and now - touched <= CLOCK_STALE_S


def _read(path: Path) -> tuple[Setting, Seconds]:
    with path.open("rb") as file:
        return loads(Setting, file.read()), os.fstat(file.fileno()).st_mtime_ns / _NS


def _touch(path: Path, monotonic: Seconds) -> None:
    os.utime(path, ns=(int(monotonic * _NS),) * 2)


def _publish(path: Path, setting: Setting, *, touched: Seconds) -> None:
    """Whole or not at all; not flushed, since after a power cut the clock may as well stand a little earlier."""
    aside = path.with_name(f".tmp-{os.getpid()}-{uuid.uuid4().hex}")
    aside.write_bytes(dumps(setting))
    _touch(aside, touched)
    aside.replace(path)
