"""The other machines of an attempt, as their agents' letters in the store tell: nowhere else do the agents meet.

Node 0 is the attempt. It alone publishes and is heard by the supervisor, so it listens to all others and speaks for them: a
notice to one is a notice to the gang, and an end of one is the end of all. The others listen to node 0 and end when it does.

A machine that is lost says nothing; what shows it is a heartbeat that stands still. The program feels the loss first, and fails
as if by its own fault. So after a failure node 0 waits for a word of each of the others before it says whose end it was.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from launcher import codec
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import AgentPhase, ExitKind, ExitReport, Heartbeat, Notice, exit_key, heartbeat_key, notice_key
from launcher.core.tempo import Tempo
from launcher.errors import KeyMissing, StoreError
from launcher.node.notices.base import NoticeSource, Warned, standing
from launcher.node.reasons import Told
from launcher.units import Seconds, show_duration

T = TypeVar("T")

WORD_BEATS = 3  # heartbeats within which one that lives has spoken
# One look may be under way, and the next may read what was written before; a heartbeat that moves in the third is newer.
PROOF_LOOKS = 3
_OF_ITS_OWN = (ExitKind.FINISHED, ExitKind.SEALED)  # ends of one node that the others come to by themselves


@dataclass(slots=True, kw_only=True)
class Other:
    """One of them. `still` is for how long, over looks that succeeded, its heartbeat has not moved; market seconds."""

    node: int
    beat: Heartbeat | None = None
    report: ExitReport | None = None
    warned: Warned | None = None
    still: Seconds = 0.0
    moved_in: int = 0  # the look that found its heartbeat moved
    num_notices: int = 0

    def has_spoken(self, looks_before: int) -> bool:
        """Since an instant at which so many looks were over."""
        return self.report is not None or self.moved_in >= looks_before + PROOF_LOOKS

    def take(self, beat: Heartbeat | None, report: ExitReport | None, notice: Notice | None, look: int, pause: Seconds) -> None:
        has_moved = beat is not None and (self.beat is None or beat.sequence > self.beat.sequence)
        self.still = 0.0 if has_moved else self.still + pause
        if has_moved:
            self.beat, self.moved_in = beat, look
        self.report = report
        if notice is not None:
            self.num_notices += 1
            self.warned = None if notice.withdrawn else Warned(ends_at=notice.ends_at, source=notice.source)


class Gang(NoticeSource):
    """Looks from `start` on, as long as the process lives. Alone, a machine has nobody to look for."""

    def __init__(self, store: ObjectStore, attempt: int, *, node: int, num_nodes: int, tempo: Tempo) -> None:
        self.is_led = node > 0
        self.others: Sequence[Other] = [Other(node=0)] if self.is_led else [Other(node=n) for n in range(1, num_nodes)]
        self.num_looks = 0
        self._is_parted = False
        self._store = store
        self._attempt = attempt
        self._tempo = tempo
        self._thread = threading.Thread(target=self._look_on, name="gang", daemon=True)

    def start(self) -> None:
        if self.others:
            self._thread.start()

    def read(self) -> Warned | None:
        """What was announced to any of those that this node speaks for."""
        return None if self.is_led else standing(other.warned for other in self.others)

    def to_end(self) -> Told | None:
        """Why the others end this one."""
        if self._is_parted:
            return None
        found = (self._led(other) if self.is_led else self._lost_or_failed(other) for other in self.others)
        return next((told for told in found if told is not None), None)

    def part(self) -> None:
        """The program here has ended: what becomes of the others ends nothing more."""
        self._is_parted = True

    def cause(self, looks_before: int) -> Told | None:
        """What lies behind a failure of the program here, other than the program's own: whoever ended otherwise, or is silent."""
        for other in self.others:
            told = self._lost_or_failed(other)
            if told is not None and told.outcome is not ExitKind.PROGRAM_FAILED:
                return told
        silent = next((other for other in self.others if not other.has_spoken(looks_before)), None)
        return None if silent is None else _lost(silent, "no word after the program failed")

    @property
    def word_s(self) -> Seconds:
        """Real seconds within which each of the others has spoken, if it lives."""
        return self._tempo.real(WORD_BEATS * self._tempo.heartbeat + PROOF_LOOKS * self._tempo.journal_poll)

    def have_spoken(self, looks_before: int) -> bool:
        return all(other.has_spoken(looks_before) for other in self.others)

    def _lost_or_failed(self, other: Other) -> Told | None:
        if other.report is not None:
            is_own = other.report.outcome in _OF_ITS_OWN
            return None if is_own else Told(reason=f"node {other.node}: {other.report.reason}", outcome=other.report.outcome)
        return self._silent(other)

    def _led(self, node_0: Other) -> Told | None:
        if node_0.report is not None:
            return Told(reason=f"node 0 has ended: {node_0.report.reason}")
        if node_0.beat is not None and node_0.beat.phase is AgentPhase.DRAINING:
            return Told(reason="node 0 ends")
        return self._silent(node_0)

    def _silent(self, other: Other) -> Told | None:
        is_lost = other.still >= self._tempo.lost_after
        return _lost(other, f"no heartbeat for {show_duration(other.still)}") if is_lost else None

    # --- looking ----------------------------------------------------------------------------------------------------------

    def _look_on(self) -> None:
        while True:
            for other in self.others:
                self._look_at(other)
            self.num_looks += 1
            time.sleep(self._tempo.real(self._tempo.journal_poll))

    def _look_at(self, other: Other) -> None:
        attempt, node = self._attempt, other.node
        try:
            beat = self._letter(Heartbeat, heartbeat_key(attempt, node))
            report = self._letter(ExitReport, exit_key(attempt, node))
            notice = None if self.is_led else self._letter(Notice, notice_key(attempt, other.num_notices + 1, node))
        except (StoreError, ValueError):
            return  # nothing is concluded from a store that does not answer
        other.take(beat, report, notice, self.num_looks + 1, self._tempo.journal_poll)

    def _letter(self, kind: type[T], key: str) -> T | None:
        try:
            letter: T = codec.loads_digested(kind, self._store.get(key))
        except KeyMissing:
            return None
        return letter


def _lost(other: Other, evidence: str) -> Told:
    return Told(reason=f"node {other.node} is taken to be lost: {evidence}", outcome=ExitKind.NODE_LOST)
