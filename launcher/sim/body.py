"""A machine without its programs: what it is given of its world, and what ends with it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.adapters.records import Slot
from launcher.adapters.retry import Patience
from launcher.adapters.store.base import ObjectStore
from launcher.sim.clock import SimClock
from launcher.sim.timeline import Timeline
from launcher.units import Seconds, Utc

STORE_AGAIN: Seconds = 30.0  # after the store gave no answer, for what must be done


@dataclass(kw_only=True)
class Body:
    """Agent and trainer of one machine share it. What they plan does not happen once the machine is over."""

    timeline: Timeline
    clock: SimClock  # its own, perhaps wrong
    store: ObjectStore
    nonce: str
    dice: random.Random
    exited: Callable[[], None]  # its agent has ended
    known: dict[bytes, Slot] = field(default_factory=dict)  # records that its world has read or written
    is_over: bool = False  # killed, or its agent has ended
    is_deaf: bool = False  # cut off: reads nothing, and nobody reads it

    def __post_init__(self) -> None:
        self._patience = Patience(lambda _: None, self.dice)

    @property
    def now(self) -> Utc:
        """True time, which no machine knows."""
        return self.timeline.now

    def at(self, when: Utc, action: Callable[[], None], *, is_news: bool = True) -> None:
        def happen() -> None:
            if self.is_over:
                return  # which is no news
            if is_news:
                self.timeline.tell()
            action()

        self.timeline.at(when, happen, is_news=False)

    def after(self, seconds: Seconds, action: Callable[[], None], *, is_news: bool = True) -> None:
        self.at(self.now + seconds, action, is_news=is_news)

    def patience(self) -> Patience:
        """A machine's own waits between tries are shorter than anything that happens to it here."""
        return self._patience
