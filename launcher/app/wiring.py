"""The composition root: which concrete store, cloud, feed, trace and policy a run gets, and what the environment says.

Everything else in `app/` takes these through here, so that this one page answers "what runs when I say infra: local?".
What only a run that really starts needs is imported then: the first line of `launch train` must not wait for it.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import clock, log
from launcher.adapters.market.listed import ListedFeed, listed, rows
from launcher.adapters.market.recorded import read_recording, read_trace
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import child, has_folder, is_remote, left_as_it_was, may_be_unmounted, open_store
from launcher.core.instance import instance_name
from launcher.core.market.offer import Offer
from launcher.core.market.recording import Recording
from launcher.core.market.trace import GENERATED, Trace, generated
from launcher.core.policy.base import Policy
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import LocalSpec
from launcher.errors import RecipeError, UsageError
from launcher.units import Seconds, Step, Utc

if TYPE_CHECKING:
    from launcher.adapters.cloud.base import Providers
    from launcher.adapters.cloud.local_reference import Measured
    from launcher.adapters.cloud.skypilot.check import CloudCheck
    from launcher.adapters.history import History
    from launcher.core.run.state import Attempt, RunState
    from launcher.loop import World

__all__ = ["child", "has_folder", "is_remote", "left_as_it_was", "may_be_unmounted", "open_store"]

SKYPILOT_HOSTS = "~/.sky/generated/ssh"  # a file for each cluster that is up, included by the user's configuration of SSH
STATE_HOME_DEFAULT = "~/.local/state"
AGENT_PYTHON = "LAUNCH_AGENT_PYTHON"  # an interpreter that the machines' image has, with all that the agent needs
SKYPILOT_TELEMETRY_OFF = "SKYPILOT_DISABLE_USAGE_COLLECTION"  # SkyPilot docs, "Usage data collection"; 0 turns it on again


def registry_of(incarnation: str) -> Path:
    """Where the local instances of a run are written down: with this user on this machine, not in the home."""
    from launcher.adapters.cloud.local_registry import run_registry

    state_home = os.environ.get("XDG_STATE_HOME") or STATE_HOME_DEFAULT
    return run_registry(Path(state_home).expanduser(), incarnation)


def check_registry() -> None:
    """Raises UsageError where no instance could be written down; makes the folder for that."""
    folder = registry_of("").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        told = f"{folder}, where the machines of a rehearsal are written down, cannot be used: {error.strerror}"
        raise UsageError(f"{told}; name another state folder with XDG_STATE_HOME") from None


def unset(names: Iterable[str]) -> tuple[str, ...]:
    """Those variables that this environment, which every machine of a rehearsal gets, has no value for."""
    return tuple(name for name in names if name not in os.environ)


def wants_colour() -> bool:
    return not os.environ.get("NO_COLOR")


def trace_of(local: LocalSpec) -> Trace:
    """The market of a rehearsal. Raises RecipeError where a file of one's own is none."""
    if local.trace in GENERATED:
        return generated(local.trace, local.seed)
    try:
        return read_trace(Path(local.trace), seed=local.seed)
    except (OSError, ValueError) as error:
        raise RecipeError(f"local.trace is {local.trace}, and that cannot be used: {error}") from None


def recording_of(path: Path) -> Recording:
    """The recorded market in a file. Raises UsageError where it is none."""
    try:
        return read_recording(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"the trace {path} cannot be used: {error}") from None


def offers_of(trace: Trace) -> tuple[Offer, ...]:
    """Everything a rehearsal could buy, unfiltered."""
    return listed(trace.mean_life)


def offers_for(mean_life: Seconds) -> tuple[Offer, ...]:
    """The same where all machines live as long, for a market that says nothing of lives."""
    return listed(lambda place: mean_life)


def gpus_on_list() -> tuple[str, ...]:
    """The GPUs that a rehearsal could buy."""
    return tuple(dict.fromkeys(row["gpu"] for row in rows()))


