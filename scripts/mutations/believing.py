"""Bugs in what a look at the world is taken to mean."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from launcher import codec, loop
from launcher.core.contract import ExitKind, ExitReport
from launcher.core.instance import EndCause, InstancePhase, InstanceStatus
from launcher.core.run import deliberate, evolve, interpret
from launcher.core.run import events as ev
from launcher.core.run.observation import SealSighted, Watch
from launcher.core.run.state import Attempt, End, EndKind, RunState
from launcher.errors import KeyMissing
from launcher.observe import Observer
from launcher.sim.faults import Fault
from launcher.units import Utc
from scripts.mutations.mutant import Mutant, Swap

Listed = dict[int, InstanceStatus] | None
Loss = Callable[..., tuple[EndCause, str] | None]


def _failed_poll_is_empty(poll: Callable[[Observer, RunState], Listed]) -> Any:
    return lambda observer, state: poll(observer, state) or {}


def _unknown_is_gone(poll: Callable[[Observer, RunState], Listed]) -> Any:
    def seen(status: InstanceStatus) -> InstanceStatus:
        return replace(status, phase=InstancePhase.GONE) if status.phase is InstancePhase.UNKNOWN else status

    def wrong(observer: Observer, state: RunState) -> Listed:
        listed = poll(observer, state)
        return None if listed is None else {number: seen(status) for number, status in listed.items()}

    return wrong


def _one_absence(loss: Loss) -> Any:
    def wrong(state: RunState, attempt: Attempt, watch: Watch, status: InstanceStatus | None, now: Utc) -> Any:
        pulse = watch.pulses.get(attempt.number)
        if attempt.billed_from is not None and pulse is not None and pulse.absent_s is not None:
            return EndCause.UNTOLD, "absent from the cloud's list"
        return loss(state, attempt, watch, status, now)

    return wrong


def _silence_by_its_clock(silent: Callable[..., tuple[ev.Event, ...]]) -> Any:
    def wrong(state: RunState, watch: Watch, now: Utc) -> tuple[ev.Event, ...]:
        pulses = {
            number: replace(pulse, still_s=now - pulse.heartbeat.at) if pulse.heartbeat else pulse
            for number, pulse in watch.pulses.items()
        }
        return silent(state, replace(watch, pulses=pulses), now)

    return wrong


def _user_error_is_preemption(end_of_report: Callable[[Attempt, Utc, ExitReport], End]) -> Any:
    def wrong(old: Attempt, at: Utc, report: ExitReport) -> End:
        end = end_of_report(old, at, report)
        return replace(end, end=EndKind.PREEMPTED) if report.outcome is ExitKind.PROGRAM_FAILED else end

    return wrong


def _journaled_commits_alone(fact: Callable[[Attempt, SealSighted, Utc], ev.AttemptSealed]) -> Any:
    def wrong(attempt: Attempt, seal: SealSighted, now: Utc) -> ev.AttemptSealed:
        return replace(fact(attempt, seal, now), last=attempt.commit, step=attempt.commit_step)

    return wrong


def _rotten_objects_raise(decoded: Callable[[Observer, type, str], Any]) -> Any:
    def wrong(observer: Observer, kind: type, key: str) -> Any:
        try:
            return codec.loads_digested(kind, observer._store.get(key))
        except KeyMissing:
            return None

    return wrong


def _deaf_to_requests(requests: Callable[..., Iterator[ev.Event]]) -> Any:
    return lambda state, seen, now: requests(state, replace(seen, requests=()), now)


MUTANTS = (
    Mutant(
        name="believe a failed poll",
        breaks="A cloud that does not answer is taken for one that has nothing running.",
        killer="false-loss",
        swaps=(Swap(Observer, "_poll", _failed_poll_is_empty),),
        only=frozenset({Fault.CLOUD_AWAY}),
    ),
    Mutant(
        name="take unknown for gone",
        breaks="An instance that another machine started, and this one has no record of, is taken for ended.",
        killer="false-loss",
        swaps=(Swap(Observer, "_poll", _unknown_is_gone),),
        only=frozenset({Fault.OTHER_HOME, Fault.CRASH_AT_COMMAND}),
    ),
    Mutant(
        name="one absence, not two",
        breaks="An attempt is lost as soon as one poll does not list its instance, whatever its heartbeat says.",
        killer="false-loss",
        swaps=(Swap(interpret, "_loss", _one_absence),),
        only=frozenset({Fault.POLL_PARTIAL}),
    ),
    Mutant(
        name="trust a timestamp of another machine",
        breaks="A heartbeat's age is reckoned from the machine's clock, which may be minutes off.",
        killer="false-loss",
        swaps=(Swap(deliberate, "_silent", _silence_by_its_clock),),
        only=frozenset({Fault.SKEW}),
    ),
    Mutant(
        name="count a user error as preemption",
        breaks="A program that exits with an error is retried without limit, as if the market had taken its machine.",
        killer="outcomes",
        swaps=(Swap(evolve, "end_of_report", _user_error_is_preemption),),
        only=frozenset({Fault.PROGRAM_FAILS}),
    ),
    Mutant(
        name="count only journaled commits",
        breaks="A checkpoint that landed after the last look, and before the seal, is forgotten.",
        killer="durable-steps",
        swaps=tuple(Swap(module, "fact_of_seal", _journaled_commits_alone) for module in (interpret, loop)),
        only=frozenset({Fault.NOTICE_MISSING}),
    ),
    Mutant(
        name="let a rotten object end the loop",
        breaks="A heartbeat that arrives damaged is an error, and not simply absent.",
        killer="no-bug",
        swaps=(Swap(Observer, "_decoded", _rotten_objects_raise),),
        only=frozenset({Fault.READ_CORRUPTED, Fault.READ_TRUNCATED}),
    ),
    Mutant(
        name="read no requests",
        breaks="What other processes ask of the supervisor, to stop or to cancel, is not journaled.",
        killer="requests",
        swaps=(Swap(interpret, "_requests", _deaf_to_requests),),
        only=frozenset({Fault.STOP_REQUEST}),
    ),
)
