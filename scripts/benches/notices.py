"""`scripts/bench notices`: how soon a program knows that its machine ends, and what listening costs.

Each cloud's metadata server is played on 127.0.0.1 (`tests/servers/metadata`). *Notice to flag* is from its announcement until
the program's notice file exists, with a real agent and program, at moments spread over the time between two questions. *CPU* is
what the threads that ask take on their own, by the kernel's clock of each, over a while in which nothing is announced.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launcher.core.contract import SaveRule
from launcher.node.notices.clouds import cloud_watches
from launcher.node.notices.metadata import MetadataServer
from launcher.node.notices.watch import PAUSE_S, Watch
from launcher.units import HOUR, Seconds
from tests.node.rig import PLACEMENT, Rig, eventually
from tests.node.test_cloud_notices import CLOUDS, event, iso, withdraw
from tests.servers.metadata import FakeMetadata

NUM_NOTICES = 20
LISTENING_S: Seconds = 20.0
FLAG_MOST_S, CORE_MOST = 2.0, 0.001
PROGRAM = "touch started; while :; do sleep 1; done"


@contextmanager
def agent_on(name: str, cloud: FakeMetadata) -> Iterator[tuple[Rig, Path]]:
    """A training agent on a machine of this cloud, and the file that its program looks at."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        rig = Rig(Path(scratch))
        spec = rig.spec(PROGRAM, placement=replace(PLACEMENT, cloud=name), save=SaveRule(on_notice=False))  # so that it goes on
        cloud.clock = rig.clock.utc_s
        agent = rig.start(spec, LAUNCH_NOTICE_SOURCE="", LAUNCH_METADATA_URL=cloud.url)
        rig.grant()
        agent.has_started()
        try:
            yield rig, agent.root / "notice"
        finally:
            rig.close()


def flag_delays(name: str) -> list[Seconds]:
    with FakeMetadata() as cloud, agent_on(name, cloud) as (rig, flag):
        return [flag_delay(cloud, rig, flag, moment=n / NUM_NOTICES * PAUSE_S) for n in range(NUM_NOTICES)]


def flag_delay(cloud: FakeMetadata, rig: Rig, flag: Path, moment: Seconds) -> Seconds:
    time.sleep(moment)
    ends_at = rig.clock.utc_s() + 800  # market: near enough to be a notice
    began = time.monotonic()
    cloud.action = {"action": "terminate", "time": iso(ends_at)}
    cloud.events = [event(ends_at)]
    cloud.say("preempted", "TRUE")
    eventually(flag.exists, "the flag")
    delay = time.monotonic() - began
    withdraw(cloud)
    eventually(lambda: not flag.exists(), "the flag is gone")
    return delay


def cpu_an_hour(name: str, url: str) -> Seconds:
    watches = cloud_watches(replace(PLACEMENT, cloud=name), MetadataServer(url), time.time)
    for watch in watches:
        watch.start()
    time.sleep(2 * PAUSE_S)  # a token, a name: asked for once
    before = sum(map(thread_cpu, watches))
    time.sleep(LISTENING_S)
    return (sum(map(thread_cpu, watches)) - before) * HOUR / LISTENING_S


def thread_cpu(watch: Watch) -> Seconds:
    assert watch.thread.ident is not None, "it was started"
    return time.clock_gettime(time.pthread_getcpuclockid(watch.thread.ident))


def main() -> int:
    is_good = True
    print(f"most allowed: {FLAG_MOST_S:g} s from notice to flag, {CORE_MOST:.1%} of a core ({CORE_MOST * HOUR:.1f} s an hour)")
    print("cloud      notice to flag, s: median  worst    CPU s an hour   of a core")
    for name in CLOUDS:
        delays = sorted(flag_delays(name))
        with FakeMetadata() as cloud:
            cpu_s = cpu_an_hour(name, cloud.url)
        is_good = is_good and delays[-1] < FLAG_MOST_S and cpu_s / HOUR < CORE_MOST
        print(f"{name:12} {delays[len(delays) // 2]:23.2f} {delays[-1]:6.2f} {cpu_s:16.2f} {cpu_s / HOUR:11.3%}", flush=True)
    cpu_s = cpu_an_hour("aws", "http://127.0.0.1:9")  # discard: nobody listens there
    print(f"{'no server':12} {'-':>23} {'-':>6} {cpu_s:16.2f} {cpu_s / HOUR:11.3%}")
    return 0 if is_good and cpu_s / HOUR < CORE_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
