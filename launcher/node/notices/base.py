"""A machine's end, announced: what a source of notices answers.

A source is looked at often and answers what stands *now*: a warning, a hint, or nothing. So a warning that is taken back simply
is no longer there. A hint is a cloud's word that an end is likelier than usual. Nobody has announced one: people are told, and
the training goes on as before, since much of what a hint fears does not happen, and most of what happens is announced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from launcher.units import Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """The end of this machine as a source announces it. With `awaited` the sender waits for our exit, else time decides."""

    ends_at: Utc
    source: str
    stretched: bool = False
    awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    text: str  # one sentence for a person


class NoticeSource(Protocol):
    def read(self) -> Warned | Hint | None:
        """What stands now, at once. A source that cannot be read says what it said before."""
        ...

    def let_go(self) -> None:
        """The last save is done: whoever announced the end may go on with it."""
        return


def standing(told: Iterable[Warned | Hint | None]) -> Warned | None:
    """Of the warnings that stand, the one to obey: who waits for our exit goes first, then the soonest end."""
    warned = [word for word in told if isinstance(word, Warned)]
    return min(warned, key=lambda word: (not word.awaited, word.ends_at), default=None)
