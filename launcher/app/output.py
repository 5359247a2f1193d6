"""The end of a command that trains: its result on stdout, in the form that was asked for, and its exit code."""

import argparse
from collections.abc import Callable

from launcher.app import show
from launcher.app.answer import as_document
from launcher.app.home import Found
from launcher.app.live import Screen
from launcher.app.result import Result, as_json
from launcher.app.signals import EXIT_DETACHED, Detached
from launcher.errors import OutputError


def screen_for(args: argparse.Namespace) -> Screen:
    return Screen(is_quiet=args.quiet)


def finish(args: argparse.Namespace, screen: Screen, found: Found, training: Callable[[], Result]) -> int:
    """Run `training`, take the moving line away, and print what became of it."""
    try:
        with found.addressing():
            result = training()
    except Detached:
        return EXIT_DETACHED
    except KeyboardInterrupt:
        run = found.head.run
        told = f"interrupted; what was started runs on: `launch resume {run}` looks after it, `launch cancel {run}` ends it"
        raise KeyboardInterrupt(found.addressed(told)) from None
    screen.close()
    return print_result(args, found, result)


def print_result(args: argparse.Namespace, found: Found, result: Result) -> int:
    """`found` names the run in the commands that are printed as the person did."""
    if args.output == "table":
        answer = "\n".join(["", *map(found.addressed, show.final_block(result))])
    else:
        answer = as_document(as_json(result), args.output)
    try:
        print(answer, flush=True)
    except OutputError as error:
        ended = f"{result.run} is {result.state.value}, with exit code {result.exit_code}"
        again = found.addressed(f"`launch status {result.run}` and `launch report {result.run}` tell more")
        raise OutputError(f"{error}; {ended}; {again}") from None
    return result.exit_code
