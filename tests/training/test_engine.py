"""What becomes of a save that the store did not take."""

from typing import Any

import pytest

from launcher.adapters.store.memory import MemoryStore
from launcher.checkpoint.commit import Committer
from launcher.checkpoint.engine import Engine
from launcher.core.checkpoint.manifest import Manifest
from launcher.core.contract import KeepRule
from launcher.errors import StoreError, StoreUnknown, StoreUnusable
from tests.training import scene


class Failing(Committer):
    """Every save comes to `error`."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(MemoryStore(), scene.author(), parent=None, keep=KeepRule())
        self._error = error

    def publish(self, *args: Any, **kwargs: Any) -> Manifest:
        raise self._error


@pytest.mark.parametrize(("error", "counted"), [(StoreUnusable("disk full"), 3), (StoreUnknown("no answer"), 0)])
def test_refused_saves_are_counted_and_an_outage_is_only_said(error: StoreError, counted: int):
    engine = Engine(Failing(error))
    for step in (1, 2, 3):
        assert engine.save((), scene.draft(step), lambda after: b"").wait() is None

    assert engine.tally.failed_saves == counted
    assert [str(error) in warning for warning in engine.tally.warnings] == [True] * 3


def test_each_uploaded_piece_is_a_sign_of_life():
    moves: list[None] = []
    engine = Engine(scene.committer(MemoryStore()), lambda: moves.append(None))

    assert engine.save(scene.sources(1), scene.draft(1), lambda after: b"").wait() is not None

    assert len(moves) >= len(scene.sources(1))
