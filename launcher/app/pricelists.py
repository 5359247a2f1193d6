"""Which price lists this user has, and the index over them."""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.adapters.market import live
from launcher.adapters.market.history import PriceHistory
from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.sources import CLOUDS, LAYOUT, Places
from launcher.core.market.quote import Quote
from launcher.errors import UsageError
from launcher.log import redact
from launcher.units import UsdPerHour, Utc

if TYPE_CHECKING:
    from launcher.adapters.market.download import Fetched
    from launcher.adapters.market.live_ask import Asked, Batches

FOLDER_VARIABLE = "LAUNCH_CATALOG"
URL_VARIABLE = "LAUNCH_CATALOG_URL"  # a mirror of SkyPilot's catalog: URL/aws/vms.csv and so on
GCP_KEY_VARIABLE = "LAUNCH_GCP_API_KEY"  # one of its own: a key for something else is not sent to Google unasked
AZURE_URL_VARIABLE = "LAUNCH_AZURE_PRICES_URL"  # AWS's own tools read AWS_ENDPOINT_URL_EC2
GCP_URL_VARIABLE = "LAUNCH_GCP_PRICES_URL"


def price_index(home: Path) -> PriceIndex:
    """Kept in the home, and made anew where a list has changed."""
    return open_index(home / "cache/prices.sqlite", places(home))


def refresh(home: Path) -> "list[Fetched]":
    """Fetch all lists anew, into the home. Raises UsageError for a mirror that is none."""
    from launcher.adapters.market import download  # only here: nothing else of prices needs a network

    return download.refresh(places(home).downloads, base_url=_address(URL_VARIABLE, download.HOSTED))


def refresh_bands(home: Path) -> str | None:
    """Fetch AWS's interruption bands anew. Gives why they could not be, or ""; None where a mirror alone is to be asked."""
    from launcher.adapters.market import download

    return None if os.environ.get(URL_VARIABLE) else download.refresh_bands(places(home).downloads, download.ADVISED)


def ask_live(rows: Iterable[Quote]) -> "list[Asked]":
    """Live spot prices of `rows` from each of their clouds that has an interface, the cheapest rows first."""
    from launcher.adapters.market import live_aws, live_azure, live_gcp
    from launcher.adapters.market.live_ask import Asked, ask_all

    azure_url, gcp_url = _address(AZURE_URL_VARIABLE, live_azure.URL), _address(GCP_URL_VARIABLE, live_gcp.URL)
    api_key = os.environ.get(GCP_KEY_VARIABLE, "")
    redact(api_key)
    ordered = sorted(rows, key=lambda row: row.spot or row.on_demand or 0.0)
    of: dict[str, list[Quote]] = {cloud: [row for row in ordered if row.cloud == cloud] for cloud in live.CLOUDS}
    asked: dict[str, Batches] = {}
    if of["aws"]:
        asked["aws"] = live_aws.aws_spots(of["aws"])
    if of["azure"]:
        asked["azure"] = live_azure.azure_spots(of["azure"], azure_url)
    if of["gcp"] and api_key:
        asked["gcp"] = live_gcp.gcp_spots(of["gcp"], api_key, gcp_url)
    keyless = [Asked(cloud="gcp", trouble=f"{GCP_KEY_VARIABLE} is not set")] if of["gcp"] and not api_key else []
    return [*ask_all(asked), *keyless]


def keep_live(home: Path, spots: Mapping[live.Key, UsdPerHour], at: Utc) -> None:
    """Raises OSError."""
    live.keep_live(live_path(home), spots, at, now=time.time())


def live_path(home: Path) -> Path:
    return home / "cache/live.csv"


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
        live=live_path(home),
    )


def unlisted(clouds: Iterable[str], index: PriceIndex) -> list[str]:
    """What is to be said of clouds that somebody named and no list of this user has."""
    listed = {known.cloud for known in index.lists}
    return [
        f"no list on this machine has {cloud}; `launch prices --refresh` fetches one" for cloud in clouds if cloud not in listed
    ]


def check_region(flag: str, region: str, index: PriceIndex, clouds: Collection[str] = CLOUDS) -> None:
    """Raises UsageError, with what was probably meant, where no list of these clouds has such a region."""
    regions = _regions(flag, region, index, clouds)
    if region in regions:
        return
    near = get_close_matches(region.lower(), sorted(regions), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`launch prices -o csv` shows those there are"
    raise UsageError(f"{flag} {region}: no list of {', '.join(clouds)} has such a region; {hint}")


def foreign_region(flag: str, cloud: str, region: str, index: PriceIndex) -> str:
    """What is to be said of a region that no whole list of the cloud has: a bucket may lie where no GPU is.

    Raises UsageError for a zone, and for a region that somebody misspelt.
    """
    regions = _regions(flag, region, index, (cloud,))
    if region in regions:
        return ""
    if meant := next((known for known in sorted(regions) if _is_slip(region, known)), None):
        raise UsageError(f"{flag} {cloud}/{region}: no list has such a region; did you mean {cloud}/{meant}?")
    is_whole = any(known.cloud == cloud and known.path for known in index.lists)
    near = get_close_matches(region, sorted(regions), n=1, cutoff=0.6)
    hint = f" (did you mean {cloud}/{near[0]}?)" if near else ""
    return f"{flag}: no list has {cloud}/{region}{hint}; it is taken for one without GPUs" if is_whole else ""


def _regions(flag: str, region: str, index: PriceIndex, clouds: Collection[str]) -> frozenset[str]:
    """Those of these clouds' lists. Raises UsageError where `region` is a zone of one."""
    places = [place for place in index.places() if place[0] in clouds]
    regions = frozenset(known for _, known, _ in places)
    around = next((known for _, known, zone in places if zone == region), region)
    if region not in regions and around != region:
        raise UsageError(f"{flag} {region}: that is a zone of {around}; name the region")
    return regions


def _is_slip(word: str, known: str) -> bool:
    """Capitals, signs that changed places, a letter too many or too few. "ap-south-1" is none of "af-south-1", nor 2 of 1."""
    word, (less, more) = word.lower(), sorted((word.lower(), known), key=len)
    if re.sub(r"\D", "", word) != re.sub(r"\D", "", known):
        return False
    return sorted(word) == sorted(known) or less in [more[:at] + more[at + 1 :] for at in range(len(more))]


def _address(variable: str, usual: str) -> str:
    given = os.environ.get(variable)
    if given and not given.startswith(("http://", "https://")):
        raise UsageError(f"{variable} is {given}; write the http(s) address of a mirror, or unset it")
    return (given or usual).rstrip("/")
