"""`stop` and `cancel`: ask the run's supervisor, and do its work where none lives.

Only supervisors write history, so both file a request and wait until the run is over. Where nobody supervises, or the one who
did goes silent meanwhile, this process opens the run itself; the request that it filed is then the first thing it sees.
"""

import argparse
import sys
import time
from pathlib import Path

from launcher import beacon
from launcher.adapters.history import History
from launcher.app.answer import print_answer
from launcher.app.holding import holder
from launcher.app.home import Found, Home, find
from launcher.app.live import Screen
from launcher.app.output import finish, print_result, screen_for
from launcher.app.requests import ask, withdraw_unseen
from launcher.app.result import Result, result_of, with_exit_code
from launcher.app.session import Session
from launcher.beacon import Holder
from launcher.core.contract import RequestKind
from launcher.core.run.keeping import kept
from launcher.core.run.state import Terminal
from launcher.errors import Overtaken
from launcher.units import Seconds

LOOK_S: Seconds = 0.2  # real, between two looks at the journal
HOLDER_EVERY_S: Seconds = 2.0  # between two looks at the beacon, which may take a while


def end_run(args: argparse.Namespace, kind: RequestKind) -> int:
    """Bring a run to its end as `kind` says. Exit code 0 whenever nothing of it goes on."""
    home = Home(Path(args.home))
    found = find(home, args.run)
    with found.addressing():
        return _end(args, home, found, kind)


def _end(args: argparse.Namespace, home: Home, found: Found, kind: RequestKind) -> int:
    history = found.read()
    terminal = _terminal(history)
    if terminal is not None and history.state.is_over:
        print(f"{found.head.run} has ended already: {_told(terminal)}; nothing of it runs", file=sys.stderr)
        return print_result(args, found, _result(found, history))
    if args.dry_run:
        would = _would(found, history, kind)
        print_answer(args, {"run": found.head.run, "would": would}, [f"would {would}"])
        return 0
    if terminal is None or kept(history.state, found.market_now(history)):
        ask(found.store, kind)
    with screen_for(args) as screen:
        return finish(args, screen, found, lambda: _see_it_end(args, home, found, history, screen))


def _would(found: Found, history: History, kind: RequestKind) -> str:
    """What would be done, by the beacon as it stands now."""
    run = found.head.run
    match beacon.judge(beacon.read(found.store)):
        case Holder.ALIVE:
            return f"ask the supervisor of {run} to {kind.value}"
        case Holder.UNSURE | Holder.HALTED as holds:
            where = "halted" if holds is Holder.HALTED else "on another machine"
            return f"ask the supervisor of {run}, {where}, to {kind.value}, and do it from here if it does not move"
        case Holder.NOBODY:
            if _terminal(history) is not None:
                return f"see the machines of {run} gone and their bills ended; the run itself has ended"
            living = history.state.living if history.is_created else ()
            how = "ends at once, without a save" if kind is RequestKind.CANCEL else "saves and ends"
            what = f"attempt {living[-1].number} {how}" if living else "no machine of it is up"
            return f"{kind.value} {run} from here, since nobody supervises it: {what}"


def _see_it_end(args: argparse.Namespace, home: Home, found: Found, history: History, screen: Screen) -> Result:
    screen.event("·", args.command, f"waiting until nothing of {found.head.run} goes on")
    looked_mono = -HOLDER_EVERY_S
    while not (history.is_created and history.state.is_over):
        if time.monotonic() - looked_mono >= HOLDER_EVERY_S:
            is_free = holder(found.store, found.head.incarnation) is None
            if is_free and (ended := _take_over(args, home, found, screen)) is not None:
                return ended
            looked_mono = time.monotonic()
        time.sleep(LOOK_S)
        history.poll()
    withdraw_unseen(found.store, history.state)  # the run may have ended by itself before it heard of us
    return _result(found, history)


def _take_over(args: argparse.Namespace, home: Home, found: Found, screen: Screen) -> Result | None:
    """The result of supervising the run to its end; None where somebody else does after all, who will see the request."""
    screen.event("·", args.command, "nobody supervises the run; doing it from here")
    try:
        return _calm(Session(home=home, found=found, screen=screen, is_verbose=args.verbose > 0).run())
    except Overtaken:
        return None


def _terminal(history: History) -> Terminal | None:
    return history.state.terminal if history.is_created else None


def _result(found: Found, history: History) -> Result:
    return _calm(result_of(history, found.market_now(history)))


def _calm(result: Result) -> Result:
    """For this command the end of the run is no failure, whatever it was."""
    return with_exit_code(result, 0, result.reason)


def _told(terminal: Terminal) -> str:
    return f"{terminal.phase.value.lower()}{f' ({terminal.reason})' if terminal.reason else ''}"
