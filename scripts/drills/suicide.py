"""The real command line, in a process that kills itself at one exact moment: before or after the n-th call of one of its doors.

    python -m scripts.drills.suicide DOOR before|after N WORDS …

A door is a call by which a supervisor reaches the world. The product knows nothing of this: the calls are wrapped from outside,
in this process only. SIGKILL leaves no time for anything, as a power cut would.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from launcher import processes
from launcher.adapters.cloud.local import LocalCloud
from launcher.adapters.history import History
from launcher.adapters.store.files import FileStore
from launcher.app import cli
from launcher.core.contract import JOURNAL_PREFIX
from launcher.core.run import events as ev


class Door(NamedTuple):
    owner: Any
    name: str
    counts: Callable[..., bool] = lambda *args, **kwargs: True  # which of the calls are counted
    calls_most: int = 1  # in a life of a supervisor; where to strike is drawn up to this


DOORS = {
    "end": Door(History, "append", lambda history, event: isinstance(event, ev.RunSucceeded)),
    "record": Door(FileStore, "create", lambda store, key, data: key.startswith(JOURNAL_PREFIX), 16),
    "object": Door(FileStore, "create", lambda store, key, data: not key.startswith(JOURNAL_PREFIX), 3),
    "seal": Door(FileStore, "create", lambda store, key, data: "/commits/" in key),
    "beacon": Door(FileStore, "replace", calls_most=4),
    "start": Door(LocalCloud, "start"),
    "spawn": Door(processes, "spawn_detached", calls_most=2),  # within start: the order is written, the host not begun
    "stop": Door(LocalCloud, "stop"),
    "poll": Door(LocalCloud, "poll", calls_most=12),
    "link": Door(os, "link", calls_most=18),  # within create: the bytes are there, the name is not yet
    "sync": Door(os, "fsync", calls_most=60),
}


def arm(door: Door, when: str, nth: int) -> None:
    """Have this process die at the `nth` call."""
    real = getattr(door.owner, door.name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += door.counts(*args, **kwargs)
        is_due = calls == nth and door.counts(*args, **kwargs)
        if is_due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(door.owner, door.name, deadly)


if __name__ == "__main__":
    name, when, nth, *words = sys.argv[1:]
    arm(DOORS[name], when, int(nth))
    sys.exit(cli.main(words))
