"""A run's journal in words: one sentence for each event, with its reason and its numbers.

`sentence` is total over the union of events, so that a new kind of event cannot be forgotten here: the type checker says so.
Durations and instants in the sentences are the market's.
"""

import signal
from typing import assert_never

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitReport, Heartbeat, Notice
from launcher.core.instance import EndCause
from launcher.core.market.offer import Capacity, Offer
from launcher.core.plan.planner import Plan
from launcher.core.run import events as ev
from launcher.errors import StoreDenied, StoreError
from launcher.units import show_duration, show_rate, show_size, show_usd


def sentence(event: ev.Event, unit: str = "step") -> str:
    """What happened, or what was decided and why. Progress is counted in `unit`s."""
    told = _of_attempt(event, unit) if isinstance(event, ev.AttemptEvent) else _of_run(event, unit)
    return " ".join(told.split())  # a cloud's message or a program's may hold line ends


def ended_by(wait_status: str) -> str:
    """An agent's wait status in words: "signal 9" is "killed by SIGKILL"; the codes of an exit are those of our errors.

    To an agent that may write nothing its exit is the only word left.
    """
    kind, _, number = wait_status.partition(" ")
    if kind == "signal" and number.isdigit():
        known = {s.value: s.name for s in signal.Signals}
        return f"killed by {known.get(int(number), f'signal {number}')}"
    meaning = _EXITS.get(wait_status, "")
    return f"exited with code {number}{meaning}" if kind == "exit" else wait_status


def _of_run(event: ev.RunEvent, unit: str) -> str:
    match event:
        case ev.RunCreated(run=run, recipe=recipe, deadline_at=deadline_at, at=at):
            limit = "" if deadline_at is None else f", deadline in {show_duration(deadline_at - at)}"
            budget = "" if recipe.policy.budget is None else f", budget {show_usd(recipe.policy.budget)}"
            return f"run {run} created from recipe {recipe.name}{limit}{budget}"
        case ev.SupervisorStarted(supervisor=supervisor, host=host, pid=pid):
            return f"supervisor {supervisor} took over, process {pid} on {host}"
        case ev.SpeedChosen(speed=speed, reason=reason):
            return f"speed chosen: 1 s here is {speed:.4g} s there; {reason}"
        case ev.PlanMade(plan=plan):
            return _plan(plan)
        case ev.RunResumed():
            return _resumed(event, unit)
        case ev.RequestSeen(request=request):
            return f"{request.request.value} asked for by {request.by}"
        case ev.RecordVoided(numbers=numbers):
            return f"records that nobody can read are void: {', '.join(map(str, numbers))}"
        case ev.RunSucceeded(commit=commit, step=step):
            return f"run succeeded at {unit} {step}; {_commit(commit)}"
        case ev.RunPaused(exit_code=exit_code, reason=reason):
            return f"run paused (exit {exit_code}): {reason}"
        case ev.RunFailed(exit_code=exit_code, reason=reason, program_exit_code=program):
            own = "" if program is None else f", the program's own code is {program}"
            return f"run failed (exit {exit_code}{own}): {reason}"
        case ev.RunCancelled(reason=reason):
            return f"run cancelled: {reason}"
        case ev.MarketSighted(sighting=sighting):
            prices = [offer.price for offer in sighting.offers]
            ranged = f", {show_rate(min(prices))} to {show_rate(max(prices))}" if prices else ""
            return f"the market was seen: {len(prices)} offers{ranged}"
        case _:
            assert_never(event)


def _of_attempt(event: ev.AttemptEvent, unit: str) -> str:
    who = f"attempt {event.attempt}"
    match event:
        case ev.AttemptRequested(offer=offer, reason=reason):
            return f"{who} requested at {_offer(offer)}: {reason}"
        case ev.AttemptRefused(failure=failure):
            return f"{who} refused ({failure.failure.value}): {failure.message}"
        case ev.AttemptStarted(instance_id=instance_id):
            return f"{who} started: instance {instance_id or 'without an id'} runs and is billed from now"
        case ev.AttemptClaimed(instance_id=instance_id):
            return f"{who} claimed by the agent on instance {instance_id}"
        case ev.WriterGranted(parent=parent):
            return f"{who} may write; it goes on from {'the start' if parent is None else f'checkpoint {parent}'}"
        case ev.TrainingStarted(heartbeat=beat):
            return f"{who} trains{_restored(beat, unit)}"
        case ev.CheckpointSeen():
            return _checkpoint(event, unit)
        case ev.WarningSeen(warning=warning):
            return f"{who} warns: {warning}"
        case ev.NoticeSeen(notice=notice):
            return _notice(notice)
        case ev.InstanceMissed():
            return f"{who}: its instance is no longer listed; one more look decides"
        case ev.InstanceFound():
            return f"{who}: its instance is listed again"
        case ev.AttemptUnwanted(reason=reason, drain=drain):
            return f"{who} is to end {'after a save' if drain else 'at once'}: {reason}"
        case ev.StopAtMoved(at=at, stop_at=stop_at):
            return f"{who}: the budget now ends it in {show_duration(stop_at - at)}"
        case ev.AttemptExited(report=report):
            return _exit(report, unit)
        case ev.AttemptLost(cause=cause, evidence=evidence, heartbeat=beat):
            last = "" if beat is None else f"; last heard at {unit} {beat.step}"
            return f"{who} lost ({_CAUSES[cause]}): {evidence}{last}"
        case ev.AttemptSealed(last=last_commit, step=step):
            return f"{who} sealed; {_commit(last_commit)}{'' if step is None else f' ({unit} {step})'}"
        case ev.InstanceEnded():
            return _instance_end(event)
        case _:
            assert_never(event)


