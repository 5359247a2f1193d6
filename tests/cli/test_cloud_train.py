"""`launch train` for clouds, up to the first machine: what it needs, what it asks, and that a no leaves nothing."""

import argparse
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters import recipe_file
from launcher.adapters.market.memory import Memory
from launcher.adapters.store.files import FileStore
from launcher.app import clouds
from launcher.app.background import Order
from launcher.app.cli import main
from launcher.app.code import frozen_agent, thawed
from launcher.app.home import Home
from launcher.app.remembering import memory_path
from launcher.core.market.lives import Lesson, Outcome
from launcher.core.market.offer import Capacity, Placement
from launcher.errors import Damaged, UsageError
from launcher.units import HOUR
from tests.market import lists
from tests.simulation.worlds import Sim

RECIPE = """
resources: {accelerators: ['A100:1'], infra: [aws]}
run: python train.py
checkpoint: {dir: 's3://corp/ckpt'}
"""


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = lists.aws(("a2", "A100", 1, 3.0, 1.0, "use1-az1"), ("a2", "A100", 1, 3.0, 1.1, "use1-az2"))
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", aws=text)))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def with_skypilot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "find_spec", lambda name: True)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """With 2, and no run in the home."""
    assert main(["train", *map(str, words)]) == 2
    assert main(["runs"]) == 0
    heard = capsys.readouterr()
    assert "A100" not in heard.out
    return heard.err


def test_without_skypilot_it_says_what_to_install(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    assert main(["train", str(recipe), "-y"]) == 5
    assert "pip install 'spot-launch[sky,aws]'" in capsys.readouterr().err


@pytest.mark.usefixtures("with_skypilot")
class TestWhatItNeeds:
    def test_a_bucket_that_machines_can_reach(self, capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path) -> None:
        assert "names no bucket" in refused(capsys, recipe, "-y", "checkpoint.dir=null")
        assert "cannot reach" in refused(capsys, recipe, "-y", f"checkpoint.dir={tmp_path}")

    def test_one_machine_for_a_trainer_of_ours(self, capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
        recipe.write_text(RECIPE.replace("run: python train.py", "trainer: {kind: launcher.trainers.gpt, steps: 9}"))
        said = refused(capsys, recipe, "-y", "num_nodes=2")
        assert "num_nodes is 2" in said
        assert "torchrun" in said

    def test_nothing_more_for_a_gang_of_a_program(self, capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
        assert "add -y" in refused(capsys, recipe, "num_nodes=2")

    def test_a_yes_which_nobody_gives_without_a_terminal(self, capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
        said = refused(capsys, recipe)
        assert "aws use1-az1" in said, "the plan that a yes would be to"
        assert "add -y" in said


def test_machines_that_the_bucket_would_keep_out_are_told_before_a_yes(
    capsys: pytest.CaptureFixture[str], recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_google = ("plan", str(recipe), "checkpoint.dir=gs://corp/ckpt")
    assert main([*in_google, "-o", "json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("a machine of aws has no role at gcp" in note and "secrets: [GOOGLE_CREDENTIALS]" in note for note in notes)
    monkeypatch.setenv("GOOGLE_CREDENTIALS", "{}")
    assert main([*in_google, "secrets=[GOOGLE_CREDENTIALS]"]) == 0
    assert main(["plan", str(recipe)]) == 0
    assert "has no role" not in capsys.readouterr().out, "with its key, or on its own cloud"


def test_a_no_on_a_terminal_starts_nothing(recipe: Path, tmp_path: Path) -> None:
    """`sky` is a name that can be found, and is never imported."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path/sky.py").write_text("raise AssertionError('nobody agreed to anything')")
    leader, follower = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-c", "import sys; from launcher.app.cli import main; sys.exit(main())", "train", str(recipe)],
        stdin=follower,
        stderr=follower,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'path'}:{os.environ.get('PYTHONPATH', '')}"},
    )
    os.close(follower)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(leader, 4096)
    os.write(leader, b"n\n")
    assert asked.communicate()[0] == b""
    assert asked.returncode == 130
    os.close(leader)
    assert not (tmp_path / "home/index").exists()


def test_a_run_begins_with_the_quotas_that_its_plan_left_out(recipe: Path, tmp_path: Path) -> None:
    where = Placement(
        cloud="aws", region="us-east-1", zone="z", instance="a2", accelerator="A100", accelerators=1, capacity=Capacity.SPOT
    )
    refused_before = Lesson(
        run="r", incarnation="i", attempt=1, at=time.time() - HOUR, placement=where, outcome=Outcome.REFUSED, why="quota"
    )
    Memory(memory_path(tmp_path / "home")).add([refused_before])
    planned = clouds.plan_of(argparse.Namespace(home=str(tmp_path / "home")), recipe_file.load(str(recipe)).recipe)
    history = Sim().open()
    clouds.prepare(history, Home(tmp_path / "home"), clouds.records_of(planned, tmp_path / "home"))
    (kept,) = planned.made.withheld
    assert history.market.quotas == (kept.refusal,)


def test_what_somebody_agreed_to_reaches_a_supervisor_in_the_background_as_it_was(recipe: Path, tmp_path: Path) -> None:
    planned = clouds.plan_of(argparse.Namespace(home=str(tmp_path / "home")), recipe_file.load(str(recipe)).recipe)
    agreed = clouds.records_of(planned, tmp_path / "home")
    order = Order(
        home="h",
        store="s",
        url=None,
        output="json",
        is_quiet=False,
        insists=True,
        times=agreed.times,
        plan=agreed.plan,
        resumed=None,
    )
    assert codec.loads(Order, codec.dumps(order)) == order


def test_our_own_package_is_frozen_with_the_run_and_comes_back_whole(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    key = frozen_agent(store)
    assert frozen_agent(store) == key
    place = thawed(store, key, tmp_path / "cache")
    assert (place / "node/__main__.py").is_file()
    assert thawed(store, key, tmp_path / "cache") == place
    assert [found.name for found in (tmp_path / "cache").iterdir()] == [place.name], "nothing is left aside"


def test_agents_that_no_supervisor_has_started_with_for_a_season_are_thrown_away(tmp_path: Path) -> None:
    cache, store = tmp_path / "cache", FileStore(tmp_path / "store")
    for name, days in (("forgotten", 91), ("recent", 89), ("half-unpacked", 91)):
        (cache / name / "whole").mkdir(parents=True)
        os.utime(cache / name, (time.time() - days * 86400,) * 2)
    place = thawed(store, frozen_agent(store), cache)
    assert {found.name for found in cache.iterdir()} == {"recent", place.name}
    os.utime(place, (0, 0))
    assert thawed(store, frozen_agent(store), cache).stat().st_mtime > time.time() - 3600, "it is of use again"


def test_a_home_that_cannot_be_written_is_no_bug_of_ours(tmp_path: Path) -> None:
    """A tick in a container whose disk may not be written ended with 70 and a report of a bug."""
    store = FileStore(tmp_path / "store")
    key = frozen_agent(store)
    (tmp_path / "cache").write_bytes(b"in the way")
    with pytest.raises(UsageError, match=r"cannot be used: .*; name another home with --home or LAUNCH_HOME"):
        thawed(store, key, tmp_path / "cache/agents")


def test_a_package_that_is_not_what_its_name_says_is_no_agent(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    store.create("code/1234.tar", b"something else")
    with pytest.raises(Damaged, match="SHA-256"):
        thawed(store, "code/1234.tar", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
