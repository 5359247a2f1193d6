"""Which price lists this user has, and the index over them."""

import os
from pathlib import Path

from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.sources import LAYOUT, Places

FOLDER_VARIABLE = "LAUNCH_CATALOG"


def price_index(home: Path) -> PriceIndex:
    """Kept in the home, and made anew where a list has changed."""
    return open_index(home / "cache/prices.sqlite", places(home))


def places(home: Path) -> Places:
    named = os.environ.get(FOLDER_VARIABLE)
    return Places(
        named=Path(named).expanduser() if named else None,
        skypilot=Path("~/.sky/catalogs").expanduser() / LAYOUT,
        downloads=home / "cache/catalogs" / LAYOUT,
    )
