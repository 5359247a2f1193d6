"""The port to clouds: instances by name. Truth comes from `poll`; `start` and `stop` return at once and may be repeated."""

from typing import Protocol

from launcher.core.contract import AttemptSpec
from launcher.core.instance import InstanceName, InstanceStatus


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
