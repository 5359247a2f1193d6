"""Every recorded trace runs through a whole simulated run, its real prices and gangs included.

The files are not part of this repository. Where LAUNCH_TRACES names their folder each one is a test; elsewhere they are skipped,
but for a machine that tests for everybody (CI): there their absence is a failure, as it is in `.ci/run`, which sets the variable.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.app.traces import source_of
from launcher.core.market.layout import PRICE_SUFFIX
from launcher.core.recipe import Recipe, Resources
from launcher.sim.outcome import Outcome
from launcher.sim.sweep import Case, run_case
from launcher.sim.trainer import Pace
from launcher.units import HOUR

VARIABLE = "LAUNCH_TRACES"
FOLDER = os.environ.get(VARIABLE)
FILES = sorted(p for p in Path(FOLDER).glob("*.csv") if not p.stem.endswith(PRICE_SUFFIX)) if FOLDER else []
PACE = Pace(boot_s=240.0, restore_s=60.0, step_s=60.0, stall_s=1.0, durable_s=30.0, save_every=10, total_steps=12 * 60)
RECIPE = Recipe(name="trace", trainer={"kind": "launcher.trainers.gpt", "steps": 12 * 60}, resources=Resources(infra=("local",)))


@pytest.mark.skipif(not FOLDER and os.environ.get("CI") != "true", reason=f"{VARIABLE} names no folder of recorded traces")
def test_the_folder_of_traces_is_there():
    assert FILES, f"{VARIABLE} is {FOLDER}, and there is no CSV file"


def run(path: Path, policy: str, *, nodes: int = 1, seed: int = 1) -> Outcome:
    recipe = replace(RECIPE, num_nodes=nodes, policy=replace(RECIPE.policy, strategy=policy))
    source = source_of(recipe, str(path))
    market = source.market(seed)
    case = Case(
        recipe=source.recipe,
        policy=policy,
        market=market,
        pace=PACE,
        seed=seed,
        work_s=12 * HOUR,
        on_demand_price=source.on_demand_price,
    )
    return run_case(case)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_trace_runs_through(path: Path):
    sure, spot = run(path, "on-demand"), run(path, "spot")
    assert sure.is_finished
    assert sure.preemptions == 0
    assert sure.on_demand is not None
    assert sure.cost == pytest.approx(sure.on_demand, rel=0.05)
    assert spot.phase.is_ended
    if spot.is_finished:
        assert spot.times.useful == pytest.approx(12 * HOUR, rel=0.1)
    else:
        assert "no machine within" in spot.reason  # a file may hold a zone that has none for days


@pytest.mark.parametrize("path", [p for p in FILES if "h100" in p.stem or "16node" in p.stem], ids=lambda path: path.stem)
def test_a_gang_runs_through_where_it_fits(path: Path):
    one, gang = run(path, "spot"), run(path, "spot", nodes=4)
    assert gang.phase.is_ended
    assert gang.cost >= one.cost or not gang.is_finished
