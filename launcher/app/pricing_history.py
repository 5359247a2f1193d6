"""The answer of `launch prices --history`: what spot prices did over all refreshes of this home."""

import dataclasses
from collections.abc import Sequence

from launcher.adapters.market.history import Past
from launcher.app.answer import table
from launcher.codec import Json
from launcher.units import Utc, show_duration

SHOWN_MOST = 20
HEAD = ("GPU", "PLACE", "INSTANCE", "SPOT $/h", "LOWEST", "HIGHEST", "CHANGES", "LAST", "SEEN FOR")


def past_lines(found: Sequence[Past], now: Utc) -> list[str]:
    """The most often changed first."""
    if not found:
        return ["no price was noted yet; each `launch prices --refresh` notes what has changed"]
    lines = table([HEAD, *(_row(one, now) for one in found[:SHOWN_MOST])], right=frozenset(range(3, len(HEAD))))
    hidden = len(found) - SHOWN_MOST
    return [*lines, *([f"and {hidden} more; -o json has them all"] if hidden > 0 else [])]


def _row(one: Past, now: Utc) -> tuple[str, ...]:
    return (
        f"{one.accelerator}:{one.accelerators:.2g}",
        f"{one.cloud} {one.place}",
        one.instance,
        *("–" if price is None else f"{price:.2f}" for price in (one.now, one.lowest, one.highest)),
        str(one.num_changes),
        f"{show_duration(max(0.0, now - one.changed_at))} ago",
        show_duration(max(0.0, now - one.first_at)),
    )


def past_json(one: Past) -> dict[str, Json]:
    return dataclasses.asdict(one)
