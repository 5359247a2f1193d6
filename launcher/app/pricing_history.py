"""The answer of `launch prices --history`: what spot prices did over all refreshes of this home."""

from collections.abc import Sequence

from launcher.adapters.market.history import Past
from launcher.app.answer import moment
from launcher.app.columns import Column, fitted
from launcher.app.pricing import count, dollars
from launcher.codec import Json
from launcher.units import Utc, show_duration

SHOWN_MOST = 20


def past_lines(found: Sequence[Past], now: Utc, *, width: int | None = None) -> list[str]:
    """The most often changed first."""
    if not found:
        return ["no price was noted yet; each `launch prices --refresh` notes what has changed"]
    lines = fitted(_columns(now), found[:SHOWN_MOST], width)
    hidden = len(found) - SHOWN_MOST
    return [*lines, *([f"and {hidden} more; -o json has them all"] if hidden > 0 else [])]


def _columns(now: Utc) -> list[Column[Past]]:
    return [
        Column(head="GPU", cell=lambda one: f"{one.accelerator}:{count(one.accelerators)}"),
        Column(head="PLACE", cell=lambda one: f"{one.cloud} {one.place}"),
        Column(head="INSTANCE", cell=lambda one: one.instance, rank=2),
        Column(head="SPOT $/h", cell=lambda one: dollars(one.now), is_right=True),
        Column(head="LOWEST", cell=lambda one: dollars(one.lowest), is_right=True),
        Column(head="HIGHEST", cell=lambda one: dollars(one.highest), is_right=True),
        Column(head="CHANGES", cell=lambda one: str(one.num_changes), rank=1, is_right=True),
        Column(head="LAST", cell=lambda one: f"{show_duration(max(0.0, now - one.changed_at))} ago", rank=4, is_right=True),
        Column(head="SEEN FOR", cell=lambda one: show_duration(max(0.0, now - one.first_at)), rank=3, is_right=True),
    ]


def past_json(one: Past) -> dict[str, Json]:
    return {
        "cloud": one.cloud,
        "place": one.place,
        "instance": one.instance,
        "accelerator": one.accelerator,
        "accelerators": round(one.accelerators, 4),
        "spot_usd_per_h": one.now,
        "lowest_usd_per_h": one.lowest,
        "highest_usd_per_h": one.highest,
        "num_changes": one.num_changes,
        "first_at": moment(one.first_at),
        "changed_at": moment(one.changed_at),
    }
