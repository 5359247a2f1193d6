"""The agent's eyes: each look takes in notices, the journal's orders and the clock, and answers whether it is time to end.

Cheap, since it is asked twenty times a second: everything slow was brought here by others before.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from launcher.clock import Clock
from launcher.core.contract import AttemptSpec
from launcher.core.tempo import Tempo
from launcher.node.gang import Gang
from launcher.node.notices.base import Hint, NoticeSource, Warned, standing
from launcher.node.notices.board import NoticeBoard
from launcher.node.post import Post
from launcher.node.reasons import Reasons, Situation, Told
from launcher.units import Seconds


class Lookout:
    """`warned_left` and `lead` are real seconds until the announced end: now, and when it was announced.

    `hints` are those that came since they were last taken out.
    """

    def __init__(
        self,
        spec: AttemptSpec,
        clock: Clock,
        sources: tuple[NoticeSource, ...],
        notice_file: Path,
        post: Post,
        reasons: Reasons,
        gang: Gang,
    ) -> None:
        self.warned_left: Seconds = 0.0
        self.lead: Seconds = 0.0
        self.has_warned = False
        self.hints: list[Hint] = []
        self._hinted: set[Hint] = set()
        self._clock = clock
        self._sources = (*sources, gang)
        self._gang = gang
        self._tempo = Tempo(spec.speed)
        self._board = NoticeBoard(notice_file, spec.attempt)
        self._post = post
        self._reasons = reasons
        self._claimed_at = time.monotonic()

    def look(self, last_save_needs: Seconds) -> Told | None:
        """`last_save_needs`: real seconds from telling the program to end until its last save has landed."""
        self._heed_notices()
        situation = Situation(
            orders=self._post.orders,
            warned=self._board.warned,
            warned_left=self.warned_left,
            lead=self.lead,
            last_save_needs=last_save_needs,
            supervisor_moved_at=self._post.supervisor_moved_at,
            claimed_at=self._claimed_at,
            others=self._gang.to_end(),
        )
        return self._reasons.to_end(situation)

    def is_called_off(self) -> bool:
        """Somebody waits for this process to be gone, or nobody hosts it any more."""
        warned = standing(self._told())
        return (warned is not None and warned.awaited) or self._reasons.is_orphaned()

    def let_go(self) -> None:
        """The last save is done; what is left of the announced time is nobody's loss."""
        for source in self._sources:
            source.let_go()

    def _told(self) -> tuple[Warned | Hint | None, ...]:
        return tuple(source.read() for source in self._sources)

    def _heed_notices(self) -> None:
        now = self._clock.utc_s()
        told = self._told()
        self._heed_hints(told)
        warned = standing(told)
        self.warned_left = 0.0 if warned is None else self._tempo.real(warned.ends_at - now)
        notice = self._board.update(warned, now, self.warned_left)
        if notice is not None:
            self.lead = self.warned_left
            self.has_warned = True
            self._post.send(notice)

    def _heed_hints(self, told: Iterable[Warned | Hint | None]) -> None:
        new = {word for word in told if isinstance(word, Hint)} - self._hinted
        self._hinted |= new
        self.hints += new
