"""Tables that fit the screen: of columns that are too many, the most dispensable go first, whole; nothing wraps.

A dispensable column in which nothing is known goes on any screen.
"""

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from launcher.app.answer import table

Row = TypeVar("Row")
UNKNOWN = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """`rank` 0: stays on any screen; else the higher, the earlier it is left out."""

    head: str
    cell: Callable[[Row], str]
    rank: int = 0
    is_right: bool = False


def fitted(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The table in at most `width` columns (None: the terminal's), as far as the indispensable ones allow."""
    most = screen_width() if width is None else width
    kept = [c for c in columns if c.rank == 0 or any(c.cell(row) not in ("", UNKNOWN) for row in rows)]
    while True:
        right = frozenset(i for i, column in enumerate(kept) if column.is_right)
        lines = table([[column.head for column in kept], *([c.cell(row) for c in kept] for row in rows)], right=right)
        dispensable = max(kept, key=lambda column: column.rank)
        if max(map(len, lines)) <= most or dispensable.rank == 0:
            return lines
        kept.remove(dispensable)


def explained(columns: Sequence[Column[Row]], rows: Sequence[Row], reason: Column[Row], width: int | None = None) -> list[str]:
    """The table with `reason` as its last column; where that does not fit, all reasons in a sentence below it, by the first
    column: so they are read on any screen.
    """
    lines = fitted([*columns, reason], rows, width)
    if reason.head in lines[0]:
        return lines
    told = [f"#{columns[0].cell(row)} {reason.cell(row)}" for row in rows if len(reason.cell(row)) > 1]
    marked: Column[Row] = Column(
        head="", cell=lambda row: cell if len(cell := reason.cell(row)) == 1 else ""
    )  # a tick stays beside its row
    return [*fitted([*columns, marked], rows, width), *wrapped(f"{reason.head.lower()}: {'; '.join(told)}", width)]


def screen_width() -> int:
    """Columns of the terminal; in a pipe there is no edge."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6


_FIGURE = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|B|[kMGT]B)\b)")
_FIXED = "\N{NO-BREAK SPACE}"


def wrapped(text: str, width: int | None = None) -> list[str]:
    """A sentence in lines of at most `width` columns (None: the terminal's), later ones indented; no figure loses its unit."""
    most = screen_width() if width is None else width
    whole = _FIGURE.sub(_FIXED, text)
    lines = textwrap.wrap(whole, most, subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace(_FIXED, " ") for line in lines] or [""]
