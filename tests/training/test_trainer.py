"""Trainers killed, told to end, out of disk, met by a seal. Those that a signal or a limit meets are processes of their own."""

import itertools
import json
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher import train
from launcher.checkpoint import restore
from launcher.checkpoint.commit import Committer
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import FINAL_FILE, METRICS_FILE, ExitKind, SaveRule
from launcher.errors import StoreUnknown
from launcher.trainers import gpt
from tests.training import scene, tiny

GPT = ["-m", "launcher.trainers.gpt"]
TINY = ["-m", "tests.training.tiny"]
SMALL = {"steps": 40, "width": 16, "layers": 1, "heads": 2, "batch_size": 2, "context": 16}
ENDLESS = SMALL | {"steps": 1_000_000}


@pytest.fixture(scope="module")
def once_trained(tmp_path_factory: pytest.TempPathFactory) -> scene.Machine:
    """A training that ended, with some commits before the last."""
    machine = scene.machine(tmp_path_factory.mktemp("trained") / "machine")
    assert machine.run(gpt.main, args=SMALL)[0] == 0
    return machine


@pytest.fixture
def trained(once_trained: scene.Machine, tmp_path: Path) -> scene.Machine:
    shutil.copytree(once_trained.folder.parent, tmp_path / "trained")
    return scene.machine(tmp_path / "trained" / "machine")


def weights(manifest: Manifest) -> dict[str, str]:
    """Digests of all tensors of a checkpoint, optimizer and random streams included."""
    return next(entry for entry in manifest.files if entry.path == scene.SHARD).tensors


def test_killed_in_a_step_and_resumed_it_equals_an_uninterrupted_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, broken = scene.machine(tmp_path / "a" / "machine"), scene.machine(tmp_path / "b" / "machine")
    never = SaveRule(never=True)
    monkeypatch.setenv("TINY_SAVE", "20")
    monkeypatch.setenv("TINY_KILL", "23")
    killed = broken.start(TINY, rule=never)
    assert scene.ended(killed)[0] == -signal.SIGKILL
    monkeypatch.delenv("TINY_KILL")
    assert broken.run(tiny.main, attempt=2, parent=CommitRef(1, 1), rule=never)[0] == 0
    monkeypatch.delenv("TINY_SAVE")
    assert whole.run(tiny.main, rule=never)[0] == 0

    (one,), (half,), (rest,) = scene.commits(whole.store, 1), scene.commits(broken.store, 1), scene.commits(broken.store, 2)
    assert (half.step, rest.step, rest.finished, rest.parent) == (20, tiny.TOTAL, True, half.ref)
    assert weights(rest) == weights(one)
    assert scene.curve(broken.store, [half, rest]) == scene.curve(whole.store, [one])
    progress = broken.progress()
    assert progress is not None
    assert (progress.outcome, progress.restored, progress.restored_step) == (ExitKind.FINISHED, CommitRef(1, 1), 20)


def test_a_notice_saves_once_and_training_goes_on_until_it_is_told_to_end(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")
    process = machine.start(GPT, args=ENDLESS, rule=SaveRule(seconds=1e9))
    scene.eventually(lambda: (progress := machine.progress()) is not None and progress.step > 3)
    machine.notice_file.write_text("30")
    scene.eventually(lambda: len(scene.commits(machine.store, 1)) == 1)
    (noticed,) = scene.commits(machine.store, 1)
    scene.eventually(lambda: (progress := machine.progress()) is not None and progress.step > noticed.step + 20)
    process.send_signal(signal.SIGTERM)

    assert scene.ended(process)[0] == 0
    _, last = scene.commits(machine.store, 1)
    progress = machine.progress()
    assert progress is not None
    assert (progress.outcome, progress.step, progress.last_commit_step) == (ExitKind.DRAINED, last.step, last.step)
    assert (noticed.urgent, last.urgent, last.finished) == (True, True, False)
    assert [step for step, _ in scene.curve(machine.store, [noticed, last])] == list(range(1, last.step + 1))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux lifts another process's limit")
def test_a_full_disk_fails_that_save_and_training_goes_on(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")
    process = machine.start(
        GPT,
        args=ENDLESS | {"steps": 1500},
        rule=SaveRule(steps=10),
        failed_max=10**6,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY)),
    )
    scene.eventually(lambda: (progress := machine.progress()) is not None and progress.failed_saves > 1 and progress.step > 20)
    assert scene.commits(machine.store, 1) == []
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    code, _ = scene.ended(process)
    chain = scene.commits(machine.store, 1)
    progress = machine.progress()
    assert progress is not None
    assert (code, progress.outcome, progress.failed_saves) == (0, ExitKind.FINISHED, 0)
    assert "RLIMIT_FSIZE" in progress.warnings[0]
    assert [step for step, _ in scene.curve(machine.store, chain)] == list(range(1, 1501))


def test_saves_that_keep_failing_end_the_attempt_with_the_reason(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")
    process = machine.start(
        GPT,
        args=ENDLESS,
        rule=SaveRule(steps=5),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY)),
    )

    code, said = scene.ended(process)
    progress = machine.progress()
    assert progress is not None
    assert (code, progress.outcome) == (1, ExitKind.STORE_FAILED)
    assert "3 saves in a row failed" in said