_CAUSES = {
    EndCause.PREEMPTED: "preempted",
    EndCause.STOPPED: "stopped by us",
    EndCause.EXITED: "its agent exited",
    EndCause.KILLED: "killed by somebody else",
    EndCause.UNTOLD: "the cloud does not tell why",
}
_EXITS = {
    f"exit {StoreDenied.exit_code}": ": the checkpoint store refuses this machine; mend its role or its credentials",
    f"exit {StoreError.exit_code}": ": the checkpoint store was of no use to this machine",
}


def _offer(offer: Offer) -> str:
    place = offer.placement
    kind = "spot" if place.capacity is Capacity.SPOT else "on-demand"
    return f"{place} ({place.instance}, {place.accelerator}:{place.accelerators}, {kind}, {show_rate(offer.price)})"


def _commit(ref: CommitRef | None) -> str:
    return "it made no checkpoint" if ref is None else f"its last checkpoint is {ref}"


def _plan(plan: Plan) -> str:
    if plan.chosen is None:
        return f"plan made: wait; {plan.reason}"
    what = "to finish" if plan.task.step is not None else f"for {show_duration(plan.task.work)} of training"  # unknown work
    total = f"{show_usd(plan.chosen.estimate.usd)} {what}"
    return f"plan made: {_offer(plan.chosen.offer)}, about {total}; {plan.policy}: {plan.reason}"


def _resumed(event: ev.RunResumed, unit: str) -> str:
    changes = "".join(f", {key}={value}" for key, value in event.changes.items())
    where = f" from {'the start' if event.parent is None else f'checkpoint {event.parent}'} ({unit} {event.step})"
    return f"run resumed{where if event.branched else ''}{changes}"


def _restored(beat: Heartbeat, unit: str) -> str:
    point = f"from {unit} {beat.restored_step} (checkpoint {beat.restored}, digest ok)"
    source = "from the start" if beat.restored is None else point
    bad = "".join(f"; set aside {found.ref}: {found.culprit}" for found in beat.set_aside)
    return f" {source}, {show_duration(beat.restoring_s)} after its grant{bad}"


def _checkpoint(event: ev.CheckpointSeen, unit: str) -> str:
    what = f"attempt {event.attempt} saved {unit} {event.step} as {event.ref} ({show_size(event.size)})"
    return f"{what}{' urgently' if event.urgent else ''}: stall {event.stall_s:.2f} s, durable after {event.durable_s:.2f} s"


def _notice(notice: Notice) -> str:
    if notice.withdrawn:
        return f"attempt {notice.attempt}: the notice was withdrawn; it goes on"
    stretched = ", stretched to leave real time" if notice.stretched else ""
    return f"attempt {notice.attempt} has notice: {show_duration(notice.ends_at - notice.at)} left{stretched} ({notice.source})"


def _exit(report: ExitReport, unit: str) -> str:
    code = "" if report.exit_code is None else f", code {report.exit_code}"
    by = "" if report.signal is None else f", {ended_by(f'signal {report.signal}')}"
    hang = ", it hung" if report.hang else ""
    return (
        f"attempt {report.attempt} ended ({report.outcome.value}{code}{by}{hang}) at {unit} {report.last.step}: {report.reason}"
    )


def _instance_end(event: ev.InstanceEnded) -> str:
    status = "" if event.wait_status is None else f", {ended_by(event.wait_status)}"
    unsure = "" if event.low == event.high else f"; the bill ends within {show_duration(event.high - event.low)}"
    return f"attempt {event.attempt}: its instance is gone ({_CAUSES[event.cause]}{status}){unsure}"
