"""What writers that were killed in the middle of an upload left in the stores of the runs that are known here.

No listing shows it, and Amazon bills it. The next writer of a run throws it away; where nobody goes on with the run, nobody does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from launcher.adapters.store.base import Bucket
from launcher.app.wiring import is_remote, open_store
from launcher.errors import LaunchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """`keys`: of a run's store, begun a day ago or more."""

    store: str
    keys: tuple[str, ...]


def leftovers(urls: Iterable[str]) -> tuple[list[Leftover], list[str]]:
    """By store, and why some could not be asked. Runs that lie side by side are asked for at once."""
    runs_at: dict[str, set[str]] = {}
    for url in urls:
        if is_remote(url):
            place, _, run = url.rstrip("/").rpartition("/")
            runs_at.setdefault(place, set()).add(run)
    found, troubles = [], []
    for place, runs in runs_at.items():
        try:
            store = open_store(place)
            keys = store.abandoned_uploads() if isinstance(store, Bucket) else ()
        except LaunchError as error:
            troubles.append(f"{error}; what was left there of uploads was not seen")
            continue
        for run in sorted(runs):
            mine = tuple(sorted(key.removeprefix(f"{run}/") for key in keys if key.startswith(f"{run}/")))
            found += [Leftover(store=f"{place}/{run}", keys=mine)] if mine else []
    return found, troubles


def throw_away(left: Iterable[Leftover]) -> tuple[set[str], list[str]]:
    """The stores in which none is left, and why some are in the others."""
    cleared, troubles = set(), []
    for leftover in left:
        try:
            store = open_store(leftover.store)
            assert isinstance(store, Bucket), "only buckets have any"
            store.sweep_uploads()
            cleared.add(leftover.store)
        except LaunchError as error:
            troubles.append(f"{error}; what was left there of uploads was not thrown away")
    return cleared, troubles
