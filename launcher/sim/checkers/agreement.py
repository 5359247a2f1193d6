"""Whether all who read the journal agree: the supervisors that wrote it, a reader that comes later, one that could not read a
record, and the agents, who follow only what concerns them.
"""

from collections.abc import Iterator

from launcher.adapters.history import History
from launcher.adapters.journal import Journal
from launcher.adapters.records import Entry
from launcher.adapters.store.base import Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import JOURNAL_PREFIX, journal_key
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.node.orders import Orders, heed, read_orders
from launcher.sim.checkers.evidence import Noted, believed, evidence_of
from launcher.sim.disaster import FaultyWorld
from launcher.sim.world import INCARNATION

UNREADABLE_END = "the record of its end was voided"  # as evolve says it
FIRST_VOIDED = 4  # a run whose creation cannot be read is no run


def replays(world: FaultyWorld) -> Iterator[str]:
    """At every prefix of the journal a fold from its beginning gives the state of the supervisor that wrote the last record."""
    states = {noted.number: (told.supervisor, told.state) for told, noted in believed(world) if noted is not None}
    seen = evidence_of(world)
    before: RunState | None = None
    for noted, state in zip(seen.records, seen.states, strict=True):
        if before is not None and state is None:
            yield f"with record {noted.number} ({type(noted.event).__name__}) the journal is none of a run any more"
            return
        before = state
        if noted.number in states and states[noted.number][1] != state:
            who, held = states[noted.number]
            yield f"after record {noted.number} {who} had another state than the journal gives: {_difference(held, state)}"
            return


def _difference(held: RunState, state: RunState | None) -> str:
    if state is None:
        return "none"
    fields = [name for name in RunState.__dataclass_fields__ if name != "derived"]
    return ", ".join(
        f"{name} {getattr(held, name)!r:.300}, not {getattr(state, name)!r:.300}"
        for name in fields
        if getattr(held, name) != getattr(state, name)
    )


def readers(world: FaultyWorld) -> Iterator[str]:
    """Who could not read a record, and who could, agree once it is void; and each agent does what the state wants of it."""
    records = evidence_of(world).records
    if len(records) <= FIRST_VOIDED:
        return
    # What declares others void is the record that hurts most where it cannot be read.
    voids = [noted.number for noted in records if isinstance(noted.event, ev.RecordVoided)]
    number = world.dice("checkers/readers").choice(voids or range(FIRST_VOIDED, len(records) + 1))
    copy = BlindStore(journal_key(number))
    for written in world.store.log:
        if written.key.startswith(JOURNAL_PREFIX) and written.data is not None:
            copy.create(written.key, written.data)
    blind = History(copy, INCARNATION, known=world.known)
    blind.poll()
    agent = Journal(copy, incarnation=INCARNATION, event_type=ev.Event, known=world.known)
    before = orders(world, agent.read())
    copy.is_blind = False
    saw = orders(world, Journal(copy, incarnation=INCARNATION, event_type=ev.Event, known=world.known).read())
    yield from void(world, copy, number)
    blind.poll()
    fresh = History(copy, INCARNATION, known=world.known)
    fresh.poll()
    if blind.state != fresh.state:
        yield f"with record {number} void, who could not read it differs: {_difference(blind.state, fresh.state)}"
    entries = agent.read()
    standing = [noted for noted in records if noted.number not in fresh.state.voided]
    for known in (before, saw):
        now = {attempt: read_orders(old, entries) for attempt, old in known.items()}
        yield from (f"with record {number} void: {what}" for what in disagreements(fresh.state, now, standing))


class BlindStore(MemoryStore):
    """A journal with one record that its readers get damaged for as long as `is_blind`."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.is_blind = True
        self._key = key

    def get(self, key: str, span: Span | None = None) -> bytes:
        data = super().get(key, span)
        return data[: len(data) // 2] if self.is_blind and key == self._key else data


def void(world: FaultyWorld, store: MemoryStore, number: int) -> Iterator[str]:
    """A supervisor opens the run, hears that an agent cannot read record `number`, and declares it void."""
    writer = History(store, INCARNATION, writer="checker", known=world.known)
    now = world.timeline.now
    writer.open(ev.SupervisorStarted(at=now, supervisor="checker", host="checker", pid=1))
    voiding = writer.voiding(now, (number,))
    if voiding is not None:
        writer.append(voiding)
    fresh = History(store, INCARNATION, known=world.known)
    fresh.poll()
    if writer.state != fresh.state:
        yield f"who voided record {number} differs from who reads that: {_difference(writer.state, fresh.state)}"


def orders(world: FaultyWorld, entries: list[Entry]) -> dict[int, Orders]:
    """What each attempt's agent reads off the journal."""
    attempts = {instance.spec.attempt for instance in world.cloud.instances.values()}
    return {attempt: read_orders(Orders(attempt=attempt), entries) for attempt in attempts}


def obedience(world: FaultyWorld) -> Iterator[str]:
    """At every prefix: an agent holds a grant where the state says so, and is dismissed where the state does not want it."""
    seen = evidence_of(world)
    known = orders(world, [])
    for (noted, standing), state in zip(seen.prefixes(), seen.states, strict=True):
        if isinstance(noted.event, ev.RecordVoided):
            known = {attempt: read_orders(old, [n.record for n in standing]) for attempt, old in known.items()}
        elif standing and standing[-1] is noted:
            known = {attempt: heed(old, [noted.record]) for attempt, old in known.items()}
        found = [] if state is None else list(disagreements(state, known, standing))
        if found:
            yield f"after record {noted.number}: {found[0]}"
            return


def disagreements(state: RunState, known: dict[int, Orders], standing: list[Noted]) -> Iterator[str]:
    """Between what the state says of an attempt and what its agent is to do.

    Where the record of its request or its end is void, the state knows only that it is over; its machine is a stranger then,
    which is stopped, or has ended already.
    """
    told = {n.event.attempt for n in standing if isinstance(n.event, ev.AttemptRequested)}
    granted = {n.event.attempt for n in standing if isinstance(n.event, ev.WriterGranted)}
    for number, order in known.items():
        attempt = state.attempts.get(number)
        if attempt is None or number not in told:
            continue
        holds = order.grant is not None and (order.dismissed is None or order.dismissed.drain)
        if holds and number not in granted:
            yield f"the agent of attempt {number} holds a grant that the journal does not tell of"
        if number in granted and (order.grant is None or order.grant.parent != attempt.parent):
            yield f"attempt {number} was granted from {attempt.parent}, and its agent reads {order.grant}"
        leaves_by_itself = order.grant is not None and number not in granted  # since its grant is void, whoever wants it
        if attempt.is_wanted and not leaves_by_itself and order.dismissed is not None:
            yield f"attempt {number} is wanted, and its agent reads that {order.dismissed.reason}"
        is_told = attempt.end is None or attempt.end.reason != UNREADABLE_END
        if not attempt.is_wanted and is_told and order.dismissed is None:
            yield f"attempt {number} is not wanted, and its agent reads nothing of that"
