"""Once nothing new goes wrong a run comes to its end, an end that what went wrong explains; and who asks for a stop gets it."""

from collections.abc import Iterator

from launcher import codec
from launcher.core.contract import REQUESTS_PREFIX, Request, RequestKind
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.sim.checkers.tale import Told, tale, told_of, watched
from launcher.sim.cloud import Instance
from launcher.sim.disaster import BOUND, FaultyWorld
from launcher.sim.faults import Fault
from launcher.sim.faulty import LIST_LAG
from launcher.units import HOUR, MINUTE, Seconds, Utc

HEARD_MOST: Seconds = LIST_LAG + 2 * MINUTE  # requests are listed at each look, and a listing may lag
# Attempts save and end (`drain_max`), or are believed lost; then the seal.
OBEYED_MOST: Seconds = HEARD_MOST + Tempo().drain_max_default + Tempo().lost_after
EXIT_LIMIT, EXIT_CAPACITY, EXIT_ACCESS, EXIT_STORE = 4, 3, 5, 6
MUTE_LEAST = 3  # machines in a row that never spoke: enough to ask a person
MUTE_LIFE: Seconds = 5 * MINUTE  # in which one would have spoken
NO_MACHINES = {
    Fault.CAPACITY,
    Fault.QUOTA,
    Fault.REGION_GONE,
    Fault.MUTE,
    Fault.UNREADY,
    Fault.DIES,
    Fault.START_LOST,
    Fault.START_SLOW,
}
BROKEN_STORE = {
    Fault.STORE_AWAY,
    Fault.STORE_STORM,
    Fault.CHECKPOINT_DAMAGED,
    Fault.CREATE_FAILED,
    Fault.CREATE_LATE,
    Fault.WRITE_CORRUPTED,  # of a seal: it looks like a checkpoint, and where there is no other a person has to decide
}
MISREAD = {Fault.READ_CORRUPTED, Fault.READ_TRUNCATED}


def ends(world: FaultyWorld) -> Iterator[str]:
    """The run ends within the bound, and in a phase that its own troubles explain."""
    told = tale(world)
    state = told[-1].state if told else None
    if world.ended_at is None:
        phase = state.phase.value if state else "not created"
        yield f"the run has not ended {BOUND / HOUR:.0f} h after the last trouble: {phase}"
    elif state is None or state.terminal is None:
        yield "a supervisor saw the run's end, and the journal tells of none"
    elif not _is_explained(world, state):
        yield f"the run ended {state.phase.value} without a cause: {state.terminal.reason}"
    elif state.terminal.exit_code in (EXIT_CAPACITY, EXIT_ACCESS):
        yield from _given_up_early(world, state.terminal.reason)


def requests(world: FaultyWorld) -> Iterator[str]:
    """A request is journaled, and the run comes to a stop, however long nobody supervised when it was made."""
    for written in world.store.log:
        if written.key.startswith(REQUESTS_PREFIX) and written.data is not None:
            yield from _disobeyed(world, codec.loads_digested(Request, written.data), written.at)


def _disobeyed(world: FaultyWorld, request: Request, asked_at: Utc) -> Iterator[str]:
    told = tale(world)
    if _had_ended(told, asked_at):
        return  # withdrawn: it must not stop the resume
    now = world.timeline.now
    seen_at = next((t.at for t in told if isinstance(t.event, ev.RequestSeen) and t.event.request.uuid == request.uuid), now)
    end = next((t for t in told if t.at >= asked_at and t.state is not None and t.state.terminal is not None), None)
    end_at = now if end is None else end.at
    unheard, standing = watched(world, asked_at, min(seen_at, end_at)), watched(world, asked_at, end_at)
    if unheard > HEARD_MOST:
        yield f"a request to {request.request.value} was not heard for {unheard:.0f} s"
    if standing > OBEYED_MOST:
        yield f"a request to {request.request.value} was not obeyed for {standing:.0f} s"
    if end is not None and seen_at < end_at and end.state is not None and not _fits(request.request, end.state.phase):
        yield f"a request to {request.request.value} ended {end.state.phase.value}"


def _had_ended(told: tuple[Told, ...], at: Utc) -> bool:
    before = [t for t in told if t.at <= at]
    return bool(before) and before[-1].state is not None and before[-1].state.terminal is not None


def _fits(kind: RequestKind, phase: Phase) -> bool:
    """A run may reach its end while it is being stopped, or fail; a harder request than this one may have come too."""
    fitting = {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
    return phase in (fitting if kind is RequestKind.CANCEL else fitting | {Phase.PAUSED})


def _given_up_early(world: FaultyWorld, reason: str) -> Iterator[str]:
    """A machine was let go for want of machines, and had been seen to be up."""
    up_since = {t.attempt: t.at for t in told_of(world, ev.AttemptStarted)}
    for told in told_of(world, ev.AttemptUnwanted):
        if isinstance(told.event, ev.AttemptUnwanted) and told.event.reason == reason and told.attempt in up_since:
            up = told.at - up_since[told.attempt]
            yield f"the run gave up ({reason}) while attempt {told.attempt} had been up for {up:.0f} s"


def _is_explained(world: FaultyWorld, state: RunState) -> bool:
    kinds, recipe, end = world.plan.kinds, state.recipe, state.terminal
    assert end is not None
    match state.phase:
        case Phase.SUCCEEDED:
            return True
        case Phase.FAILED:
            return Fault.PROGRAM_FAILS in kinds
        case Phase.CANCELLED:
            return Fault.STOP_REQUEST in kinds
        case _:
            causes = {
                EXIT_LIMIT: recipe.policy.budget is not None or state.deadline_at is not None,
                EXIT_CAPACITY: bool(kinds & NO_MACHINES) or any(i.failure for i in world.cloud.instances.values()),
                EXIT_ACCESS: Fault.QUOTA in kinds or _were_mute(world),
                EXIT_STORE: bool(kinds & (BROKEN_STORE | MISREAD)),
            }
            return causes.get(end.exit_code, Fault.STOP_REQUEST in kinds)


def _were_mute(world: FaultyWorld) -> bool:
    """The newest machines that came up, those aside that the market took young, were never heard of."""
    up = [i for i in world.cloud.instances.values() if i.billed_from is not None]
    old = [i for i in up if not i.was_taken or _lived_s(i) >= MUTE_LIFE]
    newest = sorted(old, key=lambda i: i.requested_at)[-MUTE_LEAST:]
    return len(newest) == MUTE_LEAST and not any(agent.claimed_at for i in newest for agent in i.agents)


def _lived_s(instance: Instance) -> Seconds:
    return 0.0 if instance.billed_from is None or instance.ended_at is None else instance.ended_at - instance.billed_from
