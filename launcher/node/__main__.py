"""`python -m launcher.node SPEC_PATH`: the agent of one attempt, started by whatever hosts the machine.

The only place of the machine's side that reads the environment. The working folder is the machine's disk.
"""

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
from launcher.node.notices import FileNotices, NoticeSource, SignalNotices


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
        sources=_sources(clock, Tempo(spec.speed)),
    )


def _clock() -> Clock:
    path = os.environ.get("LAUNCH_CLOCK")
    return SystemClock() if path is None else ScaledClock(Path(path))


def _sources(clock: Clock, tempo: Tempo) -> tuple[NoticeSource, ...]:
    by_signal = SignalNotices(clock.utc_s, tempo.market(KILL_GRACE_S))
    signal.signal(signal.SIGTERM, lambda *_: by_signal.heed())
    path = os.environ.get("LAUNCH_NOTICE_SOURCE")
    return (by_signal,) if path is None else (by_signal, FileNotices(Path(path)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
