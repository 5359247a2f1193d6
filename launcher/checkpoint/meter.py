"""What a training loop measures of itself: how long steps take, since when, and the losses on the way.

The agent judges hangs and the last save by these numbers and a rehearsal's speed comes from them, so they are taken between the
moment a step begins and the moment its body ends; saves are not steps.
"""

import json
import math
import statistics
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from launcher.units import Seconds, Step

NUM_STEPS_MEASURED = 200  # newest steps whose times are kept: enough for a 20th percentile, cheap to sort
NUM_STEPS_SPEED = 20  # newest steps that the shown speed is of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Real seconds of a step; None before the first."""

    median: Seconds | None = None
    low: Seconds | None = None  # the 20th percentile: what a step costs when nothing disturbs it
    steps_per_s: float | None = None
    alone: Seconds | None = None  # what a step would take, on average, if it never waited for a core
    load: float = 1.0  # how much longer the steps' CPU time took for waiting: 1 where they have a core to themselves


class StepMeter:
    """Times the steps of this process."""

    def __init__(self) -> None:
        self.first_step_mono: Seconds | None = None
        self.startup_cpu_s: Seconds = 0.0
        self._steps: deque[Seconds] = deque(maxlen=NUM_STEPS_MEASURED)
        self._began: Seconds = 0.0
        self._began_queued: Seconds = 0.0
        self._began_cpu: Seconds = 0.0
        self._num_steps = 0
        self._wall_s: Seconds = 0.0
        self._cpu_s: Seconds = 0.0
        self._queued_s: Seconds = 0.0

    def begin(self) -> None:
        self._began, self._began_cpu, self._began_queued = time.monotonic(), time.process_time(), queued_s()
        if self.first_step_mono is None:
            self.first_step_mono = self._began
            self.startup_cpu_s = self._began_cpu

    def end(self) -> None:
        took = time.monotonic() - self._began
        self._steps.append(took)
        self._num_steps += 1
        self._wall_s += took
        self._cpu_s += time.process_time() - self._began_cpu
        self._queued_s += queued_s() - self._began_queued

    def pace(self) -> Pace:
        if not self._steps:
            return Pace()
        ordered = sorted(self._steps)
        newest = list(self._steps)[-NUM_STEPS_SPEED:]
        return Pace(
            median=statistics.median(ordered),
            low=ordered[len(ordered) // 5],
            steps_per_s=1 / max(statistics.fmean(newest), 1e-9),
            alone=max(0.0, self._wall_s - self._queued_s) / self._num_steps,
            load=1.0 + self._queued_s / max(self._cpu_s, 1e-3),
        )


def queued_s() -> Seconds:
    """How long this process's main thread was ready to run and had no core; 0 where the system does not tell (not Linux)."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class LossCurve:
    """Losses by step since the parent commit. Exact to the last bit: a resumed run's curve must be the same curve."""

    def __init__(self) -> None:
        self.newest: float | None = None  # finite, for showing
        self._newest_step: Step = 0
        self._losses: dict[Step, float] = {}

    def record(self, step: Step, loss: float) -> None:
        self._losses[step] = loss
        self.newest, self._newest_step = (loss if math.isfinite(loss) else None), step

    def forget_until(self, step: Step) -> None:
        """Drop what a commit holds."""
        for known in [known for known in self._losses if known <= step]:
            del self._losses[known]

    def of(self, step: Step) -> float | None:
        """The loss of the newest step, if it is this one and finite."""
        return self.newest if step == self._newest_step else None

    def snapshot(self) -> tuple[tuple[Step, float], ...]:
        return tuple(self._losses.items())


def metrics_lines(losses: tuple[tuple[Step, float], ...], after: Step) -> bytes:
    """METRICS_FILE of the steps beyond `after`: one JSON object a line. nan and infinities are written as Python reads them."""
    return "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in losses if step > after).encode()
