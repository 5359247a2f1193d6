"""The answer of `launch plan` for clouds: the places that matter, what speaks against each loser, and what a yes would mean.

On a narrow screen the words of the last column stand below the table, so that they are read on any screen.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.app.answer import moment
from launcher.app.cloud_plans import CloudPlan
from launcher.app.columns import UNKNOWN, Column, explained, wrapped
from launcher.app.pricing import age
from launcher.app.pricing_totals import withheld_json, withheld_lines
from launcher.app.show import untagged
from launcher.codec import Json, encode
from launcher.core.market.offer import Capacity
from launcher.core.market.quote import Doubt
from launcher.core.plan.candidates import Candidate
from launcher.core.plan.shopping import DURABLE_S, STALL_S
from launcher.core.plan.transfer import UPLOAD_PER_S
from launcher.core.plan.unpriced import is_unpriced
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.units import HOUR, Usd, show_duration, show_usd

CHEAPEST_SHOWN = 5  # then the cheapest of each other kind: what a person asks is why not that cloud, that GPU, on demand
ROWS_SHOWN = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    rank: int
    candidate: Candidate
    doubts: str = ""  # the letters under which they are explained below the table


def telling(candidates: Sequence[Candidate]) -> list[Row]:
    """The cheapest ones, the chosen one, and the cheapest of each other cloud and GPU, and on demand; in the ranking's order."""
    rows = [Row(rank=rank, candidate=c) for rank, c in enumerate(candidates, start=1)]
    if len(rows) <= ROWS_SHOWN:
        return rows
    first_of: dict[object, Row] = {}
    for row in rows:
        p = row.candidate.offer.placement
        for kind in (p.cloud, p.capacity, p.accelerator, row.candidate.gpus < p.accelerators, (p.cloud, p.accelerator)):
            first_of.setdefault(kind, row)
    chosen = [row for row in rows if row.candidate.is_chosen]
    coarse_first = sorted(first_of, key=lambda kind: isinstance(kind, tuple))
    wanted = [*chosen, *rows[:CHEAPEST_SHOWN], *(first_of[kind] for kind in coarse_first)]
    ranks = dict.fromkeys(row.rank for row in wanted)
    return [rows[rank - 1] for rank in sorted(list(ranks)[:ROWS_SHOWN])]


def plan_lines(found: CloudPlan, *, width: int | None = None) -> list[str]:
    """No line is wider than `width` (None: the terminal's), as far as the table's indispensable columns allow."""
    candidates = found.made.candidates
    rows = telling(candidates)
    hidden = len(candidates) - len(rows)
    lettered, doubts = _lettered(found, rows)
    lines = table_lines(lettered, width)
    lines += [f"and {hidden} more; -o json has them all"] if hidden else []
    sentences = [
        *doubts,
        *_quantiles(lines[0]),
        *withheld_lines(found.made.withheld, found.at),
        f"for {found.work.basis}",
        str(found.made.saving),
        f"policy {found.made.policy}: {found.made.reason}",
        *told(found),
        *(f"prices: {line}" for line in _ages(found)),
        *(f"note: {note}" for note in (*found.made.notes, *found.notes)),
    ]
    return [*lines, *(line for sentence in sentences for line in wrapped(sentence, width))]


def _quantiles(head: str) -> list[str]:
    """What the columns of shares of runs mean, as far as the table has them."""
    kept = {name: share for name, share in (("P50", "half"), ("P90", "nine of ten")) if name in head.split()}
    what = f"{' and '.join(kept)}: what {' and '.join(kept.values())} runs there do not exceed"
    return [f"{what}, with lives as recorded markets have them"] if kept else []


