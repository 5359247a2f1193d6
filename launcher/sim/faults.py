"""What goes wrong in one seed: which faults, how often, and when. Drawn once; nothing here acts.

A seed has a few kinds of trouble and not all, since trouble of every kind at once hides what one kind alone would show. After
`quiet_from` nothing new goes wrong: from then on a run has to come to its end.
"""

import enum
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from launcher.core.instance import FailureKind, InstanceName
from launcher.sim.cloud import Start
from launcher.sim.trainer import Pace
from launcher.units import HOUR, MINUTE, Seconds, Utc


class Fault(enum.Enum):
    """Every kind there is. The value is its name in tables."""

    # supervisors
    CRASH_AT_APPEND = "crash at a journal append"
    CRASH_AT_COMMAND = "crash at a command"
    PAUSE = "supervisor paused and woken"
    RIVAL = "rival supervisor"
    OTHER_HOME = "takeover from another home"
    CRON = "cron ticks"
    CLOCK_STEP = "clocks step"
    STOP_REQUEST = "stop request, then resume"
    # cloud
    START_LOST = "start lost"
    START_REPEATED = "start repeated"
    START_UNANSWERED = "start's answer lost"
    START_SLOW = "start slow"
    STOP_LOST = "stop lost"
    STOP_UNANSWERED = "stop's answer lost"
    CAPACITY = "capacity refused"
    QUOTA = "quota refused"
    POLL_FAILED = "poll failed"
    POLL_STALE = "poll stale"
    POLL_PARTIAL = "poll partial"
    REGION_GONE = "region gone"
    CLOUD_AWAY = "cloud's API away"
    FEED_STALE = "feed stale"
    ENDS_UNTOLD = "ends not told"
    # notices
    NOTICE_FALSE = "notice without preemption"
    NOTICE_MISSING = "preemption without notice"
    NOTICE_TWICE = "two notices"
    NOTICE_WITHDRAWN = "notice withdrawn"
    # store
    LIST_LATE = "late listing"
    CREATE_FAILED = "create failed"
    CREATE_UNANSWERED = "create's answer lost"
    CREATE_LATE = "create lands a minute later"
    STORE_SLOW = "store slow"
    STORE_STORM = "503 storm"
    READ_TRUNCATED = "read truncated"
    READ_CORRUPTED = "read corrupted"
    WRITE_CORRUPTED = "record or commit corrupted on its way"
    STORE_AWAY = "store unreachable"
    # machines
    SKEW = "machine's clock skewed"
    ZOMBIE = "zombie trainer"
    DEAF = "machine cut off"
    DIES = "machine dies without a word"
    MUTE = "machine never speaks"
    UNREADY = "agent cannot be set up"
    PROGRAM_FAILS = "program fails"
    # at rest
    CHECKPOINT_DAMAGED = "checkpoint damaged at rest"
    RECORD_DAMAGED = "journal record damaged at rest"


# How often a fault that is tied to one call or one start happens, where its seed has it.
CALLS = {
    Fault.CRASH_AT_APPEND: 0.04,
    Fault.CRASH_AT_COMMAND: 0.15,
    Fault.PAUSE: 0.002,
    Fault.START_LOST: 0.3,
    Fault.START_UNANSWERED: 0.3,
    Fault.STOP_LOST: 0.6,
    Fault.STOP_UNANSWERED: 0.5,
    Fault.POLL_FAILED: 0.05,
    Fault.POLL_STALE: 0.05,
    Fault.POLL_PARTIAL: 0.05,
    Fault.FEED_STALE: 0.2,
    Fault.LIST_LATE: 0.3,
    Fault.CREATE_FAILED: 0.03,
    Fault.CREATE_UNANSWERED: 0.05,
    Fault.CREATE_LATE: 0.01,
    Fault.STORE_SLOW: 0.02,
    Fault.READ_TRUNCATED: 0.005,
    Fault.READ_CORRUPTED: 0.005,
    Fault.WRITE_CORRUPTED: 0.01,
}
STARTS = {
    Fault.START_REPEATED: 0.4,
    Fault.START_SLOW: 0.4,
    Fault.CAPACITY: 0.4,
    Fault.QUOTA: 0.3,
    Fault.NOTICE_FALSE: 0.4,
    Fault.NOTICE_MISSING: 0.7,
    Fault.NOTICE_TWICE: 0.5,
    Fault.NOTICE_WITHDRAWN: 0.4,
    Fault.SKEW: 0.7,
    Fault.ZOMBIE: 0.8,
    Fault.DEAF: 0.3,
    Fault.DIES: 0.3,
    Fault.MUTE: 0.3,
    Fault.UNREADY: 0.3,
    Fault.PROGRAM_FAILS: 0.3,
}
# Spans in which something is away, and how long: (least, most).
SPANS = {
    Fault.REGION_GONE: (HOUR / 2, HOUR),
    Fault.CLOUD_AWAY: (10 * MINUTE, HOUR),
    Fault.STORE_AWAY: (5 * MINUTE, HOUR),
    Fault.STORE_STORM: (MINUTE, 5 * MINUTE),
}
# Things that happen at an instant, so many times in a seed that has them.
MOMENTS = {
    Fault.RIVAL: 2,
    Fault.CLOCK_STEP: 2,
    Fault.STOP_REQUEST: 1,
    Fault.CHECKPOINT_DAMAGED: 2,
    Fault.RECORD_DAMAGED: 1,
}
STORM_SHARE = 0.5  # of calls refused in a storm
KINDS_LEAST, KINDS_MOST = 2, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    fault: Fault
    start: Utc
    end: Utc


