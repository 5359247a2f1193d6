"""Deleting a run: only what is dead, only when it is meant, and finished whenever it was interrupted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.cloud.local_registry import instance_of, locked
from launcher.adapters.store.files import FileStore
from launcher.app.home import Home, at, find
from launcher.app.removal import Remains, remains_of, remove
from launcher.app.wiring import registry_of
from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.contract import RUN_KEY, SUPERVISOR_KEY, Beacon
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from launcher.errors import UsageError
from tests.cli.past import (
    INCARNATION,
    cut,
    document,
    everything,
    home,
    keep,
    launch,
    number_of,
    preempted,
    store_of,
    with_checkpoints,
)


def test_nothing_of_a_deleted_run_is_left(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    registry = registry_of(INCARNATION)
    registry.mkdir(parents=True)
    (registry / "clock.json").write_text("{}")
    Home(home()).log_of("r").parent.mkdir()
    Home(home()).log_of("r").write_text("log")
    num_objects = sum(1 for _ in store.list(""))
    told = document(capsys, "rm", "r", "-y")
    assert (told["deleted"], told["objects"]) == (True, num_objects)
    assert everything() == {}
    assert not (home() / "runs" / "r").exists()
    assert launch("status", "r") == 2


def test_without_a_terminal_and_without_yes_nothing_is_deleted(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    before = everything()
    assert launch("rm", "r") == 2
    err = capsys.readouterr().err
    assert "objects" in err
    assert "kB" in err
    assert "add -y" in err
    assert everything() == before


def test_pins_are_named_before_they_go(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    assert launch("ckpt", "pin", "r", "newest") == 0
    assert launch("rm", "r", "--dry-run") == 0
    assert "1 pinned checkpoints among them" in capsys.readouterr().out


# --- of several that share a name ----------------------------------------------------------------------------------------------


def copied() -> tuple[str, str]:
    """The URLs of a run and of its copy, both known to the home, and what this machine keeps of them."""
    store, _ = with_checkpoints()
    copy = home() / "elsewhere" / "r"
    shutil.copytree(home() / "runs" / "r", copy)
    registry_of(INCARNATION).mkdir(parents=True)
    (registry_of(INCARNATION) / "clock.json").write_text("{}")
    Home(home()).log_of("r").parent.mkdir()
    Home(home()).log_of("r").write_text("log")
    Home(home()).note(at(copy.as_uri()))
    return store.url, copy.as_uri()


def test_a_name_that_several_runs_have_deletes_none_of_them(capsys: pytest.CaptureFixture[str]):
    urls = copied()
    err = refused(capsys)
    assert all(url in err for url in urls)


@pytest.mark.parametrize("doomed", [0, 1], ids=["the original", "the copy"])
def test_of_two_namesakes_only_the_one_named_by_its_url_is_deleted(doomed: int, capsys: pytest.CaptureFixture[str]):
    urls = copied()
    stays = urls[1 - doomed].removeprefix("file://")
    before = {path: data for path, data in everything().items() if path.startswith(stays)}
    assert launch("rm", urls[doomed], "-y") == 0
    after = everything()
    assert {path: data for path, data in after.items() if path.startswith(stays)} == before
    assert not any(path.startswith(urls[doomed].removeprefix("file://")) for path in after)
    assert Home(home()).log_of("r").exists()
    assert (registry_of(INCARNATION) / "clock.json").exists(), "the clock of both"
    assert launch("status", "r") == 0
    assert stays in capsys.readouterr().out
    assert launch("rm", "r", "-y") == 0
    assert everything() == {}


def test_an_entry_whose_run_is_gone_is_let_go_of_by_its_url_where_another_has_the_name():
    here, gone = copied()
    shutil.rmtree(gone.removeprefix("file://"))
    assert launch("rm", gone, "-y") == 0
    assert [entry.store for entry in Home(home()).entries()] == [here]


def test_a_refusal_of_a_run_named_by_its_url_names_it_so_too(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    Lamp(store, SystemClock(), "s1").burn(Tempo(), 0.0)
    assert launch("rm", store.url, "-y") == 2
    assert f"`launch cancel {store.url}`" in capsys.readouterr().err


# --- while something lives -----------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    before = {path: data for path, (_, data) in everything().items()}
    assert launch("rm", "r", "-y") == 2
    assert {path: data for path, (_, data) in everything().items()} == before
    return capsys.readouterr().err


def test_a_supervised_run_is_not_deleted(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    Lamp(store, SystemClock(), "s1").burn(Tempo(), 0.0)
    assert "launch cancel r" in refused(capsys)


def test_a_run_with_an_attempt_that_has_not_ended_is_not_deleted(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    assert "attempt 1 of r has not ended" in refused(capsys)


def test_a_run_with_an_instance_that_is_still_billed_is_not_deleted(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.InstanceEnded) - 1)
    assert "has not ended" in refused(capsys)


def test_a_run_whose_local_instance_lives_is_not_deleted(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    instance = instance_of(registry_of(INCARNATION), "r-inc-1")
    instance.path.mkdir(parents=True)
    with locked(instance.lock) as is_mine:
        assert is_mine
        assert "r-inc-1" in refused(capsys)
    assert launch("rm", "r", "-y") == 0


def test_a_dead_supervisors_beacon_does_not_protect_a_run():
    store, _ = with_checkpoints()
    Lamp(store, SystemClock(), "s1").burn(Tempo(), 0.0)
    beacon = codec.loads_digested(Beacon, store.get(SUPERVISOR_KEY))
    store.replace(SUPERVISOR_KEY, codec.dumps_digested(replace(beacon, pid_started="another process had this pid")))
    assert launch("rm", "r", "-y") == 0


# --- killed in the middle ------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """As a kill would, it lets nothing of the deletion run on."""


def one_step(remains: Remains, done: set[str]) -> bool:
    """Delete until one thing has been done that is not in `done`; True when all was done."""

    def passed(what: str) -> None:
        if what not in done:
            done.add(what)
            raise Killed

    try:
        remove(Home(home()), remains, passed=passed)
    except Killed:
        return False
    return True


def test_killed_after_any_step_it_leaves_no_run_and_can_be_finished(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    assert launch("ckpt", "pin", "r", "newest") == 0
    done: set[str] = set()
    while not one_step(remains_of(Home(home()), "r"), done):
        with pytest.raises(UsageError):
            find(Home(home()), "r")  # what `resume` would open
        assert launch("runs") == 0
        assert "PAUSED" not in capsys.readouterr().out
        has_objects = any(meta.key != RUN_KEY for meta in store.list(""))
        assert not has_objects or store.get(RUN_KEY), "no object is left without the word that it is to go"
    assert len(done) > 3 * len(made)
    assert everything() == {}


def test_the_journal_goes_after_the_checkpoints():
    with_checkpoints()
    deleted: list[str] = []
    remove(Home(home()), remains_of(Home(home()), "r"), passed=deleted.append)
    first = next(i for i, key in enumerate(deleted) if key.startswith("journal/"))
    assert not any(key.startswith(("attempts/", "pins/")) for key in deleted[first:])
    assert deleted[-1] == RUN_KEY


class HalfSent(FileStore):
    """A folder that behaves as a bucket does where something was begun to be sent."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.uploads = ["attempts/0001/saves/0001/shard"]

    def written_at(self, key: str) -> float:
        raise NotImplementedError

    def lifecycle(self) -> None:
        raise NotImplementedError

    def abandoned_uploads(self) -> tuple[str, ...]:
        raise NotImplementedError

    def sweep_uploads(self) -> None:
        raise NotImplementedError

    def abandon_uploads(self) -> None:
        self.uploads.clear()


