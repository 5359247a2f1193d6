"""Recorded markets from files: `NAME.csv`, its prices beside it, and what `index.json` in the same folder tells of it."""

from pathlib import Path

from launcher.core.market import layout
from launcher.core.market.recording import Recording
from launcher.core.market.trace import Trace, from_csv


def read_recording(path: Path) -> Recording:
    """The recorded market at `path`. Raises ValueError naming file, line and remedy, and OSError where it cannot be read."""
    entry = read_entry(path)
    capacity = layout.availability(_text(path), name=path.name, tick_s=entry.tick_s)
    period = next(iter(capacity.values())).period
    beside = path.with_name(f"{path.stem}{layout.PRICE_SUFFIX}{path.suffix}")
    prices = layout.prices(_text(beside), name=beside.name, tick_s=entry.tick_s, period=period) if beside.is_file() else {}
    return Recording(name=path.stem, capacity=capacity, price=prices, entry=entry)


def read_trace(path: Path, *, seed: int) -> Trace:
    """The lives in the file at `path`, for a rehearsal. Raises as `read_recording`."""
    return from_csv(_text(path), name=path.stem, seed=seed, tick_s=read_entry(path).tick_s)


def read_entry(path: Path) -> layout.Entry:
    """What the index beside the file tells of it; a file without one was sampled every `layout.TICK_DEFAULT`."""
    index = path.with_name(layout.INDEX_FILE)
    return layout.index(_text(index)).get(path.stem, layout.Entry()) if index.is_file() else layout.Entry()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: byte {error.start} is no UTF-8; write the file as plain text") from None
