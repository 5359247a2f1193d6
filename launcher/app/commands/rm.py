"""`launch rm RUN`: delete a run's checkpoints and journal, whole; names the bytes, asks, and refuses while something lives."""

import argparse
import sys

from launcher.app.answer import print_answer
from launcher.app.asking import EXIT_DECLINED, is_agreed
from launcher.app.looking import home_of
from launcher.app.removal import Remains, refuse_if_alive, remains_of, remove
from launcher.app.wiring import may_be_unmounted
from launcher.units import show_size


def run(args: argparse.Namespace) -> int:
    home = home_of(args)
    remains = remains_of(home, args.run)
    refuse_if_alive(remains)
    what = _what(remains)
    if not args.dry_run and not is_agreed(args, f"delete {what}", f"Delete {what}? This cannot be undone."):
        print("nothing was deleted", file=sys.stderr)
        return EXIT_DECLINED
    if not args.dry_run:
        remove(home, remains)
    said = f"{'would delete' if args.dry_run else 'deleted'} {what}"
    document = {"run": remains.run, "store": remains.store.url, "objects": remains.num_objects, "bytes": remains.size}
    print_answer(args, {**document, "deleted": not args.dry_run}, [said])
    return 0


def _what(remains: Remains) -> str:
    if remains.removal is None:
        url = remains.store.url
        doubt = "; is its disk mounted? A run on it is found by its URL alone then" if may_be_unmounted(url) else ""
        return f"the index entry of {remains.run}; there is no run at {url} any more{doubt}"
    pins = f", {remains.num_pins} pinned checkpoints among them" if remains.num_pins else ""
    rest = "what is left of " if remains.is_begun else ""
    return f"{rest}{remains.run}: {remains.num_objects} objects, {show_size(remains.size)}{pins}, at {remains.store.url}"
