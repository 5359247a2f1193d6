"""Stores to hold to what every store promises; and a registry of local instances, with nothing left running afterwards."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import launcher
from launcher import processes
from launcher.adapters.cloud.local_registry import instances_of
from launcher.adapters.store.base import ObjectStore
from tests.conformance.clouds import Place
from tests.conformance.stores import STORES


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", str(Path(launcher.__file__).parents[1]))
    made = Place(tmp_path / "registry")
    yield made
    for folder in instances_of(made.registry):
        started = folder.started()
        if started is not None and processes.send(started.host, signal.SIGKILL):
            processes.kill_marked("LAUNCH_INSTANCE_ID", started.instance_id, at_most=5)
    for cloud in made.clouds:
        cloud.poll(made.run, made.incarnation)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return STORES[request.param](tmp_path / "not" / "made" / "yet")
