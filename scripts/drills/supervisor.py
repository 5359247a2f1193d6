"""Killing the supervisor, at exact moments between journaling and acting and at random ones: `launch resume` must mend it.

Each run takes several kills. A life of a supervisor is a life of one command: `train` first, `resume` from then on. Half of them
die by their own hand at a drawn door (suicide.py), the others of a SIGKILL from outside at a drawn time.
"""

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.drills.checks import violations
from scripts.drills.figures import Figures
from scripts.drills.scene import Scene, answer_of
from scripts.drills.suicide import DOORS

KILLS_PER_RUN = 8
EXACT_SHARE = 0.75
LIFE_MOST_S = 3.0  # of a supervisor that is killed from outside
KILLED = -9
# The second market takes machines every ten seconds, so that there is more to seal, stop and start.
MARKETS = (
    ("trainer.steps=400",),
    ("trainer.steps=1500", "local.trace=demo", "local.speed=400"),
)


def drill(kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> Figures:
    """Kill supervisors until `kills` have died, over as many runs as that takes."""
    figures = Figures(target="supervisor", seed=seed)
    draw = random.Random(seed)
    while figures.kills < kills:
        figures.runs += 1
        scene = Scene(folder=folder / f"supervisor-{figures.runs}", run=f"drill-{seed}-{figures.runs}")
        _hurt(scene, draw, min(KILLS_PER_RUN, kills - figures.kills), figures)
        last = scene.launch(*_next_command(scene, draw), "-o", "json")
        figures.blame(scene.run, scene.folder, violations(scene, last))
        say(f"{scene.run}: {figures.kills} of {kills} kills, {len(figures.violations)} violations")
    return figures


def _hurt(scene: Scene, draw: random.Random, kills: int, figures: Figures) -> None:
    """One life after another, until enough were cut short or one reached the run's end."""
    market = draw.choice(MARKETS)
    for _ in range(kills):
        words = _next_command(scene, draw, *market)
        moment, code = _exact_life(scene, draw, words) if draw.random() < EXACT_SHARE else _random_life(scene, draw, words)
        if code != KILLED:
            return
        figures.blows[moment] += 1


def _next_command(scene: Scene, draw: random.Random, *market: str) -> tuple[str, ...]:
    """`train` until the run was born, then `resume`, by its name or by its store."""
    if not scene.is_born:
        return ("train", "tiny", "-n", scene.run, *market)
    return ("resume", draw.choice((scene.run, scene.store.as_uri())))


def _exact_life(scene: Scene, draw: random.Random, words: tuple[str, ...]) -> tuple[str, int]:
    name = draw.choice(sorted(DOORS))
    when = draw.choice(("before", "after"))
    nth = draw.randint(1, DOORS[name].calls_most)
    driver = (sys.executable, "-m", "scripts.drills.suicide", name, when, str(nth))
    return f"{when} {name}", answer_of(scene.start(*words, command=driver)).code


def _random_life(scene: Scene, draw: random.Random, words: tuple[str, ...]) -> tuple[str, int]:
    process = scene.start(*words)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0.1, LIFE_MOST_S))
    process.kill()
    return "at a random time", answer_of(process).code
