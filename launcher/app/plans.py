"""The plan of a rehearsal: what the recipe asks for, on the bundled offers, with times that were measured or are assumed.

`launch plan` has measured nothing and says so. `launch train` measures start-up and work on the reference run first, chooses
the speed of the market by them once for the whole run, and plans again with what is known then.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from launcher.adapters import recipe_file
from launcher.adapters.packaged import trainers
from launcher.app.wiring import check_registry, gpus_on_list, is_remote, offers_of, open_store, policy_named, trace_of, unset
from launcher.core.market.belief import MarketView
from launcher.core.plan.estimate import WORK_UNKNOWN, Task
from launcher.core.plan.hopeless import hopeless
from launcher.core.plan.planner import Plan, plan
from launcher.core.plan.sizing import count_for
from launcher.core.recipe import Recipe, script_left_behind
from launcher.errors import NoCapacity, RecipeError
from launcher.node.workspace import PACKAGE_ROOT
from launcher.units import MINUTE, Seconds, Utc, show_duration

# Of the quickstart on two cores: an import of torch and a restore, a step of its model, the stall and the upload of a save.
STARTUP_ASSUMED_S: Seconds = 3.0
STEP_ASSUMED_S: Seconds = 0.035
STALL_ASSUMED_S: Seconds = 0.02
DURABLE_ASSUMED_S: Seconds = 0.15

# With a life of this (the longest of the trace `demo`) lasting S + W/3.5 here, each life trains W/3.5 at most, since a start
# takes S of it at least, the agent's included: three lives end before the work does.
AGENT_START_S: Seconds = 0.25  # from an instance's start to its trainer's: two Python processes, measured on an idle machine
# More where the store is a bucket: agent and trainer each load the provider's library, 0.45 s of a core (measured with each of
# the three), the trainer partly while it waits for its grant.
BUCKET_START_S: Seconds = 0.8
LIFE_LONGEST: Seconds = 75 * MINUTE
LIVES_WANTED = 3.5
SPEED_UNMEASURED = 300.0  # for `run:`, whose work nobody can know: a minute here is five hours there
LOAD_CALM = 1.5  # how much longer steps may take for others on this machine before a plan's totals count with it


OF_JOB = ("work", "state", "data", "store_in")  # flags of `launch plan` that tell of a job what no price list does


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Real seconds on this machine while it is idle; `work_s` and `step_s` None where nothing can be known before the program
    has run. `load`: how much longer a step takes now, with whatever else runs here.
    """

    startup_s: Seconds
    step_s: Seconds | None
    work_s: Seconds | None
    is_measured: bool
    load: float = 1.0

    @property
    def is_busy(self) -> bool:
        return self.load > LOAD_CALM


def loaded(args: argparse.Namespace) -> Recipe:
    """The same, unchecked, wherever it is to run."""
    envs = dict(pair.partition("=")[::2] for pair in args.env)
    keep = getattr(args, "keep_failed", None)
    overrides = [*args.overrides, f"retry.keep_failed={keep}"] if keep else args.overrides
    return recipe_file.load(args.recipe, overrides, envs).recipe


def checked(recipe: Recipe) -> Recipe:
    """The recipe as it is rehearsed here. Raises RecipeError for what a rehearsal cannot do."""
    recipe = rehearsed(recipe)
    if recipe.trainer is not None and recipe.trainer["kind"] not in trainers():
        _check_module(recipe, str(recipe.trainer["kind"]))
    if recipe.checkpoint.dir is not None:
        open_store(recipe.checkpoint.dir)  # touches nothing; refuses what this version has no store for
    return recipe


def _check_module(recipe: Recipe, kind: str) -> None:
    """Raises RecipeError where no trainer's process would find it. A package that adds to its own path is not heeded."""
    from launcher.app.code import has_module  # only here: most recipes have a program, or a trainer of ours

    workdir = recipe.workdir or ""
    named = recipe.envs.get("PYTHONPATH", "").split(os.pathsep)
    if not has_module(kind, [*(os.path.join(workdir, folder) for folder in (*named, workdir) if folder), str(PACKAGE_ROOT)]):
        place, remedy = "", "`workdir: .` takes the recipe's folder along"
        if workdir:
            place, remedy = f"in {workdir}, nor ", "my/trainer.py in it is `kind: my.trainer`"
        raise RecipeError(
            f"trainer.kind is {kind!r}, and there is no such module {place}where {sys.executable} finds its own; {remedy}"
        )


