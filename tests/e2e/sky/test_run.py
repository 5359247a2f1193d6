"""A whole run on real SkyPilot and a stand-in AWS: the production loop, our agent, PyTorch on the instance."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.cloud.local_reference import ReferenceOrder
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.app.proof import prove, read_reference
from launcher.app.wiring import policy_of
from launcher.clock import SystemClock
from launcher.core.contract import Reference
from launcher.core.market.offer import NOTICE_LEAD, Offer
from launcher.core.policy.base import Phase
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.supervisor import World, supervise
from launcher.units import HOUR, Utc
from tests.e2e.sky.conftest import BUCKET, LAB, Lab, place

pytestmark = [pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[3]
STEPS = 600  # minutes of training, so that the first checkpoint is seen while there is much to lose
PRICES = {"us-east-1a": 0.25, "us-east-1b": 0.275, "us-east-2a": 0.2625}


@dataclass(frozen=True)
class FixedOffers:
    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return tuple(
            Offer(
                placement=place(zone),
                price=price,
                on_demand_price=0.8,
                price_cap=price,
                mean_life=5 * HOUR,
                notice_lead=NOTICE_LEAD["aws"],
                source="the lab's catalog",
            )
            for zone, price in PRICES.items()
        )


def test_a_run_that_is_preempted_goes_on_elsewhere_and_ends_as_if_nothing_had_happened(lab: Lab, tmp_path: Path) -> None:
    store = open_store(f"s3://{BUCKET}/{lab.run}")
    trainer = {"kind": "launcher.trainers.gpt", "steps": STEPS, "batch_size": 20, "lr": 3.0e-3, "seed": 1}
    recipe = Recipe(
        name="lab",
        resources=Resources(infra=("aws",), accelerators=("L4:1",), use_spot="true"),
        trainer=trainer,
        checkpoint=CheckpointSpec(dir=f"s3://{BUCKET}", every="20 steps"),
    )
    history = begun(store, recipe, lab)
    told: list[str] = []

    def hear(event: ev.Event, state: RunState) -> None:
        told.append(f"{time.time():.1f} {type(event).__name__} {getattr(event, 'attempt', '')}")
        print(told[-1], flush=True)
        if isinstance(event, ev.CheckpointSeen) and event.attempt == 1 and (up := lab.living()):
            lab.preempt(up[0])

    world = World(clock=SystemClock(), cloud=lab.cloud(), store=store, feed=FixedOffers())
    state = supervise(world, history, policy_of, supervisor="lab", listener=hear)

    assert state.phase is Phase.SUCCEEDED, told
    zones = [attempt.offer.placement.zone for attempt in state.attempts.values()]
    assert len(zones) == 2, told
    assert zones[0] != zones[1], "not back to where it was taken"
    assert state.attempts[2].parent is not None, "it went on from a checkpoint"
    assert lab.living() == []
    order = ReferenceOrder(
        run=lab.run, incarnation=lab.incarnation, store=store.url, module="launcher.trainers.gpt", args=rest(trainer)
    )
    proof = prove(state, store, reference_of(order, store, tmp_path))
    assert (proof.losses_equal, proof.weights_max_abs_delta, proof.num_losses) == (True, 0.0, STEPS), proof


def begun(store: ObjectStore, recipe: Recipe, lab: Lab) -> History:
    history = History(store, lab.incarnation, writer="lab")
    at = time.time()
    history.open(ev.SupervisorStarted(at=at, supervisor="lab", host="lab", pid=1))
    history.append(ev.RunCreated(at=at, run=lab.run, incarnation=lab.incarnation, recipe=recipe, deadline_at=None, code=None))
    history.append(ev.SpeedChosen(at=at, speed=1.0, startup_s=60.0, work_s=120.0, reason="real clouds know no other"))
    return history


def rest(trainer: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in trainer.items() if name != "kind"}


def reference_of(order: ReferenceOrder, store: ObjectStore, folder: Path) -> Reference:
    """Of the same training, never disturbed, on this machine with the instances' PyTorch."""
    (folder / "order.json").write_bytes(codec.dumps(order))
    host = [str(LAB / "node/bin/python"), "-P", "-m", "launcher.adapters.cloud.local_reference_host", str(folder)]
    subprocess.run(host, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = read_reference(store)
    assert found is not None, (folder / "ended.json").read_text()
    return found
