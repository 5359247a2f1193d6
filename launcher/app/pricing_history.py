"""The answer of `launch prices --history`: what spot prices did over all refreshes of this home, and what its attempts met."""

from collections.abc import Iterable, Sequence

from launcher.adapters.market.history import Past
from launcher.app.answer import moment
from launcher.app.columns import UNKNOWN, Column, fitted
from launcher.app.pricing import count, dollars, place_json, usd_rounded
from launcher.codec import Json
from launcher.core.market.lives import Learnt, Lives
from launcher.core.market.offer import Capacity
from launcher.units import Seconds, Utc, show_duration

SHOWN_MOST = 20


def past_lines(found: Sequence[Past], now: Utc, *, width: int | None = None) -> list[str]:
    """The most often changed first."""
    if not found:
        return ["no price was noted yet; each `launch prices --refresh` notes what has changed"]
    lines = fitted(_columns(now), found[:SHOWN_MOST], width)
    return [*lines, *_hidden(found)]


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
        "spot_usd_per_h": usd_rounded(one.now),
        "lowest_usd_per_h": usd_rounded(one.lowest),
        "highest_usd_per_h": usd_rounded(one.highest),
        "num_changes": one.num_changes,
        "first_at": moment(one.first_at),
        "changed_at": moment(one.changed_at),
    }


# --- what our own attempts met -------------------------------------------------------------------------------------------------


def met(lives: Lives, accelerators: Iterable[str]) -> list[Learnt]:
    """The places with these GPUs where an attempt of ours has ended, the newest first."""
    names = frozenset(accelerators)
    found = (one for one in lives.learnt.values() if one.placement.accelerator in names)
    return sorted(found, key=lambda one: (-one.newest_at, one.placement.place))


def learnt_lines(found: Sequence[Learnt], lives: Lives, now: Utc, *, width: int | None = None) -> list[str]:
    """Nothing where there was no attempt."""
    if not found:
        return []
    lines = fitted(_learnt_columns(lives, now), found[:SHOWN_MOST], width)
    return ["", "met by attempts of this home:", *lines, *_hidden(found)]


def _learnt_columns(lives: Lives, now: Utc) -> list[Column[Learnt]]:
    return [
        Column(head="GPU", cell=lambda one: f"{one.placement.accelerator}:{one.placement.accelerators}"),
        Column(head="PLACE", cell=lambda one: str(one.placement)),
        Column(head="INSTANCE", cell=lambda one: one.placement.instance, rank=5),
        Column(head="KIND", cell=lambda one: one.placement.capacity.value, rank=1),
        Column(head="LIVES", cell=lambda one: str(one.num_lost + one.num_held), is_right=True),
        Column(head="TAKEN", cell=lambda one: str(one.num_lost), is_right=True),
        Column(head="REFUSED", cell=_refused, is_right=True),
        Column(head="MEAN LIFE", cell=lambda one: _shown(one.mean_life), is_right=True),
        Column(head="EXPECTED", cell=lambda one: _expected(lives, one), rank=2, is_right=True),
        Column(head="BOOT", cell=lambda one: _shown(one.boot), rank=4, is_right=True),
        Column(head="NOTICE", cell=_notice, rank=3, is_right=True),
        Column(head="LAST", cell=lambda one: f"{show_duration(max(0.0, now - one.newest_at))} ago", rank=6, is_right=True),
    ]


def learnt_json(one: Learnt, lives: Lives) -> dict[str, Json]:
    p = one.placement
    return {
        **place_json(p),
        "num_lives": one.num_lost + one.num_held,
        "num_taken": one.num_lost,
        "num_unwarned": one.num_unwarned,
        "num_refused": one.num_refused,
        "refused_why": one.refused_why,
        "refused_at": None if one.refused_at is None else moment(one.refused_at),
        "mean_life_s": _rounded(one.mean_life),
        "expected_life_s": _rounded(lives.mean(p)) if p.capacity is Capacity.SPOT else None,
        "expected_by": lives.basis(p),
        "boot_s": _rounded(one.boot),
        "notice_s": _rounded(one.notice),
        "newest_at": moment(one.newest_at),
    }


def _expected(lives: Lives, one: Learnt) -> str:
    return show_duration(lives.mean(one.placement)) if one.placement.capacity is Capacity.SPOT else UNKNOWN


def _refused(one: Learnt) -> str:
    """How often, and why the last time."""
    return f"{one.num_refused}, {one.refused_why}" if one.refused_why else str(one.num_refused)


def _notice(one: Learnt) -> str:
    """How long before the end, and how often not at all."""
    if not one.num_lost:
        return UNKNOWN
    if one.notice is None:
        return "none"
    return show_duration(one.notice) + (f", {one.num_unwarned} without" if one.num_unwarned else "")


def _shown(seconds: Seconds | None) -> str:
    return UNKNOWN if seconds is None else show_duration(seconds)


def _rounded(seconds: Seconds | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _hidden(found: Sequence[object]) -> list[str]:
    hidden = len(found) - SHOWN_MOST
    return [f"and {hidden} more; -o json has them all"] if hidden > 0 else []
