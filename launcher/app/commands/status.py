"""`launch status [RUN]`: one run in detail; `-w` goes on showing until it ends."""

import argparse
import sys
from collections.abc import Iterator

from launcher.adapters.history import History
from launcher.app.answer import print_answer
from launcher.app.home import Found
from launcher.app.looking import looked_at, looks
from launcher.app.output import screen_for
from launcher.app.standing import Standing, standing_json, standing_lines, standing_of, summary_line
from launcher.app.wiring import wants_colour


def run(args: argparse.Namespace) -> int:
    found = looked_at(args)
    history = found.read()
    standing = _watched(args, found, history) if args.watch else standing_of(found, history)
    print_answer(args, standing_json(standing), standing_lines(standing))
    return 0


def _watched(args: argparse.Namespace, found: Found, history: History) -> Standing:
    """Where the run stands at the last look; on the way it is drawn on a terminal, or told line by line."""
    sights = _sights(found, history)
    if args.output == "table" and sys.stdout.isatty():
        return _drawn(sights)
    last: Standing | None = None
    with screen_for(args) as screen:
        for last in sights:
            screen.move(summary_line(last))
    assert last is not None, "there is always one look"
    return last


def _sights(found: Found, history: History) -> Iterator[Standing]:
    for is_last in looks(history):
        if history.is_created or is_last:
            yield standing_of(found, history)


def _drawn(sights: Iterator[Standing]) -> Standing:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    last: Standing | None = None
    console = Console(highlight=False, no_color=not wants_colour())
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for last in sights:
            live.update(Text("\n".join(standing_lines(last)), no_wrap=True, overflow="ellipsis"), refresh=True)
    assert last is not None, "there is always one look"
    return last
