"""All that crosses between client and machine. They meet only in the object store, under the keys below.

The client writes the journal, and each request for a machine a second time; the machine writes its claim, heartbeats, notices,
commits and exit report. Only `heartbeat.json` and `supervisor.json` are ever overwritten, and `run.json` when the run is deleted.
Times are market time unless a name says `real`.
"""

import enum
import functools
from dataclasses import dataclass, field

from launcher.codec import Json
from launcher.core.checkpoint.manifest import CommitRef, SetAside
from launcher.core.market.offer import Placement
from launcher.core.tempo import NOTICE_LEAD_MIN_RUN_S, NOTICE_LEAD_MIN_S, Tempo
from launcher.units import Bytes, Seconds, Step, UsdPerHour, Utc

# --- keys of a run, relative to STORE/RUN/ -------------------------------------------------------------------------------

RUN_KEY = "run.json"
RECIPE_KEY = "recipe.yaml"
SUPERVISOR_KEY = "supervisor.json"
WATCH_KEY = "watch.json"
REFERENCE_KEY = "reference.json"
JOURNAL_PREFIX = "journal/"
SEGMENTS_PREFIX = "segments/"
REQUESTS_PREFIX = "requests/"
PINS_PREFIX = "pins/"
COMMITS_FOLDER = "commits/"  # of each attempt
REFERENCE_PREFIX = "reference/"


def journal_key(number: int) -> str:
    return f"{JOURNAL_PREFIX}{number:08d}.json"


@functools.cache  # part of nearly every key
def attempt_prefix(attempt: int, node: int = 0) -> str:
    """Node 0 of a gang speaks for the attempt; the agent of each other one writes into a folder of its own."""
    return f"attempts/{attempt:04d}/" + (f"nodes/{node:02d}/" if node else "")


def requested_key(attempt: int) -> str:
    """A second copy of the record that bought its machine, made before the start: where that record is void, this tells of it."""
    return f"{attempt_prefix(attempt)}requested.json"


def claim_key(attempt: int, node: int = 0) -> str:
    return f"{attempt_prefix(attempt, node)}claim.json"


def heartbeat_key(attempt: int, node: int = 0) -> str:
    return f"{attempt_prefix(attempt, node)}heartbeat.json"


def exit_key(attempt: int, node: int = 0) -> str:
    return f"{attempt_prefix(attempt, node)}exit.json"


def notice_key(attempt: int, number: int, node: int = 0) -> str:
    return f"{attempt_prefix(attempt, node)}notices/{number:02d}.json"


def log_prefix(attempt: int, node: int = 0) -> str:
    return f"{attempt_prefix(attempt, node)}log/"


def log_key(attempt: int, number: int, node: int = 0) -> str:
    return f"{log_prefix(attempt, node)}{number:06d}"


def save_prefix(attempt: int, save: int) -> str:
    return f"{attempt_prefix(attempt)}saves/{save:04d}/"


def commits_prefix(attempt: int) -> str:
    return f"{attempt_prefix(attempt)}{COMMITS_FOLDER}"


def commit_key(ref: CommitRef) -> str:
    return f"{commits_prefix(ref.attempt)}{ref.commit:04d}.json"


def pin_key(ref: CommitRef) -> str:
    return f"{PINS_PREFIX}{ref}.json"


def request_key(uuid: str) -> str:
    return f"{REQUESTS_PREFIX}{uuid}.json"


METRICS_FILE = "metrics.jsonl"  # among a save's files: {"step": n, "loss": x} per step since the parent

# --- written once at a run's start -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """`run.json`: tells this run from any other that had its name."""

    schema_version: int = 1
    run: str
    incarnation: str
    created_at: Utc
    launch_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRemoval:
    """What `launch rm` puts over `run.json` before it deletes the rest: from then on there is no run, only its remains."""

    schema_version: int = 1
    run: str
    incarnation: str


