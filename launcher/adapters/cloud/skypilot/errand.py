"""Work that takes its time, on a thread, while the loop goes on."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from launcher.units import Seconds

T = TypeVar("T")


class Errand(Generic[T]):
    """Work on a thread that ends with the process. Ask `is_done`, then take `result`."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: Exception | None = None
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="skypilot", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def is_stuck(self, after: Seconds) -> bool:
        """Whether it has not come back for so long. Its thread cannot be ended, and is left alone."""
        return not self.is_done and time.monotonic() - self._began >= after

    def wait(self, seconds: Seconds) -> bool:
        self._thread.join(seconds)
        return self.is_done

    def result(self) -> T:
        """Raises what the work raised."""
        assert self.is_done, "ask is_done first"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # the work has returned it

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # the top of a thread: handed to whoever takes the result
            self._error = error
