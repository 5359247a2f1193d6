"""How long everything takes, and on which clock: the one table of the loop's times.

Two clocks run through a rehearsal. *Market time* (prices, lives, boot, cooldown, deadline, ledger) runs `speed` times faster
than real time; *process time* (imports, fsync, kill grace, hang limit, store deadlines) is real and cannot be hurried.
The loop's own intervals lie between: they shrink with `speed`, but not below a floor that a real process can keep.

All intervals here are market seconds; `real()` turns them into seconds on the wall. In production speed is 1 and both agree.
"""

from dataclasses import dataclass

from launcher.units import Seconds

# Process time: never scaled.
KILL_GRACE_S: Seconds = 10.0  # from SIGTERM to SIGKILL; a process that saves at SIGTERM needs a moment
HANG_MIN_S: Seconds = 600.0  # no step for so long is a hang, or 20 median steps where that is longer
HANG_STEPS = 20
NOTICE_LEAD_MIN_S: Seconds = 1.0  # a rehearsed notice is stretched to this, and the output says so
# The same under `run:`. What a program saved is known to be whole once it has exited, and a Python that has loaded PyTorch and an
# optimizer takes 0.7 to 1.3 s to do that, 2 to 3 s where it shares its core with two other programs (measured, torch 2.13).
NOTICE_LEAD_MIN_RUN_S: Seconds = 3.0
LAST_SAVE_MARGIN_S: Seconds = 0.25  # beyond the measured durable time, the last save ends this much before the kill
STORE_DEADLINE_S: Seconds = 60.0
PUBLISH_LOOKS_S: Seconds = 2.0  # between the two looks that tell a whole file


@dataclass(frozen=True, slots=True)
class Tempo:
    """The loop's intervals at one speed, in market seconds. Defaults and floors: DESIGN, Constants."""

    speed: float = 1.0

    def _floored(self, nominal: Seconds, floor_real: Seconds) -> Seconds:
        return nominal if self.speed == 1.0 else max(nominal, floor_real * self.speed)

    def real(self, market: Seconds) -> Seconds:
        return market / self.speed

    def market(self, real: Seconds) -> Seconds:
        return real * self.speed

    @property
    def heartbeat(self) -> Seconds:
        return self._floored(10, 0.5)

    @property
    def read_fast(self) -> Seconds:
        """Heartbeats, notices and the cloud while training on spot, or while anything starts or ends."""
        return self._floored(3, 0.2)

    @property
    def read_slow(self) -> Seconds:
        return self._floored(30, 0.2)

    @property
    def grant_poll(self) -> Seconds:
        """How often a waiting agent reads its journal: each second of delay here is a second without training."""
        return self._floored(1, 0.1)

    @property
    def journal_poll(self) -> Seconds:
        return self._floored(3, 0.2)

    @property
    def absence_gap(self) -> Seconds:
        """Between the two absences that make an instance gone: one listing may lag."""
        return self._floored(10, 0.5)

    @property
    def lost_after(self) -> Seconds:
        return self._floored(180, 10)

    @property
    def boot_wait_default(self) -> Seconds:
        return self._floored(1800, 60)

    @property
    def drain_max_default(self) -> Seconds:
        return self._floored(900, 60)

    @property
    def grant_wait(self) -> Seconds:
        return self._floored(1800, 60)

    @property
    def beacon(self) -> Seconds:
        return self._floored(60, 2)

    @property
    def autostop_floor(self) -> Seconds:
        return self._floored(0, 60)

    @property
    def look_floor(self) -> Seconds:
        """A person who is told of a failed machine needs so long to look at it."""
        return self._floored(0, 60)

    @property
    def cooldown_first(self) -> Seconds:
        return 1800.0

    @property
    def cooldown_most(self) -> Seconds:
        return 6 * 3600.0

    @property
    def checkpoint_seen_gap(self) -> Seconds:
        """Between two journaled CheckpointSeen of one attempt: a journal is read often and for ever."""
        return self._floored(60, 0.5)

    @property
    def autodown_max(self) -> Seconds:
        """From an agent's exit to the end of its bill: SkyPilot's idle time of 5 min, and the deletion."""
        return self._floored(480, 4)

    @property
    def store_outage_max(self) -> Seconds:
        return 6 * 3600.0
