"""What a look at the world is taken to mean, and what it is not."""

from dataclasses import replace

import pytest

from launcher.core.contract import ExitKind, Request, RequestKind
from launcher.core.instance import EndCause, FailureKind, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.belief import MarketView
from launcher.core.run import events as ev
from launcher.core.run.interpret import WARNINGS_MOST, boot_wait, drain_max, interpret
from launcher.core.run.observation import Sightings, Watch, look
from launcher.core.run.reconcile import StopInstance, reconcile
from launcher.core.run.spent import CLOCKS_APART, reserve
from launcher.core.run.state import EndKind, RunState
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.units import HOUR, MINUTE
from tests.builders import (
    NOW,
    after,
    claim,
    claimed,
    exited,
    gone,
    granted,
    heartbeat,
    lost,
    new_run,
    recipe,
    report,
    requested,
    running,
    sealed,
    started,
    training_run,
)


class Looker:
    """Looks again and again at one run, at times of the test's choosing."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.watch = Watch()
        self.mono = 0.0

    def look(self, seen: Sightings, after_s: float = 10.0, *, clock_step_s: float = 0.0) -> list[ev.Event]:
        self.mono += after_s
        watched = [a for a in self.state.attempts.values() if a.bill is None]
        self.watch = look(self.watch, seen, watched, self.mono, 1e9)
        facts = interpret(self.state, seen, self.watch, MarketView(), NOW + self.mono + clock_step_s)
        self.state = after(self.state, *facts)
        return list(facts)


def kinds(facts: list[ev.Event]) -> list[str]:
    return [type(f).__name__ for f in facts]


def test_a_poll_that_failed_changes_nothing_however_often():
    looker = Looker(training_run())
    assert [looker.look(Sightings(instances=None)) for _ in range(50)] == [[]] * 50


def test_one_absence_permits_a_successor_but_ends_nothing():
    looker = Looker(training_run())
    assert kinds(looker.look(Sightings(instances={}))) == ["InstanceMissed"]
    assert kinds(looker.look(Sightings(instances={1: running(1)}))) == ["InstanceFound"]


def test_two_absences_end_an_attempt_only_when_its_heartbeat_stands_still_too():
    looker = Looker(training_run())
    beats = iter(range(1, 100))
    for _ in range(5):
        facts = looker.look(Sightings(instances={}, heartbeats={1: heartbeat(1, next(beats))}))
        assert "AttemptLost" not in kinds(facts)
    looker.look(Sightings(instances={}, heartbeats={1: heartbeat(1, 5)}), after_s=5)
    facts = looker.look(Sightings(instances={}, heartbeats={1: heartbeat(1, 5)}), after_s=6)
    assert kinds(facts) == ["AttemptLost"]


def test_a_machine_that_only_its_claim_tells_of_is_lost_by_its_silence_and_not_since_no_list_shows_it():
    """Another SkyPilot had launched it, on a cloud that nobody can ask: a heartbeat 10 s late bought a second machine."""
    state = new_run()
    looker = Looker(after(state, requested(state), claimed(1)))
    for number in range(1, 5):
        seen = Sightings(instances={}, heartbeats={1: heartbeat(1, number)})
        assert [looker.look(seen, after_s=11.0) for _ in range(2)] == [[], []]
    looker.look(seen, after_s=160.0)
    assert kinds(looker.look(seen, after_s=20.0)) == ["AttemptLost"]


def test_an_older_heartbeat_does_not_count_as_a_sign_of_life():
    looker = Looker(training_run())
    looker.look(Sightings(instances={1: running(1)}, heartbeats={1: heartbeat(1, 9)}))
    looker.look(Sightings(instances={1: running(1)}, heartbeats={1: heartbeat(1, 3)}))
    assert looker.watch.pulses[1].still_s == 10.0


def test_unknown_is_not_gone():
    looker = Looker(training_run())
    unknown = InstanceStatus(phase=InstancePhase.UNKNOWN)
    assert [looker.look(Sightings(instances={1: unknown})) for _ in range(20)] == [[]] * 20


def test_the_clouds_word_on_the_claimed_instance_is_believed_at_once():
    looker = Looker(training_run())
    [fact, bill] = looker.look(Sightings(instances={1: gone(1, wait_status="signal 9")})) + looker.look(
        Sightings(instances={1: gone(1, wait_status="signal 9")})
    )
    assert isinstance(fact, ev.AttemptLost)
    assert fact.cause is EndCause.PREEMPTED
    assert isinstance(bill, ev.InstanceEnded)
    assert bill.wait_status == "signal 9"
    assert bill.low == bill.high == NOW


def test_the_end_of_an_instance_that_lost_the_claim_says_nothing_of_the_attempt():
    looker = Looker(training_run())
    assert looker.look(Sightings(instances={1: gone(1, instance_id="i-other")})) == []


def test_an_exit_report_is_preferred_to_the_clouds_word():
    looker = Looker(training_run())
    facts = looker.look(Sightings(instances={1: gone(1)}, exits={1: report(1, ExitKind.FINISHED)}))
    assert kinds(facts) == ["AttemptExited"]


def test_an_exit_report_found_after_the_loss_still_counts_before_the_next_grant():
    looker = Looker(after(training_run(), lost(1, EndCause.UNTOLD)))
    looker.look(Sightings(instances={}, exits={1: report(1, ExitKind.FINISHED)}))
    end = looker.state.attempts[1].end
    assert end is not None
    assert end.end is EndKind.FINISHED


def test_silence_counts_only_once_the_machine_was_told_to_stop():
    unwanted = ev.AttemptUnwanted(at=NOW, attempt=1, reason="test", drain=False)
    looker = Looker(after(training_run(), unwanted))
    seen = Sightings(instances={1: running(1)}, heartbeats={1: heartbeat(1)})
    looker.look(seen)
    assert looker.look(seen, after_s=200) == []
    looker.watch = replace(looker.watch, told_to_stop=frozenset({1}))
    [fact] = looker.look(seen, after_s=1)
    assert isinstance(fact, ev.AttemptLost)
    assert fact.cause is EndCause.STOPPED


def test_an_unwanted_attempt_is_given_up_after_drain_max_though_its_heart_beats():
    unwanted = ev.AttemptUnwanted(at=NOW, attempt=1, reason="test", drain=True)
    looker = Looker(after(training_run(), unwanted))
    limit = drain_max(looker.state, looker.state.attempts[1])
    beating = [Sightings(instances={1: running(1)}, heartbeats={1: heartbeat(1, n)}) for n in range(3)]
    assert looker.look(beating[0]) == []
    assert looker.look(beating[1], after_s=limit - 1) == []
    assert kinds(looker.look(beating[2], after_s=2)) == ["AttemptLost"]


def test_a_clock_that_jumps_ends_no_drain_and_no_boot():
    unwanted = ev.AttemptUnwanted(at=NOW, attempt=1, reason="test", drain=True)
    draining = Looker(after(training_run(), unwanted))
    booting = Looker(after(new_run(), requested(new_run())))
    for looker, seen in ((draining, Sightings(instances={1: running(1)})), (booting, Sightings(instances={}))):
        assert looker.look(seen) == []
        assert looker.look(seen, clock_step_s=1e6) == []


def test_the_end_of_the_claims_loser_is_not_the_attempts():
    state = after(new_run(), requested(new_run()), claimed(1))
    looker = Looker(state)
    looker.look(Sightings(instances={1: running(1, instance_id="i-other")}))
    assert looker.state.attempts[1].instance_id == "i-1"


def test_after_the_runs_end_only_money_is_a_fact():
    state = after(training_run(), exited(1, ExitKind.FINISHED), sealed(1))
    looker = Looker(after(state, ev.RunSucceeded(at=NOW, commit=None, step=0)))
    request = Request(uuid="u", request=RequestKind.STOP, by="me")
    facts = looker.look(Sightings(instances={1: gone(1)}, requests=(request,), offers=()))
    assert kinds(facts) == ["InstanceEnded"]


def test_an_instance_that_ended_before_it_was_seen_up_is_billed_all_the_same():
    state = new_run()
    state = after(state, requested(state), exited(1, ExitKind.DRAINED))
    looker = Looker(state)
    assert kinds(looker.look(Sightings(instances={1: gone(1)}))) == ["AttemptStarted", "InstanceEnded"]


def test_a_request_that_brings_no_instance_is_refused_after_boot_wait():
    state = new_run()
    looker = Looker(after(state, requested(state)))
    assert looker.look(Sightings(instances={})) == []
    assert looker.look(Sightings(instances={}), after_s=boot_wait(state) - 1) == []
    assert kinds(looker.look(Sightings(instances={}), after_s=2)) == ["AttemptRefused"]


@pytest.mark.parametrize(("startup_s", "minutes"), [(RESTART_UNMEASURED_S, 30), (100.0, 5), (20.0, 3)])
def test_what_a_start_is_assumed_to_take_is_no_measure_of_how_long_one_may(startup_s: float, minutes: int):
    """On clouds a launch that took SkyPilot a quarter of an hour was called off, and its machine paid for, each time."""
    times = ev.SpeedChosen(at=NOW, speed=1.0, startup_s=startup_s, work_s=None, reason="test")
    assert boot_wait(after(new_run(), times)) == minutes * MINUTE


def test_a_refused_start_is_a_fact_with_its_reason():
    state = new_run()
    looker = Looker(after(state, requested(state)))
    failure = StartFailure(failure=FailureKind.CAPACITY, message="none left")
    facts = looker.look(Sightings(instances={1: InstanceStatus(phase=InstancePhase.FAILED, failure=failure)}))
    assert kinds(facts) == ["AttemptRefused"]


def test_a_claim_is_journaled_once():
    state = new_run()
    looker = Looker(after(state, requested(state)))
    seen = Sightings(instances={1: running(1)}, claims={1: claim(1)})
    assert kinds(looker.look(seen)) == ["AttemptStarted", "AttemptClaimed"]
    assert looker.look(seen) == []


def test_the_bill_of_an_instance_nobody_saw_end_lies_between_its_last_word_and_the_look_that_missed_it():
    looker = Looker(after(training_run(), exited(1, ExitKind.DRAINED), sealed(1)))
    looker.look(Sightings(instances={}))
    [fact] = looker.look(Sightings(instances={}), after_s=30)
    assert isinstance(fact, ev.InstanceEnded)
    assert fact.low == NOW
    assert fact.high == pytest.approx(NOW + 40)


def test_a_machine_that_vanished_while_nobody_looked_most_likely_went_at_its_last_word():
    state = new_run(recipe(autostop=12 * HOUR))
    looker = Looker(after(state, requested(state, stop_at=NOW + 20 * HOUR), started(1), claimed(1), granted(1)))
    seen = Sightings(instances={}, heartbeats={1: replace(heartbeat(1), at=NOW + HOUR)})
    looker.look(seen, after_s=60 * HOUR)
    assert kinds(looker.look(seen)) == ["AttemptLost"]
    [ended] = looker.look(seen)
    assert isinstance(ended, ev.InstanceEnded)
    assert (ended.low, ended.likely) == (NOW, NOW + HOUR + 10.0)
    assert ended.high == NOW + 13 * HOUR + CLOCKS_APART + reserve(looker.state), (
        "it may have trained on, unheard, to its autostop"
    )


def warned(sequence: int, *warnings: str) -> Sightings:
    beat = replace(heartbeat(1, sequence, training_s=5.0), warnings=warnings)
    return Sightings(instances={1: running(1)}, heartbeats={1: beat})


def warnings_in(facts: list[ev.Event]) -> list[str]:
    return [fact.warning for fact in facts if isinstance(fact, ev.WarningSeen)]


def test_a_warning_is_journaled_once_in_the_attempts_own_words():
    looker = Looker(training_run())
    assert kinds(looker.look(warned(1, "old torch"))) == ["TrainingStarted"], "what it starts with is in that record"
    told = [warnings_in(looker.look(warned(n, "old torch", "no file published"))) for n in (2, 3)]
    assert told == [["no file published"], []]


def test_only_the_first_warnings_of_an_attempt_are_journaled():
    looker = Looker(training_run())
    looker.look(warned(1))
    told = [text for n in range(2, 20) for text in warnings_in(looker.look(warned(n, f"a save failed: {n}")))]
    assert told == [f"a save failed: {n}" for n in range(2, 2 + WARNINGS_MOST)]


def test_the_bill_of_a_machine_that_vanished_unheard_may_have_ended_as_soon_as_it_began():
    looker = Looker(after(new_run(), requested(new_run())))
    looker.look(Sightings(instances={1: running(1)}))
    looker.look(Sightings(instances={}), 100.0)
    [ended] = [f for f in looker.look(Sightings(instances={}), 100.0) if isinstance(f, ev.InstanceEnded)] or looker.look(
        Sightings(instances={})
    )
    assert isinstance(ended, ev.InstanceEnded)
    assert (ended.low, ended.high) == (NOW, ended.at)


def test_a_machine_lived_when_its_heartbeat_moved_by_our_clock_whatever_its_own_clock_says():
    looker = Looker(training_run())
    for sequence in (1, 2, 3):
        beat = replace(heartbeat(1, sequence), at=NOW + 1e6)
        looker.look(Sightings(instances={1: running(1)}, heartbeats={1: beat}))
    ended = None
    while ended is None:
        facts = looker.look(Sightings(instances={}))
        ended = next((f for f in facts if isinstance(f, ev.InstanceEnded)), None)
    assert ended.low == NOW + 20.0, "the look before the one that found it moved"
    assert ended.low <= ended.likely <= ended.high


def test_a_heartbeat_that_moved_may_be_as_old_as_the_beginning_of_the_look_before():
    state = training_run()
    seen = [Sightings(instances={1: running(1)}, heartbeats={1: heartbeat(1, sequence)}) for sequence in (1, 2)]
    watch = look(Watch(), seen[0], [state.attempts[1]], 60.0, 1e9, began_mono=20.0)
    watch = look(watch, seen[1], [state.attempts[1]], 70.0, 1e9, began_mono=65.0)
    assert watch.pulses[1].lived_s == 50.0
    watch = look(watch, seen[1], [state.attempts[1]], 75.0, 1e9)
    assert watch.pulses[1].lived_s == 55.0


def test_a_heartbeat_proves_nothing_to_the_books_while_the_cloud_does_not_list_its_machine():
    state = training_run()
    watch = Watch()
    for sequence, instances in enumerate([{1: running(1)}, {1: running(1)}, {}, None, {1: gone(1)}], start=1):
        seen = Sightings(instances=instances, heartbeats={1: heartbeat(1, sequence)})
        watch = look(watch, seen, [state.attempts[1]], 10.0 * sequence, 1e9)
    assert watch.pulses[1].lived_s == 40.0, "since the first look"


def test_a_gang_that_lost_a_machine_is_lost_and_its_others_are_billed_until_they_are_stopped():
    looker = Looker(training_run())
    broken = running(1, phase=InstancePhase.BROKEN)
    (loss,) = looker.look(Sightings(instances={1: broken}, heartbeats={1: heartbeat(1, 7)}))
    assert isinstance(loss, ev.AttemptLost)
    assert looker.state.attempts[1].end is not None
    assert looker.state.attempts[1].end.end is EndKind.PREEMPTED
    assert looker.look(Sightings(instances={1: broken})) == [], "the bill goes on"
    assert StopInstance(1) in reconcile(looker.state, NOW + looker.mono)
    stopped = replace(broken, phase=InstancePhase.GONE, cause=EndCause.STOPPED)
    assert kinds(looker.look(Sightings(instances={1: stopped}))) == ["InstanceEnded"]


def test_an_end_for_want_of_a_lost_node_is_a_preemption():
    looker = Looker(training_run())
    looker.look(Sightings(exits={1: report(1, ExitKind.NODE_LOST)}))
    assert looker.state.attempts[1].end is not None
    assert looker.state.attempts[1].end.end is EndKind.PREEMPTED


def test_a_machine_that_is_left_of_a_lost_gang_and_meets_the_seal_does_not_change_its_end():
    looker = Looker(after(training_run(), lost(1, EndCause.UNTOLD), sealed(1)))
    looker.look(Sightings(instances={1: running(1)}, exits={1: report(1, ExitKind.SEALED)}))
    end = looker.state.attempts[1].end
    assert end is not None
    assert (end.end, end.report) == (EndKind.PREEMPTED, report(1, ExitKind.SEALED))
