"""A whole run on real SkyPilot and a stand-in AWS: the production loop, our agent, PyTorch on the instance."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.app.wiring import policy_of
from launcher.clock import SystemClock
from launcher.core.contract import Reference
from launcher.core.market.offer import NOTICE_LEAD, Offer
from launcher.core.policy.base import Phase
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.loop import World
from launcher.supervisor import supervise
from launcher.units import HOUR, Utc
from tests.e2e.sky.conftest import BUCKET, STEPS, TRAINER, Lab, place

pytestmark = [pytest.mark.timeout(1500)]
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


def test_a_run_that_is_preempted_goes_on_elsewhere_and_ends_as_if_nothing_had_happened(
    lab: Lab, uninterrupted: Callable[[int], Reference]
) -> None:
    store = open_store(f"s3://{BUCKET}/{lab.run}")
    recipe = Recipe(
        name="lab",
        resources=Resources(infra=("aws",), accelerators=("L4:1",), use_spot="true"),
        trainer=TRAINER,
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
    print(f"asked for another {lab.searched_s():.1f} s after the end of the first, load {os.getloadavg()[0]:.0f}")
    lab.prove(state, uninterrupted(STEPS))


def begun(store: ObjectStore, recipe: Recipe, lab: Lab) -> History:
    history = History(store, lab.incarnation, writer="lab")
    at = time.time()
    history.open(ev.SupervisorStarted(at=at, supervisor="lab", host="lab", pid=1))
    history.append(ev.RunCreated(at=at, run=lab.run, incarnation=lab.incarnation, recipe=recipe, deadline_at=None, code=None))
    history.append(ev.SpeedChosen(at=at, speed=1.0, startup_s=300.0, work_s=120.0, reason="real clouds know no other"))
    return history
