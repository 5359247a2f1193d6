"""The host process of one local instance: the machine and its cloud, for those who live in it.

    python -m launcher.adapters.cloud.local_host INSTANCE_FOLDER

It starts the agent, warns and kills by the trace, and writes down how it ended. It belongs to nobody: it outlives the
supervisor and the terminal that started it. As a subreaper it is the parent of last resort of all that the agent starts, so
the kill leaves nothing behind. When the host itself is killed the kernel kills the agent with it, and the next look of
`LocalCloud` sweeps up the rest and reports the end.
"""

import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from launcher import processes
from launcher.adapters.cloud.local_registry import (
    INSTANCE_VARIABLE,
    HostOrder,
    HostStarted,
    InstanceEnded,
    InstanceFolder,
    locked,
)
from launcher.clock import ScaledClock
from launcher.core.instance import EndCause
from launcher.units import Seconds, Utc

LOOK_S: Seconds = 0.1  # real, between two looks at the stop file; a stop takes process time anyway
KILL_AT_MOST_S: Seconds = 10.0  # real; a process that outlives SIGKILL for so long hangs in the kernel
# Real; a kill that begins this late is still the trace's, however long it takes. A later one (a suspended machine) is dated when
# it was done.
LATE_S: Seconds = 1.0


class Agent:
    """The first process of the instance, and the reaper of all others."""

    def __init__(self, order: HostOrder, instance: InstanceFolder, instance_id: str) -> None:
        self.status: int | None = None
        instance.work.mkdir(exist_ok=True)
        with instance.agent_log.open("ab") as log:
            self._child = subprocess.Popen(
                [*order.command, str(instance.spec)],
                cwd=instance.work,
                env=_environment(instance, instance_id),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=functools.partial(processes.bind_to, os.getpid()),
            )

    def reap(self) -> None:
        """Collect everything that has ended; keeps the agent's own wait status."""
        with contextlib.suppress(ChildProcessError):  # nobody is left
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if found[0] == self._child.pid:
                    self.status = found[1]

    def wait(self, at_most: Seconds) -> None:
        """Return when the agent ends, or after `at_most` real seconds."""
        if not hasattr(os, "pidfd_open"):
            time.sleep(at_most)
            return
        handle = os.pidfd_open(self._child.pid)  # not reaped yet, so the pid is its own
        try:
            select.select([handle], [], [], at_most)
        finally:
            os.close(handle)

    def terminate(self) -> None:
        os.kill(self._child.pid, signal.SIGTERM)  # not reaped yet, so the pid is its own

    def kill_tree(self) -> tuple[processes.ProcessId, ...]:
        """End every process of the instance; what would not die is returned."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # ended this moment, or (macOS) only remains left
                os.killpg(self._child.pid, signal.SIGKILL)
        survivors = processes.kill_descendants(at_most=KILL_AT_MOST_S)
        self.reap()
        return survivors


class Host:
    def __init__(self, instance: InstanceFolder, order: HostOrder, clock: ScaledClock) -> None:
        self._instance = instance
        self._order = order
        self._clock = clock
        self._started = self._announce()

    def run(self) -> None:
        if not self._boot():
            return self._record(EndCause.STOPPED, wait_status=None)
        try:
            agent = Agent(self._order, self._instance, self._started.instance_id)
        except OSError as error:
            return self._record(EndCause.EXITED, wait_status=f"not started: {error}")
        cause = self._watch(agent)
        is_on_time = cause is EndCause.PREEMPTED and self._real_until(self._started.kill_at) >= -LATE_S
        survivors = agent.kill_tree()
        status = None if agent.status is None else processes.wait_text(agent.status)
        at = self._started.kill_at if is_on_time else None
        return self._record(cause, at=at, wait_status=status, survivors=survivors)

    def _announce(self) -> HostStarted:
        """Write down who this is before anything is started, so that nothing ever runs that is not written down."""
        started_at = self._clock.utc_s() + self._order.boot
        started = HostStarted(
            instance_id=str(uuid.uuid4()),
            host=processes.me(),
            boot_id=processes.boot_id(),
            started_at=started_at,
            kill_at=started_at + self._order.up,
        )
        self._instance.write_started(started)
        return started

    def _boot(self) -> bool:
        """Whether the instance came up before it was told to stop."""
        while not (is_stopping := self._instance.is_stopping()) and (left := self._real_until(self._started.started_at)) > 0:
            time.sleep(min(left, LOOK_S))
        return not is_stopping

    def _watch(self, agent: Agent) -> EndCause:
        """Live until the agent ends, the trace kills or the grace of a stop is over; says which."""
        notice_at = self._notice_at()
        kill_agent_at: Seconds | None = None  # real, monotonic: a stop was asked for
        while True:
            agent.reap()
            if agent.status is not None:
                return _cause_of(agent.status, is_stopping=kill_agent_at is not None)
            if self._real_until(self._started.kill_at) <= 0:
                return EndCause.PREEMPTED
            if notice_at is not None and self._real_until(notice_at) <= 0:
                self._give_notice()
                notice_at = None
            if kill_agent_at is None and self._instance.is_stopping():
                agent.terminate()
                kill_agent_at = time.monotonic() + self._order.stop_grace_real
            if kill_agent_at is not None and time.monotonic() >= kill_agent_at:
                return EndCause.STOPPED
            agent.wait(self._next_look(notice_at))

    def _next_look(self, notice_at: Utc | None) -> Seconds:
        ends = (self._started.kill_at, *(() if notice_at is None else (notice_at,)))
        return max(0.0, min(LOOK_S, *map(self._real_until, ends)))

    def _real_until(self, instant: Utc) -> Seconds:
        return (instant - self._clock.utc_s()) / self._clock.speed

    def _notice_at(self) -> Utc | None:
        return None if self._order.notice_lead is None else self._started.kill_at - self._order.notice_lead

    def _give_notice(self) -> None:
        self._instance.write_notice(
            ends_at=self._started.kill_at, source=self._order.notice_source, is_stretched=self._order.notice_is_stretched
        )

    def _record(
        self,
        cause: EndCause,
        *,
        wait_status: str | None,
        at: Utc | None = None,
        survivors: tuple[processes.ProcessId, ...] = (),
    ) -> None:
        """`at` None: now."""
        at = self._clock.utc_s() if at is None else at
        self._instance.end(InstanceEnded(at=at, cause=cause, wait_status=wait_status, survivors=survivors))


def _cause_of(status: int, *, is_stopping: bool) -> EndCause:
    if is_stopping:
        return EndCause.STOPPED
    return EndCause.KILLED if os.WIFSIGNALED(status) else EndCause.EXITED


def _environment(instance: InstanceFolder, instance_id: str) -> dict[str, str]:
    return {
        **inherited_environment(),
        "LAUNCH_CLOCK": str(instance.clock),
        "LAUNCH_NOTICE_SOURCE": str(instance.notice),
        "LAUNCH_HOST_PID": str(os.getpid()),
        INSTANCE_VARIABLE: instance_id,
    }


def inherited_environment() -> dict[str, str]:
    """What a process started here may see of this one's environment: all but our own variables, which are another process's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LAUNCH_")}


def main(folder: Path) -> None:
    """Host the instance unless another does or did, or it was told to stop before it began."""
    instance = InstanceFolder(folder)
    with locked(instance.lock) as is_mine:
        order = instance.order()
        if is_mine and order is not None and instance.started() is None and not instance.is_stopping():
            processes.become_subreaper()
            Host(instance, order, ScaledClock(instance.clock)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
