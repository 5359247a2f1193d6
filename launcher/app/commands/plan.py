"""`launch plan RECIPE [key=value …]`: what `train` would do. Touches nothing, starts nothing."""

import argparse

from launcher.app import show
from launcher.app.answer import as_document, rounded
from launcher.app.banner import first_line
from launcher.app.columns import wrapped
from launcher.app.names import checked_name
from launcher.app.plans import OF_JOB, check_secrets, checked, first_plan, is_for_clouds, loaded, refuse_hopeless
from launcher.core.recipe import Recipe
from launcher.errors import UsageError


def run(args: argparse.Namespace) -> int:
    recipe = loaded(args)
    is_rehearsed = not is_for_clouds(recipe)
    recipe = checked(recipe) if is_rehearsed else recipe
    check_secrets(recipe)
    if args.name:
        checked_name(args.name)
    if not is_rehearsed:
        return _for_clouds(args, recipe)
    for name in OF_JOB:
        if getattr(args, name, None) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for clouds, and {recipe.name} is rehearsed on this machine; leave it out"
            )
    return _rehearsed(args, recipe)


def _rehearsed(args: argparse.Namespace, recipe: Recipe) -> int:
    made, speed_reason = first_plan(recipe)
    refuse_hopeless(recipe, made)
    if args.output != "table":
        print(as_document(rounded(show.plan_json(recipe, made, speed_reason)), args.output))
        return 0
    print("\n".join(wrapped(first_line(recipe, args.name))))
    print("\n".join(wrapped(show.rehearsal_line(recipe, made))))
    print("\n".join(show.plan_lines(made)))
    return 0


def _for_clouds(args: argparse.Namespace, recipe: Recipe) -> int:
    from launcher.app.clouds import plan_of  # only here: a rehearsal needs no price lists
    from launcher.app.plan_answer import plan_json, plan_lines

    found = plan_of(args, recipe)
    if args.output != "table":
        print(as_document(rounded(plan_json(found)), args.output))
        return 0
    print("\n".join(wrapped(first_line(recipe, args.name))))
    print("\n".join(plan_lines(found)))
    return 0
