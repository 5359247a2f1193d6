"""A gang on real SkyPilot and a stand-in AWS: PyTorch over two machines, of which one is taken."""

import shlex
import time

import pytest

from launcher.adapters.cloud.skypilot.aws import AwsProvider
from launcher.adapters.store.open import open_store
from launcher.app.wiring import policy_of
from launcher.clock import SystemClock
from launcher.core.policy.base import Phase
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.state import EndKind, RunState
from launcher.loop import World
from launcher.supervisor import supervise
from tests.e2e.sky.conftest import BUCKET, Lab
from tests.e2e.sky.test_run import FixedOffers, begun
from tests.e2e.sky.users import LAB

pytestmark = [pytest.mark.timeout(1500)]
STEPS = 200
PAUSE_S = 0.2
# The sum over all ranks of step * (rank + 1): what a step that is lost, or done twice, would change.
TRAINS = """
import os, sys, time
from pathlib import Path
import torch, torch.distributed as dist

dist.init_process_group("gloo")
path = Path(os.environ["LAUNCH_CHECKPOINT_DIR"], "state.pt")
state = torch.load(path) if path.exists() else {"step": 0, "sum": torch.zeros(1, dtype=torch.float64)}
steps, pause = int(sys.argv[1]), float(sys.argv[2])
print("from step", state["step"], "on", dist.get_world_size(), "machines", flush=True)
for step in range(state["step"] + 1, steps + 1):
    grad = torch.full((1,), float(step * (dist.get_rank() + 1)), dtype=torch.float64)
    dist.all_reduce(grad)
    state = {"step": step, "sum": state["sum"] + grad}
    if (step % 25 == 0 or step == steps) and dist.get_rank() == 0:
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)
    time.sleep(pause)
print("sum", int(state["sum"]), flush=True)
"""


def program() -> str:
    torchrun = f"{LAB}/node/bin/python -m torch.distributed.run --nproc_per_node 1 --nnodes $SKYPILOT_NUM_NODES"
    address = '--node_rank $SKYPILOT_NODE_RANK --master_addr "$(echo "$SKYPILOT_NODE_IPS" | head -n 1)"'
    return f"printf %s {shlex.quote(TRAINS)} > train.py\n{torchrun} {address} train.py {STEPS} {PAUSE_S}"


@pytest.mark.parametrize("lost", ["worker", "head"])
def test_a_gang_that_loses_a_machine_goes_on_from_the_newest_checkpoint_and_ends(lab: Lab, lost: str) -> None:
    """SkyPilot's head is node 0."""
    store = open_store(f"s3://{BUCKET}/{lab.run}")
    recipe = Recipe(
        name="gang",
        num_nodes=2,
        resources=Resources(infra=("aws",), accelerators=("L4:1",), use_spot="true"),
        run=program(),
        checkpoint=CheckpointSpec(dir=f"s3://{BUCKET}"),
    )
    history = begun(store, recipe, lab)
    told: list[str] = []

    def hear(event: ev.Event, state: RunState) -> None:
        told.append(f"{time.time():.1f} {type(event).__name__} {getattr(event, 'attempt', '')}")
        print(told[-1], getattr(event, "evidence", ""), flush=True)
        if isinstance(event, ev.AttemptExited):
            print(event.report.outcome, event.report.reason, flush=True)
        if isinstance(event, ev.CheckpointSeen) and event.attempt == 1 and len(up := lab.living()) == 2:
            lab.preempt(next(found for found in up if found["tags"]["ray-node-type"] == lost))

    world = World(
        clock=SystemClock(), cloud=lab.cloud(providers={"aws": AwsProvider()}, num_nodes=2), store=store, feed=FixedOffers()
    )
    state = supervise(world, history, policy_of, supervisor="lab", listener=hear)

    assert state.phase is Phase.SUCCEEDED, told
    ends = [attempt.end.end for attempt in state.attempts.values() if attempt.end]
    assert ends == [EndKind.PREEMPTED, EndKind.FINISHED], told
    assert state.attempts[2].parent is not None, told
    assert lab.living() == [], "the machine that was left of the gang is ended too"
    printed = b"".join(store.get(meta.key) for meta in store.list("attempts/0002/log/")).decode()
    assert f"sum {3 * STEPS * (STEPS + 1) // 2}" in printed, "no step is lost, and none counts twice"
    assert "on 2 machines" in printed
