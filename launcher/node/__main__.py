"""`python -m launcher.node SPEC_PATH`: the agent of one attempt, started by whatever hosts the machine.

The only place of the machine's side that reads the environment. The working folder is the machine's disk.
"""

import atexit
import json
import math
import os
import signal
import sys
import uuid
from pathlib import Path

from launcher import codec, processes
from launcher.adapters.store.open import open_store
from launcher.clock import Clock, ScaledClock, SystemClock
from launcher.core.contract import AttemptSpec
from launcher.core.tempo import KILL_GRACE_S, Tempo
from launcher.errors import LaunchError, UsageError
from launcher.node.agent import Machine, attend
from launcher.node.notices.base import NoticeSource
from launcher.node.notices.clouds import cloud_watches
from launcher.node.notices.files import FileNotices
from launcher.node.notices.metadata import LINK_LOCAL, MetadataServer
from launcher.node.notices.signals import SignalNotices, grace_on
from launcher.units import Seconds


def main(arguments: list[str]) -> int:
    processes.die_with_parent()
    processes.become_subreaper()
    host_pid = int(os.environ["LAUNCH_HOST_PID"]) if "LAUNCH_HOST_PID" in os.environ else None
    if host_pid not in (None, os.getppid()):
        return 0  # the host ended before the kernel knew of our wish to end with it
    try:
        attend(_machine(arguments, host_pid))
    except LaunchError as error:
        print(f"launch: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _machine(arguments: list[str], host_pid: int | None) -> Machine:
    if len(arguments) != 1:
        raise UsageError("usage: python -m launcher.node SPEC_PATH")
    spec_path = Path(arguments[0]).absolute()
    spec: AttemptSpec = codec.loads(AttemptSpec, spec_path.read_bytes())
    _take_secrets(spec)
    clock = _clock()
    return Machine(
        spec=spec,
        spec_path=spec_path,
        root=Path.cwd(),
        env=dict(os.environ),
        instance_id=os.environ.get("LAUNCH_INSTANCE_ID") or uuid.uuid4().hex,
        host=os.uname().nodename,
        host_pid=host_pid,
        store=open_store(spec.store),
        clock=clock,
        sources=_sources(spec, clock),
        node=_node(spec),
    )


def _node(spec: AttemptSpec) -> int:
    """SkyPilot's rank of this machine, where several are one attempt (SkyPilot docs, "Distributed multi-node jobs")."""
    return int(os.environ["SKYPILOT_NODE_RANK"]) if spec.num_nodes > 1 else 0


def _take_secrets(spec: AttemptSpec) -> None:
    """From the file that they came in, which is gone then. They count before the store is opened: its key may be among them."""
    told = os.environ.pop("LAUNCH_SECRETS", None)
    if told is None:
        return
    path = Path(told)
    try:
        os.environ.update(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path} is gone: another agent of this machine has taken the secrets that came in it") from None
    if spec.num_nodes == 1:
        path.unlink()
    else:  # the machines of a Slurm cluster share their homes, and each must read it
        atexit.register(path.unlink, missing_ok=True)


def _clock() -> Clock:
    path = os.environ.get("LAUNCH_CLOCK")
    return SystemClock() if path is None else ScaledClock(Path(path))


def _sources(spec: AttemptSpec, clock: Clock) -> tuple[NoticeSource, ...]:
    """A rehearsed machine is told of its end by its host, whatever cloud it plays; a real one by its cloud."""
    rehearsed = os.environ.get("LAUNCH_NOTICE_SOURCE")
    tempo = Tempo(spec.speed)
    by_signal = SignalNotices(clock.utc_s, tempo.market(KILL_GRACE_S))
    signal.signal(signal.SIGTERM, lambda *_: by_signal.heed())
    if not rehearsed:  # which may take a while to learn
        by_signal.grace = tempo.market(_grace(spec))
    return (by_signal, *((FileNotices(Path(rehearsed)),) if rehearsed else _cloud_notices(spec, clock)))


def _grace(spec: AttemptSpec) -> Seconds:
    """Who asked for a pod knows its grace; the pod itself cannot. Raises UsageError where it is no number of seconds."""
    told = os.environ.get("LAUNCH_TERM_GRACE_S")
    if not told:
        return grace_on(spec.placement.cloud)
    try:
        grace = float(told)
    except ValueError:
        grace = math.nan
    if not 0 <= grace < math.inf:
        raise UsageError(f"LAUNCH_TERM_GRACE_S is {told!r}; write the seconds from SIGTERM to SIGKILL, such as 30")
    return grace


def _cloud_notices(spec: AttemptSpec, clock: Clock) -> tuple[NoticeSource, ...]:
    server = MetadataServer(os.environ.get("LAUNCH_METADATA_URL") or LINK_LOCAL)
    watches = cloud_watches(spec.placement, server, clock.utc_s)
    for watch in watches:
        watch.start()
    return watches


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
