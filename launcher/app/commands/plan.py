"""`launch plan RECIPE [key=value …]`: what `train` would do. Touches nothing, starts nothing."""

import argparse

from launcher.app import show
from launcher.app.answer import as_document
from launcher.app.banner import first_line
from launcher.app.names import checked_name
from launcher.app.plans import first_plan, refuse_hopeless, wanted


def run(args: argparse.Namespace) -> int:
    recipe = wanted(args)
    if args.name:
        checked_name(args.name)
    made, speed_reason = first_plan(recipe)
    refuse_hopeless(recipe, made)
    if args.output != "table":
        print(as_document(show.plan_json(recipe, made, speed_reason), args.output))
        return 0
    print(first_line(recipe, args.name))
    print(show.rehearsal_line(recipe, made))
    print("\n".join(show.plan_lines(made)))
    return 0
