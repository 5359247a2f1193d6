"""A look reads what is new, and takes what it read before as read."""

import pytest

from launcher import codec
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.run.observation import Sightings
from launcher.observe import Observer
from tests.builders import NOW, heartbeat, training_run
from tests.simulation.worlds import Sim


class Scene:
    """An attempt that trains, and an observer whose reading of heartbeats is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sim = Sim()
        supervisor = sim.supervisor()
        self.store = sim.store
        self.observer = Observer(sim.store, sim.cloud_of(supervisor), sim.feed_of(supervisor))
        self.num_read = 0
        loads = codec.loads

        def counted(kind: type, data: bytes) -> object:
            self.num_read += kind is Heartbeat
            return loads(kind, data)

        monkeypatch.setattr("launcher.codec.loads", counted)

    def beat(self, sequence: int) -> None:
        self.store.replace(heartbeat_key(1), codec.dumps_digested(heartbeat(1, sequence)))

    def look(self) -> Sightings:
        return self.observer.look(training_run(), NOW)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_a_heartbeat_that_stands_still_is_read_once(scene: Scene) -> None:
    scene.beat(1)
    looks = [scene.look() for _ in range(3)]
    assert [seen.heartbeats for seen in looks] == 3 * [{1: heartbeat(1, 1)}]
    assert scene.num_read == 1


def test_each_new_heartbeat_is_read(scene: Scene) -> None:
    for sequence in (1, 2, 1):
        scene.beat(sequence)
        assert scene.look().heartbeats[1].sequence == sequence
    assert scene.num_read == 3


def test_a_heartbeat_that_is_gone_or_rotten_is_not_taken_for_the_one_before(scene: Scene) -> None:
    scene.beat(1)
    scene.look()
    scene.store.delete(heartbeat_key(1))
    assert scene.look().heartbeats == {}
    scene.store.replace(heartbeat_key(1), b"{")
    assert scene.look().heartbeats == {}
    scene.beat(1)
    assert scene.look().heartbeats == {1: heartbeat(1, 1)}
