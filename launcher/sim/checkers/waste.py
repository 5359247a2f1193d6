"""Work done twice: steps that were durable and lost, restores further back than needed, and two attempts that train at once.

What was durable is read off the store's log, where nothing is ever overwritten or forgotten.
"""

from collections.abc import Iterator

from launcher.core.checkpoint.manifest import CommitRef, Manifest, before
from launcher.core.contract import commit_key, exit_key
from launcher.core.run import events as ev
from launcher.sim.checkers.evidence import evidence_of
from launcher.sim.checkers.tale import Told, commits, tale
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.units import MINUTE, Seconds, Utc

# An agent reads every 3 s what became of it (`Tempo.journal_poll`), and 30 s later where the store gave no answer.
TOGETHER_MOST: Seconds = MINUTE
MISREADING = frozenset({Fault.READ_CORRUPTED, Fault.READ_TRUNCATED})
NO_STORE = (Fault.STORE_AWAY, Fault.STORE_STORM)


def durable_steps(world: FaultyWorld) -> Iterator[str]:
    """A grant's parent is the newest commit that the attempts before it made: a seal loses nothing, nor does a rotten grant."""
    base: CommitRef | None = None  # where the run's line begins anew, since it was sent back
    first = 0  # attempt of that line
    seen = evidence_of(world)
    for told in _grants(world):
        grant = told.event
        assert isinstance(grant, ev.WriterGranted)
        if _goes_back(world, told):
            base, first = grant.parent, grant.attempt
        held = max((_newest(world, n) for n in _writers_before(world, told) if n >= first), default=None, key=_order) or base
        if seen.past_bent(grant.parent) != seen.past_bent(held):
            steps = f"step {_step_of(world, grant.parent)}, and {held} of step {_step_of(world, held)} was durable"
            yield f"the grant of attempt {grant.attempt} names {grant.parent} of {steps}"


def redone_work(world: FaultyWorld) -> Iterator[str]:
    """An attempt goes on from the newest commit, at or before its grant's parent, that was whole when it restored."""
    grants = {told.event.attempt: told for told in _grants(world) if isinstance(told.event, ev.WriterGranted)}
    parents = {number: told.event.parent for number, told in grants.items() if isinstance(told.event, ev.WriterGranted)}
    for told in tale(world):
        start = told.event
        if isinstance(start, ev.TrainingStarted) and start.attempt in parents:
            allowed = _newest_whole(world, parents[start.attempt], parents, told.at)
            misread = start.heartbeat.set_aside and MISREADING & world.plan.kinds  # twice damaged on its way is taken for damaged
            if start.heartbeat.restored_step < _step_of(world, allowed) and not misread:
                yield f"attempt {start.attempt} went on from step {start.heartbeat.restored_step}, and {allowed} was whole"


def double_training(world: FaultyWorld) -> Iterator[str]:
    """Once the right to write has passed on, the attempt before does not train on, but for a moment. Zombies may."""
    granted_at = {told.event.attempt: told.at for told in _grants(world) if isinstance(told.event, ev.WriterGranted)}
    for instance in world.cloud.instances.values():
        number = instance.spec.attempt
        after = [at for other, at in granted_at.items() if other > number]
        if number not in granted_at or not after or _is_beyond_reach(instance):
            continue
        end, passed_on = _trained_until(world, instance), min(after)
        away = sum(max(0.0, min(end, s.end) - max(passed_on, s.start)) for s in world.plan.spans if s.fault in NO_STORE)
        if end - passed_on - away > TOGETHER_MOST:
            yield f"attempt {number} trained for {end - passed_on:.0f} s after the right to write had passed on"


def _grants(world: FaultyWorld) -> Iterator[Told]:
    return (told for told in tale(world) if isinstance(told.event, ev.WriterGranted))


def _goes_back(world: FaultyWorld, grant: Told) -> bool:
    """Whether the run was resumed with `--from` since the grant before."""
    back = False
    for told in tale(world):
        if told is grant:
            return back
        if isinstance(told.event, ev.WriterGranted):
            back = False
        elif isinstance(told.event, ev.RunResumed):
            back = back or told.event.branched
    return back


def _writers_before(world: FaultyWorld, grant: Told) -> set[int]:
    """Attempts of which the journal told by then that they could write: some of their grants may be void."""
    kinds = ev.WriterGranted | ev.TrainingStarted | ev.CheckpointSeen
    told = [t for t in tale(world) if t.record.number < grant.record.number and isinstance(t.event, kinds)]
    return {t.attempt for t in told if t.attempt is not None}


def _newest(world: FaultyWorld, attempt: int) -> CommitRef | None:
    return max((c.commit.ref for c in commits(world, attempt) if isinstance(c.commit, Manifest)), default=None)


def _order(ref: CommitRef | None) -> tuple[int, int]:
    return (0, 0) if ref is None else (ref.attempt, ref.commit)


def _step_of(world: FaultyWorld, ref: CommitRef | None) -> int:
    manifest = None if ref is None else _manifest(world, ref)
    return 0 if manifest is None else manifest.step


def _manifest(world: FaultyWorld, ref: CommitRef) -> Manifest | None:
    """As it was created, whatever has become of its bytes."""
    found = next((c.commit for c in commits(world, ref.attempt) if c.commit.ref == ref), None)
    return found if isinstance(found, Manifest) else None


def _newest_whole(world: FaultyWorld, ref: CommitRef | None, parents: dict[int, CommitRef | None], at: Utc) -> CommitRef | None:
    """The newest commit from `ref` downwards of which nothing had rotted or been deleted by `at`."""
    gone = {key for when, key in world.store.damaged if when <= at}
    gone |= {w.key for w in world.store.log if w.data is None and w.at <= at}
    while ref is not None:
        manifest = _manifest(world, ref)
        keys = [commit_key(ref), *(file.key for file in manifest.files)] if manifest else []
        if keys and not gone.intersection(keys):
            return ref
        ref = before(ref, manifest, parents)
    return None


def _is_beyond_reach(instance: Instance) -> bool:
    return any(agent.is_deaf or agent.was_woken for agent in instance.agents)


def _trained_until(world: FaultyWorld, instance: Instance) -> Utc:
    """Its exit report, or the end of its agents and of the machine, whichever came first."""
    key = exit_key(instance.spec.attempt)
    reported = [w.at for w in world.store.log if w.key == key]
    agents = [agent.ended_at for agent in instance.agents if agent.ended_at is not None]
    over = max(agents) if agents and len(agents) == len(instance.agents) else world.timeline.now
    ended = [instance.ended_at] if instance.ended_at is not None else []
    return min([*reported, *ended, over])
