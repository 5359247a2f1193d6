"""`scripts/bench calibration`: what is expected of a run before its start, beside what `launch simulate` makes of that start.

A group is one kind of machine in one recorded market, or one bundled trace, and the same task started at different instants of
it. Before each start the forecast knows what is shipped and what the recording showed until then, a day of it at least; of a
bundled trace it knows the mean life that its offers tell. Then the start is simulated: with the supervisor that runs in
production, the policy greedy, and on-demand as its safety net.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import log
from launcher.app import wiring
from launcher.app.traces import source_of
from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.belief import MarketView, gang_life
from launcher.core.market.hazard import watched
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.recording import RecordedOffer, Recording, quotes
from launcher.core.market.trace import FOREVER, GENERATED, typical_life
from launcher.core.plan.candidates import costed, interval_of
from launcher.core.plan.estimate import Task
from launcher.core.plan.forecast import Forecast, forecast
from launcher.core.plan.limits import accepted
from launcher.core.plan.play import Spot, Sure
from launcher.core.recipe import Goal, LocalSpec, Recipe, Resources
from launcher.core.run.billing import rule_of
from launcher.sim.market import Market, TimelineMarket
from launcher.sim.outcome import Outcome
from launcher.sim.sweep import Case, sweep
from launcher.sim.trainer import Pace
from launcher.sim.world import START
from launcher.units import HOUR, Seconds

STARTS = 24
SEEN_LEAST: Seconds = 24 * HOUR
ERROR_MOST, COVERED_LEAST, COVERED = 0.15, 0.85, 0.9
CLOUDS = ("aws", "gcp", "azure")
STEP_S = 10.0
PACE = Pace(
    boot_s=240.0, restore_s=60.0, step_s=STEP_S, stall_s=1.0, durable_s=30.0, save_every=None, total_steps=1, tells_losses=False
)
STARTUP_S = PACE.boot_s + PACE.restore_s
LONG, SHORT = (10 * HOUR, 16 * HOUR), (4 * HOUR, 7 * HOUR)  # work and deadline; the short ones in recordings of a day and a bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """One start: the market that the run meets, and the instant of the recording at which it does."""

    market: Market
    seed: int
    at: Seconds | None  # None: a bundled trace, which shows nothing before


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    recipe: Recipe
    quotes: tuple[RecordedOffer, ...]
    begins: tuple[Begin, ...]
    work: Seconds
    deadline: Seconds

    @property
    def task(self) -> Task:
        times = {"restart_cost": STARTUP_S, "stall": PACE.stall_s, "durable": PACE.durable_s}
        return Task(work=self.work, num_nodes=self.recipe.num_nodes, **times)


# --- what is started, and when -------------------------------------------------------------------------------------------------


def groups(folder: Path | None) -> Iterator[Group]:
    if folder is not None:
        for path in sorted(folder.glob("*.csv")):
            if not path.stem.endswith("__price"):
                yield from _recorded(wiring.recording_of(path))
    yield from map(_bundled, GENERATED)


def _recorded(recording: Recording) -> Iterator[Group]:
    """One for each kind of machine; where a zone has several of them, one for a gang of half as many too."""
    found = quotes(recording, wiring.offers_for(typical_life()))
    kinds = dict.fromkeys(f"{q.offer.placement.accelerator}:{q.offer.placement.accelerators}" for q in found)
    for gpus in kinds:
        for nodes in dict.fromkeys((1, max(1, (recording.entry.capacity or 1) // 2))):
            yield _group(recording, found, gpus, nodes)


def _group(recording: Recording, found: tuple[RecordedOffer, ...], gpus: str, nodes: int) -> Group:
    period = next(iter(recording.capacity.values())).period
    work, deadline = LONG if period > 3 * SEEN_LEAST else SHORT
    last = max(period - deadline, SEEN_LEAST + 2 * HOUR)  # the recording is a ring: a run that outlasts it meets its beginning
    recipe = _recipe(work, deadline, accelerators=(gpus,), nodes=nodes)
    taken = accepted(recipe, tuple(q.offer for q in found))
    kept = tuple(q for q in found if q.offer in taken)
    instants = (SEEN_LEAST + (last - SEEN_LEAST) * i / (STARTS - 1) for i in range(STARTS))
    begins = tuple(
        Begin(market=TimelineMarket(recording.name, kept, seed=seed, origin=START, offset=at), seed=seed, at=at)
        for seed, at in enumerate(instants)
    )
    name = f"{recording.name.removesuffix('_v100_1').removesuffix('_a100_40gb_8')} {nodes} x {gpus}"
    return Group(name=name, recipe=recipe, quotes=kept, begins=begins, work=work, deadline=deadline)


def _bundled(name: str) -> Group:
    work, deadline = LONG
    recipe = replace(_recipe(work, deadline), local=LocalSpec(trace=name))
    market = source_of(recipe, name).market
    begins = tuple(Begin(market=market(seed), seed=seed, at=None) for seed in range(STARTS))
    return Group(name=name, recipe=recipe, quotes=(), begins=begins, work=work, deadline=deadline)


def _recipe(work: Seconds, deadline: Seconds, accelerators: tuple[str, ...] = (), nodes: int = 1) -> Recipe:
    return Recipe(
        name="calibration",
        trainer={"kind": "launcher.trainers.gpt", "steps": int(work / STEP_S)},
        resources=Resources(infra=CLOUDS, accelerators=accelerators),
        policy=Goal(strategy="greedy", deadline=deadline),
        num_nodes=nodes,
    )


def case_of(group: Group, begin: Begin) -> Case:
    return Case(
        recipe=group.recipe,
        policy="greedy",
        market=begin.market,
        pace=replace(PACE, total_steps=int(group.work / STEP_S)),
        seed=begin.seed,
        startup_s=STARTUP_S,
        deadline=group.deadline,
    )


# --- what is expected ----------------------------------------------------------------------------------------------------------


def forecast_of(group: Group, begin: Begin) -> Forecast:
    """Before the start: of later instants it sees nothing."""
    offers = begin.market.offers(START)
    spots = [_spot(group, begin, o) for o in offers if o.placement.capacity is Capacity.SPOT]
    price = min(o.price for o in offers if o.placement.capacity is Capacity.ON_DEMAND)
    sure = Sure(price=price, interval=_interval(group, FOREVER))
    return forecast(group.task, spots, sure=sure, deadline=group.deadline)


def _spot(group: Group, begin: Begin, offer: Offer) -> Spot:
    capacity = next((q.capacity for q in group.quotes if q.offer.placement == offer.placement), None)
    zone = None if begin.at is None or capacity is None else watched(capacity, until=begin.at, nodes=group.recipe.num_nodes)
    return Spot(
        price=offer.price,
        life=_life(group, offer),
        interval=_interval(group, _life(group, offer)),
        zone=zone,
        notice_lead=offer.notice_lead,
        free_within=rule_of(offer).free_if_preempted_within,
        least_billed=rule_of(offer).minimum,
    )


def _life(group: Group, offer: Offer) -> Seconds:
    return gang_life(offer.mean_life, group.recipe.num_nodes)


def _interval(group: Group, life: Seconds) -> Seconds | None:
    return interval_of(save_rule(group.recipe.checkpoint, life), group.task)


def in_one_place(group: Group) -> tuple[Seconds, float]:
    """What is drawn in one spot place without waiting, the cheapest by that: hours and dollars."""
    spots = [o for o in group.begins[0].market.offers(START) if o.placement.capacity is Capacity.SPOT]
    best = min(costed(group.recipe, MarketView(), spots, group.task), key=lambda c: c.usd)
    return best.estimate.elapsed, best.estimate.usd


# --- how well they agree -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of one figure in one group. `before`: the error of one place alone."""

    simulated: float
    error: float
    single: float
    covered: tuple[bool, ...]
    before: float