# --- client -> machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandProgram:
    """`run:`, any program; the agent publishes its checkpoint folder."""

    setup: str | None
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerProgram:
    """`trainer:`, a module of ours run as `python -m MODULE`; it uploads and commits by itself."""

    module: str
    args: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRule:
    """`checkpoint.every` resolved. Exactly one of `seconds`, `steps` is set, or neither: auto, or never."""

    never: bool = False
    seconds: Seconds | None = None
    steps: int | None = None
    max_loss: Seconds = 600.0  # upper end of auto
    mean_life: Seconds = 3600.0  # of the placement; enters auto
    on_notice: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRule:
    """`checkpoint.keep`: which commits retention leaves. `best` by lowest loss."""

    last: int = 3
    best: int = 0
    every_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """Everything the machine must know of one attempt. No secret values: `secrets` names variables of its environment."""

    schema_version: int = 1
    run: str
    incarnation: str
    attempt: int
    store: str  # URL of STORE/RUN
    placement: Placement
    num_nodes: int = 1
    program: CommandProgram | TrainerProgram
    envs: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    code: str | None = None  # key of the frozen workdir, a tar
    outputs: str | None = None  # folder below the workdir, published at the end and at a notice
    data: dict[str, str] = field(default_factory=dict)  # name -> URL; LAUNCH_DATA_<NAME> holds it
    save: SaveRule = SaveRule()
    keep: KeepRule = KeepRule()
    price_cap: UsdPerHour = 0.0
    stop_at: Utc | None = None  # the budget ends here unless a supervisor says otherwise
    autostop: Seconds = 12 * 3600.0
    grant_wait: Seconds = 1800.0
    speed: float = 1.0
    hang_min_real: Seconds = 600.0
    kill_grace_real: Seconds = 10.0
    failed_saves_max: int = 3  # in a row; then the attempt ends STORE_FAILED
    keep_failed: Seconds = 0.0  # how long the agent stays after its report where the user's program ended the attempt
    skypilot: dict[str, Json] = field(default_factory=dict)  # what only SkyPilot can act on, by path: "resources.ports"

    @property
    def notice_lead_min(self) -> Seconds:
        """The shortest notice that a rehearsal gives: so long a last save takes in real time."""
        least_real = NOTICE_LEAD_MIN_S if isinstance(self.program, TrainerProgram) else NOTICE_LEAD_MIN_RUN_S
        return Tempo(self.speed).market(least_real)


# --- machine -> client -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`claim.json`: this agent process, on this instance, is the attempt, or its node. Whoever created it is; others exit."""

    attempt: int
    node: int = 0
    instance_id: str
    nonce: str
    host: str
    pid: int


class AgentPhase(enum.Enum):
    WAITING = "waiting"  # claimed, no grant yet
    RESTORING = "restoring"
    TRAINING = "training"
    DRAINING = "draining"


