"""`launch runs`: all runs in the home, one line each."""

import argparse
import sys

from launcher.app.answer import print_answer, table
from launcher.app.looking import home_of
from launcher.app.roster import cells, row_json, rows_of


def run(args: argparse.Namespace) -> int:
    rows = list(rows_of(home_of(args)))
    if not rows and not args.quiet:
        print(f"no run was seen in {args.home}; start one with `launch train quickstart`", file=sys.stderr)
    head = ("RUN", "STATE", "STEP", "ATTEMPTS", "SPENT", "STARTED", "WHERE")
    lines = table([head, *map(cells, rows)], right=frozenset({2, 3, 4, 5})) if rows else []
    print_answer(args, {"home": args.home, "runs": [row_json(row) for row in rows]}, lines)
    return 0
