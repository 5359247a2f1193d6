"""A supervisor that was overtaken leaves alone what is the other's, its beacon first: a third would take the run for nobody's."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import beacon, processes
from launcher.adapters.store.base import ObjectStore
from launcher.app import wiring
from launcher.app.home import Home
from launcher.app.live import Screen
from launcher.app.opening import begin, create
from launcher.app.session import Session
from launcher.clock import SystemClock
from launcher.core.contract import JOURNAL_PREFIX
from launcher.core.recipe import Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from launcher.errors import Overtaken, UsageError
from launcher.sim.clock import SimClock
from launcher.sim.store import SimStore
from launcher.sim.timeline import Timeline
from tests.cli.past import cut, document, keep, number_of, preempted
from tests.training.scene import Wrapped


def test_a_run_that_is_taken_over_before_its_first_attempt_keeps_the_others_beacon(tmp_path: Path):
    home = Home(tmp_path / "home")
    found = create(home, Recipe(name="r", run="true"), "run")

    def take_over(key: str) -> None:
        """Just before the first record that is written with a beacon alight."""
        shining = beacon.read(found.store)
        if key.startswith(JOURNAL_PREFIX) and shining is not None and shining.supervisor != "other":
            begin(found, supervisor="other", insist=True)
            beacon.Lamp(found.store, SystemClock(), "other").burn(Tempo(), wake_at=0.0)

    contested = replace(found, store=Wrapped(found.store, before=take_over))
    with pytest.raises(Overtaken):
        Session(home=home, found=contested, screen=Screen(is_quiet=True)).run()

    shining = beacon.read(found.store)
    assert shining is not None
    assert (shining.supervisor, shining.released) == ("other", False)
    assert not found.read().state.attempts


def test_a_supervisor_that_cannot_build_its_world_leaves_no_beacon_burning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nobody else could drive the run for two minutes."""

    def fails(*given: object) -> None:
        raise UsageError("the home is full")

    monkeypatch.setattr(wiring, "world_of", fails)
    home = Home(tmp_path / "home")
    found = create(home, Recipe(name="r", run="true", resources=Resources(infra=("local",))), "run")
    with pytest.raises(UsageError, match="the home is full"):
        Session(home=home, found=found, screen=Screen(is_quiet=True)).run()
    left = beacon.read(found.store)
    assert left is not None
    assert left.released


@contextmanager
def halted(store: ObjectStore) -> Iterator[int]:
    """A process of that id, with a beacon there, halted as by Ctrl-Z."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            found = processes.identify(process.pid)
            assert found is not None
            beacon.Lamp(store, SystemClock(), "s", beacon.Seat(process=found)).burn(Tempo(), wake_at=0.0)
            os.kill(process.pid, signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            yield process.pid
        finally:
            process.kill()


def test_a_supervisor_that_was_halted_drives_nothing_and_is_waited_for_as_if_it_were_far_away():
    """By Ctrl-Z. `launch stop` waited for it for ever, and each tick left the run to it."""
    timeline = Timeline()
    store, clock = SimStore(timeline), SimClock(timeline)
    with halted(store) as pid:
        assert beacon.judge(beacon.read(store)) is beacon.Holder.HALTED
        began = clock.monotonic_s()
        assert beacon.holder(store, lambda: "s", monotonic=clock.monotonic_s, wait=clock.wait) is None
        assert clock.monotonic_s() - began == pytest.approx(2 * Tempo().beacon, abs=1.0)
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, os.WCONTINUED)
        assert beacon.judge(beacon.read(store)) is beacon.Holder.ALIVE


def test_a_halted_supervisor_is_told_by_runs_too(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.NoticeSeen))
    with halted(store):
        (row,) = document(capsys, "runs")["runs"]
    assert row["where"] == "its supervisor was halted; launch resume r"