def test_a_trainer_that_meets_the_seal_stops(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")
    scene.seal(machine.store, CommitRef(1, 1))
    code, _ = machine.run(gpt.main, args=ENDLESS)
    progress = machine.progress()
    assert progress is not None
    assert (code, progress.outcome) == (0, ExitKind.SEALED)
    assert "sealed at 0001-0001" in progress.reason


def test_a_damaged_parent_is_set_aside_and_said_in_progress_and_manifest(trained: scene.Machine):
    *_, before, last = scene.commits(trained.store, 1)
    scene.flip(trained.store, scene.key_of(last, scene.SHARD), 80_000)
    args = SMALL | {"steps": last.step + 5}
    assert trained.run(gpt.main, attempt=2, parent=last.ref, args=args, rule=SaveRule(never=True))[0] == 0
    (commit,) = scene.commits(trained.store, 2)
    progress = trained.progress()
    assert progress is not None
    assert [bad.ref for bad in progress.set_aside] == [bad.ref for bad in commit.set_aside] == [last.ref]
    assert commit.parent == progress.restored == before.ref


def test_where_nothing_is_whole_the_trainer_says_so_and_does_not_start_over(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")
    code, said = machine.run(gpt.main, attempt=2, parent=CommitRef(1, 1), args=SMALL)
    progress = machine.progress()
    assert progress is not None
    assert (code, progress.outcome, progress.step) == (1, ExitKind.NOTHING_VALID, 0)
    assert "manifest is missing" in said


def away(real: Callable[..., Any], times: int) -> Callable[..., Any]:
    """`real`, which gives no answer the first few times."""
    left = itertools.count(times, -1)

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(left) > 0:
            raise StoreUnknown("no answer")
        return real(*args, **kwargs)

    return call


def test_an_outage_of_the_store_at_the_restore_and_at_the_end_is_waited_for(
    trained: scene.Machine, monkeypatch: pytest.MonkeyPatch
):
    parent = scene.commits(trained.store, 1)[-1].ref
    monkeypatch.setattr(restore, "restore", away(restore.restore, 2))
    monkeypatch.setattr(Committer, "publish", away(Committer.publish, 5))
    args = SMALL | {"steps": 45}
    assert trained.run(gpt.main, attempt=2, parent=parent, args=args, rule=SaveRule(never=True))[0] == 0
    (last,) = scene.commits(trained.store, 2)
    progress = trained.progress()
    assert progress is not None
    assert (last.step, last.finished, last.parent) == (45, True, parent)
    assert (progress.outcome, progress.failed_saves) == (ExitKind.FINISHED, 0)
    assert "no answer" in progress.warnings[-1]


def test_a_second_trainer_of_one_life_goes_on_from_the_first_ones_newest_commit(trained: scene.Machine):
    first = scene.commits(trained.store, 1)
    assert trained.run(gpt.main, args=SMALL | {"steps": 45}, rule=SaveRule(never=True))[0] == 0
    *before, last = scene.commits(trained.store, 1)
    assert before == first
    assert (last.step, last.parent, last.save > first[-1].save) == (45, first[-1].ref, True)
    progress = trained.progress()
    assert progress is not None
    assert (progress.restored, progress.last_commit) == (first[-1].ref, last.ref.commit)


def test_a_trainer_that_finds_all_steps_done_says_so(trained: scene.Machine):
    before = trained.progress()
    assert trained.run(gpt.main, attempt=2, parent=scene.commits(trained.store, 1)[-1].ref, args=SMALL)[0] == 0
    progress = trained.progress()
    assert before is not None
    assert progress is not None
    assert (before.reason, progress.reason) == ("all 40 steps are done", "all 40 steps were done already")
    assert scene.commits(trained.store, 2) == []


def test_another_corpus_refuses_to_resume(tmp_path: Path):
    machine = scene.machine(tmp_path / "machine")

    def training(corpus: str) -> Callable[[], None]:
        def main() -> None:
            model = torch.nn.Linear(2, 2)
            optimizer = gpt.AdamW(list(model.parameters()))
            keeper = train.Checkpointer(model=model, optimizer=optimizer, must_match={"corpus": corpus})
            for step in keeper.steps(2):
                keeper.record(step)

        return main

    assert machine.run(training("first"), rule=SaveRule()) == (0, "")

    code, said = machine.run(training("second"), attempt=2, parent=CommitRef(1, 1), rule=SaveRule())

    assert code == 1
    assert "the corpus differs: the checkpoint was trained with first, here it is second" in said
    assert "Traceback" not in said


def test_without_an_agent_it_is_a_plain_loop_that_leaves_curve_and_weights(tmp_path: Path):
    code, said = scene.run(gpt.main, scene.plain_env(tmp_path, SMALL))

    assert (code, "step 40/40" in said) == (0, True)
    assert len((tmp_path / METRICS_FILE).read_text().splitlines()) == 40
    assert (tmp_path / FINAL_FILE).stat().st_size > 4096


@pytest.mark.parametrize(
    ("args", "told"),
    [({"widht": 8}, "did you mean 'width'"), ({"width": "wide"}, "expected"), ({"width": 10, "heads": 4}, "does not divide")],
)
def test_arguments_that_do_not_fit_end_with_2_and_a_sentence(
    args: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LAUNCH_TRAINER", json.dumps(args))
    with pytest.raises(SystemExit) as ended:
        gpt.main()

    assert ended.value.code == 2
    assert told in capsys.readouterr().err
