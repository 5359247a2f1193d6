"""Where a run stands: the fold of its events, and nothing that is not in them.

A run is a row of attempts. Several may live at once (one drains while its successor boots), but at most one has the right to
write: the newest granted one. An attempt ends once, is sealed once if it was ever granted, and its instance ends once.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitReport, Heartbeat, Notice, RequestKind
from launcher.core.instance import EndCause, StartFailure
from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.core.plan.estimate import Task
from launcher.core.policy.base import Phase
from launcher.core.recipe import Recipe
from launcher.core.run.once import once
from launcher.units import Bytes, Seconds, Step, Utc

UNKNOWN_OFFER = Offer(
    placement=Placement(
        cloud="unknown",
        region="unknown",
        zone=None,
        instance="unknown",
        accelerator="unknown",
        accelerators=0,
        capacity=Capacity.SPOT,
    ),
    price=0.0,
    on_demand_price=0.0,
    price_cap=0.0,
    mean_life=0.0,
    notice_lead=0.0,
    source="the record that named it was voided",
)


class EndKind(enum.Enum):
    """How an attempt ended, for the rules of retrying and for people."""

    REFUSED = "refused"  # never ran
    PREEMPTED = "preempted"  # the market took it, warned or not
    KILLED = "killed"  # by a signal that is neither the market's nor ours
    FAILED = "failed"  # the user's program: non-zero exit, hang, setup
    FINISHED = "finished"
    STOPPED = "stopped"  # told to, and did
    NO_CHECKPOINT = "no-checkpoint"  # nothing valid to restore
    STORE = "store"  # its store refused it
    OTHER = "other"  # silence, a voided grant


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    at: Utc
    end: EndKind
    reason: str
    report: ExitReport | None = None
    heartbeat: Heartbeat | None = None
    failure: StartFailure | None = None
    cause: EndCause | None = None  # of one that was lost, as far as was told when it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """When the instance's bill ended: between `low` and `high`, equal where the cloud told."""

    low: Utc
    likely: Utc
    high: Utc
    cause: EndCause
    wait_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    number: int
    offer: Offer
    requested_at: Utc
    reason: str
    stop_at: Utc | None = None
    given_back: Utc | None = None  # its `stop_at` before a notice brought it forward
    billed_from: Utc | None = None
    instance_id: str | None = None
    nonce: str | None = None  # of its claim; None = not claimed
    granted_at: Utc | None = None
    parent: CommitRef | None = None
    training_at: Utc | None = None  # the supervisor saw its first new step
    restored_step: Step = 0
    num_set_aside: int = 0
    commit: CommitRef | None = None  # its newest commit that was seen
    commit_step: Step = 0
    commit_at: Utc | None = None
    commit_size: Bytes = 0
    num_commits: int = 0
    durable_s: Seconds = 0.0
    stall_s: Seconds = 0.0
    notice: Notice | None = None  # standing; None when withdrawn
    notice_ends_at: Utc = 0.0  # of a standing one, by the supervisor's clock: the machine's may be minutes off
    num_notices: int = 0  # withdrawals counted
    warnings: tuple[str, ...] = ()  # that were journaled
    missed: bool = False
    unwanted_at: Utc | None = None
    unwanted_reason: str = ""
    is_silent: bool = False  # unwanted since it said nothing
    drain: bool = True
    end: End | None = None
    sealed: bool = False
    finished: bool = False  # its last commit is the end of the training
    bill: Bill | None = None
    derived: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # of `once`

    @property
    def is_alive(self) -> bool:
        return self.end is None

    @property
    def is_wanted(self) -> bool:
        return self.end is None and self.unwanted_at is None

    @property
    def last_beat(self) -> Heartbeat | None:
        """Its last word, by its report or as it was last heard; None while it lives, and where it never spoke."""
        return None if self.end is None else self.end.heartbeat

    @property
    def has_trained(self) -> bool:
        """Somebody saw it train, or its last word says that it did."""
        return self.training_at is not None or (self.last_beat is not None and self.last_beat.training_s > 0)

    @property
    def has_spoken(self) -> bool:
        """Its agent was heard of: by its claim, which comes first, or by what can only follow one."""
        said = self.end is not None and (self.end.report is not None or self.end.heartbeat is not None)
        return said or self.nonce is not None or self.is_granted

    @property
    def never_began(self) -> bool:
        """Its machine came up, and its cloud says that its agent ended without a word: that tells nothing of the program."""
        return self.end is not None and self.end.cause is EndCause.EXITED and not self.has_spoken

    def ended_as(self, *kinds: EndKind) -> bool:
        return self.end is not None and self.end.end in kinds

    @property
    def is_granted(self) -> bool:
        return self.granted_at is not None

    @property
    def needs_seal(self) -> bool:
        return self.end is not None and not self.sealed and self.is_granted

    @property
    def is_settled(self) -> bool:
        """Ended, sealed if it was ever granted, and billed: nothing more can be told of it or done about it."""
        return self.end is not None and self.bill is not None and (self.sealed or not self.is_granted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What counts towards giving up. All but `preemptions` count in a row."""

    errors: int = 0  # program failures since the newest new commit
    same_checkpoint: int = 0  # non-preemption ends at the commit of the end before
    at_commit: CommitRef | None = None  # the newest commit at the last such end
    any_end: bool = False  # whether `at_commit` is of an end at all
    preemptions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    phase: Phase
    at: Utc
    reason: str
    exit_code: int
    program_exit_code: int | None = None
    commit: CommitRef | None = None
    step: Step = 0
    needs: str = ""  # of a pause: what a resume has to change


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    run: str
    incarnation: str
    recipe: Recipe
    created_at: Utc
    deadline_at: Utc | None
    code: str | None = None
    agent: str | None = None
    speed: float = 1.0
    startup_s: Seconds | None = None  # real seconds, measured before the start
    work_s: Seconds | None = None  # real seconds of the whole training
    planned: Task | None = None  # what the plan's totals are for: with the load of the machine that it was made on
    attempts: dict[int, Attempt] = field(default_factory=dict)  # by number, in order
    next_attempt: int = 1
    writer: int | None = None  # the newest granted attempt, alive or not
    num_grants: int = 0
    newest_step: Step = 0  # of `newest_commit`
    tells_steps: bool = False  # a program under `run:` was seen to commit steps of its own
    branched: bool = False  # the next grant's parent is `branch`, not the last writer's newest commit
    branch: CommitRef | None = None
    failures: Failures = Failures()
    request: RequestKind | None = None
    requests_seen: frozenset[str] = frozenset()
    searching_since: Utc | None = None  # no claimed machine since then
    first_attempt: int = 1  # the lowest number since the run was created or last resumed
    last_ended: int | None = None  # the attempt that ended last since then
    pauses: tuple[tuple[Utc, Utc], ...] = ()  # from each terminal record to the resume after it
    voided: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()  # attempts that waited for a grant when a record was voided: it may have been theirs
    terminal: Terminal | None = None
    supervisor: str | None = None
    derived: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # of `once`

    @property
    def counts_commits(self) -> bool:
        """Whether a "step" of this run is the number of a commit: all that is known of a program that tells no steps."""
        return self.recipe.trainer is None and not self.tells_steps

    @property
    @once
    def living(self) -> tuple[Attempt, ...]:
        return tuple(a for a in self.unsettled if a.is_alive)

    @property
    @once
    def wanted(self) -> tuple[Attempt, ...]:
        return tuple(a for a in self.living if a.is_wanted)

    @property
    @once
    def unsettled(self) -> tuple[Attempt, ...]:
        return tuple(a for a in self.attempts.values() if not a.is_settled)

    @property
    @once
    def unbilled(self) -> tuple[Attempt, ...]:
        """Whose bill has not ended: their machines are up, or may be."""
        return tuple(a for a in self.unsettled if a.bill is None)

    @property
    def is_over(self) -> bool:
        """Ended, and every instance's bill too: nothing of the run costs money any more."""
        return self.phase.is_ended and not self.unbilled

    @property
    def last_writer(self) -> Attempt | None:
        return None if self.writer is None else self.attempts[self.writer]

    @property
    def writer_is_sealed(self) -> bool:
        """Whether nobody can add to history now: a precondition of every grant and of every terminal event."""
        writer = self.last_writer
        return writer is None or writer.sealed

    @property
    def newest_commit(self) -> CommitRef | None:
        """What the next grant would name, were the writer sealed now."""
        if self.branched:
            return self.branch
        writer = self.last_writer
        return None if writer is None else writer.commit or writer.parent

    @property
    @once
    def phase(self) -> Phase:
        if self.terminal is not None:
            return self.terminal.phase
        if any(a.is_wanted and a.is_granted and a.notice is None for a in self.living):
            return Phase.RUNNING
        if any(a.is_granted for a in self.living):
            return Phase.DRAINING
        return Phase.PROVISIONING if self.wanted else Phase.WAITING


def with_attempt(state: RunState, attempt: Attempt, **changes: Any) -> RunState:
    """`state` with this `attempt`, and whatever else the event `changes`."""
    attempts = {**state.attempts, attempt.number: attempt}
    if attempt.number not in state.attempts and attempt.number < state.next_attempt:
        attempts = dict(sorted(attempts.items()))  # its request is void: later ones are known already
    return replace(state, attempts=attempts, next_attempt=max(state.next_attempt, attempt.number + 1), **changes)
