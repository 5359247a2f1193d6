"""A thread that waits for the loop of a provider's library, and works for it meanwhile.

What the library would do on the one thread that all its requests share, a coroutine asks of the thread that waits for it: to
move the bytes (`wire`), to take a digest. So several do so at once; and since each does it itself, nothing touches a buffer any
more once its owner has come back.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from launcher.units import Seconds

_GRACE_S: Seconds = 2.0  # for the library's thread to say that time is up

T = TypeVar("T")
Act = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Caller:
    """What it is asked, until None; and how long it waits, of the monotonic clock."""

    ends_at: Seconds
    asked: SimpleQueue[tuple[Act, Future[Any]] | None] = field(default_factory=SimpleQueue)


_CALLER: ContextVar[_Caller] = ContextVar("caller")


def waited_for(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]], tools: Any, *, seconds: Seconds) -> T:
    """What `work` gives on the thread of `loop`, doing meanwhile what it asks, with `tools`. Raises TimeoutError."""
    caller = _Caller(time.monotonic() + seconds)

    async def working() -> T:
        _CALLER.set(caller)
        async with asyncio.timeout(seconds):
            return await work()

    done = asyncio.run_coroutine_threadsafe(working(), loop)
    done.add_done_callback(lambda _: caller.asked.put(None))
    while (asked := _next(caller, done)) is not None:
        act, outcome = asked
        if outcome.set_running_or_notify_cancel():
            try:
                outcome.set_result(act(tools))
            except Exception as error:
                outcome.set_exception(error)
    return done.result()


def time_left() -> Seconds:
    """Of the call that is waited for."""
    return _CALLER.get().ends_at - time.monotonic()


async def by_caller(act: Callable[[Any], T], stop: Callable[[], None] = lambda: None) -> T:
    """What `act` gives on the thread that waits for this coroutine, with that one's tools.

    `stop` is called when nobody waits for this any more, and shall make `act` end.
    """
    outcome: Future[T] = Future()
    _CALLER.get().asked.put((act, outcome))
    try:
        return await asyncio.wrap_future(outcome)
    except asyncio.CancelledError:
        stop()
        raise


def _next(caller: _Caller, done: Future[Any]) -> tuple[Act, Future[Any]] | None:
    try:
        return caller.asked.get(timeout=max(0.0, caller.ends_at - time.monotonic()) + _GRACE_S)
    except Empty:
        done.cancel()
        raise TimeoutError("the thread of the store's library does not answer") from None
