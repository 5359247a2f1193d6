"""Where the local instances of a run are written down, so that they are found again whoever started them.

One folder for each run, in the user's state folder and not in its home: instances belong to this machine. The cloud adapter
orders, the host process answers, and each file has one writer:

    <registry>/clock.json                      the rehearsed clock
    <registry>/start.lock                      held while an instance is admitted
    <registry>/reference/                      the reference run: local_reference.py
    <registry>/instances/<name>/host.json      HostOrder    adapter: written last, so where it is the order is whole
                                spec.json      AttemptSpec  adapter, for the agent
                                refused.json   StartRefused adapter: the start failed; instead of an order or after it
                                stop           adapter: end it, please
                                host.lock      held by the host for its life: at most one host
                                started.json   HostStarted  host: before the first process of the instance
                                notice.json    plain JSON   host: {"ends_at", "source", "stretched"}
                                ended.json     InstanceEnded host; the adapter where the host was killed
                                work/          the instance's disk, gone with it
                                host.log, agent.log
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from launcher.adapters import durable
from launcher.codec import dumps, loads
from launcher.core.instance import EndCause, InstanceName, StartFailure
from launcher.processes import ProcessId
from launcher.units import Seconds, Utc

INSTANCE_VARIABLE = "LAUNCH_INSTANCE_ID"  # in the environment of every process of an instance: the mark by which strays are found

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOrder:
    """What the host of one instance shall do. Seconds are market time unless a name says `real`."""

    place: str
    number: int  # this is the so-manieth instance started in its place, from 1
    up: Seconds
    down: Seconds  # the place refuses for so long after the kill
    notice_lead: Seconds | None  # None: taken away without a word
    notice_is_stretched: bool = False  # it is longer than the market's
    notice_source: str
    boot: Seconds
    stop_grace_real: Seconds
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStarted:
    instance_id: str
    host: ProcessId
    boot_id: str
    started_at: Utc  # when the instance has booted; its agent starts then, and its bill
    kill_at: Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEnded:
    at: Utc
    cause: EndCause
    wait_status: str | None  # of the agent; None when nobody reaped it
    survivors: tuple[ProcessId, ...] = ()  # processes that would not die; an operator should look


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefused:
    at: Utc
    failure: StartFailure


def run_registry(state_home: Path, incarnation: str) -> Path:
    """The registry of a run: `state_home` is $XDG_STATE_HOME or ~/.local/state."""
    return state_home / "launch" / "local" / incarnation


@dataclass(frozen=True, slots=True)
class InstanceFolder:
    """One instance's files. Readers give None where the file is not there; a file that is there is whole."""

    path: Path

    @property
    def name(self) -> InstanceName:
        return self.path.name

    @property
    def clock(self) -> Path:
        return clock_of(self.path.parent.parent)

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def notice(self) -> Path:
        return self.path / "notice.json"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def host_log(self) -> Path:
        return self.path / "host.log"

    @property
    def agent_log(self) -> Path:
        return self.path / "agent.log"

    @property
    def lock(self) -> Path:
        return self.path / "host.lock"

    def order(self) -> HostOrder | None:
        return _read(HostOrder, self.path / "host.json")

    def started(self) -> HostStarted | None:
        return _read(HostStarted, self.path / "started.json")

    def ended(self) -> InstanceEnded | None:
        return _read(InstanceEnded, self.path / "ended.json")

    def refused(self) -> StartRefused | None:
        return _read(StartRefused, self.path / "refused.json")

    def is_stopping(self) -> bool:
        return (self.path / "stop").exists()

    def write_order(self, order: HostOrder, spec: bytes) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        durable.replace_durably(self.spec, spec)
        durable.replace_durably(self.path / "host.json", dumps(order))

    def write_refused(self, refused: StartRefused) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        durable.replace_durably(self.path / "refused.json", dumps(refused))

    def write_started(self, started: HostStarted) -> None:
        durable.replace_durably(self.path / "started.json", dumps(started))

    def write_notice(self, *, ends_at: Utc, source: str, is_stretched: bool) -> None:
        content = {"ends_at": ends_at, "source": source, "stretched": is_stretched}
        durable.replace_atomically(self.notice, json.dumps(content).encode())

    def write_stop(self) -> None:
        (self.path / "stop").touch()

    def end(self, ended: InstanceEnded) -> None:
        """Write the end down, then give the disk back."""
        durable.replace_durably(self.path / "ended.json", dumps(ended))
        shutil.rmtree(self.work, ignore_errors=True)


def instance_of(registry: Path, name: InstanceName) -> InstanceFolder:
    return InstanceFolder(registry / "instances" / name)


def instances_of(registry: Path) -> tuple[InstanceFolder, ...]:
    """All that were ever started or refused here, by name."""
    with contextlib.suppress(FileNotFoundError):
        return tuple(InstanceFolder(path) for path in sorted((registry / "instances").iterdir()))
    return ()


def clock_of(registry: Path) -> Path:
    return registry / "clock.json"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether the lock was free; if so it is held until the end of the block, or of the process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _is_taken(handle)
    finally:
        os.close(handle)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return loads(kind, path.read_bytes())
    except FileNotFoundError:
        return None