def score(simulated: list[float], expected: list[float], p90: list[float], before: float) -> Score:
    mean = statistics.fmean(simulated)
    return Score(
        simulated=mean,
        error=statistics.fmean(expected) / mean - 1,
        single=statistics.median(abs(e / s - 1) for e, s in zip(expected, simulated, strict=True)),
        covered=tuple(s <= most for s, most in zip(simulated, p90, strict=True)),
        before=before / mean - 1,
    )


def measure(group: Group, outcomes: list[Outcome], found: list[Forecast]) -> tuple[Score, Score]:
    hours, usd = in_one_place(group)
    return (
        score([o.took for o in outcomes], [f.elapsed for f in found], [f.elapsed_at(COVERED) for f in found], hours),
        score([o.cost for o in outcomes], [f.usd for f in found], [f.usd_at(COVERED) for f in found], usd),
    )


def _row(group: Group, outcomes: list[Outcome], hours: Score, usd: Score) -> str:
    late = sum(not o.is_finished for o in outcomes)
    parts = (
        f"{f'{s.error:+.0%}':>5} ({f'{s.before:+.0%}':>4}) {f'{s.single:.0%}':>4} {f'{_share(s.covered):.0%}':>5}"
        for s in (hours, usd)
    )
    of_hours, of_usd = parts
    starts = f"{len(outcomes)}{f', {late} late' if late else ''}"
    return f"{group.name:54} {starts:8} {hours.simulated / HOUR:5.2f} h {of_hours}   ${usd.simulated:7.2f} {of_usd}"


def _share(covered: Iterable[bool]) -> float:
    return statistics.fmean(map(float, covered))


def _summary(what: str, scores: list[Score]) -> bool:
    error, before, single = (
        statistics.median(found)
        for found in ([abs(s.error) for s in scores], [abs(s.before) for s in scores], [s.single for s in scores])
    )
    covered = _share(c for s in scores for c in s.covered)
    well = sum(_share(s.covered) >= COVERED_LEAST for s in scores)
    print(
        f"{what}: error of a group {error:.1%} (at most {ERROR_MOST:.0%}), of one place without waiting {before:.1%}; medians.",
        end=" ",
    )
    print(f"Worst group {max(abs(s.error) for s in scores):.0%}, a single start {single:.1%}.", end=" ")
    print(f"p90 covers {covered:.1%} of the starts (at least {COVERED_LEAST:.0%}); as many in {well} of {len(scores)} groups")
    return error <= ERROR_MOST and covered >= COVERED_LEAST


def main() -> int:
    log.configure()
    folder = os.environ.get("LAUNCH_TRACES")
    if not folder:
        print("LAUNCH_TRACES names no folder of recorded traces: only the bundled ones")
    every = list(groups(Path(folder) if folder else None))
    outcomes = iter(sweep([case_of(group, begin) for group in every for begin in group.begins]))
    print("simulated mean, error of the expected one (and of one place without waiting), median error of a start, p90 covers")
    times, dollars, took, num = [], [], 0.0, 0
    for group in every:
        began = time.process_time()
        found = [forecast_of(group, begin) for begin in group.begins]
        took, num = took + time.process_time() - began, num + len(found)
        met = [next(outcomes) for _ in group.begins]
        hours, usd = measure(group, met, found)
        times.append(hours)
        dollars.append(usd)
        print(_row(group, met, hours, usd), flush=True)
    print(f"{num} forecasts, {1000 * took / num:.0f} ms CPU each")
    return 0 if all([_summary("hours", times), _summary("dollars", dollars)]) else 1


if __name__ == "__main__":
    sys.exit(main())
