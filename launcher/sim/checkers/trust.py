"""Whether the worst was believed of a machine that was well: it is up, its agent speaks, and it is given up all the same."""

from collections.abc import Iterator

from launcher.core.run import events as ev
from launcher.core.run.state import Attempt
from launcher.core.tempo import Tempo
from launcher.sim.checkers.tale import Told, told_of
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.units import Utc

# What keeps heartbeats from being written, read, or acted upon while they are fresh; silence is not told from death then.
SILENCING = frozenset(
    (
        Fault.STORE_AWAY,
        Fault.STORE_STORM,
        Fault.STORE_SLOW,
        Fault.CREATE_FAILED,
        Fault.READ_TRUNCATED,
        Fault.READ_CORRUPTED,
        Fault.RECORD_DAMAGED,
        Fault.PAUSE,
    )
)
# What leaves a machine that is up out of a list.
UNLISTING = frozenset({Fault.POLL_PARTIAL, Fault.POLL_STALE})


def false_loss(world: FaultyWorld) -> Iterator[str]:
    """No attempt that is wanted is written down as lost or silent while its agent speaks, nor as missed while it is listed."""
    instances = {i.spec.attempt: i for i in world.cloud.instances.values()}
    for told in told_of(world, ev.AttemptLost, ev.AttemptUnwanted, ev.InstanceMissed):
        instance = instances.get(told.attempt or 0)
        if instance is None or not _is_up(instance, told.at):
            continue
        if isinstance(told.event, ev.InstanceMissed):
            if not UNLISTING & world.plan.kinds and _is_up(instance, told.at + Tempo().read_fast):
                yield f"attempt {told.attempt} was written down as missed, and every poll that answered had listed it"
        elif _evidence(told) and not SILENCING & world.plan.kinds and _was_wanted(told) and _is_well(instance, told.at):
            yield f"attempt {told.attempt} was up and spoke, and was given up: {_evidence(told)}"


def _evidence(told: Told) -> str:
    """Why it was given up; nothing where it was let go for other reasons."""
    match told.event:
        case ev.AttemptLost(evidence=evidence):
            return evidence
        case ev.AttemptUnwanted(silent=True, reason=reason):
            return reason
        case _:
            return ""


def _was_wanted(told: Told) -> bool:
    """Up to this very record: one that was told to go may be believed gone once it had its time."""
    assert told.state is not None
    assert told.attempt is not None
    attempt: Attempt = told.state.attempts[told.attempt]
    return attempt.unwanted_at is None or isinstance(told.event, ev.AttemptUnwanted)


def _is_up(instance: Instance, at: Utc) -> bool:
    """A machine that is given up is stopped in the same instant."""
    return instance.billed_from is not None and (instance.ended_at is None or instance.ended_at >= at)


def _is_well(instance: Instance, at: Utc) -> bool:
    """An agent on it had claimed, was not over, and was free to speak."""
    how = instance.start
    is_cut_off = how.deaf_from is not None and instance.billed_from is not None and at >= instance.billed_from + how.deaf_from
    speaks = [
        agent
        for agent in instance.agents
        if agent.claimed_at is not None and agent.claimed_at <= at and (agent.ended_at is None or agent.ended_at >= at)
    ]
    return bool(speaks) and not is_cut_off
