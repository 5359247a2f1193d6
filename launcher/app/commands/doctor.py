"""`launch doctor --store URL`: whether a store will carry a run, each finding with its remedy."""

import argparse
import sys

from launcher.app.answer import print_answer, table
from launcher.app.checkup import Checkup, Finding, Verdict
from launcher.app.wiring import open_store
from launcher.codec import Json
from launcher.errors import UsageError

_SIGN = {Verdict.GOOD: "✓", Verdict.POOR: "⚠", Verdict.BAD: "✗", Verdict.UNTOLD: "?"}


def run(args: argparse.Namespace) -> int:
    if args.store is None:
        raise UsageError("this version's doctor looks at stores: launch doctor --store URL, as in checkpoint.dir")
    store = open_store(args.store)
    if not args.quiet:
        print(f"trying out {store.url} with a few objects", file=sys.stderr)
    findings = list(Checkup(store).findings())
    exit_code = next((finding.exit_code for finding in findings if finding.exit_code), 0)
    document: dict[str, Json] = {
        "store": store.url,
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "checks": [_json(finding) for finding in findings],
    }
    print_answer(args, document, _lines(findings))
    return exit_code


def _lines(findings: list[Finding]) -> list[str]:
    rows = table([(_SIGN[found.verdict], found.check, found.text) for found in findings])
    indent = 3 * " "
    remedies = [[f"{indent}{found.check}: {found.remedy}"] if found.remedy else [] for found in findings]
    told = [line for lines in remedies for line in lines]
    return [*rows, *(["", "what to do", *told] if told else [])]


def _json(finding: Finding) -> Json:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "text": finding.text,
        "remedy": finding.remedy,
        "figures": dict(finding.figures),
    }