def test_what_a_killed_machine_had_begun_to_send_goes_too():
    with_checkpoints()
    store = HalfSent(home() / "runs" / "r")
    remove(Home(home()), replace(remains_of(Home(home()), "r"), store=store))
    assert store.uploads == []


def test_a_half_deleted_run_is_finished_by_name_or_by_url(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    assert not one_step(remains_of(Home(home()), "r"), set())
    assert launch("status", "r") == 2
    assert "is being deleted" in capsys.readouterr().err
    assert launch("rm", store.url, "-y") == 0
    assert everything() == {}


def test_a_half_deleted_run_is_not_forgotten_when_a_namesake_is_noted(capsys: pytest.CaptureFixture[str]):
    here, copy = copied()
    for url in (here, copy):
        Home(home()).forget("r", url)
    Home(home()).note(at(copy))
    assert not one_step(remains_of(Home(home()), copy), set())
    Home(home()).note(at(here))
    assert {entry.store for entry in Home(home()).entries()} == {here, copy}
    with pytest.raises(UsageError, match="2 runs are called r"):
        find(Home(home()), "r")
    assert copy in refused(capsys)
    assert launch("rm", copy, "-y") == 0
    assert find(Home(home()), "r").store.url == here


def test_a_run_whose_store_is_gone_leaves_the_index(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    shutil.rmtree(home() / "runs" / "r")
    assert launch("rm", "r", "-y") == 0
    assert capsys.readouterr().out.endswith("is its disk mounted? A run on it is found by its URL alone then\n")
    assert Home(home()).entries() == ()


def test_a_folder_that_holds_no_run_is_never_deleted(capsys: pytest.CaptureFixture[str], tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    assert launch("rm", str(tmp_path), "-y") == 2
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_with_a_garbled_head_is_left_alone():
    store, _ = with_checkpoints()
    store.replace(RUN_KEY, b"{")
    assert launch("rm", "r", "-y") == 6
    assert list(store_of("r").list("journal/"))
