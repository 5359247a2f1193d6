"""What a machine saved while no supervisor looked is shown as saved, though no record tells of it."""

import time
from dataclasses import replace

import pytest

from launcher import clock, codec
from launcher.adapters.cloud.local_registry import clock_of
from launcher.adapters.store.files import FileStore
from launcher.app.wiring import registry_of
from launcher.core.checkpoint.manifest import CommitRef, Sealed, write
from launcher.core.contract import commit_key, heartbeat_key
from tests import builders
from tests.cli.past import INCARNATION, commit_on, document, everything, launch, unsupervised


def beating(store: FileStore, last_commit: int) -> None:
    beat = replace(builders.heartbeat(1, step=99, training_s=60.0), last_commit=last_commit)
    store.replace(heartbeat_key(1), codec.dumps_digested(beat))


@pytest.mark.parametrize("last_commit", [0, 2, 5, 6, 9], ids="the heartbeat tells of {}".format)
def test_the_newest_save_is_shown_wherever_somebody_looks(last_commit: int, capsys: pytest.CaptureFixture[str]):
    store, writer = unsupervised(seen=2)
    commit_on(writer, 10, 20, 30, 40, 50, 65)
    beating(store, last_commit)
    before = everything()
    assert launch("status", "r") == 0
    (saved,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("saved"))
    assert "step 65 as 0001-0006" in saved
    assert saved.endswith("by the machine alone")
    told = document(capsys, "status", "r")
    assert (told["step"], told["checkpoints"]) == (65, 6)
    assert (told["newest_checkpoint"]["ref"], told["newest_checkpoint"]["journaled"]) == ("0001-0006", False)
    assert document(capsys, "runs")["runs"][0]["step"] == 65
    assert "from step 65, which the machine saved alone" in document(capsys, "resume", "r", "--dry-run")["would"]
    assert launch("ckpt", "ls", "r") == 0
    assert capsys.readouterr().out.count("no supervisor saw it yet") == 4
    assert everything() == before


def test_a_run_whose_supervisor_knows_it_all_says_nothing_of_that(capsys: pytest.CaptureFixture[str]):
    _, writer = unsupervised(seen=2)
    commit_on(writer, 10, 20)
    for words in (["status", "r"], ["resume", "r", "--dry-run"], ["ckpt", "ls", "r"]):
        assert launch(*words) == 0
    said = capsys.readouterr().out
    assert not any(words in said for words in ("by the machine alone", "saved alone", "no supervisor saw it"))
    assert "from step 20, its newest checkpoint" in said


def test_a_damaged_newest_save_and_a_seal_are_not_what_is_safe(capsys: pytest.CaptureFixture[str]):
    store, writer = unsupervised(seen=2)
    commit_on(writer, 10, 20, 30, 40)
    store.replace(commit_key(CommitRef(1, 4)), b"{")
    end = CommitRef(1, 5)
    store.create(commit_key(end), write(Sealed(run="r", incarnation=INCARNATION, ref=end, supervisor="s1", nonce="n")))
    beating(store, 4)
    assert document(capsys, "status", "r")["newest_checkpoint"]["ref"] == "0001-0003"


def test_a_machine_that_is_heard_of_is_supervised_again_and_not_begun_anew(capsys: pytest.CaptureFixture[str]):
    """Its training was never interrupted: to say that it goes on from the last save would be untrue."""
    _, writer = unsupervised(seen=2)
    commit_on(writer, 10, 20)
    folder = registry_of(INCARNATION)
    folder.mkdir(parents=True)
    clock.create(clock_of(folder), speed=1.0, market_start=0.0)
    told = document(capsys, "resume", "r", "--dry-run")["would"]
    assert told == "supervise it again: attempt 1 is up and goes on by itself; saved so far: step 20"
    clock_of(folder).unlink()
    clock.create(clock_of(folder), speed=1.0, market_start=0.0, monotonic=lambda: time.monotonic() - 40)
    assert document(capsys, "resume", "r", "--dry-run")["would"].startswith("go on from step 20")
