"""Which price lists this user has, and the index over them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.sources import LAYOUT, Places

if TYPE_CHECKING:
    from launcher.adapters.market.download import Fetched

FOLDER_VARIABLE = "LAUNCH_CATALOG"
URL_VARIABLE = "LAUNCH_CATALOG_URL"  # a mirror of SkyPilot's catalog: URL/aws/vms.csv and so on


def price_index(home: Path) -> PriceIndex:
    """Kept in the home, and made anew where a list has changed."""
    return open_index(home / "cache/prices.sqlite", places(home))


def refresh(home: Path) -> "list[Fetched]":
    """Fetch all lists anew, into the home."""
    from launcher.adapters.market import download  # only here: nothing else of prices needs a network

    return download.refresh(places(home).downloads, base_url=os.environ.get(URL_VARIABLE) or download.HOSTED)


def places(home: Path) -> Places:
    named = os.environ.get(FOLDER_VARIABLE)
    return Places(
        named=Path(named).expanduser() if named else None,
        skypilot=Path("~/.sky/catalogs").expanduser() / LAYOUT,
        downloads=home / "cache/catalogs" / LAYOUT,
    )
