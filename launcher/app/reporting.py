"""What a run was worth: money against on-demand, time by what it went into, and its attempts with how each ended.

Everything is read off the journal's fold and the ledger, so a report of a run that still goes on is its books so far.
"""

from dataclasses import dataclass

from launcher import beacon
from launcher.adapters.history import History
from launcher.app.answer import moment
from launcher.app.checkpoints import set_aside_in
from launcher.app.home import Found
from launcher.app.lives import Life, life_json, life_lines, lives_of
from launcher.app.looking import span
from launcher.app.proof import proof_of
from launcher.app.result import Result, as_json, result_of
from launcher.app.show import final_block
from launcher.app.standing import what_next
from launcher.app.ticking import next_tick
from launcher.codec import Json
from launcher.core.checkpoint.manifest import SetAside
from launcher.core.policy.base import Phase
from launcher.core.run.ledger import Ledger, ledger
from launcher.units import Usd, Utc, show_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    result: Result
    books: Ledger
    lives: tuple[Life, ...]
    set_aside: tuple[SetAside, ...]  # what restores passed over, in the order of the finding
    speed: float
    created_at: Utc
    ended_at: Utc | None
    command: str  # what a person types to go on

    @property
    def goodput(self) -> float:
        """Useful seconds over elapsed ones."""
        return self.result.seconds.share(self.result.seconds.useful)

    @property
    def num_noticed(self) -> int:
        """Preemptions that were announced."""
        return sum(1 for life in self.lives if life.is_preempted and life.noticed)

    @property
    def num_silent(self) -> int:
        return sum(1 for life in self.lives if life.is_preempted and not life.noticed)

    @property
    def saved_usd(self) -> Usd | None:
        cost = self.result.cost
        return None if cost.on_demand is None else cost.on_demand - cost.spent


def report_on(found: Found, history: History) -> Report:
    """Raises UsageError for a run that was never started."""
    state, now = history.state, found.market_now(history)
    result, driver = result_of(history, now, proof_of(history)), beacon.judge(beacon.read(found.store))
    return Report(
        result=result,
        books=ledger(state, now),
        lives=lives_of(state, now, {}),
        set_aside=set_aside_in(history),
        speed=state.speed,
        created_at=state.created_at,
        ended_at=state.terminal.at if state.terminal else None,
        command=found.addressed(what_next(state, now, result.resume, driver, tick_at=next_tick(history, driver, now))[1]),
    )


def report_lines(report: Report) -> list[str]:
    r, books = report.result, report.books
    took = span(books.times.elapsed, report.speed)
    attempts = f"{r.attempts} attempt{'' if r.attempts == 1 else 's'}"
    head = f"run {r.run} (recipe {r.recipe}): {r.state.value}, {r.reached}, {took}, {attempts}"
    *block, _ = final_block(r)
    lines = [head, "", *block, *_more(report), "", *life_lines(report.lives, report.speed)]
    return lines if r.state is Phase.SUCCEEDED else [*lines, "", f" next    {report.command}"]


def _more(report: Report) -> list[str]:
    r, books = report.result, report.books
    spent = books.spent
    lines = [f" goodput {100 * report.goodput:.0f} % of the time was useful training"]
    if r.preemptions:
        noticed = f" notices {report.num_noticed} of {r.preemptions} preemptions were announced"
        lost = f"just in time {r.just_in_time_saves}: announced, and no work lost; steps lost in all: {r.steps_lost}"
        lines.append(f"{noticed}; {lost}" if r.tells_steps else noticed)
    if books.times.overlap > 0:
        lines.append(f" overlap {span(books.times.overlap, report.speed)} with more than one machine")
    if spent.high - spent.low >= 0.005:
        lines.append(f" range   {show_usd(spent.low)} to {show_usd(spent.high)}: not every end of a bill is known")
    return [*lines, *(f" damage  checkpoint {bad.ref} was set aside: {bad.culprit}" for bad in report.set_aside)]


def report_json(report: Report) -> dict[str, Json]:
    """`train`'s document and more; keys are only ever added."""
    spent = report.books.spent
    saved = report.saved_usd
    created_at, ended_at = moment(report.created_at), None if report.ended_at is None else moment(report.ended_at)
    return {
        **as_json(report.result),
        "goodput": round(report.goodput, 4),
        "preemptions_with_notice": report.num_noticed,
        "preemptions_without_notice": report.num_silent,
        "overlap_s": round(report.books.times.overlap / report.speed, 3),
        "spent_usd_range": [round(spent.low, 4), round(spent.high, 4)],
        "saved_usd": None if saved is None else round(saved, 4),
        "speed": report.speed,
        "created_at": created_at,
        "ended_at": ended_at,
        "created_at_market": created_at,  # both clocks show it: the market's begins at the run's creation
        "ended_at_market": ended_at,
        "set_aside": [{"ref": str(bad.ref), "culprit": bad.culprit} for bad in report.set_aside],
        "attempts_detail": [life_json(life, report.speed) for life in report.lives],
    }
