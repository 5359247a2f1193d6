"""How an answer is printed: aligned columns for people, one document for programs."""

import argparse
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from launcher.codec import Json
from launcher.units import Utc

SCHEMA_VERSION = 1


def print_answer(args: argparse.Namespace, document: dict[str, Json], lines: Sequence[str]) -> None:
    """The answer on stdout: `lines` for people, or `document` as JSON or YAML, its schema's version in front."""
    if args.output != "table":
        print(as_document({"schema_version": SCHEMA_VERSION, **document}, args.output))
    elif lines:
        print("\n".join(lines))


def as_document(value: dict[str, Json], output: str) -> str:
    """One JSON or YAML document, without the newline at its end."""
    if output == "yaml":
        from launcher.adapters.recipe_yaml import write_yaml  # only here: most answers are none

        return write_yaml(value).rstrip("\n")
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)


def rounded(value: dict[str, Json]) -> dict[str, Json]:
    """The same with six digits behind each point: the rest is noise of arithmetic."""
    return {name: _rounded(one) for name, one in value.items()}


def _rounded(value: Json) -> Json:
    match value:
        case float():
            return round(value, 6)
        case dict():
            return rounded(value)
        case list():
            return [_rounded(one) for one in value]
        case _:
            return value


def table(rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in aligned columns, two blanks apart; the columns in `right` flush right."""
    rows = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(_cell(cell, widths[i], i in right) for i, cell in enumerate(row)).rstrip() for row in rows]


def _cell(text: str, width: int, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)


def moment(at_utc: Utc) -> str:
    """An instant of the market as people and programs read it: "2026-11-03T14:05:09Z"."""
    return f"{datetime.fromtimestamp(at_utc, UTC):%Y-%m-%dT%H:%M:%SZ}"
