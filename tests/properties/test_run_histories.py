"""Runs as a supervisor lives them: a random world is looked at, facts and decisions are journaled, and records rot.

The four pure functions and the ledger must have an answer for every state that comes of it: what a damaged record said is
missing, clocks step, clouds contradict themselves. Where production asserts, it is asserted here too (`invariants`).
"""

import math
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import AgentPhase, ExitKind, ExitReport, Heartbeat, Notice, Request, RequestKind
from launcher.core.instance import EndCause, FailureKind, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.belief import MarketView, update
from launcher.core.policy.base import Phase
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal, RetrySpec
from launcher.core.run import events as ev
from launcher.core.run import invariants
from launcher.core.run.deliberate import deliberate
from launcher.core.run.evolve import fold, replay
from launcher.core.run.interpret import interpret
from launcher.core.run.ledger import ledger
from launcher.core.run.life import is_told, toll
from launcher.core.run.observation import SealSighted, Sightings, Watch, look
from launcher.core.run.reconcile import SealCommits, StopInstance, reconcile
from launcher.core.run.spec import attempt_spec
from launcher.core.run.state import RunState
from launcher.core.run.view import learnt, learnt_at_end
from launcher.units import HOUR, Seconds, Utc
from tests.builders import claim, recipe
from tests.core.markets import NOW, on_demand, spot

OFFERS = (spot("us-east-1a", 0.9), spot("us-east-1b", 1.0), on_demand("us-east-1a", 3.0))
PATIENT = RetrySpec(error=9, same_checkpoint=9, capacity=1000 * HOUR)
ENDS = (*ExitKind, *[ExitKind.DRAINED, ExitKind.KILLED, ExitKind.PROGRAM_FAILED] * 3)  # most ends are no end of the run
HOLES_MOST = 25  # tried at the end of a history
ROUNDS_MOST = 20  # of facts or decisions in one tick, as in the supervisor
picks = st.integers(0, 10**6)  # picks one of however many there are
durations = st.sampled_from([0.0, 1.0, 15.0, 200.0, 2000.0, 3 * HOUR])


@dataclass
class Machine:
    """What the outside world holds of one attempt."""

    status: InstanceStatus | None = None
    is_claimed: bool = False
    beat: Heartbeat | None = None
    notices: list[Notice] = field(default_factory=list)
    commits: list[Manifest] = field(default_factory=list)
    seal: SealSighted | None = None
    report: ExitReport | None = None


