"""What follows from a state, worked out once for it."""

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class _Deriving(Protocol):
    @property
    def derived(self) -> dict[Callable[..., Any], Any]: ...


S = TypeVar("S", bound=_Deriving)
T = TypeVar("T")


def once(derive: Callable[[S], T]) -> Callable[[S], T]:
    """`derive`, worked out once for each value: most looks bring no news, and ask the same of the same state again."""

    @functools.wraps(derive)
    def derived(value: S) -> T:
        known = value.derived
        if derive not in known:
            known[derive] = derive(value)
        found: T = known[derive]
        return found

    return derived
