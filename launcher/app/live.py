"""What is said on stderr while a run goes on: lines that stay, and one line that moves.

On a terminal the moving line is drawn by rich, imported only then. In a pipe it becomes a plain line now and then. A terminal
that has gone away stops nothing: what cannot be written is dropped.
"""

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from launcher.app.wiring import wants_colour
from launcher.units import Seconds

if TYPE_CHECKING:
    from rich.live import Live

STARTED_MONO = time.monotonic()  # this module is imported as soon as a command that trains is known
PLAIN_EVERY_S: Seconds = 5.0
_STYLES = {"▶": "bold green", "⚠": "yellow", "✗": "red", "✓": "bold green", "‖": "yellow"}


class Screen:
    """Use it in a `with` block: the moving line is taken away at its end."""

    def __init__(self, *, is_quiet: bool = False, moves: bool = True) -> None:
        self._is_quiet = is_quiet
        self._moves = moves and not is_quiet
        self._live: Live | None = None
        self._plain_at: Seconds = 0.0
        self._moving = ""

    def __enter__(self) -> "Screen":
        if self._moves and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False, no_color=not wants_colour())
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take the moving line away. May be repeated."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._is_quiet:
            self._write(text, "")

    def event(self, mark: str, word: str, text: str) -> None:
        """A line that stays, with the time since the command was given."""
        if not self._is_quiet:
            self._write(f"{_elapsed()} {mark} {word:<11} {text}".rstrip(), _STYLES.get(mark, ""))

    def move(self, text: str, *, is_progress: bool = True) -> None:
        """The moving line. In a pipe it is printed when it tells of progress and the last is some time ago."""
        if not self._moves or text == self._moving:
            return
        self._moving = text
        if self._live is not None:
            from rich.text import Text

            with contextlib.suppress(OSError):
                self._live.update(Text(f"{_elapsed()}   {text}", no_wrap=True, overflow="ellipsis"), refresh=True)
        elif is_progress and time.monotonic() - self._plain_at >= PLAIN_EVERY_S:
            self._plain_at = time.monotonic()
            self._write(f"{_elapsed()}   {text}", "")

    def _write(self, line: str, style: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._live is not None:
                from rich.text import Text

                self._live.console.print(Text(line, style=style), soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)


def _elapsed() -> str:
    minutes, seconds = divmod(int(time.monotonic() - STARTED_MONO), 60)
    return f"{minutes:02d}:{seconds:02d}"
