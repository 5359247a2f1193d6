"""When the loop should save: the recipe's `checkpoint.every`, with `auto` turned into seconds by what saves really cost.

The first save comes after a few steps, whatever the interval will be: it measures the stall and the durable time that the
interval is made of, and it gives a machine that dies young something to leave behind. Rules are in market seconds, saves are
measured in real ones; a rehearsal's clock runs `speed` times faster.
"""

import statistics
from collections import deque

from launcher.core.checkpoint import rules
from launcher.core.contract import SaveRule
from launcher.units import Seconds, Step

NUM_FIRST_STEPS = 5  # of this process before the first save under `auto`: past the slow first steps
NUM_MEASURED = 5  # newest saves whose median is believed; one slow write should not stretch the interval
UNMEASURED_S: Seconds = 10.0  # real; between tries while no save has succeeded


class Schedule:
    """Says at the end of a step whether to save. Times are real, from the monotonic clock."""

    def __init__(self, rule: SaveRule, *, speed: float, step: Step, now: Seconds) -> None:
        self._rule = rule
        self._speed = speed
        self._first_step = step
        self._last_at = now
        self._tried = False
        self._stalls: deque[Seconds] = deque(maxlen=NUM_MEASURED)
        self._durables: deque[Seconds] = deque(maxlen=NUM_MEASURED)

    def is_due(self, step: Step, now: Seconds) -> bool:
        if self._rule.never:
            return False
        if self._rule.steps is not None:
            return step % self._rule.steps == 0
        if self._rule.seconds is None and not self._tried:
            return step - self._first_step >= NUM_FIRST_STEPS
        return now - self._last_at >= self.interval_real()

    def interval_real(self) -> Seconds:
        """Real seconds between saves of a time-based rule."""
        if self._rule.seconds is not None:
            return self._rule.seconds / self._speed
        if not self._durables:
            return UNMEASURED_S
        stall, durable = statistics.median(self._stalls), statistics.median(self._durables)
        scaled = (stall * self._speed, self._rule.mean_life, durable * self._speed, self._rule.max_loss)
        return rules.save_interval(*scaled) / self._speed

    def saved(self, *, at: Seconds, stall: Seconds) -> None:
        """A save began at `at`, urgent ones included."""
        self._tried = True
        self._last_at = at
        self._stalls.append(stall)

    def landed(self, durable: Seconds) -> None:
        self._durables.append(durable)
