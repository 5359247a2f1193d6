"""Which clouds SkyPilot can use from here, asked in a process of its own: it takes seconds, may hang, and prints.

Its server is not asked, since asking starts it, and it stays. So the answer is this user's and this machine's; of a server that
stands elsewhere nothing is known here.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher import processes
from launcher.adapters.cloud.skypilot.failures import plain
from launcher.units import Seconds

REASON_CHARS_MAX = 200
_CUT_AT = " Run the following commands"  # what follows are lines for another window


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudCheck:
    """`reason`: SkyPilot's own words where it cannot use the cloud."""

    cloud: str
    is_usable: bool
    reason: str


def check(clouds: Sequence[str], within: Seconds) -> Iterator[CloudCheck]:
    """As the answers come; none for those that have not come when `within` has passed."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, *clouds],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # it asks the clouds' own tools, which must end with it
    )
    alarm = threading.Timer(within, _kill, [child])
    alarm.daemon = True
    alarm.start()
    assert child.stdout is not None, "a pipe was asked for"
    try:
        with child.stdout as lines:
            for line in lines:
                cloud, is_usable, reason = json.loads(line)
                yield CloudCheck(cloud=cloud, is_usable=is_usable, reason=reason)
    finally:
        alarm.cancel()
        _kill(child)
        child.wait()


def _kill(child: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def main(clouds: Sequence[str]) -> None:
    """In the process of its own: a line of JSON for each cloud."""
    processes.die_with_parent()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        from sky.clouds import CloudCapability
        from sky.utils import registry

        for cloud in clouds:
            try:
                usable, reason = registry.CLOUD_REGISTRY.from_str(cloud).check_credentials(CloudCapability.COMPUTE)
            except Exception as error:  # of a cloud that it does not know, or of a library of that cloud
                usable, reason = False, f"{type(error).__name__}: {error}"
            answers.write(json.dumps([cloud, bool(usable), _line(reason)]) + "\n")
            answers.flush()


def _line(reason: object) -> str:
    """One line of an explanation of many; of several contexts of Kubernetes the first."""
    said = next(iter(reason.values()), "") if isinstance(reason, dict) else reason
    first = next((line for line in plain(str(said or "")).splitlines() if line.strip()), "")
    return first.partition(_CUT_AT)[0].strip()[:REASON_CHARS_MAX]


if __name__ == "__main__":
    main(sys.argv[1:])