def _lettered(found: CloudPlan, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with letters for what is doubtful about them, and what each letter means."""
    doubts = [found.doubts_of(row.candidate.offer.placement) for row in rows]
    seen = [doubt for doubt in Doubt if any(doubt in some for some in doubts)]
    letters = dict(zip(seen, string.ascii_lowercase, strict=False))
    lettered = [replace(row, doubts="".join(letters[d] for d in some)) for row, some in zip(rows, doubts, strict=True)]
    return lettered, [f"({letter}) {doubt.value}" for doubt, letter in letters.items()]


def table_lines(rows: Sequence[Row], width: int | None = None) -> list[str]:
    return explained(_columns(), rows, Column(head="AGAINST IT", cell=_words, rank=4), width)


def _columns() -> list[Column[Row]]:
    return [
        Column(head="#", cell=lambda row: str(row.rank), is_right=True),
        Column(
            head="GPU",
            cell=lambda row: f"{row.candidate.offer.placement.accelerator}:{row.candidate.offer.placement.accelerators}",
        ),
        Column(head="PLACE", cell=_place),
        Column(head="INSTANCE", cell=lambda row: row.candidate.offer.placement.instance, rank=8),
        Column(head="$/h", cell=_rate, is_right=True),
        Column(head="MEAN LIFE", cell=_life, rank=7, is_right=True),
        Column(head="TAKES", cell=lambda row: show_duration(row.candidate.estimate.elapsed), rank=2, is_right=True),
        Column(head="RESTARTS", cell=lambda row: f"{row.candidate.estimate.restarts:.1f}", rank=3, is_right=True),
        Column(head="BESIDE", cell=_beside, rank=6, is_right=True),
        Column(head="EST. TOTAL", cell=lambda row: _usd(row, row.candidate.usd), is_right=True),
        Column(head="P50", cell=lambda row: _usd(row, row.candidate.usd_p50), rank=5, is_right=True),
        Column(head="P90", cell=lambda row: _usd(row, row.candidate.usd_p90), rank=1, is_right=True),
    ]


def _usd(row: Row, usd: Usd) -> str:
    return "unpriced" if is_unpriced(row.candidate.offer.placement) else show_usd(usd)


def _place(row: Row) -> str:
    return f"{row.candidate.offer.placement}{f' ({row.doubts})' if row.doubts else ''}"


def _words(row: Row) -> str:
    return "✔" if row.candidate.is_chosen else row.candidate.why


def _rate(row: Row) -> str:
    offer = row.candidate.offer
    if is_unpriced(offer.placement):
        return "unpriced"
    return f"{offer.price:.2f}{'' if offer.placement.capacity is Capacity.SPOT else ' od'}"


def _life(row: Row) -> str:
    return show_duration(row.candidate.life) if row.candidate.offer.placement.capacity is Capacity.SPOT else "no end"


def _beside(row: Row) -> str:
    """Dollars for storage and traffic."""
    return show_usd(row.candidate.aside.usd) if row.candidate.aside.usd else UNKNOWN


def told(found: CloudPlan) -> list[str]:
    """What a yes would mean, a sentence each."""
    outlook = found.outlook
    if outlook is None:
        return []
    return [
        *([] if outlook.played is None else [str(outlook.played)]),
        outlook.worst,
        outlook.unattended,
        *outlook.margins,
        outlook.notice,
        outlook.created,
        outlook.uploaded,
        outlook.deleted,
        f"assumed: {'; '.join(_assumptions(found))}",
    ]


def _assumptions(found: CloudPlan) -> list[str]:
    task = found.made.task
    durable = f"goes up at {UPLOAD_PER_S / 1e6:.0f} MB/s" if found.haul.state is not None else f"is durable after {DURABLE_S:g} s"
    return [f"{show_duration(RESTART_UNMEASURED_S)} to start", f"a save stalls {STALL_S:g} s and {durable}"] if task else []


def _ages(found: CloudPlan) -> list[str]:
    lines = []
    for source in found.lists:
        old = age(source.fetched_at, found.at)
        of_age = "of unknown age" if old == "?" else f"{old} old"
        lines.append(f"{source.cloud} by {source.origin}, {of_age}{'; ' if source.said else ''}{source.said}")
    return lines


# --- for programs --------------------------------------------------------------------------------------------------------------


def plan_json(found: CloudPlan) -> dict[str, Json]:
    """The document of `launch plan -o json`: the plan's own fields, and beside them all that a person is told."""
    raw = untagged(encode(found.made))
    raw.pop("schema_version")
    raw["candidates"] = [
        _candidate_json(rank, c) | {"doubts": [doubt.name.lower() for doubt in found.doubts_of(c.offer.placement)]}
        for rank, c in enumerate(found.made.candidates, start=1)
    ]
    raw["withheld"] = [withheld_json(one) for one in found.made.withheld]
    return {
        "schema_version": 1,
        "recipe": found.recipe.name,
        "simulated": False,
        "work": {"basis": found.work.basis, "flops": found.work.flops, "is_known": found.work.is_known},
        "moved": untagged(encode(found.haul)),
        "plan": raw,
        "outlook": None if found.outlook is None else untagged(encode(found.outlook)),
        "notes": list(found.notes),
        "assumed": _assumptions(found),
        "prices": [
            {
                "cloud": source.cloud,
                "source": source.origin,
                "fetched_at": None if source.fetched_at is None else moment(source.fetched_at),
                "said": source.said,
            }
            for source in found.lists
        ],
    }


def _candidate_json(rank: int, c: Candidate) -> dict[str, Json]:
    return {
        **untagged(encode(c)),
        "rank": rank,
        "hours": round(c.estimate.elapsed / HOUR, 4),
        "total_usd": round(c.usd, 4),
        "total_usd_p50": round(c.usd_p50, 4),
        "total_usd_p90": round(c.usd_p90, 4),
    }
