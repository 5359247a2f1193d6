"""Whether the agents of machines that have their task came to start. SkyPilot sets them up, and it alone sees that fail.

A machine without an agent is silent, like one that cannot reach the store, and costs until it is deleted as idle; on Slurm it
stands for half an hour. So its job is asked about, until that runs and still does at the next look.
"""

import time
from collections.abc import Callable, Collection, Iterable
from functools import partial

from launcher import log
from launcher.adapters.cloud.skypilot.base import ClusterName, JobState, Sky, cluster_name
from launcher.adapters.cloud.skypilot.errand import Errand
from launcher.core.instance import InstanceName
from launcher.errors import CloudUnreachable
from launcher.units import Seconds

LOOK_EVERY_S: Seconds = 15.0  # real; each look keeps SkyPilot's server busy for a second, and most set-ups take longer
RUNNING_LOOKS = 2  # the first may see an agent that dies as it begins


class SetUps:
    """Used by one thread. `heard`: whose agents have spoken; nobody asks about those. A look that takes longer than `stuck_after`
    (real) is given up.
    """

    def __init__(
        self, sky: Sky, heard: Collection[InstanceName], stuck_after: Seconds, now: Callable[[], Seconds] = time.monotonic
    ) -> None:
        self._sky = sky
        self._stuck_after = stuck_after
        self._now = now
        self._runs: dict[InstanceName, int] = dict.fromkeys(heard, RUNNING_LOOKS)  # looks that found it so
        self._looks: dict[InstanceName, Errand[str | None]] = {}
        self._next_at: dict[InstanceName, Seconds] = {}
        self.failed: dict[InstanceName, str] = {}  # for good, and why

    def launched(self, name: InstanceName) -> None:
        """Just now: it is not ready yet."""
        self._next_at.setdefault(name, self._now() + LOOK_EVERY_S)

    def look(self, names: Iterable[InstanceName]) -> None:
        """After those of them whose agents are not known to run, each in its turn; takes in what earlier looks have found."""
        for name in [name for name, errand in self._looks.items() if errand.is_done]:
            self._take(name, self._looks.pop(name))
        self._looks = {name: errand for name, errand in self._looks.items() if not errand.is_stuck(self._stuck_after)}
        for name in names:
            is_known = name in self.failed or self._runs.get(name, 0) >= RUNNING_LOOKS
            if not is_known and name not in self._looks and self._now() >= self._next_at.get(name, 0.0):
                self._looks[name] = Errand(partial(self._ask, name))

    def is_busy(self) -> bool:
        return bool(self._looks)

    def _ask(self, name: InstanceName) -> str | None:
        """Why its agent does not start; empty where it runs or has ended in order, None where that is not known yet."""
        cluster = cluster_name(name)
        job = self._sky.job(cluster)
        if job is JobState.FAILED:
            return self._why(cluster)
        return None if job is JobState.OPEN else ""

    def _why(self, cluster: ClusterName) -> str:
        try:
            return self._sky.last_words(cluster) or "its log is empty"
        except CloudUnreachable as error:  # it costs money all the same
            return f"its log cannot be read: {error}"

    def _take(self, name: InstanceName, errand: Errand[str | None]) -> None:
        self._next_at[name] = self._now() + LOOK_EVERY_S
        try:
            why = errand.result()
        except CloudUnreachable as error:  # asked again in a moment
            log.debug("set_up_not_seen", instance=name, error=str(error))
            return
        if why:
            self.failed[name] = log.redacted(why)
        elif why is not None:
            self._runs[name] = self._runs.get(name, 0) + 1
