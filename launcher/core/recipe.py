"""What the user wants: the recipe, as frozen values. Field names are SkyPilot's where SkyPilot has the concept.

These classes are the schema of the YAML as well: `adapters/recipe_file.py` reads a file against them. People write durations,
sizes and money as strings with units; here they are seconds, bytes and dollars. A field's `unit` metadata says how its text is
read ("duration", "usd", "count" where "unlimited" means None; "derived" is no key of its own), `least` and `above` bound it.
"""

import re
from dataclasses import dataclass, field

from launcher.codec import Json
from launcher.units import HOUR, MINUTE, Seconds, Step, Usd, UsdPerHour, Utc, parse_duration

DURATION = {"unit": "duration", "above": 0}
ANY_DURATION = {"unit": "duration"}
USD = {"unit": "usd", "above": 0}
COUNT = {"unit": "count", "least": 0}
DERIVED = {"unit": "derived"}  # set while reading, from another key
ANY_COUNT = {"least": 0}
AT_LEAST_ONE = {"least": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    accelerators: tuple[str, ...] = ()  # "A100:1", "40GB+:1", "auto": any of them will do; () = none named
    infra: tuple[str, ...] = ()  # "aws", "gcp", "azure", "local", "k8s", "slurm", "aws/us-east-1"; () = none named
    use_spot: str = "auto"  # "true" | "false" | "auto"
    max_hourly_cost: UsdPerHour | None = field(default=None, metadata=USD)
    disk_size: int | None = field(default=None, metadata=AT_LEAST_ONE)  # GB
    cpus: str | None = None
    memory: str | None = None
    image_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    last: int = field(default=3, metadata=AT_LEAST_ONE)
    best: int = field(default=0, metadata=ANY_COUNT)
    every: str | None = None  # "1000 steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpec:
    dir: str | None = None  # s3, gs, az/abfs, file; local runs: under the home
    every: str = "auto"  # auto | "5m" | "200 steps" | never
    max_loss: Seconds = field(default=10 * MINUTE, metadata=DURATION)
    on_notice: bool = True
    keep: Keep = Keep()


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`policy:`; `deadline` counts from the run's start, `deadline_at` is an instant; at most one is set."""

    deadline: Seconds | None = field(default=None, metadata=DURATION)
    deadline_at: Utc | None = field(default=None, metadata=DERIVED)  # a date-time under `deadline`
    budget: Usd | None = field(default=None, metadata=USD)
    strategy: str = "auto"  # a name in core/policy/catalog.py
    on_demand_fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    preemption: int | None = field(default=None, metadata=COUNT)  # None = unlimited
    capacity: Seconds = field(default=6 * HOUR, metadata=DURATION)  # how long to look for a machine before giving up
    quota: Seconds = field(default=24 * HOUR, metadata=ANY_DURATION)  # how long nothing is asked that a region's quota refused
    error: int = field(default=2, metadata=ANY_COUNT)
    same_checkpoint: int = field(default=2, metadata=AT_LEAST_ONE)
    keep_failed: Seconds = field(default=0.0, metadata=ANY_DURATION)  # how long the machine of the last failure stays for a look


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    url: str | None = None
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec:
    """`local:`, the rehearsal. `speed` None is auto: measured once, so that at least three lives end before the work does."""

    trace: str = "lively"  # calm | lively | harsh | demo | a CSV file
    seed: int = field(default=7, metadata=ANY_COUNT)
    speed: float | None = field(default=None, metadata={"above": 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete, resolved recipe. Exactly one of `run` and `trainer` is set."""

    name: str
    resources: Resources = Resources()
    num_nodes: int = field(default=1, metadata=AT_LEAST_ONE)
    workdir: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    residency: tuple[str, ...] = field(default=(), metadata=DERIVED)  # `data.residency`
    envs: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    setup: str | None = None
    run: str | None = None
    trainer: dict[str, Json] | None = None  # `kind` is the module; the rest are its arguments
    outputs: str | None = None
    checkpoint: CheckpointSpec = CheckpointSpec()
    policy: Goal = Goal()
    retry: RetrySpec = RetrySpec()
    autostop: Seconds = field(default=12 * HOUR, metadata=DURATION)
    tracking: dict[str, Json] = field(default_factory=dict)
    notify: tuple[Notify, ...] = ()
    local: LocalSpec = LocalSpec()
    not_rehearsed: dict[str, Json] = field(default_factory=dict, metadata=DERIVED)  # SkyPilot's other keys, "resources.ports"

    def __post_init__(self) -> None:
        assert (self.run is None) != (self.trainer is None), "exactly one of run and trainer"

    @property
    def is_local(self) -> bool:
        return self.resources.infra == ("local",)


AUTO = "auto"  # under `accelerators`: one of any GPU that the training fits into
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)GB(\+?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """GPUs named by their memory: so much, or so much at least."""

    gib: float
    is_least: bool


def memory_named(gpu: str) -> GpuMemory | None:
    """What "40GB+" says; None for the name of a GPU."""
    found = _MEMORY.fullmatch(gpu)
    return GpuMemory(gib=float(found[1]), is_least=bool(found[2])) if found else None


_SCRIPT = re.compile(r"(?:^|(?<=[\s'\"]))(?![/~$-])[\w./-]+\.(?:py|sh)(?=$|[\s'\";&|])")


def script_left_behind(recipe: Recipe) -> str | None:
    """The file that `run` names while nothing brings it along: neither a workdir nor, as far as can be known, `setup`."""
    if recipe.run is None or recipe.workdir is not None or recipe.setup is not None:
        return None
    found = _SCRIPT.search(recipe.run)
    return found[0] if found else None


_STEPS = re.compile(r"(\d+) ?steps?")


def every_steps(text: str) -> Step | None:
    """The step count in "200 steps", or None where `text` says something else. Raises ValueError for zero steps."""
    found = _STEPS.fullmatch(text.strip())
    if found and int(found[1]) < 1:
        raise ValueError(f"{text!r} is no interval; write at least '1 step'")
    return int(found[1]) if found else None


def every_seconds(text: str) -> Seconds | None:
    """The interval in "5m"; None for "auto", "never" and steps. Raises ValueError where `text` is none of these."""
    if text in ("auto", "never") or every_steps(text) is not None:
        return None
    return parse_duration(text)
