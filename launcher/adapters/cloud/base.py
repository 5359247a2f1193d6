"""The ports to clouds. Instances by name: truth comes from `poll`; `start` and `stop` return at once and may be repeated. And a
cloud's own word on machines, for whoever asks it directly.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from launcher.core.contract import AttemptSpec
from launcher.core.instance import EndCause, InstanceName, InstanceStatus
from launcher.units import Utc


class Cloud(Protocol):
    """Instances of runs. Every method may raise CloudUnreachable; silence is never taken for absence."""

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        """Begin to start an instance at `spec.placement`. A name already started is left as it is."""
        ...

    def stop(self, name: InstanceName) -> None:
        """Begin to end an instance, whatever it does; unknown and ended names are fine."""
        ...

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        """All instances of a run, ended ones for a day. Absent means gone only where this machine launched it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One of ours as its own cloud lists it, found by our labels, whoever launched it."""

    name: InstanceName
    cloud: str
    region: str
    id: str
    is_up: bool  # or coming up: it costs money
    billed_from: Utc
    ended_at: Utc | None = None  # where the cloud tells
    cause: EndCause = EndCause.UNTOLD


class Provider(Protocol):
    """A cloud itself: asked in a second, and also for what somebody else has launched.

    Every call may take seconds, and may raise CloudUnreachable.
    """

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        """Those of a run; such as have ended for as long as the cloud lists them."""
        ...

    def regions(self) -> list[str]:
        """Where this account may have machines."""
        ...

    def ours(self, region: str) -> list[Machine]:
        """All that are up there and carry our labels, of whichever run."""
        ...

    def end(self, machine: Machine) -> None: ...


Providers = Mapping[str, Provider]  # by the name of the cloud
