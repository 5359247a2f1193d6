"""The answer of `launch prices --for RECIPE`: what it comes to in the end, where, and what speaks against the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.app.answer import moment
from launcher.app.columns import Column, explained, wrapped
from launcher.app.pricing import ROWS_SHOWN, Group, dollars, group_of, place_json
from launcher.codec import Json
from launcher.core.market.lives import SPOT_LIFE
from launcher.core.plan.candidates import Candidate
from launcher.core.plan.quotas import Withheld, remedy
from launcher.core.plan.shopping import DURABLE_S, STALL_S
from launcher.core.plan.transfer import UPLOAD_PER_S, Haul
from launcher.core.plan.work import UTILIZATION, Work
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.units import HOUR, Utc, show_duration, show_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A total in the answer, its place in the ranking, and how many it stands for as the cheapest of its group."""

    total: Candidate
    rank: int
    num: int = 1


def grouped(found: Sequence[Candidate], group: Group | None) -> list[Row]:
    """The cheapest of each group; with None all."""
    rows: dict[str, Row] = {}
    for rank, total in enumerate(found, start=1):
        key = str(rank) if group is None else group_of(total.offer.placement, group)
        first = rows.get(key)
        rows[key] = Row(total=total, rank=rank) if first is None else replace(first, num=first.num + 1)
    return list(rows.values())


def total_lines(rows: Sequence[Row], work: Work, haul: Haul, *, width: int | None = None) -> list[str]:
    shown = rows[:ROWS_SHOWN]
    hidden = len(rows) - len(shown)
    return [
        *explained(_columns(any(row.num > 1 for row in shown)), shown, _AGAINST, width),
        *([f"and {hidden} more; -o json or -o csv has them all"] if hidden else []),
        *wrapped(f"for {work.basis}", width),
        *(line for assumption in assumptions(haul) for line in wrapped(f"assumed: {assumption}", width)),
    ]


def assumptions(haul: Haul) -> list[str]:
    """What the totals take for granted, a clause each."""
    return [
        f"{100 * UTILIZATION:.0f} % of each GPU's peak by its data sheet; a measured speed may rank them otherwise",
        f"on spot a machine lives {show_duration(SPOT_LIFE)} on average where neither own attempts nor AWS's bands say otherwise",
        f"{show_duration(RESTART_UNMEASURED_S)} a start; a save stalls {STALL_S:g} s{_durable(haul)}",
        *unpriced(haul),
    ]


def _durable(haul: Haul) -> str:
    if haul.state is None:
        return f" and is durable after {DURABLE_S:g} s"
    return f" and goes up at {UPLOAD_PER_S / 1e6:.0f} MB/s"


def unpriced(haul: Haul) -> list[str]:
    """What is not in the totals, because nobody knows how much it is."""
    missing = {
        "machines only: neither keeping checkpoints nor moving them or the data": haul.state is None and haul.data is None,
        "nothing for reading data, whose size nobody knows": haul.state is not None and haul.data is None,
        "nothing for checkpoints, whose size nobody knows": haul.state is None and haul.data is not None,
    }
    return [words for words, is_missing in missing.items() if is_missing]


QUOTAS_SHOWN = 3


def withheld_lines(found: Sequence[Withheld], now: Utc) -> list[str]:
    """What quotas that were refused keep from the job, the cheapest first, and what helps."""
    if not found:
        return []
    shown = found[:QUOTAS_SHOWN]
    hidden = len(found) - len(shown)
    more = [f"and {hidden} more (-o json has them all)"] if hidden else []
    return [f"left out for want of quota: {'; '.join([*(one.told(now) for one in shown), *more])}", f"quota: {remedy(shown)}"]


def withheld_json(one: Withheld) -> dict[str, Json]:
    refusal = one.refusal
    return {
        "why": "quota",
        "cloud": refusal.cloud,
        "region": refusal.region,
        "accelerator": refusal.accelerator,
        "accelerators": refusal.gpus,
        "capacity": refusal.capacity.value,
        "refused_at": moment(refusal.refused_at),
        "again_at": moment(one.again_at),
        "remedy": remedy([one]),
        "num_places": one.num_places,
        "total_usd": round(one.usd, 4),
    }


_AGAINST: Column[Row] = Column(head="AGAINST IT", cell=lambda row: row.total.why or "✔", rank=4)


def _columns(is_grouped: bool) -> list[Column[Row]]:
    every: list[Column[Row]] = [
        Column(head="#", cell=lambda row: str(row.rank), is_right=True),
        Column(head="GPU", cell=lambda row: f"{row.total.offer.placement.accelerator}:{row.total.offer.placement.accelerators}"),
        Column(head="PLACE", cell=lambda row: str(row.total.offer.placement)),
        Column(head="INSTANCE", cell=lambda row: row.total.offer.placement.instance, rank=6),
        Column(head="CAPACITY", cell=lambda row: row.total.offer.placement.capacity.value),
        Column(head="$/h", cell=lambda row: dollars(row.total.offer.price), is_right=True),
        Column(head="TAKES", cell=lambda row: show_duration(row.total.estimate.elapsed), rank=1, is_right=True),
        Column(head="RESTARTS", cell=lambda row: f"{row.total.estimate.restarts:.1f}", rank=3, is_right=True),
        Column(head="EST. TOTAL", cell=lambda row: show_usd(row.total.usd), is_right=True),
        Column(head="OF", cell=lambda row: str(row.num), rank=5, is_right=True),
    ]
    return [column for column in every if is_grouped or column.head != "OF"]


def total_json(row: Row) -> dict[str, Json]:
    total = row.total
    p, cost = total.offer.placement, total.estimate
    return {
        **place_json(p),
        "accelerators_used": total.gpus,
        "usd_per_h": round(total.offer.price, 6),
        "hours": round(cost.elapsed / HOUR, 4),
        "restarts": round(cost.restarts, 3),
        "total_usd": round(total.usd, 4),
        "machines_usd": round(cost.usd, 4),
        "storage_usd": round(total.aside.keeping, 4),
        "checkpoint_traffic_usd": round(total.aside.moving, 4),
        "data_traffic_usd": round(total.aside.reading, 4),
        "against": total.why,
        "rank": row.rank,
        "of": row.num,
    }
