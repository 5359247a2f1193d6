"""How often checkpoints are made, and by which reckoning, as a plan says it."""

from dataclasses import dataclass

from launcher.core.checkpoint.rules import save_rule
from launcher.core.contract import SaveRule
from launcher.core.plan.candidates import interval_of
from launcher.core.plan.estimate import Task
from launcher.core.recipe import Recipe
from launcher.core.tempo import PUBLISH_LOOKS_S
from launcher.units import Seconds, show_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How often checkpoints are made, in market seconds; `interval` None is never.

    `by_program`: a program under `run:` saves when it likes, and the interval is what it is told where it uses launcher.train.
    """

    interval: Seconds | None
    speed: float
    reason: str
    by_program: bool = False

    def __str__(self) -> str:
        here = " here" if self.speed != 1 else ""
        if self.by_program:
            looks = f"looked for every {PUBLISH_LOOKS_S:g} s{here}"
            return f"checkpoints: the whole files in the program's folder, {looks}; with launcher.train {self._how_often}"
        return f"no checkpoints ({self.reason})" if self.interval is None else f"checkpoint {self._how_often}"

    @property
    def _how_often(self) -> str:
        if self.interval is None:
            return f"none ({self.reason})"
        here = f" there = {self.interval / self.speed:.1f} s here" if self.speed != 1 else ""
        return f"every {show_duration(self.interval)}{here} ({self.reason})"


def saving(recipe: Recipe, task: Task, life: Seconds) -> Saving:
    rule = save_rule(recipe.checkpoint, life)
    interval = interval_of(rule, task)
    reason = _saving_reason(rule, task, interval)
    return Saving(interval=interval, speed=task.speed, reason=reason, by_program=recipe.trainer is None)


def _saving_reason(rule: SaveRule, task: Task, interval: Seconds | None) -> str:
    if interval is None:
        return "checkpoint.every is never: a preemption loses everything"
    if rule.seconds is not None:
        return "as checkpoint.every says"
    if rule.steps is not None:
        is_known = "" if task.step is not None else "; how long a step takes is not known, so the time is a guess"
        return f"as checkpoint.every says, {rule.steps} steps{is_known}"
    here = " here" if task.speed != 1 else ""
    measured = f"stall {_digits(task.stall / task.speed)} s, durable {_digits(task.durable / task.speed)} s{here}"
    bound = ""
    if interval <= task.durable:
        bound = ", not below the durable time"
    elif interval >= rule.max_loss:
        bound = ", not above checkpoint.max_loss"
    return f"{measured}; √(2·stall·life){bound}"


def _digits(seconds: Seconds) -> str:
    """The two that count, and no exponent."""
    return f"{seconds:.2g}" if seconds < 99.5 else f"{seconds:.0f}"
