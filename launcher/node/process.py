"""One program of the user's, with all that it starts: begun, told to end, ended for certain, and how it ended.

A program is a tree, and its root is often only a shell. Two things follow. SIGTERM goes to the whole group, since a shell does
not pass it on; and the program has not ended while anything below it lives: a shell dies of SIGTERM at once, and the Python below
it is still saving. The agent is a subreaper, so nothing leaves the tree by `setsid`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.node import leash
from launcher.processes import ProcessId
from launcher.units import Seconds

LEFTOVERS_GRACE_S: Seconds = 2.0  # real, for what a program leaves running behind when its root ends by itself
KILL_MAX_S: Seconds = 10.0  # a process that survives SIGKILL for so long hangs in the kernel; the host or cloud ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program's root ended. With `torn` some part of it was cut off by a signal, perhaps in the middle of a file."""

    exit_code: int | None
    signal: int | None
    torn: bool


class Program:
    """Starts at once. Call `poll` often; it does what is due and answers `Ended` once nothing of the program lives."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, output_fd: int, *, listens: bool = False
    ) -> None:
        self._root = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
            stdout=output_fd,
            stderr=output_fd,
            start_new_session=True,
        )
        self._kill_at: float | None = None
        self._torn = False
        self._num_ended_well = 0
        self._ended: Ended | None = None

    def tell(self, line: str) -> None:
        """The one line a program that `listens` waits for. One that has died already shows it by its end."""
        assert self._root.stdin is not None, "only a program that listens is told something"
        with contextlib.suppress(BrokenPipeError):
            self._root.stdin.write(line.encode() + b"\n")
            self._root.stdin.close()

    @property
    def living(self) -> tuple[ProcessId, ...]:
        return processes.descendants(os.getpid())

    def terminate(self, grace_s: Seconds) -> None:
        """SIGTERM to the group now, SIGKILL to the whole tree after `grace_s`. Repeated calls only shorten the grace."""
        kill_at = time.monotonic() + grace_s
        if self._kill_at is None:
            self._signal_group()
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def kill(self) -> None:
        self._torn = True
        processes.kill_descendants(at_most=KILL_MAX_S)

    def poll(self) -> Ended | None:
        if self._ended is None:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self.kill()
            if self._root.poll() is not None:
                self._see_to_leftovers()
        return self._ended

    def _see_to_leftovers(self) -> None:
        self._reap_leftovers()
        if not self.living:
            code = self._root.returncode
            cut_off = code < 0 and self._num_ended_well == 0
            self._ended = Ended(
                exit_code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                torn=self._torn or cut_off or code > 128,  # a shell answers 128 + n for a child that died of signal n
            )
        elif self._kill_at is None:
            self._kill_at = time.monotonic() + LEFTOVERS_GRACE_S
            for process in self.living:
                processes.send(process, signal.SIGTERM)

    def _reap_leftovers(self) -> None:
        """Orphans of the ended root have become ours. Only now: before, this could take the root's own wait status."""
        with contextlib.suppress(ChildProcessError):
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if os.waitstatus_to_exitcode(reaped[1]) < 0:
                    self._torn = True
                else:
                    self._num_ended_well += 1

    def _signal_group(self) -> None:
        """The root is not reaped yet, or its group still has members: either way the number is not in use by others."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._root.pid, signal.SIGTERM)
