"""What a run on clouds needs before its first attempt: a plan that somebody said yes to.

A rehearsal measures first (rehearsal.py). Here nothing can be measured before money is spent, so the plan's own times count.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from launcher.adapters.history import History
from launcher.app.asking import is_agreed
from launcher.app.banner import first_line
from launcher.app.cloud_plans import CloudPlan, cloud_plan
from launcher.app.experience import experience
from launcher.app.home import Home
from launcher.app.plan_answer import plan_lines, telling
from launcher.app.plans import OF_JOB
from launcher.app.wiring import is_remote, open_store
from launcher.core.plan.planner import Plan
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.errors import AccessError, RecipeError


def plan_of(args: argparse.Namespace, recipe: Recipe) -> CloudPlan:
    """By the words of a command that may know none of those flags."""
    return cloud_plan(argparse.Namespace(**{**dict.fromkeys(OF_JOB), **vars(args)}), recipe)


def check(recipe: Recipe, *, is_begun: bool = False) -> None:
    """Raises RecipeError and AccessError for what keeps this recipe from clouds, before anything is asked or made.

    `is_begun`: of a run on clouds, which cannot be rehearsed any more.
    """
    or_rehearse = "" if is_begun else ", or add resources.infra=local to rehearse it on this machine"
    if find_spec("sky") is None:
        named = ", ".join((*recipe.resources.infra, *recipe.resources.accelerators))
        raise AccessError(
            f"the recipe asks for {named}, and SkyPilot, which starts machines there, is not installed; "
            f"pip install 'spot-launch[sky,aws]' (or gcp, azure){or_rehearse}"
        )
    if recipe.checkpoint.dir is None:
        raise RecipeError(
            "checkpoint.dir names no bucket, and machines on clouds keep their work there; "
            f"write checkpoint.dir=s3://…{or_rehearse}"
        )
    if not is_remote(recipe.checkpoint.dir):
        raise RecipeError(
            f"checkpoint.dir is {recipe.checkpoint.dir}, which a machine on a cloud cannot reach; "
            f"write s3://…, gs://… or az://…{or_rehearse}"
        )
    if recipe.num_nodes > 1 and recipe.trainer is not None:
        raise RecipeError(
            f"num_nodes is {recipe.num_nodes}, and the trainer {recipe.trainer['kind']} works on one machine; "
            "write num_nodes: 1, or a program of yours under `run`, such as torchrun"
        )
    open_store(recipe.checkpoint.dir)  # touches nothing; refuses what this version has no store for


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What somebody has said yes to, as the records that a run begins with."""

    times: ev.SpeedChosen
    plan: ev.PlanMade


def agreed(args: argparse.Namespace, recipe: Recipe, run: str) -> Agreed | None:
    """The plan, shown, and None where the answer to it is no. Raises UsageError where nobody is there to ask, NoCapacity."""
    planned = plan_of(args, recipe)
    if not args.quiet:
        print("\n".join((first_line(recipe, run), *plan_lines(planned), "")), file=sys.stderr)
    is_meant = is_agreed(args, "spend money by the plan above", "Start it, and spend money from now on?")
    return records_of(planned, Path(args.home)) if is_meant else None


def records_of(planned: CloudPlan, home: Path) -> Agreed:
    market = experience(home, planned.at).market
    work_s = planned.made.task.work if planned.work.is_known else None
    reason = "on clouds a second is a second; a start is assumed, the work is the plan's"
    return Agreed(
        times=ev.SpeedChosen(at=planned.at, speed=1.0, startup_s=RESTART_UNMEASURED_S, work_s=work_s, reason=reason),
        plan=ev.PlanMade(at=planned.at, plan=_brief(planned.made), seed=market.places, quotas=market.quotas),
    )


def prepare(history: History, home: Home, begins_with: Agreed | None) -> None:
    """Whatever is still missing before the loop can run: the times to count with, and the plan."""
    state = history.state
    if state.startup_s is not None and history.plan is not None:
        return
    if begins_with is None:
        begins_with = records_of(plan_of(argparse.Namespace(home=str(home.path)), state.recipe), home.path)
    at = history.records[-1].at
    if state.startup_s is None:
        history.append(replace(begins_with.times, at=at))
    if history.plan is None:
        history.append(replace(begins_with.plan, at=at))


def _brief(made: Plan) -> Plan:
    """With the candidates that a person is shown: a record is read by every machine, and hundreds of places tell it nothing."""
    return replace(made, candidates=tuple(row.candidate for row in telling(made.candidates)))
