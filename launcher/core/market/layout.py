"""The layout of recorded markets: CSV files of samples, and the index that tells what they are of.

    NAME.csv          tick,ZONE,…   one row a tick: how many machines the zone would have given then
    NAME__price.csv   tick,ZONE,…   change points only, in USD an hour: a row holds until the next row's tick
    index.json        NAME -> length of a tick, start, prices

Everything here is text to values. What is wrong with a file is said with its line and with what to write instead, since the
files come from people's own scripts.
"""

import csv
import io
import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from launcher.codec import Json
from launcher.core.market.series import Series, from_samples
from launcher.units import Seconds, UsdPerHour, Utc

TICK_DEFAULT: Seconds = 600.0  # of a file that no index tells of; most public availability sets were sampled every 10 min
PRICE_SUFFIX = "__price"
INDEX_FILE = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index tells of a file. Prices are by column, by machine ("v100_8") or, under "", for all of them."""

    tick_s: Seconds = TICK_DEFAULT
    start_at: Utc | None = None
    capacity: int | None = None
    unit: str = ""  # in words, where the columns do not name the machine
    on_demand: dict[str, UsdPerHour] = field(default_factory=dict)
    spot: dict[str, UsdPerHour] = field(default_factory=dict)


def availability(text: str, *, name: str, tick_s: Seconds) -> dict[str, Series]:
    """By zone, how many machines there were. Raises ValueError naming file, line and remedy."""
    header, rows = _table(text, name)
    if not rows:
        raise ValueError(f"{name}: line 2 is missing; write one row for each tick, such as '0{',1' * (len(header) - 1)}'")
    for due, (line, row) in enumerate(rows):
        if row[0] != due:
            raise ValueError(
                f"{name}: line {line} is tick {row[0]:g} where tick {due} is due; write one row for each tick from 0"
            )
    return {zone: from_samples((row[i] for _, row in rows), tick_s) for i, zone in enumerate(header[1:], start=1)}


def prices(text: str, *, name: str, tick_s: Seconds, period: Seconds) -> dict[str, Series]:
    """By zone, its price over time, in a recording of `period` seconds. Raises ValueError naming file, line and remedy."""
    header, rows = _table(text, name)
    rows = [(line, row) for line, row in rows if row[0] * tick_s < period]
    if not rows or rows[0][1][0] != 0:
        raise ValueError(f"{name}: line 2 must be tick 0; write the prices at the beginning of the recording there")
    for (_, before), (line, row) in pairwise(rows):
        if row[0] <= before[0]:
            raise ValueError(f"{name}: line {line} is tick {row[0]:g} after tick {before[0]:g}; write the rows in order")
    at = tuple(row[0] * tick_s for _, row in rows)
    return {
        zone: Series(at=at, values=tuple(row[i] for _, row in rows), period=period) for i, zone in enumerate(header[1:], start=1)
    }


def index(text: str) -> dict[str, Entry]:
    """By name of a recording, without ".csv", what is told of it. Raises ValueError where the text is no such index."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{INDEX_FILE}: {error}; write JSON, or take the file away") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{INDEX_FILE}: line 1 must be an object of recordings by name")
    return {name: _entry(name, told) for name, told in raw.items() if isinstance(told, dict)}


# --- rows --------------------------------------------------------------------------------------------------------------------

_Row = tuple[int, tuple[float, ...]]  # its line, and its numbers


def _table(text: str, name: str) -> tuple[list[str], list[_Row]]:
    reader = csv.reader(io.StringIO(text))
    header = next((row for row in reader if row), [])
    if header[:1] != ["tick"] or len(header) < 2:
        raise ValueError(f"{name}: line 1 must be 'tick,ZONE,…', found {','.join(header)[:60]!r}")
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(f"{name}: line 1 must name each column, and none twice")
    return header, [_row(name, reader.line_num, row, len(header)) for row in reader if row]


def _row(name: str, line: int, row: list[str], width: int) -> _Row:
    where = f"{name}: line {line}"
    if len(row) != width:
        raise ValueError(f"{where} has {len(row)} columns, the header {width}; write one number for each column")
    return line, tuple(_number(where, cell) for cell in row)


def _number(where: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{where}: {cell!r} is no amount; write numbers only, 0 or above")
    return number


# --- the index ---------------------------------------------------------------------------------------------------------------


def _entry(name: str, told: dict[str, Json]) -> Entry:
    nodes = told.get("spot_and_on_demand_usd_h_for_8gpu_node")
    pairs = {zone: pair for zone, pair in nodes.items() if isinstance(pair, list)} if isinstance(nodes, dict) else {}
    on_demand = _by_machine(told.get("on_demand_usd_h")) | {zone: _eighth(pair[1]) for zone, pair in pairs.items()}
    return Entry(
        tick_s=_tick(name, told.get("gap_seconds", TICK_DEFAULT)),
        start_at=_instant(name, told.get("start_utc")),
        capacity=capacity if isinstance(capacity := told.get("capacity"), int) else None,
        unit=str(told.get("unit", "")),
        on_demand=on_demand,
        spot=_spot(told.get("spot_usd_h"), on_demand) | {zone: _eighth(pair[0]) for zone, pair in pairs.items()},
    )


def _by_machine(told: Json) -> dict[str, UsdPerHour]:
    if isinstance(told, dict):
        return {name: float(price) for name, price in told.items() if isinstance(price, int | float)}
    return {"": float(told)} if isinstance(told, int | float) else {}


_RATIO = re.compile(r"spot = (\d*\.?\d+) x on-demand")


def _spot(told: Json, on_demand: dict[str, UsdPerHour]) -> dict[str, UsdPerHour]:
    """A price, prices by machine, or in words the ratio to on-demand that was published where none was recorded."""
    ratio = _RATIO.search(told) if isinstance(told, str) else None
    return {name: price * float(ratio[1]) for name, price in on_demand.items()} if ratio else _by_machine(told)


def _eighth(price: Json) -> UsdPerHour:
    """Of the list price of a node with eight GPUs, the part of a machine with one."""
    return round(float(price) / 8, 4) if isinstance(price, int | float) else 0.0


def _tick(name: str, told: Json) -> Seconds:
    if not isinstance(told, int | float) or not 0 < told < math.inf:
        raise ValueError(f"{INDEX_FILE}: {name}: gap_seconds is {told!r}; write the seconds between two rows, such as 600")
    return float(told)


def _instant(name: str, told: Json) -> Utc | None:
    if told is None:
        return None
    try:
        return datetime.fromisoformat(str(told)).timestamp()
    except ValueError:
        raise ValueError(f"{INDEX_FILE}: {name}: start_utc is {told!r}; write an instant such as 2022-10-26T22:05:04Z") from None
