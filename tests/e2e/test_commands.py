"""Every command on a run that lives in a bucket, from a home that has never seen it; and what is nowhere written down."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.store.open import open_store
from launcher.app.show import load_line
from tests.e2e.conftest import Remote

ROOT = Path(__file__).parents[2]
LAUNCH = str(Path(sys.executable).with_name("launch"))
SECRET = "hunter2-a-secret-key-that-is-nobodys-0123"
PRINTS_ITS_ENVIRONMENT = """
name: chatty
resources: {infra: local}
run: env; echo that is all
checkpoint: {every: never}
local: {trace: calm, speed: 60}
"""


def launch(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LAUNCH_HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    return subprocess.run([LAUNCH, *words], capture_output=True, text=True, timeout=200, check=False, cwd=ROOT, env=env)


def told(done: subprocess.CompletedProcess[str], exit_code: int = 0) -> Any:
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("remote", ["s3", "gs", "az"], indirect=True)
def test_every_command_takes_the_url_of_a_run_from_a_home_that_never_saw_it(remote: Remote, tmp_path: Path) -> None:
    here, elsewhere, url = tmp_path / "here", tmp_path / "elsewhere", f"{remote.url}/drill"
    result = told(launch(here, "train", "tiny", "-n", "drill", f"checkpoint.dir={remote.url}", "-o", "json"))
    assert (result["state"], result["proof"]["losses_equal"], result["store"]) == ("SUCCEEDED", True, url)
    assert [run["run"] for run in told(launch(here, "runs", "-o", "json"))["runs"]] == ["drill"]

    assert told(launch(elsewhere, "status", url, "-o", "json"))["state"] == "SUCCEEDED"
    assert told(launch(elsewhere, "resume", url, "-o", "json"))["step"] == result["step"]
    assert launch(elsewhere, "events", url).stdout.count("\n") > 5
    assert launch(elsewhere, "logs", url).stdout != ""
    assert told(launch(elsewhere, "report", url, "-o", "json"))["cost"]["spent_usd"] == result["cost"]["spent_usd"]
    assert told(launch(elsewhere, "ckpt", "ls", url, "-o", "json"))["checkpoints"]
    assert launch(elsewhere, "ckpt", "verify", url).returncode == 0
    load = f"{load_line(result['weights'][0])}; print(sorted(weights))"
    loaded = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, timeout=200, check=False)
    assert "'token.weight'" in loaded.stdout, loaded.stderr

    assert launch(elsewhere, "rm", url, "-y").returncode == 0
    assert list(open_store(url).list("")) == []
    assert launch(elsewhere, "status", url).returncode == 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_credentials_reach_the_program_and_are_in_no_file_and_no_object(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    recipe = tmp_path / "chatty.yaml"
    recipe.write_text(PRINTS_ITS_ENVIRONMENT)
    done = launch(tmp_path / "home", "train", str(recipe), "-n", "chatty", f"checkpoint.dir={remote.url}", "-v")
    assert done.returncode == 0, done.stderr
    told_by_program = launch(tmp_path / "home", "logs", "chatty").stdout
    assert "that is all" in told_by_program
    assert "AWS_SECRET_ACCESS_KEY=[AWS_SECRET_ACCESS_KEY]" in told_by_program, "it reached the program, and only that"

    store = open_store(f"{remote.url}/chatty")
    objects = {meta.key: store.get(meta.key) for meta in store.list("")}
    assert "run.json" in objects
    files = {str(path): path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert len(files) > 3
    assert [name for name, data in (objects | files).items() if SECRET.encode() in data] == []
    assert SECRET not in done.stdout + done.stderr