# What a warning names as the cause where nothing is published, and no file is in the way.
EMPTY_FOLDER = "the folder is empty"
NONE_WHOLE = "none was whole"
NO_SAVE = "launcher.train came to no save"
NOTHING_IN_THE_WAY = (EMPTY_FOLDER, NONE_WHOLE, NO_SAVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """`heartbeat.json`. Readers compare `sequence` on their own clock and ignore older ones; `at` is for people."""

    attempt: int
    nonce: str
    sequence: int
    at: Utc
    phase: AgentPhase
    step: Step = 0
    total_steps: Step | None = None
    loss: float | None = None
    steps_per_s: float | None = None  # per real second
    restored: CommitRef | None = None
    restored_step: Step = 0
    set_aside: tuple[SetAside, ...] = ()
    last_commit: int = 0  # number of the newest commit this agent knows of itself
    last_commit_step: Step = 0
    last_commit_bytes: Bytes = 0
    restoring_s: Seconds = 0.0  # market seconds from the grant to the first new step, so far
    training_s: Seconds = 0.0  # market seconds from the first new step on, stalls included
    saving_s: Seconds = 0.0  # market seconds of stall within training_s
    stall_real_s: Seconds = 0.0  # of the newest save
    durable_real_s: Seconds = 0.0
    failed_saves: int = 0  # in a row, the store refusing
    unreadable: tuple[int, ...] = ()  # journal numbers this agent could not read
    warnings: tuple[str, ...] = ()


SOURCE_SIGTERM = "SIGTERM"  # of a notice: whoever ends the agent so is not always the cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """`notices/NN.json`: the cloud announced the end of this machine, or (`withdrawn`) took notice NN-1 back."""

    attempt: int
    number: int
    at: Utc
    ends_at: Utc
    source: str
    withdrawn: bool = False
    stretched: bool = False  # a rehearsal made the lead longer than the market's, to leave a real second


class ExitKind(enum.Enum):
    FINISHED = "finished"  # the program ended by itself, exit 0
    DRAINED = "drained"  # told to end (notice, unwanted, stop_at, autostop, grant_wait): saved and gone
    PROGRAM_FAILED = "program-failed"  # non-zero exit, or a hang
    KILLED = "killed"  # by a signal that is not ours
    SETUP_FAILED = "setup-failed"  # the recipe's `setup` exited non-zero
    NOTHING_VALID = "nothing-valid"  # the grant named a parent, and neither it nor an ancestor is whole
    STORE_FAILED = "store-failed"  # `retry.error` saves in a row failed, or restore could not read
    NODE_LOST = "node-lost"  # another machine of the gang is silent, and the program fails or waits without it
    SEALED = "sealed"  # met `Sealed` or a voided grant: no longer the writer


# What a shell's exit code says of the command that it was given (POSIX.1-2017, Shell Command Language, 2.8.2). A trainer whose
# module is not there ends as such a command does.
NOT_FOUND = 127
NOT_STARTED = {126: "its command cannot be executed", NOT_FOUND: "its command was not found"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """`exit.json`, create-only: how the attempt ended, by its own agent. `last` is its final heartbeat."""

    attempt: int
    nonce: str
    at: Utc
    outcome: ExitKind
    reason: str  # one sentence for a person
    exit_code: int | None = None  # of the program
    signal: int | None = None
    hang: bool = False
    last: Heartbeat


# --- other processes -> supervisor -------------------------------------------------------------------------------------------


class RequestKind(enum.Enum):
    STOP = "stop"  # save, then pause
    STOP_NOW = "stop-now"  # pause without waiting for a save
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`requests/<uuid>.json`: somebody asks; only the supervisor acts."""

    uuid: str
    request: RequestKind
    by: str  # user@host, for the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """`supervisor.json`: the supervisor's sign of life, replaced every `every_s`."""

    supervisor: str
    sequence: int
    at: Utc
    wake_at: Utc
    every: Seconds  # market
    every_real: Seconds
    boot_id: str
    pid: int
    pid_started: str  # the process start time as the OS tells it, so that a recycled pid is not mistaken
    pid_space: str = ""  # within which the pid counts
    released: bool = False
    waits_for: str = ""  # why no machine is asked for, or what keeps the cloud from being asked: as of the tick before


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """`pins/0003-0007.json`: retention leaves this commit alone."""

    ref: CommitRef
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`reference.json` of a rehearsal: what an uninterrupted run of the same recipe gave."""

    run: str
    incarnation: str
    losses: tuple[float, ...]  # of steps 1..n
    tensors: dict[str, str]  # name -> XXH3-64 of the final weights' bytes
    file: str | None  # key of the final weights as safetensors
    restarts: int = 0
    measured: dict[str, float] = field(default_factory=dict)  # startup_s, step_s: real seconds


# --- agent <-> trainer, on the machine ---------------------------------------------------------------------------------------
#
# The agent starts the trainer with these variables (PRODUCT, Program contract, plus what `launcher.train` needs):
#   LAUNCH_RUN_ID, LAUNCH_ATTEMPT, LAUNCH_CHECKPOINT_DIR, LAUNCH_RESUME_STEP, LAUNCH_NOTICE_FILE, LAUNCH_DATA_<NAME>
#   LAUNCH_TRAINER_DIR  folder for PROGRESS_FILE; set for the reference run too
#   LAUNCH_TRAINER      JSON of `trainer:` arguments
#   LAUNCH_SPEC         path of the AttemptSpec; unset for the reference and for a script run by hand: then `launcher.train`
#                       is a plain loop that saves nothing, and leaves METRICS_FILE and FINAL_FILE in LAUNCH_TRAINER_DIR if set
#   LAUNCH_GRANT, LAUNCH_PARENT, LAUNCH_NONCE   journal number of the grant, its parent as "0003-0007" or "", the claim's nonce
# A notice: LAUNCH_NOTICE_FILE comes to exist (content: real seconds left); the trainer saves once and goes on.
# SIGTERM: finish the step, save, exit 0 with `outcome` DRAINED. The agent sends it when the last save must begin.

PROGRESS_FILE = "progress.json"
FINAL_FILE = "final.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerProgress:
    """PROGRESS_FILE, replaced by the trainer at most five times a second and before it exits. Seconds here are real."""

    step: Step = 0
    total_steps: Step | None = None
    loss: float | None = None
    steps_per_s: float | None = None
    restored: CommitRef | None = None
    restored_step: Step = 0
    set_aside: tuple[SetAside, ...] = ()
    first_step_mono: float | None = None  # time.monotonic() when the first new step began
    startup_cpu_s: float = 0.0  # CPU seconds of the process until then
    step_s_median: float | None = None  # of the steps of this process
    step_s_low: float | None = None  # their 20th percentile: what a step costs when nothing disturbs it
    step_s_alone: float | None = None  # what a step would take, on average, if it never waited for a core
    load: float = 1.0  # how much longer CPU time takes here for waiting; above 1 others use the machine
    last_commit: int = 0
    last_commit_step: Step = 0
    last_commit_bytes: Bytes = 0
    stall_s: float = 0.0  # of the newest save
    durable_s: float = 0.0  # of the newest save
    saving_s: float = 0.0  # sum of stalls
    num_saves: int = 0
    failed_saves: int = 0  # in a row
    warnings: tuple[str, ...] = ()
    outcome: ExitKind | None = None  # set when the trainer ends knowingly
    reason: str = ""
