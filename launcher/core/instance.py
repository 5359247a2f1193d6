"""What is known of a machine: the words in which any cloud answers."""

import enum
from dataclasses import dataclass

from launcher.units import Utc

InstanceName = str  # "<run>-<incarnation>-<attempt>": see instance_name


def instance_name(run: str, incarnation: str, attempt: int) -> InstanceName:
    """The name of an attempt's instance on any cloud. An instance with another incarnation is not ours."""
    return f"{run}-{incarnation}-{attempt}"


def attempt_of(name: InstanceName) -> int:
    return int(name.rsplit("-", 1)[1])


class InstancePhase(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"  # the start failed; `failure` says why
    STOPPING = "stopping"
    BROKEN = "broken"  # of a gang: some of its machines are gone, the others are up and billed
    GONE = "gone"  # positively ended; `ended_at` where the cloud tells
    UNKNOWN = "unknown"  # this machine cannot judge; ask the store


class FailureKind(enum.Enum):
    CAPACITY = "capacity"
    QUOTA = "quota"
    CREDENTIALS = "credentials"
    PERMISSION = "permission"
    RECIPE = "recipe"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailure:
    failure: FailureKind
    message: str


class EndCause(enum.Enum):
    """Who ended an instance, as far as the cloud tells."""

    PREEMPTED = "preempted"
    STOPPED = "stopped"  # we asked
    EXITED = "exited"  # its agent ended by itself
    KILLED = "killed"  # a signal that is neither the market's nor ours
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    phase: InstancePhase
    instance_id: str | None = None
    billed_from: Utc | None = None
    ended_at: Utc | None = None
    cause: EndCause = EndCause.UNTOLD
    wait_status: str | None = None  # local: "signal 9" or "exit 0", as the host process reaped it
    failure: StartFailure | None = None
