"""Who drives the loop to the run's end: it waits between two ticks, and rides out what passes.

The retry rules are tenacity's: the loop *is* a `Retrying` of the tick.
"""

import uuid
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result

from launcher import log
from launcher.adapters.history import History
from launcher.clock import Clock
from launcher.core.policy.base import Policy
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.errors import CloudUnreachable, FeedStale, Overtaken, StoreUnknown
from launcher.loop import Listener, Loop, OnWait, Pause, World
from launcher.units import Seconds

BLIP_WAIT_FIRST_S: Seconds = 1.0  # waits after an error of the world grow from this (market time, floored like all reads)
BLIP_WAIT_MOST_S: Seconds = 60.0


def new_supervisor_id() -> str:
    return uuid.uuid4().hex[:12]


def supervise(
    world: World,
    history: History,
    policy_of: Callable[[RunState], Policy],
    *,
    supervisor: str,
    listener: Listener = lambda event, state: None,
    on_wait: OnWait = lambda wait, state, now: None,
) -> RunState:
    """Drive an opened run to a terminal phase, all its machines gone. Raises Overtaken; rides out what passes.

    `policy_of` is asked anew each tick, since a resume may have changed the recipe. `listener` hears each event once journaled,
    `on_wait` what the policy waits for.
    """
    loop = Loop(world, history, policy_of, supervisor=supervisor, listener=listener, on_wait=on_wait)
    outage = _Outage(world.clock)
    retrying = Retrying(
        retry=retry_if_result(lambda result: isinstance(result, Pause))
        | retry_if_exception_type((CloudUnreachable, FeedStale, StoreUnknown)),
        wait=lambda call: outage.wait(call, loop.tempo),
        sleep=loop.sleep,
        stop=lambda call: outage.is_over(loop.tempo),
        after=outage.note,
        reraise=True,
    )
    try:
        ended = retrying(loop.tick)
    except Overtaken:
        raise  # the beacon is another's now
    except BaseException:
        loop.release()
        raise
    loop.release()
    assert isinstance(ended, RunState), "a pause is retried"
    return ended


class _Outage:
    """Errors of the world in a row: one blip ends nothing, waits grow, and hours without the store end the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: Seconds | None = None
        self._in_a_row = 0

    def note(self, call: RetryCallState) -> None:
        assert call.outcome is not None
        error = call.outcome.exception()
        if error is None:
            self._since, self._in_a_row = None, 0
            return
        self._in_a_row += 1
        if self._in_a_row == 1:
            log.warning("world_unreachable", error=str(error))
        if self._since is None and isinstance(error, StoreUnknown):
            self._since = self._clock.monotonic_s()

    def wait(self, call: RetryCallState, tempo: Tempo) -> Seconds:
        """Until the tick's `wake_at`; after an error, growing."""
        assert call.outcome is not None
        if call.outcome.failed:
            return max(tempo.read_fast, min(BLIP_WAIT_MOST_S, BLIP_WAIT_FIRST_S * 2.0 ** min(self._in_a_row, 6)))
        pause = call.outcome.result()
        assert isinstance(pause, Pause)
        return max(0.0, pause.wake_at - self._clock.utc_s())

    def is_over(self, tempo: Tempo) -> bool:
        return self._since is not None and self._clock.monotonic_s() - self._since > tempo.store_outage_max
