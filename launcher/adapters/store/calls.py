"""Calls of a provider's file system that end: each try within its time, what passes tried again until the deadline, and no try
goes on beyond that of whoever is waiting for it (`adapters/retry`).

Each try ends in one of four things (`providers.base`): done, KeyExists or KeyMissing, StoreUnusable with a remedy, StoreUnknown.
The libraries alone may wait for ever for a server that says nothing. The file system is made at the first call of each process,
since none of them survives a fork.
"""

import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from launcher.adapters import retry
from launcher.adapters.store.forked import connected
from launcher.adapters.store.providers.base import Provider, keep_back_credentials, no_bucket, sorted_error
from launcher.adapters.store.waiting import waited_for
from launcher.adapters.store.wire import Wire
from launcher.errors import StoreError, StoreUnknown
from launcher.units import Bytes, Seconds

_SLOWEST: Bytes = 2**20  # a second; what is larger than a record gets more time by its size

Work = Callable[[Any], Coroutine[Any, Any, Any]]  # of a file system


class Calls:
    """Of the bucket at `url`; one try may take `call_s`, all of them `deadline`.

    Several threads may call at once, after the first call.
    """

    def __init__(self, url: str, bucket: str, provider: Provider, *, call_s: Seconds, deadline: Seconds) -> None:
        self._url = url
        self._bucket = bucket
        self._provider = provider
        self._call_s = call_s
        self._deadline = deadline
        self._made: tuple[int, Any, Wire] | None = None  # the process, its file system, and what bytes go over

    def until_answered(self, act: Callable[[], Any]) -> Any:
        """`act`, which may be repeated."""
        return retry.store_calls(deadline=self._deadline)(act)

    def ask(self, key: str, work: Work, *, size: Bytes = 0) -> Any:
        """As `once`, until the store answers."""
        return self.until_answered(lambda: self.once(key, work, size=size))

    def once(self, key: str, work: Work, *, size: Bytes = 0) -> Any:
        """One call of the file system, with time for `size` bytes."""
        try:
            fs, wire = self._connections()
            return waited_for(fs.loop, lambda: work(fs), wire, seconds=self._time_for(key) + size / _SLOWEST)
        except StoreError:
            raise
        except Exception as error:
            raise sorted_error(self._provider, error, url=self._url, bucket=self._bucket, key=key) from error

    def connect(self) -> None:
        """Before several threads call."""
        self.ask("", _nothing)

    def in_bucket(self, work: Work) -> Work:
        """Where what is missing can only be the bucket."""

        async def working(fs: Any) -> Any:
            try:
                return await work(fs)
            except FileNotFoundError:
                raise no_bucket(self._url, self._bucket) from None

        return working

    def _time_for(self, key: str) -> Seconds:
        left = retry.time_left()
        if left <= 0:
            raise StoreUnknown(f"no answer for {self._url}/{key} within the deadline")
        return min(self._call_s, left)

    def _connections(self) -> tuple[Any, Wire]:
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), connected(_within(self._time_for(""), self._connected)), Wire())
        return self._made[1:]

    def _connected(self) -> Any:
        keep_back_credentials()
        return self._provider.connect(self._bucket)


async def _nothing(fs: Any) -> None:
    """A file system is all that is wanted."""


def _within(seconds: Seconds, make: Callable[[], Any]) -> Any:
    """What `make` gives, on a thread of its own: it may ask the network who we are, and nothing else bounds that."""
    made: list[Any] = []
    failures: list[Exception] = []

    def working() -> None:
        try:
            made.append(make())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=working, name="store-connect", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not made:
        raise StoreUnknown(f"no credentials within {seconds:.0f} s")
    return made[0]
