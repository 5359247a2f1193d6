"""What the user wants: the recipe, as frozen values. Field names are SkyPilot's where SkyPilot has the concept.

These classes are the schema of the YAML as well: `adapters/recipe_file.py` reads a file against them. People write durations,
sizes and money as strings with units; here they are seconds, bytes and dollars. A field's `unit` metadata says how its text is
read ("duration", "size", "usd", "count" where "unlimited" means None).
"""

from dataclasses import dataclass, field

from launcher.codec import Json
from launcher.units import HOUR, MINUTE, Seconds, Usd, UsdPerHour, Utc

DURATION = {"unit": "duration"}
USD = {"unit": "usd"}
COUNT = {"unit": "count"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    accelerators: tuple[str, ...] = ()  # "A100:1", any of them will do; () = none named
    infra: tuple[str, ...] = ()  # "aws", "gcp", "azure", "local", "k8s", "slurm", "aws/us-east-1"; () = none named
    use_spot: str = "auto"  # "true" | "false" | "auto"
    max_hourly_cost: UsdPerHour | None = field(default=None, metadata=USD)
    disk_size: int | None = None  # GB
    cpus: str | None = None
    memory: str | None = None
    image_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    last: int = 3
    best: int = 0
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
    deadline_at: Utc | None = None
    budget: Usd | None = field(default=None, metadata=USD)
    strategy: str = "auto"  # a name in core/policy/catalog.py
    on_demand_fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    preemption: int | None = field(default=None, metadata=COUNT)  # None = unlimited
    capacity: Seconds = field(default=6 * HOUR, metadata=DURATION)  # how long to look for a machine before giving up
    error: int = 2
    same_checkpoint: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    url: str | None = None
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec:
    """`local:`, the rehearsal. `speed` None is auto: measured once, so that at least three lives end before the work does."""

    trace: str = "lively"  # calm | lively | harsh | demo | a CSV file
    seed: int = 7
    speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete, resolved recipe. Exactly one of `run` and `trainer` is set."""

    name: str
    resources: Resources = Resources()
    num_nodes: int = 1
    workdir: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    residency: tuple[str, ...] = ()  # `data.residency`
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
    not_rehearsed: dict[str, Json] = field(default_factory=dict)  # other SkyPilot task keys, kept as they are

    def __post_init__(self) -> None:
        assert (self.run is None) != (self.trainer is None), "exactly one of run and trainer"

    @property
    def is_local(self) -> bool:
        return self.resources.infra == ("local",)
