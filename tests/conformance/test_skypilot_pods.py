"""A pod of SkyPilot's tells the agent that it ends, and waits for it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.cloud.skypilot.order import AgentHome, task_of
from launcher.adapters.cloud.skypilot.pods import AGENT_PID_FILE
from tests.conformance.clouds import PLACE
from tests.conformance.test_skypilot_cloud import NAME, SPEC

IN_POD = replace(SPEC, placement=replace(PLACE, cloud="k8s", region="mine", zone=None))
AGENT = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); print(0, flush=True); time.sleep(600)"


def task(**skypilot: Any) -> dict[str, Any]:
    return task_of(NAME, replace(IN_POD, skypilot=skypilot), AgentHome(python="python3"), None)


def pod(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told["config"]["kubernetes"]["pod_config"]["spec"]
    return found


def hook(told: dict[str, Any]) -> list[str]:
    command: list[str] = pod(told)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    return command


def test_the_hook_ends_the_agent_and_returns_once_it_is_gone(tmp_path: Path) -> None:
    *_, writes_pid, starts = task()["run"].splitlines()
    pid_file = str(tmp_path / "pid")
    started = starts.replace("python3 -P -m launcher.node ../spec.json", f"{sys.executable} -c '{AGENT}'")
    script = f"{writes_pid.replace(AGENT_PID_FILE, pid_file)}\n{started}\n"
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        asked = [word.replace(AGENT_PID_FILE, pid_file) for word in hook(task())]
        with subprocess.Popen(asked, stderr=subprocess.DEVNULL) as telling:
            assert agent.wait(60) == 3, "it was told, as its own end shows"
            assert telling.wait(60) is not None


def test_a_pod_without_an_agent_ends_without_delay(tmp_path: Path) -> None:
    asked = [word.replace(AGENT_PID_FILE, str(tmp_path / "none")) for word in hook(task())]
    assert subprocess.run(asked, stderr=subprocess.DEVNULL, timeout=60).returncode != 0


def test_the_agent_is_told_the_grace_that_its_pod_has() -> None:
    assert pod(task())["terminationGracePeriodSeconds"] == 120
    assert "export LAUNCH_TERM_GRACE_S=120" in task()["run"]
    wish = {"kubernetes": {"pod_config": {"spec": {"terminationGracePeriodSeconds": 600}}}}
    assert "export LAUNCH_TERM_GRACE_S=600" in task(config=wish)["run"]


def test_what_the_recipe_says_of_its_pods_stays() -> None:
    volume = {"name": "data", "mountPath": "/data"}
    spec = {"containers": [{"volumeMounts": [volume]}], "nodeSelector": {"pool": "gpu"}}
    told = task(config={"docker": {"run_options": ["-v"]}, "kubernetes": {"pod_config": {"spec": spec}, "kueue": {}}})
    assert told["config"]["docker"] == {"run_options": ["-v"]}
    assert told["config"]["kubernetes"]["kueue"] == {}
    assert pod(told)["nodeSelector"] == {"pool": "gpu"}
    assert hook(told)
    assert pod(told)["containers"][-1] == {"volumeMounts": [volume]}


@pytest.mark.parametrize("empty", [{"kubernetes": None}, {"kubernetes": {"pod_config": {"spec": None}}}])
def test_a_key_with_nothing_after_it_takes_nothing_away(empty: dict[str, Any]) -> None:
    assert task(config=empty)["config"] == task()["config"]


@pytest.mark.parametrize("cloud", ["aws", "slurm"])
def test_other_machines_are_asked_for_as_before(cloud: str) -> None:
    told = task_of(NAME, replace(SPEC, placement=replace(PLACE, cloud=cloud)), AgentHome(), None)
    assert "config" not in told
    assert AGENT_PID_FILE not in told["run"]