def policy_named(strategy: str) -> Policy:
    return POLICIES[strategy]()


def policy_names() -> dict[str, str]:
    """Every name that a recipe may use, and the policy's own: two names may mean one policy."""
    return {strategy: make().name for strategy, make in POLICIES.items()}


def policy_of(state: "RunState") -> Policy:
    return policy_named(state.recipe.policy.strategy)


def clock_of(history: "History") -> clock.Clock:
    """The run's, a rehearsed one set going behind all that is journaled. Raises FileNotFoundError where none was made here."""
    if not history.state.recipe.is_local:
        return clock.SystemClock()
    return clock.ScaledClock(_clock_file(history.incarnation), not_before=history.records[-1].at)


def make_clock(history: "History") -> None:
    """The run's clock on this machine, going on from its newest record; one that is there is left as it is."""
    path = _clock_file(history.incarnation)
    path.parent.mkdir(parents=True, exist_ok=True)
    clock.create(path, speed=history.state.speed, market_start=history.records[-1].at)


def clock_position(incarnation: str) -> Utc | None:
    """Where the run's clock on this machine stands, None where there is none; for lookers-on, it is not kept going."""
    with contextlib.suppress(OSError, ValueError):
        return clock.position(_clock_file(incarnation))
    return None


def clock_still_s(incarnation: str) -> Seconds | None:
    """Real seconds since any process of the run on this machine showed that it lives; None where that cannot be known here."""
    with contextlib.suppress(OSError, ValueError):
        return clock.still_s(_clock_file(incarnation))
    return None


def _clock_file(incarnation: str) -> Path:
    from launcher.adapters.cloud.local_registry import clock_of

    return clock_of(registry_of(incarnation))


def world_of(history: "History", run_clock: clock.Clock, home: Path) -> "World":
    """Where the run is supervised in: on clouds, or rehearsed here."""
    world = _local_world if history.state.recipe.is_local else _cloud_world
    return world(history.state, history.store, run_clock, home)


def _local_world(state: "RunState", store: ObjectStore, market_clock: clock.Clock, home: Path) -> "World":
    """Processes of this machine as instances, their lives and prices from trace and list."""
    from launcher.adapters.cloud.local import LocalCloud
    from launcher.loop import World

    trace = trace_of(state.recipe.local)
    return World(
        clock=market_clock,
        cloud=LocalCloud(registry_of(state.incarnation), market_clock, trace),
        store=store,
        feed=ListedFeed(state.recipe, trace.mean_life),
        stands_still=True,
    )


def providers() -> "Providers":
    """The clouds that can be asked beside SkyPilot."""
    from launcher.adapters.cloud.skypilot.aws import AwsProvider

    return {"aws": AwsProvider()}


