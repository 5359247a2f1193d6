"""`launch resume [RUN] [key=value …]`: continue a run from its newest valid checkpoint, from any machine."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.adapters.history import History
from launcher.adapters.store.probe import check_create
from launcher.app.alone import saved_alone
from launcher.app.answer import print_answer
from launcher.app.asking import EXIT_DECLINED, is_agreed
from launcher.app.background import supervise_detached
from launcher.app.banner import first_line
from launcher.app.counting import at, unit_of
from launcher.app.holding import refuse_if_held
from launcher.app.home import Found, Home, find
from launcher.app.opening import check_beginning, frozen_recipe
from launcher.app.output import finish, print_result, screen_for
from launcher.app.plans import check_here
from launcher.app.proof import proof_of
from launcher.app.result import result_of
from launcher.app.resuming import about_code, check_places, ends_at_once, go_on, resumption, with_new_code
from launcher.app.session import Session
from launcher.app.wiring import clock_still_s
from launcher.clock import CLOCK_STALE_S
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.spent import spent
from launcher.errors import LimitReached, UsageError
from launcher.units import show_usd


def run(args: argparse.Namespace) -> int:
    home = Home(Path(args.home))
    found = find(home, args.run)
    with found.addressing():
        return _resume(args, home, found)


def _resume(args: argparse.Namespace, home: Home, found: Found) -> int:
    history = found.read()
    if history.is_created and history.state.phase is Phase.SUCCEEDED:
        if args.from_step is not None or args.overrides or args.allow_change:
            raise UsageError(f"{found.head.run} has succeeded, and that is final; start a new run with `launch train`")
        if history.state.is_over:
            if not args.dry_run:
                _note(home, found)
            return print_result(args, found, result_of(history, found.market_now(history), proof_of(history)))
    resumed = _resumption(args, found, history)
    refuse_if_held(history, found.head.run, insist=args.yes)
    recipe = resumed.recipe if resumed else history.state.recipe if history.is_created else frozen_recipe(found.store)
    check_here(recipe)
    if resumed is not None:
        check_places(recipe, home.path, history.market.quotas, resumed.at)
    intention = _intention(history, resumed, args.allow_change)
    ends = ends_at_once(history, resumed, found.market_now(history)) if history.is_created else None
    if ends is not None and resumed is not None:
        remedy = f"; go on with `launch resume {found.head.run} {ends.needs}`" if ends.needs else ""
        raise LimitReached(f"{found.head.run} would be paused again before it had a machine: {ends.reason}{remedy}")
    if args.dry_run:
        # What never ended is ended in its journal first, so the command itself is not refused.
        would = intention if ends is None else f"end at once: {ends.reason}"
        print_answer(args, {"run": found.head.run, "would": would}, [f"{found.head.run} would {would}"])
        return 0 if ends is None else ends.exit_code
    if resumed is not None and not _may_spend(args, history, resumed, intention):
        print("nothing was started, and nothing was spent", file=sys.stderr)
        return EXIT_DECLINED
    check_create(found.store)  # the bucket may be reached by another address than where the run began
    if resumed is not None:
        resumed = with_new_code(resumed, history, args.allow_change)
    _note(home, found)

    with screen_for(args) as screen:
        screen.say(first_line(recipe, found.head.run))
        screen.say(f"will {intention}")
        if args.detach:
            return supervise_detached(args, screen, found, resumed=resumed)
        session = Session(home=home, found=found, screen=screen, insist=args.yes, is_verbose=args.verbose > 0)
        return finish(args, screen, found, lambda: session.run(lambda opened: go_on(opened, resumed)))


def _may_spend(args: argparse.Namespace, history: History, resumed: ev.RunResumed, intention: str) -> bool:
    """Asked of a run on clouds that had ended: what has not is gone on with by the yes that it began with."""
    recipe, state = resumed.recipe, history.state
    if recipe.is_local:
        return True
    budget = recipe.policy.budget
    paid = show_usd(spent(state, resumed.at).likely)
    of = ", without a budget" if budget is None else f" of {show_usd(budget)}"
    question = f"{state.run} will {intention}; it has spent {paid}{of}. Go on, and spend money from now on?"
    return is_agreed(args, f"go on spending money: {paid}{of} so far", question)


def _note(home: Home, found: Found) -> None:
    """Where the run is; a home that cannot be written keeps no index and no log, and the run needs none."""
    with contextlib.suppress(OSError, UsageError):
        home.make()
        home.note(found)


def _resumption(args: argparse.Namespace, found: Found, history: History) -> ev.RunResumed | None:
    if not history.is_created:
        check_beginning(history, found.market_now(history))
        return None
    if history.state.phase is Phase.SUCCEEDED:
        return None
    return resumption(history, found.market_now(history), args.overrides, args.allow_change, args.from_step)


def _intention(history: History, resumed: ev.RunResumed | None, allowed: Sequence[str]) -> str:
    """From where a run goes on, with which changes and which code."""
    if resumed is None:
        return _unended(history)
    changes = "".join(f", {key}={value}" for key, value in resumed.changes.items())
    return f"{_from(history, resumed)}{changes}{about_code(resumed, history, allowed)}"


def _from(history: History, resumed: ev.RunResumed) -> str:
    unit = unit_of(history.state)
    if resumed.branched:
        return f"go on from {at(resumed.step, unit)}, which is whole" if resumed.parent else "start over from the beginning"
    return _from_newest(history)


def _unended(history: History) -> str:
    """Where nothing is resumed, since the run is not over: its supervisor went away."""
    if not history.is_created:
        return "start from the beginning: it has no attempt yet"
    state, alone = history.state, saved_alone(history)
    if state.phase.is_ended:
        return "see its machines gone and their bills ended; the training is done"
    unit = "step" if alone is not None and alone.tells_steps else unit_of(state)
    saved = at(state.newest_step if alone is None else alone.step, unit)
    writer, still_s = state.last_writer, clock_still_s(history.incarnation)
    if writer is not None and writer.is_alive and still_s is not None and still_s <= CLOCK_STALE_S:
        safe = "nothing is saved yet" if alone is None and state.newest_commit is None else f"saved so far: {saved}"
        return f"supervise it again: attempt {writer.number} is up and goes on by itself; {safe}"
    return _from_newest(history) if alone is None else f"go on from {saved}, which the machine saved alone"


def _from_newest(history: History) -> str:
    """To verify it here would be to read all of it; a restore does, and takes the one before where it is not whole."""
    state = history.state
    if state.newest_commit is not None:
        return f"go on from {at(state.newest_step, unit_of(state))}, its newest checkpoint, verified when it is restored"
    if state.living:
        return "go on with the machine that is up: nothing is saved yet"
    return "start from the beginning: nothing is saved yet"
