"""Whether machines did only what the journal allowed: one agent to an attempt, started and stopped on record, gone at the end."""

from collections.abc import Iterator

from launcher import codec
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.instance import EndCause
from launcher.core.run import events as ev
from launcher.errors import KeyMissing
from launcher.sim.checkers.evidence import Evidence, evidence_of
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld

# Any of these on record, and an attempt's machine may be stopped.
LETS_GO = (ev.AttemptUnwanted, ev.AttemptExited, ev.AttemptLost, ev.AttemptRefused, ev.AttemptSealed, ev.InstanceEnded)


def one_trainer(world: FaultyWorld) -> Iterator[str]:
    """Of one attempt at most one agent ever trains: the one that holds the claim, after its own grant was written."""
    seen = evidence_of(world)
    trained: dict[int, int] = {}
    for agent in world.cloud.agents():
        if not agent.has_trained:
            continue
        attempt = agent.attempt
        trained[attempt] = trained.get(attempt, 0) + 1
        claim = seen.claims.get(attempt)
        if claim is None or claim.nonce != agent.nonce:
            yield f"an agent of attempt {attempt} trained that did not hold its claim"
        grant = seen.grant(attempt)
        if grant is None or agent.trained_from is None or grant.at > agent.trained_from:
            yield f"attempt {attempt} trained from {agent.trained_from}, and was granted {'never' if grant is None else grant.at}"
    for attempt, count in trained.items():
        if count > 1:
            yield f"{count} agents of attempt {attempt} trained"


def claims(world: FaultyWorld) -> Iterator[str]:
    """What lies below an attempt is by the agent that holds its claim: the one that lost it writes nothing."""
    seen = evidence_of(world)
    for attempt, report in seen.exits.items():
        if attempt not in seen.claims or report.nonce != seen.claims[attempt].nonce:
            yield f"attempt {attempt} has an exit report by an agent that does not hold its claim"
    for ref, made in seen.manifests.items():
        if ref.attempt not in seen.claims or made.commit.nonce != seen.claims[ref.attempt].nonce:
            yield f"{ref} was committed by an agent that does not hold its attempt's claim"
    for attempt, claim in seen.claims.items():
        said = _last_heartbeat(world, attempt)
        if said is not None and said.nonce != claim.nonce:
            yield f"the heartbeat of attempt {attempt} is by an agent that does not hold its claim"
    for instance in world.cloud.instances.values():
        mine = seen.claims.get(instance.spec.attempt)
        for agent in instance.agents:
            if agent.claimed_at is not None and (mine is None or mine.nonce != agent.nonce):
                yield f"an agent of attempt {agent.attempt} believes it holds a claim that is not its own"


def _last_heartbeat(world: FaultyWorld, attempt: int) -> Heartbeat | None:
    try:
        beat: Heartbeat = codec.loads_digested(Heartbeat, world.store.get(heartbeat_key(attempt)))
    except KeyMissing:
        return None
    return beat


def machines_end(world: FaultyWorld) -> Iterator[str]:
    """Once the run is over every machine is gone, but for one that was ordered after anybody was there to know of it."""
    if world.ended_at is None:
        return  # that it never ended is another checker's to say
    for name, instance in world.cloud.instances.items():
        if instance.failure is not None or instance.requested_at > world.ended_at:
            continue
        if instance.ended_at is None:
            yield f"{name} is still up {world.timeline.now - world.ended_at:.0f} s after the run's end"
        elif instance.ended_at > world.ended_at:
            yield f"{name} ended {instance.ended_at - world.ended_at:.0f} s after the run's end"


def acts_journaled(world: FaultyWorld) -> Iterator[str]:
    """What is done to a machine was written down before: its request, and that it may go."""
    seen = evidence_of(world)
    for name, instance in world.cloud.instances.items():
        request = next(seen.of(ev.AttemptRequested, instance.spec.attempt), None)
        if request is None or request.at > instance.requested_at:
            yield f"{name} was started before its request was written"
        if instance.cause is EndCause.STOPPED and instance.ended_at is not None and not _may_go(seen, instance):
            yield f"{name} was stopped, and the journal let it go at no time before"


def _may_go(seen: Evidence, instance: Instance) -> bool:
    """Whether that was on record when it ended, or its request was void by then."""
    attempt, ended_at = instance.spec.attempt, instance.ended_at
    before = [n for n in seen.records if ended_at is not None and n.at <= ended_at]
    if any(isinstance(n.event, LETS_GO) and n.event.attempt == attempt for n in before):
        return True
    void = {number for n in before if isinstance(n.event, ev.RecordVoided) for number in n.event.numbers}
    return all(request.number in void for request in seen.of(ev.AttemptRequested, attempt))