def is_for_clouds(recipe: Recipe) -> bool:
    """Whether it names a cloud or a GPU, and is not to be rehearsed here."""
    return not recipe.is_local and bool(recipe.resources.infra or recipe.resources.accelerators)


def rehearsed(recipe: Recipe) -> Recipe:
    assert not is_for_clouds(recipe), "never a silent fallback"
    recipe = replace(recipe, resources=replace(recipe.resources, infra=("local",)))
    if recipe.num_nodes > 1:
        raise RecipeError(f"num_nodes is {recipe.num_nodes}, and a rehearsal has one machine; add num_nodes=1 to rehearse it")
    named = [text.partition(":")[0] for text in recipe.resources.accelerators]
    known = gpus_on_list()
    if named and not any(count_for(name, gpu) for name in named for gpu in known):
        near = get_close_matches(named[0], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise RecipeError(f"resources.accelerators is {', '.join(named)}; {hint}The bundled list has {', '.join(known)}")
    return recipe


def assumed(recipe: Recipe) -> Timing:
    """What is taken for granted before anything was measured."""
    return timing(recipe, startup_s=STARTUP_ASSUMED_S, step_s=STEP_ASSUMED_S, is_measured=False)


def timing(recipe: Recipe, *, startup_s: Seconds, step_s: Seconds, is_measured: bool) -> Timing:
    steps = num_steps(recipe)
    if steps is None:
        return Timing(startup_s=startup_s, step_s=None, work_s=None, is_measured=is_measured)
    return Timing(startup_s=startup_s, step_s=step_s, work_s=steps * step_s, is_measured=is_measured)


def num_steps(recipe: Recipe) -> int | None:
    steps = recipe.trainer.get("steps") if recipe.trainer else None
    return steps if isinstance(steps, int) else None


def speed_of(recipe: Recipe, known: Timing) -> tuple[float, str]:
    """How many market seconds a real one is, and why."""
    if recipe.local.speed is not None:
        return recipe.local.speed, "as local.speed says"
    if known.work_s is None:
        return SPEED_UNMEASURED, "the work of a program under `run:` is not known beforehand"
    life_s = agent_start_s(recipe) + known.startup_s + known.work_s / LIVES_WANTED
    how = "measured" if known.is_measured else "assumed"
    reason = (
        f"{how}: start-up {known.startup_s:.2f} s, work {known.work_s:.1f} s here; "
        f"so a life of {show_duration(LIFE_LONGEST)} lasts {life_s:.1f} s and at least three end before the work does"
    )
    return LIFE_LONGEST / life_s, reason


def agent_start_s(recipe: Recipe) -> Seconds:
    """From an instance's start to its trainer's, and what the trainer takes longer to start for the store's sake."""
    return AGENT_START_S + (BUCKET_START_S if is_remote(recipe.checkpoint.dir) else 0.0)


def plan_for(recipe: Recipe, known: Timing, speed: float, now: Utc) -> Plan:
    """The plan on the bundled offers, in market time. Raises NoCapacity with the nearest miss where nothing fits.

    On a busy machine its totals count with the load; the market's speed does not, since the others may leave.
    """
    task = Task(
        work=WORK_UNKNOWN if known.work_s is None else known.work_s * speed,
        restart_cost=known.startup_s * speed,
        stall=STALL_ASSUMED_S * speed,
        durable=DURABLE_ASSUMED_S * speed,
        step=None if known.step_s is None else known.step_s * speed,
        num_nodes=recipe.num_nodes,
        speed=speed,
    )
    offers = offers_of(trace_of(recipe.local))
    made = plan(recipe, offers, _under_load(task, known), MarketView(), policy_named(recipe.policy.strategy), now)
    if not made.candidates:
        raise NoCapacity(f"nothing on offer fits the recipe; the nearest is {made.nearest_miss}")
    stop = hopeless(recipe, task, made.candidates, now)
    notes = () if stop is None else (f"the run would pause before its first machine: {stop}",)
    return replace(made, notes=(*made.notes, *notes, *_notes(recipe, known)))


def _under_load(task: Task, known: Timing) -> Task:
    if not known.is_busy or known.work_s is None:
        return task
    return replace(task, work=task.work * known.load, step=None if task.step is None else task.step * known.load)


def first_plan(recipe: Recipe) -> tuple[Plan, str]:
    """What `launch plan` prints, and why its speed is what it is. Raises RecipeError where the deadline has passed already."""
    now, known = time.time(), assumed(recipe)
    if recipe.policy.deadline_at is not None and recipe.policy.deadline_at <= now:
        raise RecipeError("policy.deadline has passed already; write a later one, or a duration")
    speed, reason = speed_of(recipe, known)
    return plan_for(recipe, known, speed, now), reason


def refuse_hopeless(recipe: Recipe, made: Plan) -> None:
    """Raises NoCapacity where a run of this plan, its times assumed, would pause before its first machine.

    Only `launch plan` is refused so: `launch train` measures first, and pauses by what it finds.
    """
    if stop := hopeless(recipe, made.task, made.candidates, time.time()):
        raise NoCapacity(f"{stop} (by assumed times; `launch train` measures them first)")


def note_on_code(recipe: Recipe) -> str:
    """What of the program is left at home and may be missed; empty where nothing is."""
    script = script_left_behind(recipe)
    if script is None:
        return _note_on_workdir(recipe)
    return f"run names {script}, and without a workdir it starts in an empty folder; `workdir: .` takes the recipe's folder along"


def _note_on_workdir(recipe: Recipe) -> str:
    if recipe.workdir is None or not Path(recipe.workdir).is_dir():
        return ""
    from launcher.app.code import left_behind  # only here: most recipes have none
    from launcher.app.staying import told

    return told(left_behind(Path(recipe.workdir)))


def check_secrets(recipe: Recipe) -> None:
    """Raises RecipeError where a secret has no value: the program would start without it, hours from now perhaps."""
    missing = unset(recipe.secrets)
    if missing:
        names = " and ".join(missing)
        raise RecipeError(
            f"secrets names {names}, not set in this environment; `export {missing[0]}=…` first, or take it out of `secrets`"
        )


def check_here(recipe: Recipe) -> None:
    """The same, UsageError where no machine can be rehearsed here, and AccessError where its cloud cannot be asked from here: a
    supervisor would wait for an answer in silence.
    """
    check_secrets(recipe)
    if recipe.is_local:
        check_registry()
    if is_for_clouds(recipe):
        from launcher.app import clouds  # only here: a rehearsal needs no price lists

        clouds.check(recipe, is_begun=True)


def _notes(recipe: Recipe, known: Timing) -> tuple[str, ...]:
    notes = []
    if known.work_s is None:
        notes.append(f"how long the program trains is not known: the totals are for {show_duration(WORK_UNKNOWN)} of training")
    elif not known.is_measured:
        notes.append(
            f"assumed: {known.startup_s:.0f} s to start and {known.step_s or 0:.3f} s a step here, on an idle machine; "
            "`launch train` measures both first, and chooses the speed by them"
        )
    elif known.is_busy:
        notes.append(
            f"this machine is busy: steps take {known.load:.1f} times as long as alone, and the totals count with that; "
            "a start takes longer as well, so a lower local.speed is the calmer choice"
        )
    else:
        notes.append("the totals hold while nothing else keeps this machine busy")
    if note := note_on_code(recipe):
        notes.append(note)
    if recipe.not_rehearsed:
        notes.append(f"not rehearsed here: {', '.join(sorted(recipe.not_rehearsed))}")
    return tuple(notes)
