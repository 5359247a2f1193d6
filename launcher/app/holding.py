"""Whether somebody supervises a run already, and what to say to whoever wants to do it too."""

import contextlib
import sys
import time

from launcher import beacon
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import Beacon
from launcher.core.run import events as ev
from launcher.errors import Overtaken, StoreError


def holder(store: ObjectStore, incarnation: str) -> Beacon | None:
    """The beacon of a living supervisor. Takes a while where it is another machine's."""
    history = History(store, incarnation)

    def opener() -> str | None:
        with contextlib.suppress(StoreError):
            history.poll()
            return history.opener
        return None

    return beacon.holder(store, opener, monotonic=time.monotonic, wait=time.sleep)


def refuse_if_held(history: History, run: str, *, insist: bool) -> None:
    """Raises Overtaken where another supervises the run, unless told to `insist` or told so on the terminal.

    Who insists may have meant another question, such as that of money: whose run it was is said all the same.
    """
    held_by = holder(history.store, history.incarnation)
    if held_by is None:
        return
    text = f"{run} is supervised by {who(history, held_by)}"
    if insist:
        print(f"{text}; -y takes it over", file=sys.stderr)
    elif not _is_told_to_insist(text):
        raise Overtaken(f"{text}; `launch stop {run}` pauses it, `launch resume {run} -y` takes it over")


def who(history: History, held_by: Beacon) -> str:
    """The supervisor of a beacon, by the host and process that the journal knows it as."""
    events = (record.event for record in reversed(history.records))
    started = (e for e in events if isinstance(e, ev.SupervisorStarted) and e.supervisor == held_by.supervisor)
    host = next((e.host for e in started), "an unknown host")
    return f"process {held_by.pid} on {host}"


def _is_told_to_insist(text: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{text}. Take it over? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
