"""Whether somebody supervises a run already, and what to say to whoever wants to do it too."""

import sys
import time

from launcher import beacon
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import Beacon
from launcher.errors import Overtaken


def holder(store: ObjectStore) -> Beacon | None:
    """The beacon of a living supervisor. Takes a while where it is another machine's."""
    return beacon.holder(store, monotonic=time.monotonic, wait=time.sleep)


def refuse_if_held(run: str, store: ObjectStore, *, insist: bool) -> None:
    """Raises Overtaken where another supervises the run, unless told to `insist` or told so on the terminal."""
    held_by = holder(store)
    if held_by is None or insist or _is_told_to_insist(run, held_by):
        return
    raise Overtaken(f"{run} is supervised by {who(held_by)}; `launch stop {run}` pauses it, -y takes it over")


def who(held_by: Beacon) -> str:
    return f"process {held_by.pid} (supervisor {held_by.supervisor}, boot {held_by.boot_id[:8]})"


def _is_told_to_insist(run: str, held_by: Beacon) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{run} is supervised by {who(held_by)}. Take it over? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
