"""How an attempt ended, and what may be told from what."""

import os
from pathlib import Path

import pytest

from launcher import codec
from launcher.core.contract import PROGRESS_FILE, ExitKind, TrainerProgress
from launcher.node.endings import classify
from launcher.node.process import Ended
from launcher.node.progress import ProgressFile, StandstillWatch, last_save_needs, last_word_needs
from launcher.node.reasons import Told

SILENT = TrainerProgress()
TOLD = Told(reason="unwanted")


def exited(code: int) -> Ended:
    return Ended(exit_code=code, signal=None, torn=code > 128)


def died(number: int) -> Ended:
    return Ended(exit_code=None, signal=number, torn=True)


@pytest.mark.parametrize(
    ("ended", "told", "outcome"),
    [
        (exited(0), None, ExitKind.FINISHED),
        (exited(3), None, ExitKind.PROGRAM_FAILED),
        (exited(137), None, ExitKind.KILLED),
        (exited(139), None, ExitKind.PROGRAM_FAILED),
        (died(9), None, ExitKind.KILLED),
        (died(15), None, ExitKind.KILLED),
        (died(11), None, ExitKind.PROGRAM_FAILED),
        (died(6), None, ExitKind.PROGRAM_FAILED),
        (exited(134), None, ExitKind.PROGRAM_FAILED),
        (exited(0), TOLD, ExitKind.DRAINED),
        (exited(143), TOLD, ExitKind.DRAINED),
        (exited(1), TOLD, ExitKind.DRAINED),  # torchrun answers SIGTERM so
        (died(15), TOLD, ExitKind.DRAINED),
        (exited(0), Told(reason="x", outcome=ExitKind.STORE_FAILED), ExitKind.STORE_FAILED),
    ],
)
def test_end_of_a_silent_program(ended: Ended, told: Told | None, outcome: ExitKind) -> None:
    assert classify(ended, SILENT, told, None).outcome is outcome


def test_trainer_that_finished_when_told_to_end_has_finished() -> None:
    finished = TrainerProgress(outcome=ExitKind.FINISHED)
    assert classify(exited(0), finished, TOLD, None).outcome is ExitKind.FINISHED


def test_program_that_fails_after_its_training_finished_has_failed() -> None:
    ending = classify(exited(1), TrainerProgress(outcome=ExitKind.FINISHED), None, None)
    assert (ending.outcome, ending.exit_code) == (ExitKind.PROGRAM_FAILED, 1)
    assert "after its training had finished" in ending.reason


def test_trainer_that_drained_ended_for_the_reason_it_was_told() -> None:
    drained = TrainerProgress(outcome=ExitKind.DRAINED, reason="saved step 7")
    ending = classify(exited(0), drained, Told(reason="3 saves failed", outcome=ExitKind.STORE_FAILED), None)
    assert (ending.outcome, ending.reason) == (ExitKind.STORE_FAILED, "3 saves failed (saved step 7)")


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "code 3"), (126, "code 126: its command cannot be executed"), (127, "code 127: its command was not found")],
)
def test_what_a_shell_means_by_its_exit_code_is_said(code: int, said: str) -> None:
    assert classify(exited(code), SILENT, None, None).reason == f"the program exited with {said}"


def test_hang_is_a_program_failure() -> None:
    ending = classify(died(9), SILENT, None, "no step for 11 min")
    assert (ending.outcome, ending.hang) == (ExitKind.PROGRAM_FAILED, True)


def test_slow_steps_are_no_hang() -> None:
    watch = StandstillWatch(hang_min=600, moved_at=0)
    slow = TrainerProgress(step=1, step_s_median=60.0)
    assert watch.hang(slow, (1, 1), 0) is None
    assert watch.hang(slow, (1, 1), 1199) is None
    assert watch.hang(slow, (1, 1), 1201) is not None


def test_bytes_that_move_are_signs_of_life(tmp_path: Path) -> None:
    """A restore or a last upload may take longer than any step: the trainer touches its file meanwhile."""
    path, file, watch = tmp_path / PROGRESS_FILE, ProgressFile(tmp_path), StandstillWatch(hang_min=600, moved_at=0)
    path.write_bytes(codec.dumps(TrainerProgress(step=9)))
    for touched, now, hangs in ((1, 590, False), (2, 1100, False), (2, 1701, True)):
        os.utime(path, ns=(touched, touched))
        assert (watch.hang(file.read(), file.version, now) is not None) is hangs


def test_last_save_begins_so_early_that_it_lands() -> None:
    assert last_save_needs(TrainerProgress(stall_s=0.0, durable_s=0.01)) == pytest.approx(0.75)
    assert last_save_needs(TrainerProgress(stall_s=1.0, durable_s=9.0, step_s_median=2.0)) == pytest.approx(17.25)
    assert last_word_needs(lead=30.0, grace=10.0, publish=1.0) == pytest.approx(12.25)
    assert last_word_needs(lead=30.0, grace=10.0, publish=60.0) == pytest.approx(27.0), "of a notice that is too short nearly all"
    assert last_word_needs(lead=3.0, grace=10.0, publish=1.0) == pytest.approx(2.7)
