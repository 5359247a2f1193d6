"""`launch train RECIPE [key=value …]`: plan, and train under supervision in the foreground."""

import argparse
from pathlib import Path

from launcher.app import live, show  # `live` first of all: the time shown counts from here
from launcher.app.commands import plan
from launcher.app.home import Home, checked_name
from launcher.app.opening import create
from launcher.app.output import finish
from launcher.app.plans import first_plan, wanted
from launcher.app.result import Result


def run(args: argparse.Namespace) -> int:
    if args.dry_run:
        return plan.run(args)
    recipe = wanted(args)
    first_plan(recipe)  # nothing is made where nothing fits
    home = Home(Path(args.home))
    found = create(home, recipe, checked_name(args.name) if args.name else None)

    def training(screen: live.Screen) -> Result:
        screen.say(show.first_line(recipe, found.head.run))
        from launcher.app.session import Session

        return Session(home=home, found=found, screen=screen, insist=args.yes, is_verbose=args.verbose > 0).run()

    return finish(args, training)
