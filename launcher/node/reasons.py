"""Why an attempt should end now: every reason there is, looked at in one place, in the order of their weight.

The agent asks often and obeys; the trainer is told once to save and end, or is killed where nothing may be saved any more.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher.core.contract import AttemptSpec, ExitKind
from launcher.core.tempo import Tempo
from launcher.node.notices.base import Warned
from launcher.node.orders import Dismissed, Orders
from launcher.units import Seconds, Utc, show_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The attempt is to end. `drain`: save first. `lingers`: then stay until the cloud takes the machine."""

    reason: str
    drain: bool = True
    lingers: bool = False
    outcome: ExitKind = ExitKind.DRAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a reason can lie in. `others`: why the gang ends this node.

    `supervisor_moved_at`, `claimed_at` are monotonic real; `last_save_needs` real.
    """

    orders: Orders
    warned: Warned | None
    warned_left: Seconds  # real, until the warned end
    lead: Seconds  # real, what was left when the warning was first seen
    last_save_needs: Seconds
    supervisor_moved_at: Seconds
    claimed_at: Seconds
    others: Told | None = None


class Reasons:
    """`host_pid` None: the machine is the agent's own. `utc` is the market's."""

    def __init__(self, spec: AttemptSpec, host_pid: int | None, utc: Callable[[], Utc]) -> None:
        self._spec = spec
        self._host_pid = host_pid
        self._utc = utc
        self._tempo = Tempo(spec.speed)

    def to_end(self, now: Situation) -> Told | None:
        if self.is_orphaned():
            return Told(reason="the process that hosts this machine is gone", drain=False)
        if now.orders.dismissed is not None:
            order = now.orders.dismissed
            return Told(reason=order.reason, drain=order.drain, outcome=self._outcome_of(order))
        return now.others or self._by_warning(now) or self._by_time(now)

    def _outcome_of(self, order: Dismissed) -> ExitKind:
        if order.sealed:
            return ExitKind.SEALED
        return ExitKind.NODE_LOST if order.lost and self._spec.num_nodes > 1 else ExitKind.DRAINED

    def is_orphaned(self) -> bool:
        """Where the kernel cannot kill us with our host, we see it ourselves."""
        return self._host_pid is not None and os.getppid() != self._host_pid

    def _by_warning(self, now: Situation) -> Told | None:
        """The last save begins when it must, and only where it fits: what does not fit would only stop the training sooner."""
        if now.warned is None:
            return None
        if now.warned.awaited:
            return Told(reason=f"told to end by {now.warned.source}")
        fits = now.lead > now.last_save_needs
        if fits and now.warned_left <= now.last_save_needs and self._spec.save.on_notice:
            return Told(reason=f"the machine ends: notice by {now.warned.source}", lingers=True)
        return None

    def _by_time(self, now: Situation) -> Told | None:
        spec, tempo, mono = self._spec, self._tempo, time.monotonic()
        stop_at = spec.stop_at if now.orders.stop_at is None else now.orders.stop_at
        if stop_at is not None and self._utc() >= stop_at:
            return Told(reason="the budget ends here (stop_at)")
        alone = tempo.market(mono - now.supervisor_moved_at)
        if alone >= max(spec.autostop, tempo.autostop_floor):
            return Told(reason=f"no sign of a supervisor for {show_duration(alone)} (autostop)")
        waited = tempo.market(mono - now.claimed_at)
        if now.orders.grant is None and waited >= spec.grant_wait:
            return Told(reason=f"no grant came within {show_duration(waited)}", drain=False)
        return None
