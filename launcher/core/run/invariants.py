"""What holds of every state and of every step between two: asserted by the loop on each event, in production too."""

from launcher.core.run.state import RunState


def check(state: RunState) -> None:
    """Raises AssertionError, naming the rule, where `state` cannot be."""
    granted = [a for a in state.attempts.values() if a.granted_at is not None]
    assert len([a for a in granted if not a.sealed]) <= 1, "at most one attempt can add to history"
    assert state.writer is None or state.attempts[state.writer].is_granted, "the writer was granted"
    assert all(a.number <= (state.writer or 0) for a in granted), "the writer is the newest granted attempt"
    for attempt in state.attempts.values():
        assert attempt.number < state.next_attempt, "attempt numbers are below the next one"
        if attempt.sealed:
            assert attempt.end is not None, "an attempt is sealed after its end is journaled"
            assert attempt.granted_at is not None, "only a granted attempt is sealed"
    if state.terminal is not None:
        assert not state.living, "a run ends when all its attempts have ended"
        assert state.writer_is_sealed, "a run ends when its last writer is sealed"


def check_step(before: RunState, after: RunState) -> None:
    """Raises AssertionError where no single event leads from `before` to `after`."""
    check(after)
    assert (before.run, before.incarnation) == (after.run, after.incarnation), "a run keeps its name"
    assert before.next_attempt <= after.next_attempt, "attempt numbers only go up"
    assert (before.writer or 0) <= (after.writer or 0), "the right to write only moves forward"
    assert before.voided <= after.voided, "once void, void for ever"
    for number, old in before.attempts.items():
        new = after.attempts[number]
        if new is old:
            continue
        assert old.end is None or new.end is not None, "an ended attempt stays ended"
        assert old.unwanted_at is None or new.unwanted_at == old.unwanted_at, "an unwanted attempt is never wanted again"
        is_kept = old.notice is not None or old.stop_at is None or (new.stop_at or 0.0) >= old.stop_at
        assert is_kept, "what a machine may spend is not taken back, unless it will not live to"
        assert not old.sealed or new.sealed, "a seal stays"
        assert old.granted_at is None or (new.granted_at, new.parent) == (old.granted_at, old.parent), "a grant stays"
        assert old.nonce is None or new.nonce == old.nonce, "a claim stays"
