"""What a person asks before saying yes: how bad can it get, will it be in time, what is made, kept and deleted.

Nothing here is an expectation but the margins; the worst case is what the recipe's own limits and the dearest place that it
accepts allow.
"""

from collections.abc import Callable
from dataclasses import dataclass

from launcher.core.checkpoint.rules import keep_rule
from launcher.core.market.offer import Capacity, Offer
from launcher.core.plan.candidates import Candidate
from launcher.core.plan.estimate import Task
from launcher.core.plan.goal import deadline_of
from launcher.core.plan.planner import Plan
from launcher.core.plan.played import Played, play_out, show_share
from launcher.core.plan.transfer import UPLOAD_PER_S, Haul, Site, usd_per_month
from launcher.core.plan.unpriced import is_unpriced
from launcher.core.recipe import Recipe
from launcher.core.tempo import LAST_SAVE_MARGIN_S
from launcher.units import HOUR, Seconds, Usd, Utc, show_duration, show_rate, show_size, show_usd

Margin = tuple[float | None, float | None]  # of an average run, and of nine of ten

UNKNOWN_MARGINS = (
    "deadline, budget: what is left of them nobody knows, since nobody knows how long the program trains; --work says it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Of the chosen place, in words and figures. None where a limit is not set, or a size not known.

    Margins are what an average run leaves, `…_p90` what nine of ten leave at least; below 0 what is missing. Where runs are drawn
    the deadline's are of those that are in time; `…_p90` None where not nine of ten are.

    `worst_usd`: nothing may cost more but restarts, each of which moves bytes anew; None: nothing bounds it.
    `unattended_usd`: what a machine costs at most that nobody supervises until it ends itself; None: nothing bounds it.
    `upload_s`: of one checkpoint; it must be over before the notice is.
    """

    played: Played | None
    worst_usd: Usd | None
    worst: str
    unattended_usd: Usd | None
    unattended: str
    deadline_margin: Seconds | None
    deadline_margin_p90: Seconds | None
    budget_margin: Usd | None
    budget_margin_p90: Usd | None
    margins: tuple[str, ...]
    notice_s: Seconds | None
    upload_s: Seconds | None
    fits_notice: bool | None
    notice: str
    keeping_usd_per_month: Usd | None
    created: str
    uploaded: str
    deleted: str


def outlook(recipe: Recipe, made: Plan, haul: Haul, now: Utc, *, is_known: bool = True) -> Outlook | None:
    """None where no place was chosen. `is_known`: whether the work is; else nobody can tell what it leaves of a limit."""
    best = made.chosen
    if best is None:
        return None
    task = best.task or made.task
    worst_usd, worst = _worst(recipe, made, now)
    unattended_usd, unattended = _unattended(recipe, best.offer)
    ends_at, budget = deadline_of(recipe.policy, now), recipe.policy.budget
    played, cost = play_out(recipe, made, best, now), best.estimate
    took: Margin = (cost.elapsed, cost.elapsed_p90) if played is None else (played.elapsed, played.done_p90)
    usd: Margin = (best.usd, best.usd_p90) if played is None else (played.usd, played.usd_p90)
    time = _left(None if ends_at is None or not is_known else ends_at - now, took)
    money = _left(budget if is_known and not is_unpriced(best.offer.placement) else None, usd)
    deadline = "" if ends_at is None or not is_known else _deadline_margin(time, played)
    unknown = "" if is_known or (ends_at is None and budget is None) else UNKNOWN_MARGINS
    seconds, fits, notice = _notice(best, task, haul)
    kept = _kept_usd(best, haul)
    return Outlook(
        played=played,
        worst_usd=worst_usd,
        worst=worst,
        unattended_usd=unattended_usd,
        unattended=unattended,
        deadline_margin=time[0],
        deadline_margin_p90=time[1],
        budget_margin=money[0],
        budget_margin_p90=money[1],
        margins=tuple(filter(None, (deadline, _margin("budget", money, show_usd), unknown))),
        notice_s=None if best.offer.placement.capacity is Capacity.ON_DEMAND else best.offer.notice_lead,
        upload_s=seconds,
        fits_notice=fits,
        notice=notice,
        keeping_usd_per_month=kept,
        created=_created(recipe, best),
        uploaded=_uploaded(recipe, best, made, haul),
        deleted=_deleted(recipe, haul, kept),
    )


# --- money and time ------------------------------------------------------------------------------------------------------------


def _worst(recipe: Recipe, made: Plan, now: Utc) -> tuple[Usd | None, str]:
    goal, ends_at = recipe.policy, deadline_of(recipe.policy, now)
    each = max((c.aside.each_restart for c in made.candidates), default=0.0)
    further = f"; each further restart moves bytes for up to {show_usd(each)}" if each else ""
    offers = [c.offer for c in made.candidates]
    own = next((offer.placement for offer in offers if is_unpriced(offer.placement)), None)
    if own is not None:
        bounds = "" if goal.budget is None else f"; policy.budget bounds what is spent elsewhere, {show_usd(goal.budget)}"
        return None, f"at worst: no bound, since nobody tells what {own} costs{bounds}"
    rising = next((offer for offer in offers if not offer.is_capped), None)
    if goal.budget is not None:
        counted = (
            f"; it counts {rising.placement} at today's spot price, which no listed on-demand price bounds" if rising else ""
        )
        beside = f"; storage and traffic are billed beside it{further}" if any(c.aside.usd for c in made.candidates) else ""
        return goal.budget, f"at worst {show_usd(goal.budget)}: policy.budget, where the run pauses{counted}{beside}"
    if ends_at is None:
        return None, "at worst: no bound, since the recipe has neither policy.budget nor policy.deadline"
    if rising is not None:
        where = f"where no on-demand price is listed, as in {rising.placement}"
        return None, f"at worst: no bound, since spot may rise {where}; policy.budget would be one"
    dearest = max(offer.price_cap for offer in offers) * recipe.num_nodes
    undisturbed = max(c.aside.undisturbed(c.estimate.restarts) for c in made.candidates)
    usd = dearest * (ends_at - now) / HOUR + undisturbed
    within = f", with {show_usd(undisturbed)} for storage and traffic{further}" if undisturbed or each else ""
    return usd, (
        f"at worst {show_usd(usd)}: the dearest place that the recipe accepts, {show_rate(dearest)}, until the deadline in "
        f"{show_duration(ends_at - now)}, where the run pauses{within}; policy.budget bounds it lower"
    )


def _unattended(recipe: Recipe, offer: Offer) -> tuple[Usd | None, str]:
    usd = offer.price_cap * recipe.num_nodes * recipe.autostop / HOUR
    ends = f"unattended: a machine that nobody supervises ends after {show_duration(recipe.autostop)}"
    if is_unpriced(offer.placement):
        return None, f"{ends}; what that costs on a cluster of yours nobody tells"
    if offer.is_capped:
        return usd, f"{ends}, {show_usd(usd)} at most"
    return None, f"{ends}, {show_usd(usd)} at today's spot price; no on-demand price is listed there, and nothing else bounds it"


def _left(limit: float | None, taken: Margin) -> Margin:
    mean, p90 = taken
    return (None if limit is None or mean is None else limit - mean), (None if limit is None or p90 is None else limit - p90)


def _deadline_margin(left: Margin, played: Played | None) -> str:
    if played is None or played.done == 1:
        return _margin("deadline", left, show_duration)
    if left[0] is None:
        return f"deadline: met by none of {played.draws} drawn runs"
    mostly = "" if left[1] is None else f"; nine of ten runs have at least {show_duration(left[1])}"
    share = show_share(played.done)
    return f"deadline: met by {share} of runs, with {show_duration(left[0])} to spare on average of those{mostly}"


def _margin(name: str, left: Margin, show: Callable[[float], str]) -> str:
    """What is left of a limit, of an average run and of nine of ten; empty where there is none."""
    mean, p90 = left
    if mean is None or p90 is None:
        return ""
    usual = f"{show(abs(mean))} {'to spare' if mean >= 0 else 'too little'}"
    mostly = f"at least {show(p90)} to spare" if p90 >= 0 else f"up to {show(-p90)} too little"
    return f"{name}: {usual} on average; in nine of ten runs {mostly}"


def _kept_usd(best: Candidate, haul: Haul) -> Usd | None:
    if haul.state is None:
        return None
    store = haul.store or Site(cloud=best.offer.placement.cloud)
    return usd_per_month(store, haul.state * (haul.kept + haul.milestones) / 1e9)


# --- the notice ----------------------------------------------------------------------------------------------------------------


def _notice(best: Candidate, task: Task, haul: Haul) -> tuple[Seconds | None, bool | None, str]:
    """Whether a save that begins at the notice is safe before the end: seconds, the answer, and both in words."""
    seconds = None if haul.state is None else task.stall + haul.state / UPLOAD_PER_S
    if is_unpriced(best.offer.placement):
        return seconds, None, "notice: SIGTERM, where the cluster ends the job"
    if best.offer.placement.capacity is Capacity.ON_DEMAND:
        return seconds, None, "notice: on demand nobody takes the machine away"
    lead = best.offer.notice_lead
    cloud = best.offer.placement.cloud
    if not lead:
        return seconds, None, f"notice: {cloud} gives none that is known; up to one interval of work is lost"
    if haul.state is None or seconds is None:
        return seconds, None, f"notice: {cloud} gives {show_duration(lead)}; whether a checkpoint fits into it nobody knows"
    fits = seconds + LAST_SAVE_MARGIN_S <= lead
    verdict = "so a save at the notice is in time" if fits else "so a save at the notice is late: the interval's work is lost"
    size = show_size(haul.state)
    return seconds, fits, f"notice: {cloud} gives {show_duration(lead)}, {size} take {show_duration(seconds)}; {verdict}"


# --- what is made --------------------------------------------------------------------------------------------------------------


def _created(recipe: Recipe, best: Candidate) -> str:
    placement = best.offer.placement
    machines = "one machine" if recipe.num_nodes == 1 else f"{recipe.num_nodes} machines"
    kind = f"{placement.instance}, {placement.capacity.value}, in {placement}"
    again = "" if placement.capacity is Capacity.ON_DEMAND else ", and another whenever one is lost"
    return f"creates: {machines} ({kind}){again}; nothing else, and no controller that stays"


def _uploaded(recipe: Recipe, best: Candidate, made: Plan, haul: Haul) -> str:
    task, interval = best.task or made.task, made.saving.interval
    where = recipe.checkpoint.dir or "checkpoint.dir, which the recipe does not name yet"
    code = "" if recipe.workdir is None else "the workdir once; "
    if interval is None:
        return f"uploads: {code}the journal, and no checkpoint, to {where}"
    saves = round((task.work + best.estimate.redone) / interval)
    size = "" if haul.state is None else f" of {show_size(haul.state)}"
    often = " if the program saves as often as that" if made.saving.by_program else ""
    return f"uploads: {code}the journal and about {saves} checkpoint{'' if saves == 1 else 's'}{size}{often}, to {where}"


def _deleted(recipe: Recipe, haul: Haul, kept_usd: Usd | None) -> str:
    rule = keep_rule(recipe.checkpoint.keep)
    best = f", the {rule.best} best" if rule.best else ""
    every = f", one each {rule.every_steps} steps" if rule.every_steps else ""
    monthly = "" if kept_usd is None else f", for about {show_usd(kept_usd)} a month until `launch rm`"
    stays = f"the last {rule.last}{best}{every} stay{monthly}"
    return f"deletes: each machine when it is done with, and checkpoints as newer ones come: {stays}"
