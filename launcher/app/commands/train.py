"""`launch train RECIPE [key=value …]`: plan, and train under supervision, with `-d` in the background."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.app.asking import EXIT_DECLINED
from launcher.app.banner import first_line
from launcher.app.live import Screen  # early: the time shown counts from here
from launcher.app.names import checked_name, random_name
from launcher.app.plans import check_secrets, checked, first_plan, is_for_clouds, loaded
from launcher.app.wiring import check_registry
from launcher.core.recipe import Recipe
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.app.clouds import Agreed


def run(args: argparse.Namespace) -> int:
    if args.dry_run:
        from launcher.app.commands import plan

        return plan.run(args)
    recipe = loaded(args)
    check_secrets(recipe)
    return _on_clouds(args, recipe) if is_for_clouds(recipe) else _here(args, checked(recipe))


def _here(args: argparse.Namespace, recipe: Recipe) -> int:
    first_plan(recipe)  # nothing is made where nothing fits
    name = _name(args, recipe)
    check_registry()
    with Screen(is_quiet=args.quiet) as screen:
        screen.say(first_line(recipe, name))
        return _train(args, recipe, name, screen)


def _on_clouds(args: argparse.Namespace, recipe: Recipe) -> int:
    from launcher.app import clouds  # only here: a rehearsal needs no price lists

    clouds.check(recipe)
    name = _name(args, recipe)
    agreed = clouds.agreed(args, recipe, name)
    if agreed is None:
        print("nothing was started, and nothing was spent", file=sys.stderr)
        return EXIT_DECLINED
    with Screen(is_quiet=args.quiet) as screen:
        return _train(args, recipe, name, screen, agreed)


def _name(args: argparse.Namespace, recipe: Recipe) -> str:
    """The run's, and a home and a store where it can be. Raises UsageError."""
    name = checked_name(args.name) if args.name else random_name()
    _check_home(args.home)
    if args.name:
        _refuse_taken(args.home, recipe, name)
    return name


def _check_home(home: str) -> None:
    """Raises UsageError where no home can be made: said at a glance, before the first line; making it says the rest."""
    there = home
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if not (os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)):
        raise UsageError(
            f"the home {home} cannot be used: {there} is no folder to write in; name another with --home or LAUNCH_HOME"
        )


def _refuse_taken(home: str, recipe: Recipe, name: str) -> None:
    """Before the first line too: of a run that there will not be nothing is said. A random name needs no look at the store."""
    from launcher.app.home import Home
    from launcher.app.opening import refuse_taken

    refuse_taken(Home(Path(home)), recipe, name)


def _train(args: argparse.Namespace, recipe: Recipe, name: str, screen: Screen, agreed: "Agreed | None" = None) -> int:
    # Imported behind the first line, which is to stand there within half a second.
    from launcher.app.home import Home
    from launcher.app.opening import create
    from launcher.app.output import finish
    from launcher.app.session import Session

    home = Home(Path(args.home))
    found = home.called(create(home, recipe, name))
    if args.detach:
        from launcher.app.background import supervise_detached

        return supervise_detached(args, screen, found, agreed=agreed)
    session = Session(home=home, found=found, screen=screen, insist=args.yes, is_verbose=args.verbose > 0, agreed=agreed)
    return finish(args, screen, found, session.run)
