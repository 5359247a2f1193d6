"""AWS's interruption bands, from a file: the share of a type's spot instances in a region that was reclaimed in the last month.

Two layouts: a table (Region, InstanceType, Band), and the JSON that AWS's Spot Instance Advisor reads. Linux only. What has
no band from 0 to 4 is left out; a file in which nothing has one says nothing, which is no error.
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from launcher.codec import Json
from launcher.core.market.lives import BAND_SHARES

Bands = dict[tuple[str, str], int]
TABLE = "aws_interruptions.csv"
ADVISOR = "aws/spot-advisor-data.json"
_NEEDED = ("Region", "InstanceType", "Band")
_WRITTEN = {str(band): band for band in range(len(BAND_SHARES))}


def read_table(text: str) -> Bands:
    """By region and type. Raises ValueError where a column is missing or it cannot be read as a table."""
    try:
        rows = csv.DictReader(io.StringIO(text))
        missing = [name for name in _NEEDED if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"it has no column {missing[0]}")
        return _bands((row["Region"], row["InstanceType"], _WRITTEN.get((row["Band"] or "").strip())) for row in rows)
    except csv.Error as error:
        raise ValueError(f"it is no table: {error}") from None


def read_advisor(text: str) -> Bands:
    """By region and type. Raises ValueError where it is not the Advisor's."""
    try:
        regions = json.loads(text)["spot_advisor"]
        return _bands(
            (region, instance, about.get("r"))
            for region, systems in regions.items()
            for instance, about in systems.get("Linux", {}).items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not the Spot Instance Advisor's: {error!r}") from None


def known_bands(named: Path | None, downloads: Path) -> tuple[Bands, str]:
    """Of the folder that a person named, else of what was fetched; and in words what was wrong with either, or nothing."""
    said: list[str] = []
    candidates = [*([(named / TABLE, read_table)] if named else []), (downloads / ADVISOR, read_advisor)]
    for path, read in candidates:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                return read(path.read_text(encoding="utf-8")), "; ".join(said)
            except (OSError, ValueError) as error:
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    raise
                said.append(f"the interruption bands in {path} cannot be used: {error}")
    return {}, "; ".join(said)


def _bands(rows: Iterable[tuple[str, str, Json]]) -> Bands:
    found: Bands = {}
    for region, instance, band in rows:
        if region and instance and type(band) is int and band in range(len(BAND_SHARES)):
            found[region, instance] = band
    return found
