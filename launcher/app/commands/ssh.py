"""`launch ssh [RUN]`: a shell on the machine that trains; of a rehearsal one in the folder that stands for its disk."""

import argparse
import os
import sys
from typing import NoReturn

from launcher.adapters.history import History
from launcher.app.answer import print_answer
from launcher.app.looking import looked_at
from launcher.app.wiring import Shell, shell_of
from launcher.core.run.keeping import kept
from launcher.core.run.state import Attempt
from launcher.errors import UsageError
from launcher.units import Utc


def run(args: argparse.Namespace) -> int:
    found = looked_at(args)
    history = found.read()
    attempt = _up(history, found.market_now(history)) if history.is_created else None
    if attempt is None:
        raise UsageError(f"no machine of {found.head.run} is up; `launch status {found.head.run}` says what it does")
    shell = shell_of(history.state, attempt)
    said = f"a shell on attempt {attempt.number}, {attempt.offer.placement}: {shell}"
    if not args.dry_run and args.output == "table":
        if not args.quiet:
            print(said, file=sys.stderr, flush=True)
        _become(shell)
    document = {"run": found.head.run, "attempt": attempt.number, "command": list(shell.command), "folder": shell.folder}
    print_answer(args, document, [f"would open {said}"])
    return 0


def _up(history: History, now: Utc) -> Attempt | None:
    """The newest that lives, or the one that failed and is kept."""
    living = history.state.living
    return living[-1] if living else kept(history.state, now)


def _become(shell: Shell) -> NoReturn:
    """Ctrl-C and the end of the terminal are the shell's then."""
    if shell.folder is not None:
        os.chdir(shell.folder)
    try:
        os.execvp(shell.command[0], shell.command)
    except FileNotFoundError:
        raise UsageError(f"{shell.command[0]} is not installed here; install it, or set SHELL to another") from None
