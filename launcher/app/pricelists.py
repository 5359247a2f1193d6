"""Which price lists this user has, and the index over them."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.adapters.market.history import PriceHistory
from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.sources import LAYOUT, Places
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.adapters.market.download import Fetched

FOLDER_VARIABLE = "LAUNCH_CATALOG"
URL_VARIABLE = "LAUNCH_CATALOG_URL"  # a mirror of SkyPilot's catalog: URL/aws/vms.csv and so on


def price_index(home: Path) -> PriceIndex:
    """Kept in the home, and made anew where a list has changed."""
    return open_index(home / "cache/prices.sqlite", places(home))


def refresh(home: Path) -> "list[Fetched]":
    """Fetch all lists anew, into the home. Raises UsageError for a mirror that is none."""
    from launcher.adapters.market import download  # only here: nothing else of prices needs a network

    mirror = os.environ.get(URL_VARIABLE)
    if mirror and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"{URL_VARIABLE} is {mirror}; write the http(s) address of a mirror, or unset it")
    return download.refresh(places(home).downloads, base_url=(mirror or download.HOSTED).rstrip("/"))


@contextlib.contextmanager
def history(home: Path) -> Iterator[PriceHistory]:
    """What prices were at each refresh. Raises UsageError where it cannot be used, whatever is done with it."""
    path = home / "history/prices.sqlite"
    try:
        with contextlib.closing(PriceHistory(path)) as past:
            yield past
    except (OSError, sqlite3.Error) as error:
        remedy = "move it away, or name another home with --home"
        raise UsageError(f"the price history {path} cannot be used: {error}; {remedy}") from None


def places(home: Path) -> Places:
    """Raises UsageError where the person names a folder that is none."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named and not Path(named).expanduser().is_dir():
        raise UsageError(f"{FOLDER_VARIABLE} is {named}, and that is no folder; name one with price lists, or unset it")
    return Places(
        named=Path(named).expanduser() if named else None,
        skypilot=Path("~/.sky/catalogs").expanduser() / LAYOUT,
        downloads=home / "cache/catalogs" / LAYOUT,
    )
