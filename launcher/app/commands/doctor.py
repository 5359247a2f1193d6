"""`launch doctor [RECIPE] [--store URL]`: what works here, each finding with its remedy. Starts nothing, leaves nothing."""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from launcher.adapters.store.base import ObjectStore
from launcher.app.answer import print_answer
from launcher.app.checkup import Finding, Verdict
from launcher.app.checkup_here import here
from launcher.app.checkup_store import StoreCheckup
from launcher.app.plans import is_for_clouds, loaded
from launcher.app.wiring import left_as_it_was, open_store
from launcher.codec import Json
from launcher.core.recipe import Recipe

_SIGN = {Verdict.GOOD: "✓", Verdict.POOR: "⚠", Verdict.BAD: "✗", Verdict.UNTOLD: "?"}
_CHECK_CHARS = 12  # the longest name of a check, and a blank


def run(args: argparse.Namespace) -> int:
    recipe = loaded(args) if args.recipe else None
    url = args.store or (recipe.checkpoint.dir if recipe else None)
    store = None if url is None else open_store(url)
    found = []
    for finding in _findings(args, recipe, store):
        found.append(finding)
        if args.output == "table":
            print("\n".join(_lines(finding)), flush=True)
    exit_code = next((finding.exit_code for finding in found if finding.exit_code), 0)
    document: dict[str, Json] = {
        "store": store.url if store else None,
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "checks": [_json(finding) for finding in found],
    }
    print_answer(args, document, ())
    return exit_code


def _findings(args: argparse.Namespace, recipe: Recipe | None, store: ObjectStore | None) -> Iterator[Finding]:
    """A store that is named alone is looked at alone."""
    if recipe is not None or store is None:
        yield from here(Path(args.home))
    if (recipe is None and store is None) or (recipe is not None and is_for_clouds(recipe)):
        from launcher.app.checkup_clouds import clouds  # only here: a rehearsal needs none

        yield from clouds(recipe)
    if store is not None:
        if not args.quiet:
            print(f"trying out {store.url} with a few objects", file=sys.stderr)
        with left_as_it_was(store.url):
            yield from StoreCheckup(store).findings()


def _lines(finding: Finding) -> list[str]:
    remedy = textwrap.indent(f"→ {finding.remedy}", " " * (_CHECK_CHARS + 4)).splitlines() if finding.remedy else []
    return [f"{_SIGN[finding.verdict]} {finding.check:<{_CHECK_CHARS}} {finding.text}", *remedy]


def _json(finding: Finding) -> Json:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "text": finding.text,
        "remedy": finding.remedy,
        "figures": dict(finding.figures),
    }
