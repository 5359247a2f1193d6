"""Asking a person whether it is meant, before something is deleted or paid for."""

import argparse
import sys

from launcher.errors import UsageError

EXIT_DECLINED = 130


def is_agreed(args: argparse.Namespace, would: str, question: str) -> bool:
    """Asks on the terminal. Without one only -y will do: else raises UsageError, which says what it `would` do."""
    if args.yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"this would {would}; there is nobody to ask here, so add -y if that is meant")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
