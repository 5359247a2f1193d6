"""Of a program that tells no steps nobody knows steps: its commits are counted, and what it lost is left open."""

from dataclasses import replace

import pytest

from tests.cli.past import document, launch, local, with_checkpoints


@pytest.fixture(autouse=True)
def program_run():
    """Three commits, then a preemption and a pause."""
    with_checkpoints(steps=(1, 2, 3), of=replace(local(), trainer=None, run="python train.py"))


@pytest.mark.parametrize("command", ["report", "status"])
def test_documents_hold_a_commit_and_no_step(command: str, capsys: pytest.CaptureFixture[str]):
    told = document(capsys, command, "r")
    assert (told["step"], told["commit"], told["steps_lost"], told["just_in_time_saves"]) == (None, 3, None, None)
    [life] = told["attempts_detail"]
    assert (life["from_step"], life["to_step"], life["steps_lost"]) == (None, None, None)
    assert (life["from_commit"], life["to_commit"]) == (0, 3)


def test_runs_and_checkpoints_are_listed_by_commit(capsys: pytest.CaptureFixture[str]):
    [row] = document(capsys, "runs")["runs"]
    assert (row["step"], row["commit"]) == (None, 3)
    rows = document(capsys, "ckpt", "ls", "r")["checkpoints"]
    assert [(row["step"], row["commit"]) for row in rows] == [(None, 3), (None, 2), (None, 1)]
    assert launch("runs") == 0
    assert "commit 3" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "status", "events"])
def test_no_step_is_named_to_people(command: str, capsys: pytest.CaptureFixture[str]):
    assert launch(command, "r") == 0
    out = capsys.readouterr().out
    assert "commit" in out
    assert "step" not in out.lower()


def test_what_was_lost_is_left_open_in_the_table(capsys: pytest.CaptureFixture[str]):
    launch("report", "r")
    head, row = [line.split() for line in capsys.readouterr().out.splitlines() if "LOST" in line or "us-east-1a" in line]
    assert "COMMITS" in head
    assert "0-3" in row
    assert row[row.index("0-3") + 1] == "-"
