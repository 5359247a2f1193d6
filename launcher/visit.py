"""A visit: what a supervisor does that does not stay, for cron, a function or a CronJob.

It is the loop, left as soon as staying a little would tell nothing new. What only several looks can tell, that a machine is
silent or was absent twice, adds up over visits: each leaves in the store what it has watched, and the next goes on from there
unless somebody else wrote to the journal meanwhile.
"""

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, retry_if_result

from launcher import codec, log
from launcher.adapters.history import History
from launcher.core.contract import WATCH_KEY
from launcher.core.policy.base import Policy
from launcher.core.run.observation import Left, Pulse, Watch, left, recalled
from launcher.core.run.state import RunState
from launcher.errors import CloudUnreachable, FeedStale, KeyMissing, Overtaken, StoreError, StoreUnknown
from launcher.loop import Listener, Loop, OnWait, Pause, World
from launcher.units import MINUTE, Seconds, Utc

VISIT_MOST_S: Seconds = 60.0  # real; cron comes once a minute, and a cloud that has not answered may have by then
ERRANDS_MOST_S: Seconds = 600.0  # real; SkyPilot's server, started by the first that asks, may take minutes to hear a launch
AWAY_MOST: Seconds = 10 * MINUTE  # while nothing is up: prices move no faster


def visit(
    world: World,
    history: History,
    policy_of: Callable[[RunState], Policy],
    *,
    supervisor: str,
    listener: Listener = lambda event, state: None,
    on_wait: OnWait = lambda wait, state, now: None,
) -> Utc | None:
    """Look after an opened run once; when to come back, None once it has ended and nothing of it is up.

    Raises Overtaken, and StoreUnknown where the store stays away.
    """
    loop = Loop(world, history, policy_of, supervisor=supervisor, listener=listener, on_wait=on_wait)
    stay = _Stay(world, history, loop, supervisor)
    retrying = Retrying(
        retry=retry_if_result(lambda result: not stay.is_enough(result))
        | retry_if_exception_type((CloudUnreachable, FeedStale, StoreUnknown)),
        wait=lambda call: loop.tempo.read_fast,
        sleep=world.clock.wait,
        stop=lambda call: call.outcome is not None and call.outcome.failed and stay.has_lasted(VISIT_MOST_S),
        reraise=True,
    )
    try:
        back_at = stay.back_at(retrying(loop.tick))
    except Overtaken:
        raise  # the beacon is another's now
    except (CloudUnreachable, FeedStale) as error:  # the next visit asks again
        log.warning("world_unreachable", error=str(error))
        back_at = world.clock.utc_s() + loop.tempo.read_slow
    except BaseException:
        loop.release()
        raise
    stay.leave(back_at)
    loop.release()
    return back_at


class _Stay:
    """How long a visit lasts, and what it takes up from the one before and leaves to the next."""

    def __init__(self, world: World, history: History, loop: Loop, supervisor: str) -> None:
        self._world = world
        self._history = history
        self._loop = loop
        self._began = world.clock.monotonic_s()
        self._before = loop.watch = self._recall(supervisor)

    def is_enough(self, result: RunState | Pause) -> bool:
        if isinstance(result, RunState):
            return True
        if self._world.is_busy():
            return self.has_lasted(ERRANDS_MOST_S)
        return self._has_seen_all() or self.has_lasted(VISIT_MOST_S)

    def has_lasted(self, real: Seconds) -> bool:
        return self._world.clock.monotonic_s() - self._began >= self._loop.tempo.market(real)

    def back_at(self, result: RunState | Pause) -> Utc | None:
        if isinstance(result, RunState):
            return None
        tempo, now = self._loop.tempo, self._world.clock.utc_s()
        away_most = tempo.read_slow if self._up() else AWAY_MOST
        return max(now + tempo.read_fast, min(result.wake_at, now + away_most))

    def _has_seen_all(self) -> bool:
        """The cloud has answered, and each machine was seen to live or watched for as long as two absences lie apart."""
        polled_mono = self._loop.watch.polled_mono
        if polled_mono is None or polled_mono < self._began:
            return False
        if self._world.stands_still and not self._up():
            return False  # what the run waits for comes only while somebody looks
        return all(self._is_known(n) for n in self._up() if n in self._loop.watch.pulses)

    def _up(self) -> list[int]:
        return [a.number for a in self._history.state.unbilled]

    def _is_known(self, attempt: int) -> bool:
        pulse, before = self._loop.watch.pulses[attempt], self._before.pulses.get(attempt, Pulse())
        if pulse.watched_s - before.watched_s >= self._loop.tempo.absence_gap:
            return True
        beat, old = pulse.heartbeat, before.heartbeat
        return beat is not None and old is not None and beat.sequence > old.sequence

    # --- from visit to visit -------------------------------------------------------------------------------------------------

    def _recall(self, supervisor: str) -> Watch:
        try:
            before: Left = codec.loads_digested(Left, self._world.store.get(WATCH_KEY))
        except (KeyMissing, StoreUnknown, ValueError):
            return Watch()
        since = [r for r in self._history.records if r.number > before.last]
        is_ours = [r.number for r in since if r.writer == supervisor] == [*range(before.last + 1, self._last + 1)]
        if not is_ours:
            return Watch()
        return recalled(before, boot_id=self._world.seat.boot_id, mono=self._world.clock.monotonic_s())

    def leave(self, back_at: Utc | None) -> None:
        found = left(self._loop.watch, last=self._last, boot_id=self._world.seat.boot_id, back_at=back_at)
        try:
            self._world.store.replace(WATCH_KEY, codec.dumps_digested(found))
        except StoreError as error:  # forgetting only makes us wait longer
            log.warning("watch_not_left", error=str(error))

    @property
    def _last(self) -> int:
        return self._history.records[-1].number
