"""`launch report [RUN]`: what a run cost and saved, how much of its time was useful, and how each attempt ended."""

import argparse
import sys
import time

from launcher.app.answer import print_answer, table
from launcher.app.home import Found
from launcher.app.looking import home_of, looked_at
from launcher.app.reporting import Report, report_json, report_lines, report_on
from launcher.app.result import EXIT_PROOF
from launcher.app.roster import Readable, Unreadable, rows_of
from launcher.errors import LaunchError, UsageError
from launcher.units import Utc, parse_duration, show_excess, show_usd

LATER_FORMATS = ("html", "md")


def run(args: argparse.Namespace) -> int:
    if args.output in LATER_FORMATS:
        raise UsageError(f"`launch report -o {args.output}` comes in a later version; there are table, json and yaml")
    if args.since is not None and not args.all:
        raise UsageError("--since says how far back --all goes; add --all")
    return _all(args) if args.all else _one(args, looked_at(args))


def _one(args: argparse.Namespace, found: Found) -> int:
    """0, or 8 where the proof was made and failed."""
    report = report_on(found, found.read())
    print_answer(args, report_json(report), report_lines(report))
    proof = report.result.proof
    return EXIT_PROOF if proof is not None and proof.has_failed else 0


# --- all runs ------------------------------------------------------------------------------------------------------------------


def _all(args: argparse.Namespace) -> int:
    if args.run is not None:
        raise UsageError(f"--all is of all runs; leave out either it or {args.run}")
    oldest = _oldest(args)
    rows = list(rows_of(home_of(args)))
    for row in rows:
        if isinstance(row, Unreadable):
            print(f"launch: {row.run} is left out: {row.reason}", file=sys.stderr)
    young = [row for row in rows if isinstance(row, Readable) and row.result and row.found.head.created_at >= oldest]
    reports = [report for row in young if (report := _report(row)) is not None]
    real = [report for report in reports if not report.result.cost.simulated]
    spent = sum(report.result.cost.spent for report in real)
    document = {"runs": [report_json(report) for report in reports], "spent_usd": round(spent, 4)}
    print_answer(args, document, _lines(reports, spent))
    return 0


def _oldest(args: argparse.Namespace) -> Utc:
    if args.since is None:
        return 0.0
    try:
        return time.time() - parse_duration(args.since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from None


def _report(row: Readable) -> Report | None:
    try:
        return report_on(row.found, row.history)
    except LaunchError as error:
        print(f"launch: {row.found.head.run} is left out: {error}", file=sys.stderr)
        return None


def _lines(reports: list[Report], spent: float) -> list[str]:
    head = ("RUN", "STATE", "SPENT", "ON-DEMAND", "SAVED", "GOODPUT", "PREEMPTIONS", "JUST IN TIME", "MONEY")
    rows = [_row(report) for report in reports]
    total = f"in all {show_usd(spent)} of real money; rehearsed money is not counted"
    return [*table([head, *rows], right=frozenset({2, 3, 4, 5, 6, 7})), total]


def _row(report: Report) -> tuple[str, ...]:
    r = report.result
    saved = r.cost.saved_fraction
    return (
        r.run,
        r.state.value,
        show_usd(r.cost.spent),
        "" if r.cost.on_demand is None else show_usd(r.cost.on_demand),
        "" if saved is None else show_excess(1 - saved) or f"{100 * saved:.0f} %",
        f"{100 * report.goodput:.0f} %",
        str(r.preemptions),
        str(r.just_in_time_saves),
        "rehearsed" if r.cost.simulated else "real",
    )
