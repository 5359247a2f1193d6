"""What happened to a run, in the past tense: facts that were seen and decisions that were made. One record each.

The journal is a list of these; RunState is their fold (`evolve`); the ledger and the report are read off that. A decision is
journaled before its first effect, a fact before anything is decided on it.
"""

from dataclasses import dataclass, field

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitReport, Heartbeat, Notice, Request
from launcher.core.instance import EndCause, StartFailure
from launcher.core.market.belief import OffersSighted, PlaceBelief
from launcher.core.market.offer import Offer
from launcher.core.market.quota import Refusals
from launcher.core.plan.planner import Plan
from launcher.core.policy.base import RunView
from launcher.core.recipe import Recipe
from launcher.units import Bytes, Seconds, Step, Utc

# --- the run ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """The first record. `recipe` is frozen; `code` and `agent` are the keys of the frozen workdir and of our own package."""

    at: Utc
    run: str
    incarnation: str
    recipe: Recipe
    deadline_at: Utc | None
    code: str | None
    agent: str | None = None  # a rehearsal's machines have ours as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStarted:
    """A supervisor opened the run; its next appends are its claim to drive it."""

    at: Utc
    supervisor: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedChosen:
    """How much faster a rehearsal's market runs, for the whole run; `startup_s` and `work_s` are real seconds."""

    at: Utc
    speed: float
    startup_s: Seconds
    work_s: Seconds | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """`seed`: the places that cool down from what they did to the runs before; lives are in the offers. `quotas`: those refused.

    A rehearsal has neither.
    """

    at: Utc
    plan: Plan
    seed: dict[str, PlaceBelief] = field(default_factory=dict)
    quotas: Refusals = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """A paused, failed or cancelled run goes on. With `branched`, the next grant's parent is `parent` (None: step 0)."""

    at: Utc
    recipe: Recipe
    deadline_at: Utc | None
    changes: dict[str, str] = field(default_factory=dict)
    branched: bool = False
    parent: CommitRef | None = None
    step: Step = 0  # of `parent`
    code: str | None = None  # key of a workdir frozen anew; None: the code stays


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSeen:
    at: Utc
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordVoided:
    """Journal numbers that nobody can read, all that are void so far: once void, void for ever. `digests` of the bytes seen.

    `requests`: those among them for which a machine may have been started, as they were told a second time before that.
    """

    at: Utc
    numbers: tuple[int, ...]
    digests: tuple[str, ...]
    requests: "tuple[AttemptRequested, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSucceeded:
    at: Utc
    commit: CommitRef | None
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPaused:
    at: Utc
    exit_code: int
    reason: str
    needs: str = ""  # the change without which a resume would come to the same end, as it is typed: "policy.budget=12"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    at: Utc
    exit_code: int
    reason: str
    program_exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    at: Utc
    reason: str


# --- an attempt ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRequested:
    """A machine is to be bought; takes nothing from the attempt before it.

    `view` is what the policy saw, less the attempts before: the journal tells of them, and would grow with their square.
    """

    at: Utc
    attempt: int
    offer: Offer
    reason: str
    view: RunView
    stop_at: Utc | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRefused:
    """The start failed; never granted, so nothing to seal."""

    at: Utc
    attempt: int
    failure: StartFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The cloud shows the instance running, billed from `billed_from`."""

    at: Utc
    attempt: int
    instance_id: str | None
    billed_from: Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptClaimed:
    at: Utc
    attempt: int
    instance_id: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterGranted:
    """The right to write passes to `attempt`; it restores `parent` (None: step 0). History is the chain of these."""

    at: Utc
    attempt: int
    parent: CommitRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The first new step after a restore. `heartbeat` tells what was restored and what was set aside on the way."""

    at: Utc
    attempt: int
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSeen:
    """A commit of the writer; journaled at most once a minute. `stall_s`, `durable_s` are real seconds."""

    at: Utc
    attempt: int
    ref: CommitRef
    step: Step
    size: Bytes
    stall_s: Seconds
    durable_s: Seconds
    urgent: bool
    tells_steps: bool = False  # whether `step` is a step that the program told, not a number of commits


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningSeen:
    """Something that a person should mend, in the attempt's own words: once for each text, and only the first few."""

    at: Utc
    attempt: int
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSeen:
    at: Utc
    attempt: int
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMissed:
    """A poll no longer listed the instance. Once is not gone, but a successor may be requested."""

    at: Utc
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFound:
    """A missed instance was listed again."""

    at: Utc
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUnwanted:
    """The attempt is to end: after a save if `drain`, else at once. Never wanted again."""

    at: Utc
    attempt: int
    reason: str
    drain: bool
    silent: bool = False  # let go because it says nothing: its place is to blame


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAtMoved:
    """The budget ends the attempt at `stop_at`: later, as it cost less than its price cap so far, or where a notice ends it."""

    at: Utc
    attempt: int
    stop_at: Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptExited:
    """Its exit report is there."""

    at: Utc
    attempt: int
    report: ExitReport


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost:
    """It ended without a word. `evidence` says how we know; `heartbeat` is the last one seen."""

    at: Utc
    attempt: int
    cause: EndCause
    evidence: str
    heartbeat: Heartbeat | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSealed:
    """No commit of this attempt can follow; `last` is its newest one, None if it made none."""

    at: Utc
    attempt: int
    last: CommitRef | None
    step: Step | None
    finished: bool = False  # `last` says that it is the end of the training


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEnded:
    """The end of an instance's bill: between `low` and `high`; all three equal where the cloud told."""

    at: Utc
    attempt: int
    low: Utc
    likely: Utc
    high: Utc
    cause: EndCause
    wait_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSighted:
    """A look at the market that changed what we believe."""

    at: Utc
    sighting: OffersSighted


RunEvent = (
    RunCreated
    | SupervisorStarted
    | SpeedChosen
    | PlanMade
    | RunResumed
    | RequestSeen
    | RecordVoided
    | RunSucceeded
    | RunPaused
    | RunFailed
    | RunCancelled
    | MarketSighted
)
AttemptEvent = (
    AttemptRequested
    | AttemptRefused
    | AttemptStarted
    | AttemptClaimed
    | WriterGranted
    | TrainingStarted
    | CheckpointSeen
    | WarningSeen
    | NoticeSeen
    | InstanceMissed
    | InstanceFound
    | AttemptUnwanted
    | StopAtMoved
    | AttemptExited
    | AttemptLost
    | AttemptSealed
    | InstanceEnded
)
Event = RunEvent | AttemptEvent
