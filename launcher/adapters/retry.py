"""How adapters retry what passes: the named, bounded policies, in one place.

Only errors known to be passing are retried, and only here and in the supervisor's loop. Waits are process time, and pass in the
ambient `Patience`: real time, unless a simulated world has put its own there. A wait that took no real time counts against the
deadline all the same.

Policies nest: a create that is read back consists of calls that are repeated themselves. The outermost deadline holds for all
that is done within it, or silence would cost the sum of theirs.
"""

import contextlib
import functools
import math
import random
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.stop import stop_base

from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import NoSuchHost, StoreUnknown
from launcher.units import Seconds

_FIRST_WAIT_S: Seconds = 0.2  # a store's own throttling asks for about this much
_MOST_WAIT_S: Seconds = 5.0  # some ten attempts fit the deadline

Sleep = Callable[[Seconds], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How the waits between tries pass, and the dice that spread them, so that many clients do not return at once."""

    sleep: Sleep
    dice: random.Random


_PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)
_ENDS_AT: ContextVar[Seconds] = ContextVar("ends_at", default=math.inf)  # of the monotonic clock
_IS_FIRST: ContextVar[bool] = ContextVar("is_first", default=False)
_REAL = Patience(time.sleep, random.Random())


@contextlib.contextmanager
def patience(of_world: Patience) -> Iterator[None]:
    """Within this context (of this thread) retries wait in `of_world`'s time."""
    token = _PATIENCE.set(of_world)
    try:
        yield
    finally:
        _PATIENCE.reset(token)


def time_left() -> Seconds:
    """What the policies around this call have left for it; infinite where there is none. May be negative."""
    return _ENDS_AT.get() - time.monotonic()


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Within this context the deadlines around it are forgotten: for what takes its time by the bytes that it moves."""
    token = _ENDS_AT.set(math.inf)
    try:
        yield
    finally:
        _ENDS_AT.reset(token)


@contextlib.contextmanager
def first_contact() -> Iterator[None]:
    """Within this context a host without an address is asked once: a person waits, and has most likely misspelt it.

    Later it is an outage like any other: names fail to resolve where a network does.
    """
    token = _IS_FIRST.set(True)
    try:
        yield
    finally:
        _IS_FIRST.reset(token)


def store_calls(*, sleep: Sleep | None = None, deadline: Seconds = STORE_DEADLINE_S) -> Retrying:
    """Calls a store until it answers; past `deadline` its last StoreUnknown is raised. What it calls must be repeatable.

    A deadline of 0 is one try, which takes as long as it takes.
    """
    return _ambient(deadline) if sleep is None else _calls(sleep, deadline)


@functools.cache
def _ambient(deadline: Seconds) -> Retrying:
    """One for all callers: it remembers nothing of a call, since a call that fails takes up a copy."""
    return _calls(lambda seconds: _patience().sleep(seconds), deadline)


def _calls(sleep: Sleep, deadline: Seconds) -> Retrying:
    return _Retrying(
        retry=retry_if_exception(_passes),
        wait=_wait,
        stop=_StopAfter(deadline),
        sleep=sleep,
        reraise=True,
    )


def _passes(error: BaseException) -> bool:
    return isinstance(error, StoreUnknown) and not (_IS_FIRST.get() and isinstance(error, NoSuchHost))


class _Retrying(Retrying):
    """Takes up its machinery only once the first try has failed: nearly all calls are answered at once."""

    def __call__(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        began = time.monotonic()
        deadline = getattr(self.stop, "deadline", 0.0)  # a test may count tries instead
        token = _ENDS_AT.set(min(_ENDS_AT.get(), began + (deadline or math.inf)))
        try:
            return self._call(began, fn, *args, **kwargs)
        finally:
            _ENDS_AT.reset(token)

    def _call(self, began: Seconds, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return fn(*args, **kwargs)
        except StoreUnknown as error:
            failures = [error]

        def with_the_first(*args: Any, **kwargs: Any) -> T:
            if failures:
                raise failures.pop()
            return fn(*args, **kwargs)

        def count_the_first(retry_state: RetryCallState) -> None:
            retry_state.start_time = began

        return super(_Retrying, self.copy(before=count_the_first)).__call__(with_the_first, *args, **kwargs)


def _patience() -> Patience:
    return _PATIENCE.get() or _REAL


def _wait(retry_state: RetryCallState) -> Seconds:
    """Exponential with full jitter."""
    most = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(retry_state.attempt_number - 1, 16))
    return _patience().dice.uniform(0.0, most)


class _StopAfter(stop_base):
    """Ends when the time since the start, or the waits asked for, have used up the deadline, the next one included."""

    def __init__(self, deadline: Seconds) -> None:
        self.deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        elapsed = max(retry_state.seconds_since_start or 0.0, retry_state.idle_for)
        return elapsed + retry_state.upcoming_sleep >= self.deadline or retry_state.upcoming_sleep >= time_left()
