"""The end of a command that trains: its result on stdout, in the form that was asked for, and its exit code."""

import argparse
from collections.abc import Callable

from launcher.app import show
from launcher.app.live import Screen
from launcher.app.result import Result, as_json
from launcher.app.signals import EXIT_DETACHED, Detached


def screen_for(args: argparse.Namespace) -> Screen:
    return Screen(is_quiet=args.quiet)


def finish(args: argparse.Namespace, training: Callable[[Screen], Result]) -> int:
    """Run `training` with a screen and print what became of it."""
    with screen_for(args) as screen:
        try:
            result = training(screen)
        except Detached:
            return EXIT_DETACHED
    return print_result(args, result)


def print_result(args: argparse.Namespace, result: Result) -> int:
    if args.output == "table":
        print("\n".join(["", *show.final_block(result)]))
    else:
        print(show.document(as_json(result), args.output))
    return result.exit_code
