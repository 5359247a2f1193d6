"""`launch gc`: end machines with our labels that their journals do not want any more, and throw away what killed writers left of
uploads in the stores of runs that are known here; a look without -y."""

import argparse
import sys
import time
from pathlib import Path

from launcher.adapters.cloud.base import Machine, Providers
from launcher.app.answer import moment, print_answer, table
from launcher.app.home import Home
from launcher.app.leftovers import Leftover, leftovers, throw_away
from launcher.app.orphans import Fate, Verdict, judged
from launcher.app.wiring import providers
from launcher.codec import Json
from launcher.errors import AccessError, CloudUnreachable, StoreError
from launcher.units import show_duration

_ACTS = {Fate.UNWANTED: "end", Fate.WANTED: "leave", Fate.UNKNOWN: "leave"}


def run(args: argparse.Namespace) -> int:
    now, home = time.time(), Home(Path(args.home))
    asked = providers()
    machines, unseen = _look(asked)
    verdicts = list(judged(home, machines, args.stores, now))
    is_meant = args.yes and not args.dry_run
    unwanted = [verdict.machine for verdict in verdicts if verdict.fate is Fate.UNWANTED]
    ended, troubles = _end(asked, unwanted) if is_meant else (set(), [])
    left, unasked = leftovers([*args.stores, *(entry.store for entry in home.entries())])
    cleared, kept = throw_away(left) if is_meant else (set(), [])
    of_clouds, of_stores = [*unseen, *troubles], [*unasked, *kept]
    troubles = [*of_clouds, *of_stores]
    document: dict[str, Json] = {
        "clouds": list(asked),
        "machines": [_json(verdict, ended) for verdict in verdicts],
        "uploads": [{"store": one.store, "keys": list(one.keys), "ended": one.store in cleared} for one in left],
        "troubles": list(troubles),
    }
    where = f"{', '.join(asked)}{', as far as it could be looked at,' if unseen else ''}"
    lines = _lines(verdicts, now, ended) or [f"no machine on {where} carries our labels"]
    print_answer(args, document, [*lines, *(_upload_line(one, cleared) for one in left)])
    if (unwanted or left) and not is_meant and not args.quiet:
        print("nothing was ended; `launch gc -y` ends what nobody wants", file=sys.stderr)
    for trouble in troubles:
        print(f"launch: {trouble}", file=sys.stderr)
    return AccessError.exit_code if of_clouds else StoreError.exit_code if of_stores else 0


def _look(asked: Providers) -> tuple[list[Machine], list[str]]:
    """Whatever carries our labels, and why some clouds or regions were not looked at: an organization may close those that it
    does not use.
    """
    machines, unseen = [], []
    for cloud, provider in asked.items():
        try:
            regions = provider.regions()
        except CloudUnreachable as error:
            unseen.append(f"{error}; what runs on {cloud} was not seen; `launch doctor` says what is missing")
            continue
        for region in regions:
            try:
                machines += provider.ours(region)
            except CloudUnreachable as error:
                unseen.append(f"{error}; what runs there was not seen")
    return machines, unseen


def _end(asked: Providers, machines: list[Machine]) -> tuple[set[str], list[str]]:
    """The ids of those that were ended, and why others were not: one that cannot be ended keeps none behind it up."""
    ended, troubles = set(), []
    for machine in machines:
        try:
            asked[machine.cloud].end(machine)
            ended.add(machine.id)
        except CloudUnreachable as error:
            troubles.append(f"{machine.name} was not ended: {error}; `launch doctor` says what is missing")
    return ended, troubles


def _lines(verdicts: list[Verdict], now: float, ended: set[str]) -> list[str]:
    if not verdicts:
        return []
    rows = [("", "MACHINE", "PLACE", "UP FOR", "WHY")]
    for verdict in verdicts:
        machine = verdict.machine
        act = "ended" if machine.id in ended else _ACTS[verdict.fate]
        place = f"{machine.cloud} {machine.region}"
        rows.append((act, machine.name, place, show_duration(now - machine.billed_from), verdict.reason))
    return table(rows)


def _upload_line(left: Leftover, cleared: set[str]) -> str:
    act, num = "threw away" if left.store in cleared else "throw away", len(left.keys)
    return f"{act} what {num} upload{'' if num == 1 else 's'} left in {left.store}"


def _json(verdict: Verdict, ended: set[str]) -> Json:
    machine = verdict.machine
    return {
        "name": machine.name,
        "id": machine.id,
        "cloud": machine.cloud,
        "region": machine.region,
        "up_since": moment(machine.billed_from),
        "fate": verdict.fate.value,
        "reason": verdict.reason,
        "ended": machine.id in ended,
    }