class FaultPlan:
    """The trouble of one seed. `fired` counts what really happened. `only` and `rate` replace the kinds drawn and their rates."""

    def __init__(
        self,
        seed: int,
        start: Utc,
        lasts: Seconds,
        *,
        busy: Seconds | None = None,
        only: Iterable[Fault] | None = None,
        rate: float | None = None,
    ) -> None:
        """`busy`: for so long from its start the run will surely be at work, and that is when spans and moments hurt."""
        dice = random.Random(f"faults/{seed}")
        count = dice.randint(KINDS_LEAST, KINDS_MOST)
        self.kinds = frozenset(only) if only is not None else frozenset(dice.sample(list(Fault), count))
        self.fired: Counter[Fault] = Counter()
        self.quiet_from = start + lasts
        self._dice = dice
        self._rate = rate
        busy = lasts if busy is None else min(busy, lasts)
        self.spans = tuple(self._span(fault, start, busy) for fault in SPANS if fault in self.kinds)
        self.moments = tuple(
            sorted(
                (
                    (start + dice.uniform(0.02, 0.95) * busy, fault)
                    for fault, times in MOMENTS.items()
                    if fault in self.kinds
                    for _ in range(dice.randint(1, times))
                ),
                key=lambda moment: moment[0],
            )
        )

    def hits(self, fault: Fault, now: Utc) -> bool:
        """Whether this call is hit; counts it."""
        if fault not in self.kinds or now >= self.quiet_from or self._dice.random() >= self._often(CALLS[fault]):
            return False
        self.fired[fault] += 1
        return True

    def during(self, fault: Fault, now: Utc) -> bool:
        """Whether `now` lies in a span of this fault; counts the call that asks."""
        is_in = any(span.fault is fault and span.start <= now < span.end for span in self.spans)
        self.fired[fault] += is_in
        return is_in

    def in_storm(self, now: Utc) -> bool:
        span = any(s.fault is Fault.STORE_STORM and s.start <= now < s.end for s in self.spans)
        if not span or self._dice.random() >= self._often(STORM_SHARE):
            return False
        self.fired[Fault.STORE_STORM] += 1
        return True

    def _often(self, drawn: float) -> float:
        return drawn if self._rate is None else self._rate

    def uniform(self, least: float, most: float) -> float:
        return self._dice.uniform(least, most)

    def choice(self, number: int) -> int:
        return self._dice.randrange(number)

    def start(self, name: InstanceName, now: Utc, pace: Pace) -> Start:
        """How the start of this instance goes."""
        hit = {fault for fault, rate in STARTS.items() if fault in self.kinds and self._dice.random() < self._often(rate)}
        if now >= self.quiet_from:
            return Start()
        if Fault.CAPACITY in hit or Fault.QUOTA in hit:
            fault = Fault.QUOTA if Fault.QUOTA in hit else Fault.CAPACITY
            self.fired[fault] += 1
            return Start(refused=FailureKind.QUOTA if fault is Fault.QUOTA else FailureKind.CAPACITY)
        self.fired.update(hit - {Fault.NOTICE_MISSING, Fault.ZOMBIE})  # those are counted when the end comes
        draw = self._dice.uniform
        return Start(
            num_agents=2 if Fault.START_REPEATED in hit else 1,
            delay=draw(5 * MINUTE, 40 * MINUTE) if Fault.START_SLOW in hit else draw(0, MINUTE),
            pace=self._pace(pace, hit),
            skew=draw(-10 * MINUTE, 10 * MINUTE) if Fault.SKEW in hit else 0.0,
            dies_after=draw(0, HOUR) if Fault.DIES in hit else None,
            deaf_from=draw(0, HOUR) if Fault.DEAF in hit else None,
            exits_after=draw(10, 5 * MINUTE) if Fault.UNREADY in hit else None,
            warns=self._warns(hit),
            no_notice=Fault.NOTICE_MISSING in hit,
            comes_back_after=draw(MINUTE, 90 * MINUTE) if Fault.ZOMBIE in hit else None,
            # A lost stop is nothing where machines end by themselves.
            autodown=draw(MINUTE, 8 * MINUTE) if Fault.STOP_LOST in self.kinds else 0.0,
        )

    def _pace(self, pace: Pace, hit: set[Fault]) -> Pace | None:
        if Fault.MUTE in hit:
            return replace(pace, is_mute=True)
        if Fault.PROGRAM_FAILS in hit:
            return replace(pace, fails_at=int(self._dice.uniform(0.01, 1.0) * pace.total_steps))
        return None

    def _warns(self, hit: set[Fault]) -> tuple[tuple[Seconds, Seconds, bool], ...]:
        """(after the boot, lead, withdrawn): false warnings, true ones given twice, and ones that are taken back."""
        warns: list[tuple[Seconds, Seconds, bool]] = []
        after = self._dice.uniform(2 * MINUTE, HOUR)
        if Fault.NOTICE_FALSE in hit:
            warns.append((after, 120.0, False))
        if Fault.NOTICE_TWICE in hit:
            warns += [(after + 10, 120.0, False), (after + 40, 90.0, False)]
        if Fault.NOTICE_WITHDRAWN in hit:
            warns += [(after + 20, 120.0, False), (after + 60, 0.0, True)]
        return tuple(sorted(warns))

    def _span(self, fault: Fault, start: Utc, busy: Seconds) -> Span:
        least, most = SPANS[fault]
        begin = start + self._dice.uniform(0.02, 0.9) * busy
        return Span(fault=fault, start=begin, end=min(begin + self._dice.uniform(least, most), self.quiet_from))
