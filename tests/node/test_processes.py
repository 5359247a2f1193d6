"""Processes are found by the mark they were started with, at any instant of their life."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="marks are read from /proc")

MARK = "TEST_OF_PROCESSES"
RUNNING, KERNEL_THREAD = "4194304", "2129984"


def stat(state: str = "S", flags: str = RUNNING, environment: tuple[str, str] = ("0", "0")) -> str:
    """proc(5): state, parent, …, flags (field 9), …, start time (22), …, env_start and env_end (50, 51), exit code."""
    fields = [state, "1", "7", "7", "0", "-1", flags, *"0" * 12, "4711", *"0" * 27, *environment, "0"]
    return f"7 (a (command) of ours) {' '.join(fields)}\n"


def table(folder: Path, status: str, environment: str = "") -> Path:
    (folder / "7").mkdir()
    (folder / "7" / "stat").write_text(status)
    (folder / "7" / "environ").write_text(environment)
    return folder


def test_a_process_in_the_middle_of_its_exec_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Linux shows an empty environment while exec lays out the new stack: one look in twenty on a busy machine."""
    monkeypatch.setattr(processes, "_PROC", table(tmp_path, stat()))

    def goes_on(_: float) -> None:
        (tmp_path / "7" / "stat").write_text(stat(environment=("4096", "4200")))
        (tmp_path / "7" / "environ").write_text(f"{MARK}=1\0")

    monkeypatch.setattr(processes.time, "sleep", goes_on)
    assert [process.pid for process in processes.marked(MARK, "1")] == [7]


@pytest.mark.parametrize(
    "status", [stat("Z"), stat("S", KERNEL_THREAD), stat(environment=("4096", "4096"))], ids=["zombie", "kernel", "bare"]
)
def test_what_has_no_environment_costs_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str):
    monkeypatch.setattr(processes, "_PROC", table(tmp_path, status))
    monkeypatch.setattr(processes.time, "sleep", lambda _: pytest.fail("waited for an environment that never comes"))
    assert processes.marked(MARK, "1") == ()


def test_a_process_is_found_as_soon_as_it_exists():
    for number in range(20):
        with subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(number)}, start_new_session=True) as marked:
            found = processes.marked(MARK, str(number))
            marked.kill()
        assert [process.pid for process in found] == [marked.pid]
