"""The reference run: a process of its own that needs nobody and says what came out."""

import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import xxhash

import launcher
from launcher import codec, processes
from launcher.adapters.cloud import local_reference as reference
from launcher.adapters.cloud.local_reference import Measured, ReferenceHosted, ReferenceOrder
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.core.contract import REFERENCE_KEY, Reference
from launcher.errors import KeyMissing

T = TypeVar("T")


class Run:
    def __init__(self, folder: Path) -> None:
        self.registry = folder / "registry"
        self.store: ObjectStore = open_store(str(folder / "store"))
        self._order = ReferenceOrder(run="otter", incarnation="c0ffee", store=self.store.url, module="reference_trainer", args={})

    def start(self, mode: str) -> None:
        reference.start(self.registry, replace(self._order, args={"mode": mode}))

    def result(self) -> Reference | None:
        try:
            return codec.loads(Reference, self.store.get(REFERENCE_KEY))
        except KeyMissing:
            return None

    def hosted(self) -> ReferenceHosted | None:
        """Who runs it, once its trainer waits."""
        seen = reference.progress(self.registry)
        if seen is None or seen.step < 20:
            return None
        return reference.read(ReferenceHosted, self.folder / "host.json")

    @property
    def folder(self) -> Path:
        return reference.reference_folder(self.registry)

    def living(self, hosted: ReferenceHosted) -> tuple[processes.ProcessId, ...]:
        return processes.marked(reference.REFERENCE_VARIABLE, hosted.mark)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    roots = Path(launcher.__file__).parents[1], Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, roots)))
    monkeypatch.setenv("LAUNCH_SPEC", "another process's")
    made = Run(tmp_path)
    yield made
    reference.stop(made.registry)


def eventually(look: Callable[[], T | None], *, within_s: float = 120.0) -> T:
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def test_the_result_holds_all_losses_and_the_digest_of_each_tensor(run: Run) -> None:
    run.start("plain")
    result = eventually(run.result)
    assert result.losses == tuple(1.0 / step for step in range(1, 31))
    assert result.tensors == {
        "b": xxhash.xxh3_64_hexdigest(struct.pack("<f", 1)),
        "w": xxhash.xxh3_64_hexdigest(struct.pack("<2f", 2, 3)),
    }
    assert result.file is not None
    assert run.store.get(result.file).endswith(struct.pack("<3f", 1, 2, 3))
    assert result.measured == {"startup_s": 0.01, "step_s": 0.5}
    assert result.restarts == 0


def test_the_first_steps_tell_what_start_up_and_a_step_cost(run: Run) -> None:
    assert reference.measure(run.registry) is None
    run.start("waits")
    assert eventually(lambda: reference.measure(run.registry)) == Measured(startup_s=0.01, step_s=0.5)


def test_a_killed_trainer_begins_anew(run: Run) -> None:
    run.start("dies once")
    assert eventually(run.result).restarts == 1


def test_a_trainer_that_keeps_dying_is_given_up(run: Run) -> None:
    run.start("dies")
    assert "last by signal 9" in eventually(lambda: reference.failure(run.registry))


def test_a_failing_trainer_leaves_its_reason_and_is_not_tried_again(run: Run) -> None:
    run.start("fails")
    assert eventually(lambda: reference.failure(run.registry)) == "the trainer ended with exit code 1: no such corpus"
    run.start("plain")
    assert "no such corpus" in str(reference.failure(run.registry))
    assert run.result() is None


def test_a_loss_that_is_no_number_makes_no_reference(run: Run) -> None:
    run.start("diverges")
    assert "the loss of step 1 is nan" in eventually(lambda: reference.failure(run.registry))


def test_starting_again_finds_the_one_that_lives(run: Run) -> None:
    run.start("waits")
    first = eventually(run.hosted)
    run.start("waits")
    assert run.hosted() == first
    (run.folder / "go").touch()
    assert eventually(run.result).restarts == 0


def test_a_killed_host_takes_its_trainer_along_and_is_replaced(run: Run) -> None:
    run.start("waits")
    first = eventually(run.hosted)
    assert processes.send(first.host, signal.SIGKILL)
    eventually(lambda: not run.living(first))
    (run.folder / "go").touch()
    run.start("waits")
    assert eventually(run.result)


def test_a_stopped_one_leaves_nothing_and_can_begin_anew(run: Run) -> None:
    run.start("waits")
    first = eventually(run.hosted)
    reference.stop(run.registry)
    assert run.living(first) == ()
    run.start("plain")
    assert eventually(run.result)


def test_one_that_has_a_result_does_nothing(run: Run) -> None:
    run.start("plain")
    result = eventually(run.result)
    eventually(lambda: reference.read(reference.ReferenceEnded, run.folder / "ended.json"))
    run.start("fails")
    assert reference.failure(run.registry) is None
    assert run.result() == result