class RunHistories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.journal: list[ev.Event] = []  # record i + 1
        self.void: set[int] = set()
        self.state: RunState | None = None
        self.market = MarketView()
        self.watch = Watch()
        self.now: Utc = NOW
        self.mono: Seconds = 0.0
        self.machines: dict[int, Machine] = {}
        self.requests: list[Request] = []
        self.has_branched = False

    # --- the journal -----------------------------------------------------------------------------------------------------

    @initialize(
        policy=st.sampled_from(sorted(POLICIES)),
        budget=st.sampled_from([None, None, 100.0]),
        deadline=st.sampled_from([None, None, 100 * HOUR]),
        retry=st.sampled_from([PATIENT, PATIENT, RetrySpec(preemption=1, error=0, same_checkpoint=1, capacity=HOUR)]),
        is_command=st.booleans(),
        speed=st.sampled_from([None, 60.0]),
    )
    def created(
        self, policy: str, budget: float | None, deadline: float | None, retry: RetrySpec, is_command: bool, speed: float | None
    ) -> None:
        goal = Goal(budget=budget, deadline=deadline)
        program = {"run": "train", "trainer": None} if is_command else {}
        of = recipe(policy=goal, retry=retry, **program)
        self.policy = POLICIES[policy]()
        ends_at = None if deadline is None else self.now + deadline
        self.append(ev.SupervisorStarted(at=self.now, supervisor="a", host="h", pid=1))
        self.append(ev.RunCreated(at=self.now, run="r", incarnation="inc", recipe=of, deadline_at=ends_at, code=None))
        if speed is not None:
            self.append(ev.SpeedChosen(at=self.now, speed=speed, startup_s=3.0, work_s=60.0, reason="test"))
        self.an_attempt_is_made(commits=1, warned=False, ending="vanishes", report=ExitKind.DRAINED, rots=None)

    def append(self, event: ev.Event) -> None:
        """As History does: a void refolds, all else is folded and checked."""
        self.journal.append(event)
        if isinstance(event, ev.RecordVoided):
            self.void |= set(event.numbers)
            self.refold()
            return
        before = self.state
        self.take(event)
        if before is not None and self.state is not None:
            invariants.check_step(before, self.state)

    def refold(self) -> None:
        self.state, self.market = None, MarketView()
        for event in self.readable():
            self.take(event)

    def readable(self) -> list[ev.Event]:
        return [event for number, event in enumerate(self.journal, start=1) if number not in self.void]

    def take(self, event: ev.Event) -> None:
        before = self.state
        self.state = fold(before, event)
        if before is not None and self.state is not None:
            for sighting in (learnt(before, event), learnt_at_end(before, self.state, event)):
                if sighting is not None:
                    self.market = update(self.market, sighting)

    @precondition(lambda self: len(self.journal) > 3)
    @rule(chosen=st.lists(picks, min_size=1, max_size=3), are_told=st.booleans())
    def records_rot_and_are_voided(self, chosen: list[int], are_told: bool) -> None:
        """Any but the first two, which are copied when a run is born, and voids, whose loss revives what they named."""
        mortal = [n for n, event in enumerate(self.journal, start=1) if n > 2 and not isinstance(event, ev.RecordVoided)]
        numbers = sorted(self.void | {mortal[pick % len(mortal)] for pick in chosen})
        if set(numbers) != self.void:
            lost = [self.journal[number - 1] for number in numbers if are_told]
            requests = tuple(event for event in lost if isinstance(event, ev.AttemptRequested))
            digests = ("",) * len(numbers)
            self.append(ev.RecordVoided(at=self.now, numbers=tuple(numbers), digests=digests, requests=requests))

    # --- the supervisor -----------------------------------------------------------------------------------------------------

    @rule(is_reachable=st.booleans(), passed=durations)
    def the_supervisor_ticks(self, is_reachable: bool, passed: Seconds) -> None:
        self.time_passes(passed)
        assert self.state is not None
        seen = self.look(is_reachable)
        watched = [a for a in self.state.attempts.values() if a.bill is None]
        self.watch = look(self.watch, seen, watched, self.mono, 1000.0)
        for _ in range(ROUNDS_MOST):
            facts = interpret(self.state, seen, self.watch, self.market, self.now)
            for fact in facts:
                self.append(fact)
            if not facts:
                break
        else:
            raise AssertionError("one look gives new facts for ever")
        for _ in range(ROUNDS_MOST):
            thought = deliberate(self.state, self.policy, self.market, self.watch, self.now)
            for event in thought.events:
                self.decided(event)
            if not thought.events:
                break
        else:
            raise AssertionError("decisions never end")
        self.carry_out()

    def decided(self, event: ev.Event) -> None:
        assert self.state is not None
        if isinstance(event, ev.AttemptRequested):
            assert event.attempt not in self.machines, "an attempt number is given twice"
            self.machines[event.attempt] = Machine()
        self.append(event)

    def carry_out(self) -> None:
        assert self.state is not None
        for command in reconcile(self.state, self.now):
            attempt_spec(self.state, self.state.attempts[command.attempt], "memory://x")
            machine = self.machines[command.attempt]
            if isinstance(command, SealCommits) and machine.seal is None:
                last = machine.commits[-1] if machine.commits else None
                machine.seal = SealSighted(last=last.ref if last else None, step=last.step if last else None)
            if isinstance(command, StopInstance):
                self.watch = replace(self.watch, told_to_stop=self.watch.told_to_stop | {command.attempt})

    def look(self, is_reachable: bool) -> Sightings:
        """What an Observer would give: nothing of attempts that it has no reason to look at any more."""
        assert self.state is not None
        states = self.state.attempts
        watched = {n: m for n, m in self.machines.items() if n in states}
        alive = {n: m for n, m in watched.items() if states[n].is_alive}
        granted = {n: m for n, m in watched.items() if states[n].is_granted}
        instances = {n: m.status for n, m in self.machines.items() if m.status is not None}
        return Sightings(
            instances=instances if is_reachable else None,
            claims={n: claim(n) for n, m in watched.items() if m.is_claimed},
            heartbeats={n: m.beat for n, m in alive.items() if m.beat is not None},
            notices=tuple(notice for m in alive.values() for notice in m.notices),
            exits={n: m.report for n, m in watched.items() if m.report is not None},
            commits={n: m.commits[-1] for n, m in granted.items() if m.commits},
            seals={n: m.seal for n, m in granted.items() if m.seal is not None},
            requests=tuple(self.requests),
            offers=OFFERS,
        )

    @rule(
        commits=st.integers(0, 2),
        warned=st.booleans(),
        ending=st.sampled_from(["goes on", "vanishes", "is taken", "reports", "reports", "reports late"]),
        report=st.sampled_from(ENDS),
        rots=st.none() | st.lists(st.integers(1, 8), min_size=1, max_size=3),
    )
    def an_attempt_is_made(self, commits: int, warned: bool, ending: str, report: ExitKind, rots: list[int] | None) -> None:
        """What would take a dozen single steps to come about: a life with its usual turns; at its end its records may rot."""
        assert self.state is not None
        if self.state.terminal is not None and self.state.phase is not Phase.SUCCEEDED:
            self.the_run_is_resumed(branches=False, step=0)
        cooled = 15.0 if self.state.wanted else 6 * HOUR  # no place refuses for longer
        self.the_supervisor_ticks(is_reachable=True, passed=cooled)
        if not self.machines:
            return
        newest = 0  # as `pick` counts
        self.a_machine_comes_up(newest, claims=True)
        self.the_supervisor_ticks(is_reachable=True, passed=15.0)
        for _ in range(commits):
            self.an_agent_gives_word(newest, step=100, trained=200.0, pace=2.0, skew=0.0, commits=True, reports=None)
            self.the_supervisor_ticks(is_reachable=True, passed=200.0)
        if warned:
            self.a_notice_comes(newest, withdrawn=False, lead=200.0)
            self.the_supervisor_ticks(is_reachable=True, passed=15.0)
        if ending == "reports":
            self.an_agent_gives_word(newest, step=1, trained=1.0, pace=2.0, skew=0.0, commits=False, reports=report)
        if ending == "is taken":
            self.the_cloud_says_otherwise(newest, InstancePhase.GONE, EndCause.PREEMPTED, False, FailureKind.CAPACITY, 0.0)
        if ending in ("vanishes", "reports late"):
            self.a_machine_vanishes(newest)
        for _ in range(3 if ending != "goes on" else 0):
            self.the_supervisor_ticks(is_reachable=True, passed=15.0)
        if ending == "reports late":
            self.an_agent_gives_word(newest, step=1, trained=1.0, pace=2.0, skew=0.0, commits=False, reports=report)
        if rots is not None:
            self.records_rot_and_are_voided([-back for back in rots], are_told=True)

    @rule()
    def another_supervisor_takes_over(self) -> None:
        self.watch = Watch()
        self.append(ev.SupervisorStarted(at=self.now, supervisor="b", host="h", pid=2))

    @precondition(lambda self: self.state.terminal is not None and self.state.phase is not Phase.SUCCEEDED)
    @rule(branches=st.booleans(), step=st.integers(0, 1000))
    def the_run_is_resumed(self, branches: bool, step: int) -> None:
        assert self.state is not None
        self.requests.clear()
        self.has_branched = self.has_branched or branches
        resumed = ev.RunResumed(
            at=self.now, recipe=self.state.recipe, deadline_at=None, branched=branches, step=step if branches else 0
        )
        self.append(resumed)

    # --- the world -----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([-600.0, 60.0, 700.0, 5 * HOUR]))
    def clocks_step(self, seconds: Seconds) -> None:
        self.now += seconds

    def time_passes(self, seconds: Seconds) -> None:
        self.now += seconds
        self.mono += seconds

    def pick(self, pick: int) -> tuple[int, Machine]:
        """One of the three newest."""
        numbers = sorted(self.machines)[-3:]
        number = numbers[-1 - pick % len(numbers)]
        return number, self.machines[number]

    @precondition(lambda self: self.machines)
    @rule(pick=picks, claims=st.booleans())
    def a_machine_comes_up(self, pick: int, claims: bool) -> None:
        number, machine = self.pick(pick)
        machine.status = InstanceStatus(phase=InstancePhase.RUNNING, instance_id=f"i-{number}", billed_from=self.now)
        machine.is_claimed = machine.is_claimed or claims

    @precondition(lambda self: self.machines)
    @rule(
        pick=picks,
        phase=st.sampled_from(InstancePhase),
        cause=st.sampled_from(EndCause),
        is_told=st.booleans(),
        failure=st.sampled_from(FailureKind),
        skew=st.sampled_from([0.0, -900.0, 900.0]),
    )
    def the_cloud_says_otherwise(
        self, pick: int, phase: InstancePhase, cause: EndCause, is_told: bool, failure: FailureKind, skew: Seconds
    ) -> None:
        _, machine = self.pick(pick)
        old = machine.status or InstanceStatus(phase=phase)
        machine.status = replace(
            old,
            phase=phase,
            cause=cause,
            ended_at=self.now + skew if is_told and phase is InstancePhase.GONE else None,
            failure=StartFailure(failure=failure, message="test") if phase is InstancePhase.FAILED else None,
        )

    @precondition(lambda self: self.machines)
    @rule(pick=picks)
    def a_machine_vanishes(self, pick: int) -> None:
        self.pick(pick)[1].status = None

    @precondition(lambda self: self.machines)
    @rule(
        pick=picks,
        step=st.integers(0, 300),
        trained=durations,
        pace=st.sampled_from([None, 0.0, 2.0]),
        skew=st.sampled_from([0.0, -900.0, 900.0]),
        commits=st.booleans(),
        reports=st.sampled_from([*[None] * 20, *ENDS]),
    )
    def an_agent_gives_word(
        self, pick: int, step: int, trained: Seconds, pace: float | None, skew: Seconds, commits: bool, reports: ExitKind | None
    ) -> None:
        """A heartbeat, and with the right to write a commit; its last word may be a report. Its clock is its own."""
        number, machine = self.pick(pick)
        if machine.report is not None or not machine.is_claimed:
            return
        may_train = self.is_granted(number) and machine.seal is None
        old = machine.beat or Heartbeat(
            attempt=number, nonce=f"nonce-{number}", sequence=0, at=self.now, phase=AgentPhase.WAITING
        )
        machine.beat = replace(old, sequence=old.sequence + 1, at=self.now + skew)
        if may_train:
            machine.beat = replace(
                machine.beat,
                phase=AgentPhase.TRAINING,
                step=old.step + step,
                training_s=old.training_s + trained,
                saving_s=old.saving_s + trained / 3,
                steps_per_s=pace,
            )
        if may_train and commits:
            machine.commits.append(manifest(number, len(machine.commits) + 1, machine.beat.step))
        if reports is not None:
            machine.report = ExitReport(
                attempt=number, nonce=f"nonce-{number}", at=self.now + skew, outcome=reports, reason="test", last=machine.beat
            )

    def is_granted(self, number: int) -> bool:
        return any(isinstance(event, ev.WriterGranted) and event.attempt == number for event in self.readable())

    @precondition(lambda self: self.machines)
    @rule(pick=picks, withdrawn=st.booleans(), lead=durations)
    def a_notice_comes(self, pick: int, withdrawn: bool, lead: Seconds) -> None:
        number, machine = self.pick(pick)
        told = Notice(
            attempt=number,
            number=len(machine.notices) + 1,
            at=self.now,
            ends_at=self.now + lead,
            source="test",
            withdrawn=withdrawn and bool(machine.notices),
        )
        machine.notices.append(told)

    @precondition(lambda self: len(self.requests) < 2)
    @rule(kind=st.sampled_from(RequestKind), is_rare=st.integers(0, 4).map(lambda dice: dice == 0))
    def somebody_asks(self, kind: RequestKind, is_rare: bool) -> None:
        if is_rare:
            self.requests.append(Request(uuid=f"u{len(self.journal)}", request=kind, by="me@here"))

    # --- what holds -----------------------------------------------------------------------------------------------------

    @invariant()
    def the_state_is_one_that_can_be(self) -> None:
        if self.state is not None:
            self.holds(self.state)
            assert self.state == replay(self.readable())

    def holds(self, state: RunState) -> None:
        invariants.check(state)
        assert list(state.attempts) == sorted(state.attempts), "attempts are in the order of their numbers"
        if not self.has_branched:
            has_work = any(a.commit or a.parent for a in state.attempts.values() if a.is_granted)
            assert state.newest_commit is not None or not has_work, "all work is lost"

    @invariant()
    def the_books_balance(self) -> None:
        if self.state is not None:
            balance(self.state, self.now)

    def teardown(self) -> None:
        if self.state is not None:
            for commits in (0, 1):  # whatever was lost, the run goes on
                self.an_attempt_is_made(commits, warned=False, ending="vanishes", report=ExitKind.DRAINED, rots=None)
            self.holes_are_folded_over()

    def holes_are_folded_over(self) -> None:
        """Holes that nobody has owned to yet are folded over too: one record missing, and every third."""
        events = self.readable()
        for gone in range(2, len(events), max(1, len(events) // HOLES_MOST)):
            self.folds(events[:gone] + events[gone + 1 :])
        for offset in range(3):
            self.folds(events[:2] + [event for i, event in enumerate(events[2:]) if i % 3 != offset])

    def folds(self, events: list[ev.Event]) -> None:
        state = None
        for event in events:
            state = fold(state, event)
            if state is not None:
                self.holds(state)
        if state is not None:
            balance(state, self.now)
            deliberate(state, self.policy, self.market, self.watch, self.now)
            interpret(state, Sightings(), self.watch, self.market, self.now)
            reconcile(state, self.now)


def balance(state: RunState, now: Utc) -> None:
    """Money is a range, seconds are a partition, and nothing of it is less than nothing."""
    books = ledger(state, now, on_demand_price=3.0)
    times, spent = books.times, books.spent
    assert 0 <= spent.low <= spent.likely <= spent.high < math.inf
    parts = (times.useful, times.redone, times.saving, times.restoring, times.waiting)
    assert all(0 <= part < math.inf for part in (*parts, times.overlap, times.elapsed)), times
    assert math.isclose(sum(parts), times.elapsed, rel_tol=1e-9, abs_tol=1e-4), times
    assert (books.on_demand is None) == (books.times.useful <= 0), "nothing is compared where nothing useful was trained"
    assert (books.on_demand or 0.0) >= 0
    assert books.steps_lost >= 0
    assert 0 <= books.just_in_time <= books.preemptions
    for number, attempt in state.attempts.items():
        is_told(attempt)
        assert toll(state, number, now).steps_lost >= 0


def manifest(attempt: int, commit: int, step: int) -> Manifest:
    return Manifest(
        run="r",
        incarnation="inc",
        ref=CommitRef(attempt, commit),
        save=commit,
        grant=1,
        nonce=f"nonce-{attempt}",
        parent=None,
        parent_sha256=None,
        step=step,
        files=(),
        urgent=commit % 2 == 0,
        stall_s=1.0,
        durable_s=2.0,
    )


RunHistories.TestCase.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=25)
TestRunHistories = RunHistories.TestCase
