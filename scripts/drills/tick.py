"""Killing ticks, and machines between them: a run that nobody stays with must come to its end all the same."""

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from launcher import processes
from scripts.drills.checks import violations
from scripts.drills.figures import Figures
from scripts.drills.scene import Answer, Scene, answer_of

# The market of `tiny` takes no machine here: an attempt needs two ticks to begin, and what it loses is ours to say.
RUN = ("train", "tiny", "trainer.steps=400", "retry.same_checkpoint=1000")
KILLS_PER_RUN = 8
KILL_SHARE = 0.5
MACHINE_SHARE = 0.3  # of the kills
LIFE_MOST_S = 3.0  # of a tick that is killed
TICKS_MOST = 300


def drill(kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> Figures:
    """Kill ticks and machines until `kills` have died, over as many runs as that takes."""
    figures = Figures(target="tick", seed=seed)
    draw = random.Random(seed)
    while figures.kills < kills:
        figures.runs += 1
        scene = Scene(folder=folder / f"tick-{figures.runs}", run=f"drill-{seed}-{figures.runs}")
        _begin(scene, draw)
        last = _ticked(scene, draw, min(KILLS_PER_RUN, kills - figures.kills), figures)
        if last.code != 0 or last.json["seconds"] is not None:
            figures.blame(scene.run, scene.folder, [f"the last tick ended with {last.code}: {last.text}"])
        figures.blame(scene.run, scene.folder, violations(scene, scene.launch("resume", scene.run, "-o", "json")))
        say(f"{scene.run}: {figures.kills} of {kills} kills, {len(figures.violations)} violations")
    return figures


def _begin(scene: Scene, draw: random.Random) -> None:
    """A run whose supervisor went away as soon as there was one."""
    begun = scene.launch(*RUN, "-n", scene.run, "-d", "-o", "json")
    os.kill(begun.json["pid"], draw.choice((signal.SIGHUP, signal.SIGKILL)))


def _ticked(scene: Scene, draw: random.Random, kills: int, figures: Figures) -> Answer:
    """What the last of many ticks answered."""
    answer = Answer(code=-signal.SIGKILL, text="no tick was left alive")
    before = figures.kills
    for _ in range(TICKS_MOST):
        strikes = figures.kills - before < kills and draw.random() < KILL_SHARE
        if strikes and draw.random() < MACHINE_SHARE:
            figures.blows["a machine between ticks"] += _kill_machine(scene)
        elif strikes:
            figures.blows["a tick at a random time"] += _kill_tick(scene, draw)
            continue
        answer = answer_of(scene.start("tick", scene.run, "-o", "json"))
        if answer.code != 0 or answer.json["seconds"] is None:
            break
    return answer


def _kill_tick(scene: Scene, draw: random.Random) -> bool:
    tick = scene.start("tick", scene.run)
    with contextlib.suppress(subprocess.TimeoutExpired):
        tick.wait(draw.uniform(0.1, LIFE_MOST_S))
    tick.send_signal(draw.choice((signal.SIGKILL, signal.SIGTERM)))  # a time limit, which must not pause the run
    return answer_of(tick).code < 0


def _kill_machine(scene: Scene) -> bool:
    """Its host, with which all of it goes."""
    hosts = [started.host for instance in scene.instances() if (started := instance.started()) is not None]
    return any(processes.send(host, signal.SIGKILL) for host in hosts)
