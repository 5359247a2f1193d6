"""`launch tick RUN`: look after a run once, then exit, saying when to come back: for cron, a function or a CronJob.

Whoever drives the run already goes on, and a run that has ended is left as it is: both are as it should be, and end with 0.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.adapters.history import History
from launcher.app.alone import result_so_far
from launcher.app.answer import moment, print_answer
from launcher.app.counting import told
from launcher.app.holding import holder, who
from launcher.app.home import Found, Home, find
from launcher.app.live import Screen
from launcher.app.opening import frozen_recipe
from launcher.app.plans import check_here
from launcher.app.result import Result
from launcher.app.session import Session
from launcher.app.show import final_block
from launcher.codec import Json
from launcher.core.tempo import Tempo
from launcher.errors import Overtaken
from launcher.units import Seconds, show_duration, show_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """What became of a tick. `driver`: who drives the run, so that it was left alone."""

    result: Result
    back_in: Seconds | None  # real; None: the run is over, there is nothing to come back for
    driver: str | None = None
    has_ended: bool = False  # in this tick


def run(args: argparse.Namespace) -> int:
    home = Home(Path(args.home))
    found = find(home, args.run)
    with found.addressing():
        return _tick(args, home, found)


def _tick(args: argparse.Namespace, home: Home, found: Found) -> int:
    history = found.read()
    held_by = None if _is_over(history) else holder(found.store, found.head.incarnation)
    history = found.read()  # again: whoever held it a moment ago may have ended it
    if _is_over(history):
        return _print(args, found, Ticked(result=_result(found, history), back_in=None), 0)
    if args.dry_run:
        would = f"leave it to {who(history, held_by)}" if held_by is not None else "look after it once"
        print_answer(args, {"run": found.head.run, "would": would}, [f"would {would}"])
        return 0
    if held_by is not None:
        return _leave(args, found, history, who(history, held_by))
    check_here(history.state.recipe if history.is_created else frozen_recipe(found.store))
    try:
        with Screen(is_quiet=args.quiet, moves=False) as screen:
            seen = Session(home=home, found=found, screen=screen, is_verbose=args.verbose > 0).visit()
    except Overtaken:  # another tick was quicker, or a person's resume
        return _leave(args, found, found.read(), "another supervisor")
    ticked = Ticked(result=seen.result, back_in=seen.back_in, has_ended=seen.back_in is None and not seen.was_over)
    return _print(args, found, ticked, seen.result.exit_code if ticked.has_ended else 0)


def _is_over(history: History) -> bool:
    return history.is_created and history.state.is_over


def _leave(args: argparse.Namespace, found: Found, history: History, driver: str) -> int:
    return _print(args, found, Ticked(result=_result(found, history), back_in=Tempo().beacon, driver=driver), 0)


def _result(found: Found, history: History) -> Result:
    return result_so_far(history, found.market_now(history))


def _print(args: argparse.Namespace, found: Found, ticked: Ticked, exit_code: int) -> int:
    print_answer(args, _document(ticked), [found.addressed(line) for line in _lines(ticked)])
    return exit_code


def _lines(ticked: Ticked) -> list[str]:
    r = ticked.result
    head = f"{r.run}  {r.state.value}  {r.reached}  {show_usd(r.cost.spent)}{' rehearsed' if r.cost.simulated else ''}"
    if ticked.driver is not None:
        return [f"{head}  left to {ticked.driver}, which drives it"]
    if ticked.back_in is None:
        return [f"{head}  over", *(final_block(r) if ticked.has_ended else ())]
    return [f"{head}  next: launch tick {r.run}, in {show_duration(ticked.back_in)}"]


def _document(ticked: Ticked) -> dict[str, Json]:
    r, back_in = ticked.result, ticked.back_in
    return {
        "run": r.run,
        "phase": r.state.value,
        **told(r.step, r.unit),
        "total_steps": r.total_steps,
        "spent_usd": round(r.cost.spent, 4),
        "driver": ticked.driver,
        "next_at": None if back_in is None else moment(time.time() + back_in),
        "seconds": None if back_in is None else round(back_in, 1),
        "exit_code": r.exit_code,
        "reason": r.reason,
    }
