"""Killing what works on a machine: the trainer, its agent, or both, in the midst of a save, a commit, a restore, or at any time.

The supervisor lives and must bring the run to its end, each attempt going on from the newest checkpoint that was durable. The
market of `tiny` takes no machine here, so every death is `Killed`: nobody's fault, retried without limit.
"""

import contextlib
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.adapters.cloud.local_registry import instance_of
from launcher.adapters.history import History
from launcher.core.contract import attempt_prefix, commits_prefix
from launcher.core.instance import instance_name
from launcher.core.run.state import Attempt
from launcher.observe import read_commit
from scripts.drills import moments
from scripts.drills.checks import violations
from scripts.drills.figures import Figures
from scripts.drills.scene import LOOK_S, Scene, answer_of, eventually

KILLS_PER_RUN = 8
STEPS_PER_KILL = 250  # as many as an attempt makes before it is killed
RUN = ("train", "tiny", "retry.same_checkpoint=1000", "-o", "json")
MOMENTS = ("at any time", "in a save", "in a commit", "in a restore")
TARGETS = {"trainer": (b"launcher.trainers",), "agent": (b"launcher.node\0",), "both": (b"launcher.trainers", b"launcher.node\0")}
LIFE_MOST_S = 4.0  # of an attempt that is killed at any time; restoring takes about half of it
WAIT_MOST_S = 60.0


def drill(kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> Figures:
    """Kill trainers and agents until `kills` have been hit, over as many runs as that takes."""
    moments.prepare()
    figures = Figures(target="machine", seed=seed)
    draw = random.Random(seed)
    while figures.kills < kills:
        figures.runs += 1
        scene = Scene(folder=folder / f"machine-{figures.runs}", run=f"drill-{seed}-{figures.runs}")
        _one_run(scene, draw, min(KILLS_PER_RUN, kills - figures.kills), figures)
        say(f"{scene.run}: {figures.kills} of {kills} kills, {len(figures.violations)} violations")
    return figures


def _one_run(scene: Scene, draw: random.Random, kills: int, figures: Figures) -> None:
    supervisor = scene.start(*RUN, f"trainer.steps={STEPS_PER_KILL * kills}", "-n", scene.run)
    try:
        _hurt(scene, draw, kills, figures, lambda: supervisor.poll() is not None)
        figures.blame(scene.run, scene.folder, violations(scene, answer_of(supervisor)))
    finally:
        supervisor.kill()
        scene.sweep()


def _hurt(scene: Scene, draw: random.Random, kills: int, figures: Figures, is_over: Callable[[], bool]) -> None:
    """One attempt after another, until enough were killed or one reached the run's end."""
    eventually(lambda: scene.is_born or is_over(), "the run is born")
    history = scene.found().history()
    newest = 0
    for _ in range(kills):
        attempt = _next_writer(history, newest, is_over)
        if attempt is None:
            return
        newest = attempt.number
        victim = Victim(scene=scene, incarnation=history.incarnation, attempt=attempt)
        moment, target = draw.choice(MOMENTS), draw.choice(sorted(TARGETS))
        _await(moment, victim, draw, is_over)
        if victim.kill(TARGETS[target], draw):
            figures.blows[f"{target} {moment}"] += 1
            figures.torn_saves += victim.has_torn_save()


def _next_writer(history: History, after: int, is_over: Callable[[], bool]) -> Attempt | None:
    """The next attempt that may write, None where the run ends without one."""
    end = time.monotonic() + WAIT_MOST_S
    while not is_over() and time.monotonic() < end:
        history.poll()
        writer = history.state.last_writer if history.is_created else None
        if writer is not None and writer.is_alive and writer.number > after:
            return writer
        time.sleep(LOOK_S)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    scene: Scene
    incarnation: str
    attempt: Attempt

    def living(self, command: bytes) -> list[processes.ProcessId]:
        """Processes of this attempt's instance whose command line has `command` in it."""
        instance = instance_of(self.scene.registry, instance_name(self.scene.run, self.incarnation, self.attempt.number))
        started = instance.started()
        below = processes.descendants(started.host.pid) if started is not None and processes.is_alive(started.host) else ()
        return [process for process in below if command in _command_line(process.pid)]

    def kill(self, commands: tuple[bytes, ...], draw: random.Random) -> bool:
        """SIGKILL, in a drawn order. Whether any was hit."""
        targets = [process for command in commands for process in self.living(command)]
        draw.shuffle(targets)
        return sum(processes.send(process, signal.SIGKILL) for process in targets) > 0

    def has_torn_save(self) -> bool:
        """Whether its newest save was begun and not committed."""
        below = self.scene.store / attempt_prefix(self.attempt.number)
        saves = [int(path.name) for path in (below / "saves").glob("[0-9]*")]
        commits = list((below / "commits").glob("[0-9]*.json"))
        return max(saves, default=0) > len(commits)

    def read_from(self) -> Path | None:
        """The folder that its restore reads, None for a first attempt."""
        parent = self.attempt.parent
        found = read_commit(self.scene.found().store, parent) if parent is not None else None
        files = getattr(found, "files", ())
        return (self.scene.store / files[0].key).parent if files else None


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _await(moment: str, victim: Victim, draw: random.Random, is_over: Callable[[], bool]) -> None:
    """Return when it is time to strike."""
    below = victim.scene.store / attempt_prefix(victim.attempt.number)
    read_from = victim.read_from()
    match moment:
        case "in a save":
            moments.something_created(below / "saves", at_most=WAIT_MOST_S, is_over=is_over)
            time.sleep(draw.uniform(0, 0.01))
        case "in a commit":
            folder = victim.scene.store / commits_prefix(victim.attempt.number)
            moments.something_created(folder, at_most=WAIT_MOST_S, is_over=is_over)
            time.sleep(draw.uniform(0, 0.002))
        case "in a restore" if read_from is not None:
            moments.something_read(read_from, at_most=WAIT_MOST_S, is_over=is_over)
            time.sleep(draw.uniform(0, 0.005))
        case _:
            time.sleep(draw.uniform(0, LIFE_MOST_S))
