"""Quantities with their units: what a float means, how people write it, how we print it.

Names are aliases, not wrappers: arithmetic stays plain, the signature says the unit.
"""

import math
import re
from datetime import UTC, datetime

Seconds = float
Utc = float  # seconds since 1970-01-01 UTC; in a rehearsal, on the rehearsed clock
Bytes = int
Usd = float
UsdPerHour = float
Step = int

HOUR: Seconds = 3600.0
MINUTE: Seconds = 60.0

_DURATION = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def _sum_of_parts(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    compact = text.strip().lower()
    parts = _NUMBER_UNIT.findall(compact)
    if not parts or _NUMBER_UNIT.sub("", compact).strip():
        raise ValueError(f"{text!r} is not a quantity; write it like {example}")
    total = 0.0
    for number, unit in parts:
        if unit not in units:
            raise ValueError(f"{text!r} has the unknown unit {unit!r}; write it like {example}")
        total += float(number) * units[unit]
    if math.isinf(total):
        raise ValueError(f"{text[:20]!r}… is too large")
    return total


def parse_duration(text: str) -> Seconds:
    """Seconds in "90s", "5m", "2h", "1h30m", "2d". Raises ValueError, saying how to write it."""
    return _sum_of_parts(text, _DURATION, "'90s', '5m', '2h' or '1h30m'")


def parse_size(text: str) -> Bytes:
    """Bytes in "512 kB", "16MiB", "2GB"; k, M, G are decimal, Ki, Mi, Gi binary. Raises ValueError."""
    return int(_sum_of_parts(text, _SIZE, "'512kB', '16MiB' or '2GB'"))


_USD = re.compile(r"\$?(\d+(?:\.\d+)?)(?: ?usd)?")


def parse_usd(text: str) -> Usd:
    """Dollars in "40", "40.00", "$40", "40 USD". Raises ValueError, saying how to write it."""
    found = _USD.fullmatch(text.strip().lower())
    if not found or math.isinf(float(found[1])):
        raise ValueError(f"{text!r} is no amount of money; write it like '40.00'")
    return float(found[1])


def show_duration(seconds: Seconds) -> str:
    """A duration as a person reads it: "0.8 s", "47 s", "12 min", "2.5 h", "3.1 d"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def show_instant(at: Utc) -> str:
    """An instant as a person reads it: "2026-11-03 14:05 UTC"."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def show_usd(usd: Usd) -> str:
    """Dollars with cents, and enough digits that a small cost does not read as free."""
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"


def show_excess(factor: float) -> str:
    """How much more something costs: "20 % more", "3.5 times as much", "27 times as much"; empty where it is no more."""
    if factor >= 10:
        return f"{factor:,.0f} times as much"
    if factor >= 2:
        return f"{factor:.1f} times as much"
    return f"{100 * (factor - 1):.0f} % more" if factor >= 1.005 else ""


def show_rate(rate: UsdPerHour) -> str:
    """A known price is never 0."""
    return f"{show_usd(rate)}/h" if rate else "unpriced"


def show_size(size: Bytes) -> str:
    """A byte count in decimal units: "812 B", "1.4 MB"."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
