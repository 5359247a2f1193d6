"""Processes told apart for certain, and ended for certain.

A pid names a process only until it is used again, so a process is named here by its pid and its start time, and signals go
through a pidfd that was checked after it was opened. A process that wants to end all that came from it becomes a *subreaper*:
orphans below it, those of `setsid` too, become its own children, so that it can walk its tree until nobody is left.

Linux reads /proc. Elsewhere `ps` answers, there is no subreaper, and what left the tree by `setsid` and lost its parent escapes.
"""

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.units import Seconds

_PROC = Path("/proc")
_IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_PF_KTHREAD = 0x00200000  # linux/sched.h
_EXEC_LOOK_S: Seconds = 0.001
_EXEC_AT_MOST_S: Seconds = 1.0  # an exec takes milliseconds, also on a busy machine
_KILL_LOOK_S: Seconds = 0.005  # between two looks at a tree being killed; a kill takes about this long to be carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """One process of this boot; `started` is its start time as the OS writes it, comparable only for equality."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    process: ProcessId
    parent: int
    state: str  # a letter, as ps(1) has it

    @property
    def is_zombie(self) -> bool:
        return self.state in "ZX"


def boot_id() -> str:
    """Changes with every start of this machine: pids, start times and monotonic clocks of two boots never compare."""
    if _IS_LINUX:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=True).stdout.strip()


def pid_space() -> str:
    """Within which a pid names one process: each container of a boot counts its own from 1. Empty where there is but one."""
    with contextlib.suppress(OSError):
        return os.readlink(_PROC / "self/ns/pid")
    return ""


def identify(pid: int) -> ProcessId | None:
    """The process that has `pid` now; None when there is none, or only its unreaped remains."""
    row = _row(pid)
    return None if row is None or row.is_zombie else row.process


def me() -> ProcessId:
    process = identify(os.getpid())
    assert process is not None, "this process runs, so it has an identity"
    return process


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def is_halted(process: ProcessId) -> bool:
    """Whether it lives and does nothing until it is told to go on: by Ctrl-Z, SIGSTOP or a debugger."""
    row = _row(process.pid)
    return row is not None and row.process == process and row.state in "Tt"


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Signal exactly this process, never a later one with its pid. False when it has ended."""
    if not hasattr(os, "pidfd_open"):
        return _send_by_pid(process, number)
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel or sandbox without pidfd
        return _send_by_pid(process, number)
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def _send_by_pid(process: ProcessId, number: signal.Signals) -> bool:
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> tuple[ProcessId, ...]:
    """Living processes below `pid`, parents before children."""
    children: dict[int, list[_Row]] = {}
    for row in _table():
        children.setdefault(row.parent, []).append(row)
    found: list[ProcessId] = []
    level = [pid]
    while level:
        rows = [row for parent in level for row in children.get(parent, ())]
        found += [row.process for row in rows if not row.is_zombie]
        level = [row.process.pid for row in rows]
    return tuple(found)


def kill_descendants(*, at_most: Seconds) -> tuple[ProcessId, ...]:
    """SIGKILL everything below this process until nothing is left; what still lives after `at_most` real seconds is returned.

    Looks again after each round: what was forked in between has become our own child, since this process is a subreaper.
    """
    return _kill_all(lambda: descendants(os.getpid()), at_most)


def kill_marked(variable: str, value: str, *, at_most: Seconds) -> tuple[ProcessId, ...]:
    """SIGKILL every process that was started with `variable=value` in its environment; returns what still lives."""
    return _kill_all(lambda: marked(variable, value), at_most)


def _kill_all(still: Callable[[], tuple[ProcessId, ...]], at_most: Seconds) -> tuple[ProcessId, ...]:
    deadline = time.monotonic() + at_most
    while living := still():
        if time.monotonic() > deadline:
            return living
        for process in living:
            send(process, signal.SIGKILL)
        time.sleep(_KILL_LOOK_S)
    return ()


def marked(variable: str, value: str) -> tuple[ProcessId, ...]:
    """Living processes, this one excepted, that inherited `variable=value`: the mark survives setsid and the parent's death.

    Linux only; elsewhere empty. Processes of other users are not readable and are passed over.
    """
    mark = f"{variable}={value}".encode()
    found = (identify(pid) for pid in _pids() if pid != os.getpid() and mark in _environment(pid)) if _IS_LINUX else ()
    return tuple(process for process in found if process is not None)


def become_subreaper() -> bool:
    """Make orphans below this process its own children. False where the system cannot."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Have the kernel SIGKILL this process when its parent ends. False where the system cannot.

    The parent may have ended before the call: compare `os.getppid()` with the pid it told.
    """
    return _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bind_to(parent: int) -> None:
    """For `preexec_fn`, in a parent without threads: the child dies with `parent`, also where that has ended already."""
    if die_with_parent() and os.getppid() != parent:
        os._exit(1)


def spawn_detached(command: Sequence[str], *, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """A process that neither Ctrl-C nor the end of the terminal or of this process reaches. Keep the handle: it reaps."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def wait_text(status: int) -> str:
    """A wait status as people read it: "exit 0", "signal 9"."""
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _prctl(option: int, value: int) -> bool:
    return _IS_LINUX and _libc().prctl(option, value, 0, 0, 0) == 0


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _row(pid: int) -> _Row | None:
    if _IS_LINUX:
        return _row_of_stat(pid)
    return next(iter(_rows_of_ps(["-p", str(pid)])), None)


def _table() -> Iterator[_Row]:
    if not _IS_LINUX:
        return _rows_of_ps(["-ax"])
    return (row for row in map(_row_of_stat, _pids()) if row is not None)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdigit())


def _row_of_stat(pid: int) -> _Row | None:
    fields = _fields_of_stat(pid)
    if fields is None:
        return None
    return _Row(process=ProcessId(pid=pid, started=fields[19]), parent=int(fields[1]), state=fields[0])


def _fields_of_stat(pid: int) -> list[str] | None:
    """proc(5), from field 3, the state, on: the fields before it are the pid and the command."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the command stands in parentheses and may hold blanks and parentheses itself


def _environment(pid: int) -> list[bytes]:
    """What a process was started with. In the middle of an exec Linux shows nothing for a moment: then it is read again."""
    deadline = time.monotonic() + _EXEC_AT_MOST_S
    with contextlib.suppress(OSError):
        while not (text := (_PROC / str(pid) / "environ").read_bytes()):
            if not _may_have_environment(pid) or time.monotonic() > deadline:
                break
            time.sleep(_EXEC_LOOK_S)
        return text.split(b"\0")
    return []


def _may_have_environment(pid: int) -> bool:
    """False for what has none: a zombie, a thread of the kernel, a program that was given none."""
    fields = _fields_of_stat(pid)  # proc(5): flags are field 9, env_start and env_end 50 and 51, both 0 until exec has set them
    if fields is None or fields[0] in "ZX" or int(fields[6]) & _PF_KTHREAD:
        return False
    return fields[47] == "0" or fields[47] != fields[48]


def _rows_of_ps(which: list[str]) -> Iterator[_Row]:
    shown = subprocess.run(["ps", *which, "-o", "pid=,ppid=,state=,lstart="], capture_output=True, text=True, check=False)
    for line in shown.stdout.splitlines():
        pid, parent, state, started = line.split(maxsplit=3)
        yield _Row(process=ProcessId(pid=int(pid), started=started), parent=int(parent), state=state[0])
