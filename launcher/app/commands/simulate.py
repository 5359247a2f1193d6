"""`launch simulate [RECIPE] [key=value …]`: what policies would do and cost, with the supervisor that runs in production.

Nothing is trained, bought or written: each run is made in simulated time, in memory.
"""

import argparse
import math
import sys
import time
from dataclasses import replace

from launcher import log
from launcher.adapters import recipe_file
from launcher.adapters.history import History
from launcher.app.answer import print_answer
from launcher.app.home import find
from launcher.app.looking import home_of
from launcher.app.simulated import outcome_json, summaries, summary_json, summary_lines
from launcher.app.traces import Source, replay_of, source_of
from launcher.app.wiring import policy_names
from launcher.app.workload import Workload, workload_of
from launcher.core.plan.goal import deadline_of
from launcher.core.recipe import Recipe
from launcher.errors import UsageError
from launcher.sim.outcome import Outcome, outcome_of
from launcher.sim.sweep import Case, sweep
from launcher.units import HOUR, Seconds, parse_duration, show_duration

SEEDS_DEFAULT = 20
SEEDS_MOST = 10_000
ALL = "all"


def run(args: argparse.Namespace) -> int:
    replayed = find(home_of(args), args.replay).read() if args.replay is not None else None
    recipe = _recipe(args, replayed)
    policies = _policies(args, recipe)
    seeds = _seeds(args, recipe)
    known = workload_of(recipe, home_of(args), work=_work(args), of=replayed)
    sources = [replay_of(recipe, replayed.state)] if replayed else [source_of(recipe, t) for t in args.trace or [None]]
    deadline = _deadline(recipe, replayed)
    cases = [_case(s, policy, seed, known, deadline) for s in sources for policy in policies for seed in seeds]
    notes = [known.note, *(s.note for s in sources), *filter(None, (_calm(s, known) for s in sources))]
    if deadline is not None:
        notes.append(f"the deadline is {show_duration(deadline)} after the start")
    recorded = None if replayed is None else _recorded(replayed, sources[0])
    _say(
        args, f"simulating {len(cases)} run{'s' if len(cases) > 1 else ''} of {recipe.name}, {show_duration(known.work)} of work"
    )
    for note in notes:
        _say(args, f"note: {note}")
    log.configure()  # what a simulated supervisor warns of is nobody's to mend
    try:
        found = summaries(sweep(cases))
    finally:
        log.configure(log.Sink())
    document = {
        "recipe": recipe.name,
        "simulated": True,
        "work_hours": round(known.work / HOUR, 4),
        "speed": known.speed,
        "seeds": list(seeds),
        "notes": list(notes),
        "policies": [summary_json(s) for s in found],
        "recorded": None if recorded is None else {"run": recorded.trace, **outcome_json(recorded)},
    }
    print_answer(args, document, summary_lines(found, recorded))
    return 0


def _calm(source: Source, known: Workload) -> str:
    """Why a simulation shows hardly a restart, where a rehearsal's speed is why; else empty."""
    if known.speed == 1 or known.work >= source.life or source.life == math.inf:
        return ""
    return (
        f"at local.speed={known.speed:.4g} all the work takes {show_duration(known.work)} there, and a machine of {source.name} "
        f"lives {show_duration(source.life)} on average: few restarts are to be seen; a higher local.speed shows more"
    )


def _say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(line, file=sys.stderr)


# --- what is asked -------------------------------------------------------------------------------------------------------------


def _recipe(args: argparse.Namespace, replayed: History | None) -> Recipe:
    if args.recipe is not None:
        envs = dict(pair.partition("=")[::2] for pair in args.env)
        recipe = recipe_file.load(args.recipe, args.overrides, envs).recipe
    elif replayed is not None and not args.overrides:
        recipe = replayed.state.recipe
    else:
        raise UsageError("`launch simulate` needs a RECIPE, or --replay RUN; overrides need the RECIPE that they change")
    if replayed is not None and (args.trace or args.seeds is not None):
        raise UsageError("--replay is of the one market that the run met; leave out --trace and --seeds")
    if not (recipe.resources.infra or recipe.resources.accelerators):
        return replace(recipe, resources=replace(recipe.resources, infra=("local",)))  # it would be rehearsed
    return recipe


def _policies(args: argparse.Namespace, recipe: Recipe) -> tuple[str, ...]:
    """Names as the recipe may use them, none twice under two names."""
    known = policy_names()
    named = args.policy or [recipe.policy.strategy]
    for name in named:
        if name != ALL and name not in known:
            raise UsageError(f"--policy {name}: there is no such policy; those are {', '.join([ALL, *known])}")
    wanted = list(known) if ALL in named else named
    return tuple(dict.fromkeys(known[name] for name in wanted))


def _seeds(args: argparse.Namespace, recipe: Recipe) -> tuple[int, ...]:
    num = 1 if args.replay is not None else SEEDS_DEFAULT if args.seeds is None else args.seeds
    if not 1 <= num <= SEEDS_MOST:
        raise UsageError(f"--seeds {num}: write a number from 1 to {SEEDS_MOST}")
    first = recipe.local.seed if args.seed is None else args.seed
    if first < 0:
        raise UsageError(f"--seed {first}: seeds are 0 or above")
    return tuple(range(first, first + num))


def _work(args: argparse.Namespace) -> Seconds | None:
    if args.work is None:
        return None
    try:
        work = parse_duration(args.work)
    except ValueError as error:
        raise UsageError(f"--work: {error}") from None
    if work <= 0:
        raise UsageError(f"--work {args.work}: write how long it trains, such as 10h")
    return work


# --- what is simulated ---------------------------------------------------------------------------------------------------------


def _case(source: Source, policy: str, seed: int, known: Workload, deadline: Seconds | None) -> Case:
    recipe = source.recipe
    return Case(
        recipe=replace(recipe, policy=replace(recipe.policy, strategy=policy)),
        policy=policy,
        market=source.market(seed),
        pace=known.pace,
        seed=seed,
        speed=known.speed,
        startup_s=known.startup_s,
        work_s=known.work_s,
        delay=known.measured.delay * known.speed,
        deadline=deadline,
        on_demand_price=source.on_demand_price,
    )


def _deadline(recipe: Recipe, replayed: History | None) -> Seconds | None:
    """From the start of a run: of the one that is replayed, or of one that would start now."""
    start = time.time() if replayed is None else replayed.state.created_at
    at = deadline_of(recipe.policy, start)
    if at is None:
        return None
    if at <= start:
        raise UsageError("policy.deadline has passed already; write a later one, or a duration")
    return at - start


def _recorded(history: History, source: Source) -> Outcome:
    """What really happened."""
    state = history.state
    return outcome_of(
        state,
        history.records[-1].at,
        policy=state.recipe.policy.strategy,
        trace=state.run,
        seed=state.recipe.local.seed,
        on_demand_price=source.on_demand_price,
    )
