"""Every store that needs no server, made afresh: what the suites of this folder run on."""

from collections.abc import Callable
from pathlib import Path

from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.files import FileStore
from launcher.adapters.store.memory import MemoryStore
from launcher.adapters.store.remote import RemoteStore
from launcher.sim.faults import FaultPlan
from launcher.sim.faulty import FaultyStore, Process
from launcher.sim.store import SimStore
from launcher.sim.timeline import Timeline
from tests.conformance.provider import MemoryProvider

MakeStore = Callable[[Path], ObjectStore]


def _faultless(_: Path) -> ObjectStore:
    """A store as a process of a simulated world reaches it while nothing goes wrong."""
    timeline = Timeline()
    process = Process(name="sup-1", timeline=timeline, plan=FaultPlan(0, 0.0, 0.0, only=()), can_stop=True)
    return FaultyStore(inner=SimStore(timeline), process=process)


STORES: dict[str, MakeStore] = {
    "memory": lambda _: MemoryStore(),
    "files": FileStore,
    "simulated": lambda _: SimStore(Timeline()),
    "faultless": _faultless,
    "remote": lambda _: RemoteStore("s3://bkt/some/folder", MemoryProvider()),
}
