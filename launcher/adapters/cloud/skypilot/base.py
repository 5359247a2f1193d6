"""What we ask of SkyPilot, in a few words of our own: launches are requests that a server carries out, machines are clusters.

The server keeps a request for a day and drops it where it is killed; a cluster it keeps until the cloud says that it is gone.
Two launches of one name run two jobs on one machine, so whoever sends one looks before (seen with SkyPilot 0.14.1).
"""

import enum
from dataclasses import dataclass
from typing import Protocol

from launcher.codec import Json
from launcher.core.instance import InstanceName, StartFailure
from launcher.core.market.offer import Placement
from launcher.units import Utc

ClusterName = str
RequestId = str
TaskConfig = dict[str, Json]  # a task, in the keys of SkyPilot's YAML


PREFIX = "launch-"  # SkyPilot's names begin with a letter, a run's need not


def cluster_name(name: InstanceName) -> ClusterName:
    return PREFIX + name


def instance_of(cluster: ClusterName) -> InstanceName:
    return cluster.removeprefix(PREFIX)


class Refused(Exception):
    """A launch that will never come up."""

    def __init__(self, failure: StartFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class LaunchState(enum.Enum):
    OPEN = "open"  # it waits, or is carried out
    SENT = "sent"  # the task has been sent to the machine
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The newest request to launch a cluster."""

    request: RequestId
    state: LaunchState
    asked_at: Utc


class ClusterState(enum.Enum):
    UP = "up"  # its machine runs; after a server's death that is no proof that a job was ever sent to it
    BROKEN = "broken"  # the cloud lists fewer machines than it has; the others go on
    INIT = "init"  # being launched, or not well: SkyPilot cannot tell
    STOPPED = "stopped"  # the machine is away, its disk is billed


class JobState(enum.Enum):
    """Of the tasks that were sent to a machine: of several, what is best."""

    OPEN = "open"  # it waits, or its environment is made
    RUNNING = "running"
    ENDED = "ended"  # with exit code 0: an agent that has said how its attempt ended, or leaves it to another
    FAILED = "failed"  # in its set-up, or with another exit code


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    name: ClusterName
    state: ClusterState
    launched_at: Utc  # when it was set up, 45 s after the cloud began to charge for it in one run


class Sky(Protocol):
    """SkyPilot's server, started where it does not run. Every call may take minutes, and may raise CloudUnreachable."""

    def zone_name(self, placement: Placement) -> str | None:
        """What this account calls the zone: price lists have the ids of AWS's. Raises Refused where the account is not let in."""
        ...

    def newest_launch(self, name: ClusterName) -> Launch | None:
        """None where nobody asked, or the server has forgotten it."""
        ...

    def launch(self, name: ClusterName, task: TaskConfig) -> RequestId:
        """Asks for a cluster that runs `task`. Raises Refused where the request itself is not accepted."""
        ...

    def wait_launched(self, request: RequestId) -> None:
        """Until the task has been sent to the machine. Raises Refused."""
        ...

    def cancel(self, request: RequestId) -> None: ...

    def knows(self, name: ClusterName) -> bool:
        """Whether it was launched from this user's SkyPilot, as far as that remembers; no cloud is asked."""
        ...

    def clusters(self, prefix: str) -> list[Cluster]:
        """Those whose names begin so, as their clouds say just now."""
        ...

    def job(self, name: ClusterName) -> JobState | None:
        """None where no task was ever sent to it, there is no such cluster, or none that is up."""
        ...

    def last_words(self, name: ClusterName) -> str:
        """What the newest task printed last, from its last error on; empty where it printed nothing."""
        ...

    def down(self, name: ClusterName) -> bool:
        """Ends its machines. False where there is no such cluster."""
        ...
