"""Real SkyPilot and a real Slurm: a gang loses a node and goes on in another cluster; a run goes on where its cloud is empty."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.adapters.store.open import open_store
from launcher.app.wiring import policy_of
from launcher.clock import SystemClock
from launcher.core.contract import Reference
from launcher.core.market.offer import Offer
from launcher.core.plan.unpriced import unpriced_offers
from launcher.core.policy.base import Phase
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.state import EndKind, RunState
from launcher.loop import World
from launcher.supervisor import supervise
from launcher.units import Utc
from tests.e2e.sky import test_supervision as cli
from tests.e2e.sky.conftest import BUCKET, Lab, eventually
from tests.e2e.sky.conftest import STEPS as TRAINER_STEPS
from tests.e2e.sky.test_gang import STEPS, program
from tests.e2e.sky.test_run import begun
from tests.e2e.sky.users import ENVIRONMENT, LAB, User

pytestmark = [pytest.mark.timeout(3600)]
SLURM_SH = Path(__file__).with_name("slurm.sh")


class Slurm:
    def jobs(self, cluster: str) -> list[str]:
        return self.ask(cluster, "squeue", "-h", "-o", "%i %j %T %N").splitlines()

    def lose(self, cluster: str, node: str) -> None:
        subprocess.run(["bash", SLURM_SH, "lose", cluster, node], check=True)

    def ask(self, cluster: str, *words: str) -> str:
        env = {**os.environ, "SLURM_CONF": str(LAB / "slurm" / cluster / "slurm.conf")}
        return subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def slurm(client_of_the_lab: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["bash", SLURM_SH, "up"], check=True)
    if not client_of_the_lab.servers():
        client_of_the_lab.server("start")
    subprocess.run(["sky", "check", "slurm"], check=True, stdout=subprocess.DEVNULL)
    yield Slurm()
    subprocess.run(["bash", SLURM_SH, "down"], check=True)


@dataclass(frozen=True)
class OwnClusters:
    recipe: Recipe

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return unpriced_offers(self.recipe)


def test_a_gang_whose_node_is_lost_goes_on_in_another_cluster(slurm: Slurm, lab: Lab) -> None:
    store = open_store(f"s3://{BUCKET}/{lab.run}")
    recipe = Recipe(
        name="gang",
        num_nodes=2,
        resources=Resources(infra=("slurm/spota/spot", "slurm/spotb/spot"), accelerators=("H100:1",), cpus="2", memory="4"),
        run=program(),
        checkpoint=CheckpointSpec(dir=f"s3://{BUCKET}"),
    )
    history = begun(store, recipe, lab)
    told: list[str] = []

    def hear(event: ev.Event, state: RunState) -> None:
        told.append(f"{time.time():.1f} {type(event).__name__} {getattr(event, 'attempt', '')}")
        print(told[-1], getattr(event, "evidence", getattr(event, "failure", "")), flush=True)
        if isinstance(event, ev.AttemptExited):
            print(event.report.outcome, event.report.reason, flush=True)
        if isinstance(event, ev.CheckpointSeen) and event.attempt == 1 and len(told) < 100:
            slurm.lose("spota", "spota-2")

    world = World(clock=SystemClock(), cloud=lab.cloud(num_nodes=2), store=store, feed=OwnClusters(recipe))
    state = supervise(world, history, policy_of, supervisor="lab", listener=hear)

    assert state.phase is Phase.SUCCEEDED, told
    ends = [attempt.end.end for attempt in state.attempts.values() if attempt.end]
    assert ends == [EndKind.PREEMPTED, EndKind.FINISHED], told
    assert [attempt.offer.placement.region for attempt in state.attempts.values()] == ["spota", "spotb"]
    assert state.attempts[2].parent is not None, told
    printed = b"".join(store.get(meta.key) for meta in store.list("attempts/0002/log/")).decode()
    assert f"sum {3 * STEPS * (STEPS + 1) // 2}" in printed, "no step is lost, and none counts twice"
    eventually(lambda: not (slurm.jobs("spota") or slurm.jobs("spotb")), within_s=60.0)  # Slurm completes what has ended


def test_a_cluster_on_which_nothing_of_ours_is_makes_its_agents_environment(slurm: Slurm, lab: Lab, user: User) -> None:
    wanted = {"infra": ["slurm/spota/spot"], "accelerators": ["H100:1"], "cpus": "2", "memory": "4"}
    cli.makes_its_agents_environment(lab, user, resources=wanted)
    eventually(lambda: not slurm.jobs("spota"), within_s=60.0)


def test_a_run_whose_cloud_has_no_machine_left_goes_on_in_a_cluster_of_ones_own(
    slurm: Slurm, lab: Lab, user: User, uninterrupted: Callable[[int], Reference]
) -> None:
    command = cli.begun(lab, user, "resources.infra=[aws/us-west-2]")
    eventually(lambda: lab.has_saved(1))
    (machine,) = lab.living()
    lab.capacity({machine["region"]: 0})
    lab.preempt(machine)
    eventually(lambda: len(lab.state().attempts) > 1)
    stopped = user.launch("stop", lab.run)
    assert stopped.ends(cli.ENDS_WITHIN_S) in (0, 130), stopped.told
    assert command.ends(cli.ENDS_WITHIN_S) == 130, command.told
    changes = ("use_spot=false", "infra=[slurm/spota/spot]", "accelerators=[H100:1]", "cpus=2", "memory=4")
    resumed = user.launch("resume", lab.run, *(f"resources.{change}" for change in changes), "-y")
    assert resumed.ends(cli.ENDS_WITHIN_S) == 0, resumed.told
    trained = [attempt for attempt in lab.state().attempts.values() if attempt.is_granted]
    assert [attempt.offer.placement.cloud for attempt in trained] == ["aws", "slurm"]
    assert trained[1].parent == trained[0].commit
    lab.prove(lab.state(), uninterrupted(TRAINER_STEPS))
    eventually(lambda: not slurm.jobs("spota"), within_s=60.0)
