"""Runs of the tests in this folder: real processes, a few seconds long, each in a home of its own."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher import processes
from launcher.adapters.cloud.local_registry import INSTANCE_VARIABLE, InstanceFolder
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.run.state import RunState
from scripts.drills.scene import LAUNCH, Answer, Scene, answer_of, eventually

RECIPE = """
name: patient
resources: {infra: local}
trainer: {kind: tests.rehearsal.patient}
checkpoint: {every: 10 steps}
local: {trace: calm, seed: 7, speed: 60}
"""
COMMAND = """
name: command
resources: {infra: local}
run: "true"
local: {trace: calm, seed: 7, speed: 60}
"""


def scene_in(folder: Path, run: str = "r") -> Scene:
    return Scene(folder=folder, run=run)


def train(scene: Scene, *words: str, recipe: str = RECIPE, command: Sequence[str] = LAUNCH) -> subprocess.Popen[str]:
    """`launch train` of a recipe, under way."""
    scene.folder.mkdir(parents=True, exist_ok=True)
    path = scene.folder / "recipe.yaml"
    path.write_text(recipe)
    return scene.start("train", str(path), "-n", scene.run, "-o", "json", *words, command=command)


def trained(scene: Scene, *words: str, recipe: str = RECIPE) -> Answer:
    return answer_of(train(scene, *words, recipe=recipe))


def commits(scene: Scene) -> tuple[Manifest, ...]:
    """All commits that are in the store, whoever knows of them, oldest first."""
    numbers = sorted(int(path.name) for path in (scene.store / "attempts").glob("[0-9]*"))
    return tuple(manifest for number in numbers for manifest in scene.manifests(number))


def newest(scene: Scene) -> Manifest:
    return commits(scene)[-1]


def await_step(scene: Scene, step: int) -> None:
    """Return once `step` or a later one is durable."""
    eventually(lambda: scene.is_born and any(m.step >= step for m in commits(scene)), f"step {step} is durable")


def await_training(scene: Scene, number: int) -> None:
    """Return once the program of the attempt is seen to work."""

    def look() -> bool:
        attempt = state_of(scene).attempts.get(number)
        return attempt is not None and attempt.is_alive and attempt.training_at is not None

    eventually(look, f"attempt {number} trains")


def await_program(scene: Scene) -> None:
    """Return once the program has made a file named "up"."""
    eventually(lambda: any((i.work / "code" / "up").exists() for i in scene.instances()), "the program runs")


def paused(scene: Scene, *words: str) -> None:
    """A run that was stopped in the middle, with a few checkpoints."""
    supervisor = train(scene, "trainer.slow_from=40", *words)
    await_step(scene, 40)
    supervisor.send_signal(signal.SIGTERM)  # a command of ours takes a busy machine longer to start than the run has left
    assert answer_of(supervisor).code == 130


def moved(scene: Scene, folder: Path) -> Scene:
    """A copy of the run's store below another home, which has never heard of it."""
    there = scene_in(folder, scene.run)
    shutil.copytree(scene.store, there.store)
    return there


def state_of(scene: Scene) -> RunState:
    return scene.history().state


def resumed_from(scene: Scene) -> CommitRef | None:
    """What the newest attempt restored, as its first commit tells."""
    attempt = max(state_of(scene).attempts)
    return next(scene.manifests(attempt)).parent


def instance(scene: Scene) -> InstanceFolder:
    """The newest instance, its host begun."""
    return eventually(lambda: next((i for i in reversed(scene.instances()) if i.started()), None), "an instance is up")


def kill_machine(scene: Scene) -> None:
    """Host, agent and program at once, as a power cut would."""
    started = instance(scene).started()
    assert started is not None
    processes.send(started.host, signal.SIGKILL)
    eventually(lambda: not processes.marked(INSTANCE_VARIABLE, started.instance_id), "the instance is gone")
