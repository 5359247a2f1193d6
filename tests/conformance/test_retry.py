"""How a store is called again: the first try counts like every other, and the last error is told."""

import random
import time

import pytest

from launcher.adapters.retry import Patience, patience, store_calls
from launcher.errors import StoreUnknown, StoreUnusable


class Store:
    """Fails `times` times, each time after it took `slow` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, slow: float = 0.0) -> None:
        self.now, self.times, self.slow, self.calls = 100.0, times, slow, 0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def call(self, answer: str) -> str:
        self.calls += 1
        self.now += self.slow
        if self.calls <= self.times:
            raise StoreUnknown(f"failure {self.calls}")
        return answer


def test_each_failure_is_waited_upon_the_first_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store, waits = Store(monkeypatch, times=3), []
    with patience(Patience(waits.append, random.Random(1))):
        assert store_calls()(store.call, answer="here") == "here"
    assert store.calls == 4
    assert len(waits) == 3
    assert all(0 < wait <= most for wait, most in zip(waits, (0.2, 0.4, 0.8), strict=True))


def test_what_is_answered_at_once_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store, waits = Store(monkeypatch, times=0), []
    assert store_calls(sleep=waits.append)(store.call, "here") == "here"
    assert waits == []


def test_the_time_of_the_first_try_counts_against_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(monkeypatch, times=99, slow=30.0)
    with pytest.raises(StoreUnknown, match="failure 2"):
        store_calls(sleep=lambda _: None, deadline=50.0)(store.call, "never")
    assert store.calls == 2


def test_what_no_retry_mends_is_told_at_once() -> None:
    def refuse() -> None:
        raise StoreUnusable("no")

    with pytest.raises(StoreUnusable):
        store_calls(sleep=lambda _: pytest.fail("waited"))(refuse)
