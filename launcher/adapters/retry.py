"""How adapters retry what passes: the named, bounded policies, in one place.

Only errors known to be passing are retried, and only here and in the supervisor's loop. Waits are process time. `sleep` is an
argument so that a simulated world passes its own; a wait that took no real time counts against the deadline all the same.
"""

import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential
from tenacity.stop import stop_base

from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import StoreUnknown
from launcher.units import Seconds

_FIRST_WAIT_S: Seconds = 0.2  # a store's own throttling asks for about this much
_MOST_WAIT_S: Seconds = 5.0  # some ten attempts fit the deadline

Sleep = Callable[[Seconds], None]


def store_calls(*, sleep: Sleep = time.sleep, deadline: Seconds = STORE_DEADLINE_S) -> Retrying:
    """Calls a store until it answers; past `deadline` its last StoreUnknown is raised. What it calls must be repeatable."""
    return Retrying(
        retry=retry_if_exception_type(StoreUnknown),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_MOST_WAIT_S),
        stop=_StopAfter(deadline),
        sleep=sleep,
        reraise=True,
    )


class _StopAfter(stop_base):
    """Ends when the time since the start, or the waits asked for, have used up the deadline, the next one included."""

    def __init__(self, deadline: Seconds) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        elapsed = max(retry_state.seconds_since_start or 0.0, retry_state.idle_for)
        return elapsed + retry_state.upcoming_sleep >= self._deadline
