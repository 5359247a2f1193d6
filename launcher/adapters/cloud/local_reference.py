"""The reference run of a rehearsal: the same training without a single interruption, to compare with.

A host process of its own (local_reference_host.py) runs the trainer as a plain program and writes `reference.json` into the
store at the end. It belongs to nobody, as the host of an instance does not: it outlives the supervisor, is found again by its
identity, and is started anew where it died too early. A reference that fails leaves its reason in the registry, and nothing
else: the run's own attempts will meet the same trouble and tell it better.

Its first steps are also what start-up and a step cost on this machine: `measure`. Under <registry>/reference/: order.json,
host.json (ReferenceHosted), ended.json, host.lock, work/ (the trainer's folder), host.log, trainer.log.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from launcher import processes
from launcher.adapters import durable
from launcher.codec import Json, dumps, loads
from launcher.core.contract import PROGRESS_FILE, TrainerProgress
from launcher.units import Seconds, Step

MEASURED_STEPS: Step = 20  # until then a step's time is still settling
KILL_AT_MOST_S: Seconds = 10.0  # real
REFERENCE_VARIABLE = "LAUNCH_REFERENCE_ID"  # marks every process of a reference run
_HOST_COMMAND = (sys.executable, "-P", "-m", "launcher.adapters.cloud.local_reference_host")
_spawned: dict[Path, subprocess.Popen[bytes]] = {}  # hosts of this process, known before they have written who they are

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOrder:
    """What to run, and the store (URL of STORE/RUN) that gets the result."""

    run: str
    incarnation: str
    store: str
    module: str
    args: dict[str, Json]
    envs: dict[str, str] = field(default_factory=dict)
    code: str | None = None  # key of the frozen workdir, a tar


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceHosted:
    """`host.json`: who runs it now. `trainer_started_mono` is None before the first trainer."""

    host: processes.ProcessId
    boot_id: str
    mark: str
    restarts: int = 0
    trainer_started_mono: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceEnded:
    """`ended.json`: `failure` is "" after a success."""

    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Real seconds on this machine."""

    startup_s: Seconds
    step_s: Seconds
    load: float = 1.0  # how much longer a step takes now than `step_s`, waiting for a core with whatever else runs here


def reference_folder(registry: Path) -> Path:
    return registry / "reference"


def start(registry: Path, order: ReferenceOrder) -> None:
    """Have the reference run go on or begin; does nothing where one lives, has finished or has failed."""
    folder = reference_folder(registry)
    if read(ReferenceEnded, folder / "ended.json") is None and not _is_hosted(folder):
        durable.replace_durably(folder / "order.json", dumps(order))
        _spawned[folder] = processes.spawn_detached([*_HOST_COMMAND, str(folder)], folder=folder, log=folder / "host.log")


def stop(registry: Path) -> None:
    """Kill what lives of it; `start` begins anew."""
    folder = reference_folder(registry)
    if folder in _spawned:
        _spawned[folder].kill()
        _spawned.pop(folder).wait()
    hosted = read(ReferenceHosted, folder / "host.json")
    if hosted is not None and hosted.boot_id == processes.boot_id():
        processes.send(hosted.host, signal.SIGKILL)
        processes.kill_marked(REFERENCE_VARIABLE, hosted.mark, at_most=KILL_AT_MOST_S)


def failure(registry: Path) -> str | None:
    """Why there will be no reference; None where there may yet be one, or is."""
    ended = read(ReferenceEnded, reference_folder(registry) / "ended.json")
    return ended.failure or None if ended is not None else None


def progress(registry: Path) -> TrainerProgress | None:
    """How far the present trainer is; None before its first sign."""
    return read(TrainerProgress, reference_folder(registry) / "work" / PROGRESS_FILE)


def measure(registry: Path) -> Measured | None:
    """What start-up and a step cost here, once enough steps are done.

    A step counts without the time it waited for a core: what it costs when the others leave. A start-up counts as it is on this
    machine with the others, its CPU time at the load that the steps met, since the attempts will start beside them too; but not
    what only the first start of all takes, reading files that nobody has read yet.
    """
    hosted, seen = read(ReferenceHosted, reference_folder(registry) / "host.json"), progress(registry)
    if hosted is None or hosted.trainer_started_mono is None or seen is None:
        return None
    if seen.first_step_mono is None or seen.step_s_low is None:
        return None
    if seen.step < min(MEASURED_STEPS, seen.total_steps or MEASURED_STEPS):
        return None
    wall = max(0.0, seen.first_step_mono - hosted.trainer_started_mono)
    startup_s = min(wall, seen.startup_cpu_s * seen.load) if seen.startup_cpu_s > 0 else wall
    step_s = min(seen.step_s_low, seen.step_s_alone or seen.step_s_low)
    return Measured(startup_s=startup_s, step_s=step_s, load=max(1.0, seen.load))


def _is_hosted(folder: Path) -> bool:
    if folder in _spawned and _spawned[folder].poll() is None:
        return True
    hosted = read(ReferenceHosted, folder / "host.json")
    return hosted is not None and hosted.boot_id == processes.boot_id() and processes.is_alive(hosted.host)


def read(kind: type[T], path: Path) -> T | None:
    """The record in a file of this folder; None where there is none."""
    try:
        return loads(kind, path.read_bytes())
    except FileNotFoundError:
        return None
