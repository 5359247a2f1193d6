"""A rehearsal from recipe to result through the command line: real training, real processes, on the `tiny` recipe."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher.app.cli import main
from launcher.core.run import events as ev
from tests.cli.past import cut, keep, number_of, preempted

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-c", "import sys; from launcher.app.cli import main; sys.exit(main())"]
WAIT_MOST_S = 150.0


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*START, *words], capture_output=True, text=True, timeout=WAIT_MOST_S, check=False, cwd=ROOT)


@contextmanager
def launching(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command under way; killed at the end of the block if it still runs."""
    with subprocess.Popen(
        [*START, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(found: Callable[[], Any]) -> Any:
    """What `found` gives once it is true."""
    end = time.monotonic() + WAIT_MOST_S
    while not (value := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def home() -> Path:
    return Path(os.environ["LAUNCH_HOME"])


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(done.stdout)
    return value


# --- to the end --------------------------------------------------------------------------------------------------------------


def test_train_ends_with_a_proof_and_a_document_on_stdout_and_resume_tells_it_again(capsys: pytest.CaptureFixture[str]):
    done = launch("train", "recipes/tiny.yaml", "--name", "whole", "-o", "json")
    assert done.returncode == 0, done.stderr
    result = document(done)
    assert (result["schema_version"], result["run"], result["state"], result["step"]) == (1, "whole", "SUCCEEDED", 80)
    assert result["proof"] == {
        "compared": True,
        "losses_equal": True,
        "weights_max_abs_delta": 0.0,
        "losses": 80,
        "reason": "",
    }
    assert result["cost"]["simulated"] is True
    assert result["cost"]["spent_usd"] > 0
    seconds = result["seconds"]
    parts = sum(seconds[part] for part in ("useful", "redone", "saving", "restoring", "waiting"))
    assert parts == pytest.approx(seconds["elapsed"], abs=0.01)
    assert Path(result["weights"][0].removeprefix("file://")).is_file()
    lines = done.stderr.splitlines()
    assert lines[0].startswith("launch 0.1.0 · run whole · recipe tiny")
    assert "▶ attempt 1" in done.stderr
    assert "✓ done        80/80" in done.stderr

    records = len(list((home() / "runs/whole/journal").iterdir()))
    assert main(["resume", "whole", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert len(list((home() / "runs/whole/journal").iterdir())) == records, "a finished run is not written to"

    assert main(["train", "tiny", "--name", "whole"]) == 2
    assert "launch resume whole" in capsys.readouterr().err
    _tamper_with_the_reference("whole")
    for words in (["resume", "whole"], ["report", "whole"]):
        assert main([*words, "-o", "json"]) == 8
        assert json.loads(capsys.readouterr().out)["proof"]["losses_equal"] is False


def _tamper_with_the_reference(run: str) -> None:
    path = home() / "runs" / run / "reference.json"
    reference = json.loads(path.read_text())
    reference["losses"][7] += 1e-9
    path.write_text(json.dumps(reference))


# --- stop, and on; more of that in tests/rehearsal ----------------------------------------------------------------------------


def test_a_signal_before_the_first_attempt_pauses_a_run_that_can_be_resumed():
    with launching("train", "recipes/tiny.yaml", "--name", "early", "local.speed=60") as train:
        until((home() / "runs/early/journal/00000002.json").exists)
        train.send_signal(signal.SIGINT)
        output, said = train.communicate(timeout=WAIT_MOST_S)
        assert train.returncode == 130, said
    assert "launch resume early" in output
    done = launch("resume", "early", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert document(done)["proof"]["losses_equal"] is True


# --- refused before anything is made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "recipes/tiny.yaml", "--name", "No Good"], 2, "lower-case"),
        (["train", "recipes/tiny.yaml", "--keep-failed", "soon"], 2, "retry.keep_failed"),
        (["train", "recipes/tiny.yaml", "resources.infra=aws"], 5, "resources.infra=local"),
        (["train", "recipes/tiny.yaml", "resources.infra=[]", "resources.accelerators=H100:1"], 5, "resources.infra=local"),
        (["plan", "recipes/tiny.yaml", "resources.max_hourly_cost=0.01"], 3, "max_hourly_cost"),
        (["train", "recipes/tiny.yaml", "resources.max_hourly_cost=0.01"], 3, "nearest"),
        (["train", "recipes/tiny.yaml", "checkpoint.dir=s3://bucket/runs?sig=1"], 2, "no key or query"),
        (["resume"], 2, "no run was seen"),
        (["resume", "nobody"], 2, "launch runs"),
        (["stop", "nobody"], 2, "launch runs"),
    ],
)
def test_refusals_are_one_line_with_their_code_and_leave_nothing(
    words: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(ROOT)
    assert main(words) == code
    output, told = capsys.readouterr()
    assert len(told.splitlines()) == 1
    assert said in told
    assert output == ""
    assert not (home() / "runs").exists()


def test_a_home_that_cannot_be_written_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    assert main(["train", "tiny", "--home", str(tmp_path / "file" / "home")]) == 2
    said = capsys.readouterr().err
    assert f"the home {tmp_path / 'file' / 'home'} cannot be used" in said
    assert "--home or LAUNCH_HOME" in said
    assert len(said.splitlines()) == 1, "no first line of a run that cannot be"
    assert not (tmp_path / "file").read_bytes()


def test_a_state_folder_that_cannot_be_written_is_one_clear_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    cut(keep(preempted()), number_of(preempted(), ev.CheckpointSeen))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert (main(["train", "tiny"]), main(["resume", "r"])) == (2, 2)
    told = f"{tmp_path}/file/launch/local, where the machines of a rehearsal are written down, cannot be used: Not a directory"
    assert capsys.readouterr().err == f"launch: {told}; name another state folder with XDG_STATE_HOME\n" * 2
    assert [path.name for path in (home() / "runs").iterdir()] == ["r"]


@pytest.mark.parametrize("folder", ["file", "file/runs"])
def test_a_checkpoint_folder_that_cannot_be_written_is_the_stores_failure(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    assert main(["train", "tiny", f"checkpoint.dir={tmp_path / folder}"]) == 6
    said = capsys.readouterr().err
    assert "a part of this path is a file" in said.splitlines()[-1]
    assert len(said.splitlines()) == 2


def test_plan_touches_nothing_and_train_dry_run_is_the_same(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "tiny"]) == 0
    plan = capsys.readouterr().out
    assert main(["train", "tiny", "--dry-run"]) == 0
    assert plan.splitlines()[2:6] == capsys.readouterr().out.splitlines()[2:6]
    assert "✔" in plan
    assert not home().exists()
    assert main(["plan", "tiny", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["candidates"][0]["is_chosen"] is True
