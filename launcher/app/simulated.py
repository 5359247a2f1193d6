"""What `launch simulate` answers: the outcomes of each policy, summed up for people and drawn out for pictures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from launcher.app.answer import table
from launcher.codec import Json
from launcher.core.plan.estimate import rank
from launcher.core.policy.base import Phase
from launcher.sim.outcome import Outcome
from launcher.units import HOUR, show_duration, show_excess, show_usd

REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All runs of one policy on one trace. Figures are of those that finished, of all where none did."""

    policy: str
    trace: str
    outcomes: tuple[Outcome, ...]

    @property
    def finished(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes if o.is_finished)

    @property
    def counted(self) -> tuple[Outcome, ...]:
        return self.finished or self.outcomes

    def middle(self, figure: Callable[[Outcome], float]) -> float:
        return median(map(figure, self.counted))

    def p95(self, figure: Callable[[Outcome], float]) -> float:
        """The least figure that 95 % of the runs do not exceed (nearest rank)."""
        return rank(map(figure, self.counted), 0.95)

    @property
    def typical(self) -> Outcome:
        """The run of median cost; of two in the middle the cheaper."""
        ordered = sorted(self.counted, key=lambda o: (o.cost, o.took, o.seed))
        return ordered[(len(ordered) - 1) // 2]

    @property
    def on_demand(self) -> float | None:
        """Median of what the same useful work would have cost on the cheapest machine that nobody takes."""
        known = [o.on_demand for o in self.counted if o.on_demand is not None]
        return median(known) if known else None

    @property
    def cost_ratio(self) -> float | None:
        """Median of cost over the on-demand cost of the same run."""
        known = [o.cost / o.on_demand for o in self.counted if o.on_demand]
        return median(known) if known else None


def summaries(outcomes: Sequence[Outcome]) -> tuple[Summary, ...]:
    """One for each policy and trace, in the order in which they were simulated."""
    keys = dict.fromkeys((o.policy, o.trace) for o in outcomes)
    return tuple(
        Summary(policy=policy, trace=trace, outcomes=tuple(o for o in outcomes if (o.policy, o.trace) == (policy, trace)))
        for policy, trace in keys
    )


# --- for people ----------------------------------------------------------------------------------------------------------------


def summary_lines(found: Sequence[Summary], recorded: Outcome | None = None) -> list[str]:
    """The table, and below it why runs did not finish."""
    head = ("POLICY", "TRACE", "DONE", "TOOK", "P95", "COST", "P95", "ON-DEMAND", "SAVED", "RESTARTS", "REDONE", "WAITING")
    rows = [(*head, "GOODPUT"), *map(_row, found)]
    if recorded is not None:
        own = Summary(policy="as it went", trace=recorded.trace, outcomes=(recorded,))
        rows.append(_row(own))
    return [*table(rows, right=frozenset(range(2, len(head) + 1))), *(line for s in found for line in _unfinished(s))]


def _row(s: Summary) -> tuple[str, ...]:
    ratio, sure = s.cost_ratio, s.on_demand
    return (
        s.policy,
        s.trace,
        f"{len(s.finished)}/{len(s.outcomes)}",
        show_duration(s.middle(lambda o: o.took)),
        show_duration(s.p95(lambda o: o.took)),
        show_usd(s.middle(lambda o: o.cost)),
        show_usd(s.p95(lambda o: o.cost)),
        "" if sure is None else show_usd(sure),
        "" if ratio is None else show_excess(ratio) or f"{max(0.0, 100 * (1 - ratio)):.0f} %",
        f"{s.middle(lambda o: o.restarts):g}",
        show_duration(s.middle(lambda o: o.times.redone)),
        show_duration(s.middle(lambda o: o.times.waiting)),
        f"{100 * s.middle(lambda o: o.goodput):.0f} %",
    )


def _unfinished(s: Summary) -> list[str]:
    reasons = Counter(_why(o) for o in s.outcomes if not o.is_finished)
    return [f"{s.policy} on {s.trace}, {num} not done: {why}" for why, num in reasons.most_common(REASONS_SHOWN)]


def _why(o: Outcome) -> str:
    return f"{o.phase.value}, {o.reason}" if o.phase.is_ended else f"got nowhere in {show_duration(o.took)}"


# --- for programs --------------------------------------------------------------------------------------------------------------


def summary_json(s: Summary) -> dict[str, Json]:
    """Picture-ready: sorted hours and dollars of the finished runs, and what the median run had cost when."""
    typical = s.typical
    return {
        "policy": s.policy,
        "trace": s.trace,
        "runs": len(s.outcomes),
        "finished": len(s.finished),
        "phases": dict(Counter(o.phase.value for o in s.outcomes)),
        "hours": _figures(s, lambda o: o.took / HOUR),
        "cost_usd": _figures(s, lambda o: o.cost),
        "on_demand_usd": _rounded(s.on_demand),
        "saved_fraction": None if s.cost_ratio is None else _rounded(1 - s.cost_ratio),
        "restarts": _figures(s, lambda o: o.restarts),
        "preemptions": _figures(s, lambda o: o.preemptions),
        "steps_lost": _figures(s, lambda o: o.steps_lost),
        "redone_hours": _figures(s, lambda o: o.times.redone / HOUR),
        "waiting_hours": _figures(s, lambda o: o.times.waiting / HOUR),
        "goodput": {"median": _rounded(s.middle(lambda o: o.goodput)), "p5": _rounded(-s.p95(lambda o: -o.goodput))},
        "finish_hours": sorted(round(o.took / HOUR, 4) for o in s.finished),
        "costs_usd": sorted(round(o.cost, 4) for o in s.finished),
        "median_run": {"seed": typical.seed, "spending": [[round(t / HOUR, 4), round(usd, 4)] for t, usd in typical.spending]},
        "outcomes": [outcome_json(o) for o in s.outcomes],
    }


def outcome_json(o: Outcome) -> dict[str, Json]:
    return {
        "seed": o.seed,
        "state": o.phase.value,
        "exit_code": o.exit_code if o.phase is not Phase.SUCCEEDED else 0,
        "reason": o.reason,
        "hours": round(o.took / HOUR, 4),
        "cost_usd": round(o.cost, 4),
        "on_demand_usd": _rounded(o.on_demand),
        "restarts": o.restarts,
        "preemptions": o.preemptions,
        "steps_lost": o.steps_lost,
        "checkpoints": o.checkpoints,
        "useful_hours": round(o.times.useful / HOUR, 4),
        "redone_hours": round(o.times.redone / HOUR, 4),
        "saving_hours": round(o.times.saving / HOUR, 4),
        "restoring_hours": round(o.times.restoring / HOUR, 4),
        "waiting_hours": round(o.times.waiting / HOUR, 4),
        "goodput": round(o.goodput, 4),
    }


def _figures(s: Summary, figure: Callable[[Outcome], float]) -> dict[str, Json]:
    return {"median": _rounded(s.middle(figure)), "p95": _rounded(s.p95(figure))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
