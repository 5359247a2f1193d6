"""`launch gc [STORE …]`: end machines with our labels that their journals do not want any more; a look without -y."""

import argparse
import sys
import time
from pathlib import Path

from launcher.app.answer import moment, print_answer, table
from launcher.app.home import Home
from launcher.app.orphans import Fate, Verdict, judged
from launcher.app.wiring import providers
from launcher.codec import Json
from launcher.errors import AccessError, CloudUnreachable
from launcher.units import show_duration

_ACTS = {Fate.UNWANTED: "end", Fate.WANTED: "leave", Fate.UNKNOWN: "leave"}


def run(args: argparse.Namespace) -> int:
    now = time.time()
    asked = providers()
    try:
        machines = [machine for provider in asked.values() for machine in provider.ours()]
    except CloudUnreachable as error:
        raise AccessError(f"{error}; `launch doctor` says what is missing") from None
    verdicts = list(judged(Home(Path(args.home)), machines, args.stores, now))
    is_meant = args.yes and not args.dry_run
    for verdict in verdicts:
        if is_meant and verdict.fate is Fate.UNWANTED:
            asked[verdict.machine.cloud].end(verdict.machine)
    document: dict[str, Json] = {"clouds": list(asked), "machines": [_json(v, now, is_meant) for v in verdicts]}
    print_answer(args, document, _lines(verdicts, now, is_meant) or [f"no machine on {', '.join(asked)} carries our labels"])
    if not is_meant and any(verdict.fate is Fate.UNWANTED for verdict in verdicts) and not args.quiet:
        print("nothing was ended; `launch gc -y` ends what nobody wants", file=sys.stderr)
    return 0


def _lines(verdicts: list[Verdict], now: float, is_meant: bool) -> list[str]:
    if not verdicts:
        return []
    rows = [("", "MACHINE", "PLACE", "UP FOR", "WHY")]
    for verdict in verdicts:
        machine = verdict.machine
        act = "ended" if is_meant and verdict.fate is Fate.UNWANTED else _ACTS[verdict.fate]
        place = f"{machine.cloud} {machine.region}"
        rows.append((act, machine.name, place, show_duration(now - machine.billed_from), verdict.reason))
    return table(rows)


def _json(verdict: Verdict, now: float, is_meant: bool) -> Json:
    machine = verdict.machine
    return {
        "name": machine.name,
        "id": machine.id,
        "cloud": machine.cloud,
        "region": machine.region,
        "up_since": moment(machine.billed_from),
        "fate": verdict.fate.value,
        "reason": verdict.reason,
        "ended": is_meant and verdict.fate is Fate.UNWANTED,
    }