def _cloud_world(state: "RunState", store: ObjectStore, system_clock: clock.Clock, home: Path) -> "World":
    """SkyPilot's machines with the run's own agent on them, at the prices of this user's lists."""
    from launcher.adapters.cloud.skypilot.client import SkyClient
    from launcher.adapters.cloud.skypilot.cloud import SkypilotCloud
    from launcher.adapters.cloud.skypilot.handover import Handover
    from launcher.adapters.cloud.skypilot.order import AgentHome
    from launcher.adapters.market.priced import PricedFeed
    from launcher.app.code import thawed
    from launcher.app.experience import experience
    from launcher.app.pricelists import price_index
    from launcher.loop import World

    os.environ.setdefault(SKYPILOT_TELEMETRY_OFF, "1")  # its server reads that when it starts
    assert state.agent is not None, "frozen at the birth of a run on clouds"
    agent = AgentHome(package=thawed(store, state.agent, home / "cache/agents"), python=os.environ.get(AGENT_PYTHON))
    secrets = {name: os.environ[name] for name in state.recipe.secrets if name in os.environ}
    for value in secrets.values():  # SkyPilot's words on a launch may quote them
        log.redact(value)
    handover = Handover(home / "cache/secrets", secrets)
    before = {instance_name(state.run, state.incarnation, a.number): a for a in state.unsettled}
    lives = experience(home, system_clock.utc_s()).lives
    cloud = SkypilotCloud(
        SkyClient(),
        agent,
        handover,
        providers=providers(),
        placements={name: attempt.offer.placement for name, attempt in before.items()},
        asked_at={name: attempt.requested_at for name, attempt in before.items() if attempt.billed_from is None},
        heard=[name for name, attempt in before.items() if attempt.has_spoken],
        num_nodes=state.recipe.num_nodes,
    )
    return World(
        clock=system_clock,
        cloud=cloud,
        store=store,
        feed=PricedFeed(state.recipe, lambda: price_index(home), lives),
        is_busy=cloud.is_busy,
        trouble=cloud.trouble,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A command that opens one, in `folder` where that is on this machine."""

    command: tuple[str, ...]
    folder: str | None = None

    def __str__(self) -> str:
        return f"{' '.join(self.command)}{f' in {self.folder}' if self.folder else ''}"


def shell_of(state: "RunState", attempt: "Attempt") -> Shell:
    """On the machine of an attempt. Raises UsageError where that cannot be reached from here."""
    name = instance_name(state.run, state.incarnation, attempt.number)
    if state.recipe.is_local:
        from launcher.adapters.cloud.local_registry import instance_of

        folder = instance_of(registry_of(state.incarnation), name).work
        if not folder.is_dir():
            raise UsageError(f"attempt {attempt.number} has no folder here; the run is rehearsed by another user or elsewhere")
        return Shell(command=(os.environ.get("SHELL") or "sh",), folder=str(folder))
    from launcher.adapters.cloud.skypilot.base import cluster_name

    cluster = cluster_name(name)
    if not (Path(SKYPILOT_HOSTS).expanduser() / cluster).exists():
        raise UsageError(
            f"SkyPilot has no address of attempt {attempt.number} here; it is still being started, or it was started from "
            "another machine: type this there"
        )
    return Shell(command=("ssh", cluster))


def skypilot_check(clouds: Sequence[str], within: Seconds) -> "Iterator[CloudCheck]":
    """Which of them SkyPilot can use, as the answers come."""
    from launcher.adapters.cloud.skypilot.check import check

    os.environ.setdefault(SKYPILOT_TELEMETRY_OFF, "1")
    return check(clouds, within)


def skypilot_tested() -> tuple[str, ...]:
    """Its versions that we were tested with."""
    from launcher.adapters.cloud.skypilot.client import TESTED

    return TESTED


# --- the uninterrupted run beside it -------------------------------------------------------------------------------------------


def start_reference(state: "RunState", store: ObjectStore) -> None:
    """Have the reference run begin or go on, unless it has ended."""
    from launcher.adapters.cloud import local_reference

    assert state.recipe.trainer is not None, "only a trainer of ours has a reference"
    order = local_reference.ReferenceOrder(
        run=state.run,
        incarnation=state.incarnation,
        store=store.url,
        module=str(state.recipe.trainer["kind"]),
        args={name: value for name, value in state.recipe.trainer.items() if name != "kind"},
        envs=state.recipe.envs,
        code=state.code,
    )
    local_reference.start(registry_of(state.incarnation), order)


def stop_reference(state: "RunState") -> None:
    from launcher.adapters.cloud import local_reference

    local_reference.stop(registry_of(state.incarnation))


def reference_measured(state: "RunState") -> "Measured | None":
    from launcher.adapters.cloud import local_reference

    return local_reference.measure(registry_of(state.incarnation))


def reference_failure(state: "RunState") -> str | None:
    from launcher.adapters.cloud import local_reference

    return local_reference.failure(registry_of(state.incarnation))


def reference_steps(state: "RunState") -> tuple[Step, Step | None]:
    """How far it is, of how many."""
    from launcher.adapters.cloud import local_reference

    seen = local_reference.progress(registry_of(state.incarnation))
    return (seen.step, seen.total_steps) if seen is not None else (0, None)
