"""A supervisor in the background, for `-d`: a process in a session of its own, which no terminal reaches.

The command that a person typed asks and refuses, as always. What is left to do, to supervise, it orders from another process, and
it returns once that one drives the run. Until then the other speaks to the same terminal, and its exit code is the command's: an
error is said by whoever met it. From then on it writes into the run's log.

    command    -> order     through a pair of sockets: nothing lies about on a disk or in a list of processes
    supervisor -> one byte  the journal is open, the beacon burns; or the end of the line, where it ended before
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import codec
from launcher.app import cli
from launcher.app.answer import print_answer
from launcher.app.home import Found, Home, at
from launcher.app.live import Screen
from launcher.app.output import finish
from launcher.app.resuming import go_on
from launcher.app.session import Session
from launcher.core.run import events as ev

if TYPE_CHECKING:
    from launcher.app.clouds import Agreed

COMMAND = (sys.executable, "-P", "-m", "launcher.app.background")  # -P: files that lie around must not shadow ours
CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the background supervisor is told."""

    home: str
    store: str
    url: str | None  # of the run, where a person named it so
    output: str
    is_quiet: bool
    insists: bool
    times: ev.SpeedChosen | None  # on clouds, with the plan: what somebody said yes to
    plan: ev.PlanMade | None
    resumed: ev.RunResumed | None


# --- in the command that was typed -------------------------------------------------------------------------------------------


def supervise_detached(
    args: argparse.Namespace,
    screen: Screen,
    found: Found,
    *,
    agreed: "Agreed | None" = None,
    resumed: ev.RunResumed | None = None,
) -> int:
    """Have the run supervised in the background; the exit code once it is, or why it is not."""
    order = Order(
        home=args.home,
        store=found.store.url,
        url=found.url,
        output=args.output,
        is_quiet=args.quiet,
        insists=args.yes,
        times=None if agreed is None else agreed.times,
        plan=None if agreed is None else agreed.plan,
        resumed=resumed,
    )
    screen.close()  # the other is about to write on it
    sys.stdout.flush()
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            handle = theirs.fileno()
            supervisor = subprocess.Popen(
                (*COMMAND, str(handle), found.head.run), stdin=subprocess.DEVNULL, pass_fds=(handle,), start_new_session=True
            )
        try:
            has_opened = _told(ours, codec.dumps(order))
        except BaseException:  # Ctrl-C: nobody has asked for a run that goes on
            supervisor.terminate()
            supervisor.wait()
            raise
    if not has_opened:
        return _ended_with(supervisor.wait())
    _print(args, found, supervisor.pid)
    return 0


def _told(line: socket.socket, order: bytes) -> bool:
    """Whether the supervisor that was told drives the run; False where it has ended."""
    with contextlib.suppress(ConnectionError):
        line.sendall(order)
        line.shutdown(socket.SHUT_WR)
        return bool(line.recv(1))
    return False


def _ended_with(code: int) -> int:
    if code >= 0:
        return code
    print(f"launch: the background supervisor was ended by signal {-code} before it drove the run", file=sys.stderr)
    return 128 - code


def _print(args: argparse.Namespace, found: Found, pid: int) -> None:
    run = found.head.run
    commands = {"watch": f"launch status -w {run}", "follow": f"launch logs -f {run}", "stop": f"launch stop {run}"}
    rows = {name: found.addressed(command) for name, command in commands.items()} | {"log": str(_log_of(args.home, found))}
    lines = [f"{run} is supervised in the background, by process {pid}", *(f" {name:<7} {text}" for name, text in rows.items())]
    print_answer(args, {"run": run, "pid": pid, "store": found.store.url, **rows}, lines)


def _log_of(home: str, found: Found) -> Path:
    return Home(Path(home)).log_of(found.head.run)


# --- in the background -------------------------------------------------------------------------------------------------------


def main() -> int:
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    order: Order = codec.loads(Order, b"".join(iter(lambda: line.recv(CHUNK), b"")))
    return cli.answered(["resume", "--home", order.home, "-o", order.output], lambda: _supervise(order, line))


def _supervise(order: Order, line: socket.socket) -> int:
    home, found = Home(Path(order.home)), replace(at(order.store), url=order.url)
    args = argparse.Namespace(output=order.output)

    def opened() -> None:
        _leave_terminal(order, found, line)
        args.output = "table"  # a log is for people

    with Screen(is_quiet=order.is_quiet, moves=False) as screen:
        session = Session(
            home=home,
            found=found,
            screen=screen,
            insist=order.insists,
            agreed=_agreed(order),
            opened=opened,
        )
        return finish(args, screen, found, lambda: session.run(lambda history: go_on(history, order.resumed)))


def _agreed(order: Order) -> "Agreed | None":
    if order.times is None or order.plan is None:
        return None
    from launcher.app.clouds import Agreed  # only here: a rehearsal needs no price lists

    return Agreed(times=order.times, plan=order.plan)


def _leave_terminal(order: Order, found: Found, line: socket.socket) -> None:
    """Say that the run is driven, and write into its log from now on; into nothing where there can be none."""
    try:
        log = _log_of(order.home, found).open("ab")
    except OSError:
        log = open(os.devnull, "ab")  # noqa: SIM115  # closed below
    with log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    with line, contextlib.suppress(OSError):  # whoever asked for it may be gone: it drives the run all the same
        line.send(b"!")


if __name__ == "__main__":
    sys.exit(main())
