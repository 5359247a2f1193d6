"""SIGTERM to the agent is a notice too: whoever sends it waits for our exit, and kills after a grace.

So nothing is gained by going on, and the last save begins at once. How long the grace is no signal tells:

- On Kubernetes it is the pod's `terminationGracePeriodSeconds`, 30 unless the pod says otherwise (Kubernetes, "Pod Lifecycle,
  Termination of Pods"; read November 2026). A container cannot read it, so who asks for the pod says it to the agent.
- On Slurm at least `KillWait` seconds lie between SIGTERM and SIGKILL, 30 unless configured (slurm.conf(5)); a preempted job has
  its partition's GraceTime before that (slurm.schedmd.com/preempt.html). Slurm is asked once, when the agent starts.
- On GCP a machine that is taken away shuts down like any other, and is off after 30 s (Compute Engine API, `skipGuestOsShutdown`:
  from ACPI G2 Soft Off to G3 Mechanical Off 30 seconds for Spot VMs): its system sends SIGTERM with the first of them.
"""

import re
import subprocess
from collections.abc import Callable

from launcher.core.contract import SOURCE_SIGTERM
from launcher.core.tempo import KILL_GRACE_S
from launcher.node.notices.base import NoticeSource, Warned
from launcher.units import Seconds, Utc

GRACE_S: dict[str, Seconds] = {"k8s": 30.0, "slurm": 30.0, "gcp": 30.0}
SLURM_ANSWERS_S: Seconds = 2.0  # what an agent's start may wait for a controller that is away


class SignalNotices(NoticeSource):
    """The sender kills after `grace` market seconds, which may be learnt later. The signal handler calls `heed`."""

    def __init__(self, utc: Callable[[], Utc], grace: Seconds) -> None:
        self._utc = utc
        self.grace = grace
        self._heeded = False
        self._last: Warned | None = None

    def heed(self) -> None:
        self._heeded = True

    def read(self) -> Warned | None:
        if self._heeded and self._last is None:
            self._last = Warned(ends_at=self._utc() + self.grace, source=SOURCE_SIGTERM, awaited=True)
        return self._last


def grace_on(cloud: str) -> Seconds:
    """Real seconds from SIGTERM to SIGKILL on a machine of this cloud, as far as the machine can know."""
    told = _kill_wait() if cloud == "slurm" else None
    return GRACE_S.get(cloud, KILL_GRACE_S) if told is None else told


def _kill_wait() -> Seconds | None:
    """None where Slurm's client is not here, or does not answer."""
    try:
        told = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=SLURM_ANSWERS_S)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.search(r"^KillWait\s*=\s*(\d+)", told.stdout, re.MULTILINE)
    return None if found is None else float(found[1])
