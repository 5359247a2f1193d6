"""The small letters between machine and store: heartbeats and notices out, the journal and the supervisor's beacon in.

A thread of its own carries them, because a store may take a minute to answer and a notice leaves thirty seconds: the agent's loop
reads what was last delivered here and never waits. Nothing is concluded from a store that does not answer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from launcher import codec
from launcher.adapters.journal import Journal
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import SUPERVISOR_KEY, Beacon, Heartbeat, Notice, heartbeat_key, notice_key
from launcher.core.tempo import Tempo
from launcher.errors import KeyExists, KeyMissing, Overtaken, StoreError
from launcher.node.orders import Dismissed, Orders, read_orders
from launcher.units import Seconds


class Post:
    """Runs from `start` to `stop`. `orders` and `supervisor_moved_at` (monotonic, real) are what came in last."""

    def __init__(
        self,
        store: ObjectStore,
        journal: Journal,
        attempt: int,
        tempo: Tempo,
        compose: Callable[[int], Heartbeat],
        *,
        node: int = 0,
    ) -> None:
        self._store = store
        self._journal = journal
        self._attempt = attempt
        self._node = node
        self._tempo = tempo
        self._compose = compose
        self._outbox: deque[Notice] = deque()
        self._sequence = 0
        self._num_read = 0  # records of the journal behind `orders`
        self._beacon: tuple[str, int] | None = None
        self._heartbeat_due = self._journal_due = 0.0
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._carry, name="post", daemon=True)
        self.orders = Orders(attempt=attempt)
        self.supervisor_moved_at: Seconds = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: Seconds) -> Heartbeat:
        """No more letters after this, save one that the store is slow with; returns the final heartbeat, for the exit report."""
        self._stopped = True
        self._wake.set()
        self._thread.join(within_s)
        return self._next_heartbeat()

    def send(self, notice: Notice) -> None:
        self._outbox.append(notice)
        self._wake.set()

    def hurry(self) -> None:
        """Send the next heartbeat now: something changed that the supervisor waits for."""
        self._heartbeat_due = 0.0
        self._wake.set()

    def _carry(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._send_notices()
            self._send_heartbeat()
            self._read_journal()
            self._wake.wait(max(0.0, min(self._heartbeat_due, self._journal_due) - time.monotonic()))
        self._send_notices()

    def _send_notices(self) -> None:
        while self._outbox:
            notice = self._outbox[0]
            try:
                self._store.create(notice_key(self._attempt, notice.number, self._node), codec.dumps_digested(notice))
            except KeyExists:
                pass  # ours, from a try whose answer was lost: nobody else writes below this attempt
            except StoreError:
                return
            self._outbox.popleft()

    def _send_heartbeat(self) -> None:
        if time.monotonic() < self._heartbeat_due:
            return
        self._heartbeat_due = time.monotonic() + self._tempo.real(self._tempo.heartbeat)
        try:
            self._store.replace(heartbeat_key(self._attempt, self._node), codec.dumps_digested(self._next_heartbeat()))
        except StoreError:
            return  # the next one is due soon, and says more
        self._read_beacon()

    def _next_heartbeat(self) -> Heartbeat:
        self._sequence += 1
        return self._compose(self._sequence)

    def _read_beacon(self) -> None:
        try:
            beacon: Beacon = codec.loads_digested(Beacon, self._store.get(SUPERVISOR_KEY))
        except (KeyMissing, StoreError, ValueError):
            return
        if (beacon.supervisor, beacon.sequence) != self._beacon:
            self._beacon = (beacon.supervisor, beacon.sequence)
            self.supervisor_moved_at = time.monotonic()

    def _read_journal(self) -> None:
        if time.monotonic() < self._journal_due:
            return
        pause = self._tempo.grant_poll if self.orders.grant is None else self._tempo.journal_poll
        self._journal_due = time.monotonic() + self._tempo.real(pause)
        try:
            entries = self._journal.read()
        except Overtaken:
            gone = Dismissed(reason="the journal is another run's now", drain=False, sealed=True)
            self.orders = replace(self.orders, dismissed=gone)
            return
        except StoreError:
            return
        if self._journal.last == self._num_read:
            return
        self._num_read = self._journal.last
        self.orders = read_orders(self.orders, entries)
        self.supervisor_moved_at = time.monotonic()
