"""What a simulated run of three days costs: `python -m scripts.benches.trace3d [RECORDING.csv]`, as `scripts/bench` calls it.

Sixty hours of work against a deadline of 72 h, on a generated trace and, where one is given, a recorded one. Beside the median
stand a loop of pure Python on the same machine, the share of tenacity (by profile), and how much the run did.
"""

import cProfile
import pstats
import statistics
import sys
import time
from dataclasses import replace

from launcher import log
from launcher.app.traces import source_of
from launcher.core.recipe import Goal, LocalSpec, Recipe, Resources
from launcher.sim.machine import Pace
from launcher.sim.sweep import Case, run_case
from launcher.units import HOUR

RUNS = 21
LIMIT_S = 0.15
STEP_S = 10.0
STEPS = int(60 * HOUR / STEP_S)
# A save that stalls for 10 s: about every 6 min by the recipe's own rule.
PACE = Pace(
    boot_s=240.0,
    restore_s=60.0,
    step_s=STEP_S,
    stall_s=10.0,
    durable_s=30.0,
    save_every=None,
    total_steps=STEPS,
    tells_losses=False,
)
RECIPE = Recipe(
    name="trace3d",
    trainer={"kind": "launcher.trainers.gpt", "steps": STEPS},
    resources=Resources(infra=("aws", "gcp", "azure")),
    policy=Goal(strategy="greedy", deadline=72 * HOUR),
    local=LocalSpec(trace="lively"),
)


def case(trace: str | None, seed: int) -> Case:
    source = source_of(RECIPE if trace is None else replace(RECIPE, resources=Resources(infra=("local",))), trace)
    return Case(
        recipe=replace(source.recipe, resources=replace(source.recipe.resources, infra=("aws", "gcp", "azure"))),
        policy="greedy",
        market=source.market(seed),
        pace=PACE,
        seed=seed,
        startup_s=300.0,
        deadline=72 * HOUR,
        on_demand_price=source.on_demand_price,
    )


def calibration_s() -> float:
    """Ten million additions: what this machine does in pure Python just now."""
    began = time.process_time()
    total = 0
    for i in range(10_000_000):
        total += i
    return time.process_time() - began


def tenacity_share(trace: str | None) -> float:
    profile = cProfile.Profile()
    one = case(trace, 0)
    profile.runcall(run_case, one)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = {function[0]: 0.0 for function in stats}
    for (file, _, _), (_, _, seconds, _, _) in stats.items():
        own[file] += seconds
    return sum(seconds for file, seconds in own.items() if "tenacity" in file) / sum(own.values())


def measure(trace: str | None, calibration: float) -> bool:
    cases = [case(trace, seed) for seed in range(RUNS)]
    seconds, outcomes = [], []
    for one in cases:
        began = time.process_time()
        outcomes.append(run_case(one))
        seconds.append(time.process_time() - began)
    median, most = statistics.median(seconds), max(seconds)
    hours = statistics.median(o.took for o in outcomes) / HOUR
    restarts = statistics.median(o.restarts for o in outcomes)
    done = sum(o.is_finished for o in outcomes)
    saves = statistics.median(o.checkpoints for o in outcomes)
    print(
        f"{outcomes[0].trace:28} median {median:.3f} s CPU a run, {median / calibration:.2f} calibrations, most {most:.3f} s; "
        f"{hours:.0f} h simulated, {restarts:g} restarts, {saves:g} saves, {done}/{RUNS} done; "
        f"tenacity {tenacity_share(trace):.0%}"
    )
    return median <= LIMIT_S


def main() -> int:
    log.configure()
    calibration = statistics.median(calibration_s() for _ in range(3))
    print(f"calibration: ten million additions take {calibration:.2f} s CPU here and now")
    within = [measure(trace, calibration) for trace in (None, *sys.argv[1:])]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
