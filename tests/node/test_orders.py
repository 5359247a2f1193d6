"""What an attempt reads out of the journal."""

from launcher.adapters.journal import Entry, Record, Unreadable
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.instance import EndCause
from launcher.core.run.events import (
    AttemptLost,
    AttemptRequested,
    AttemptSealed,
    AttemptUnwanted,
    Event,
    RunPaused,
    StopAtMoved,
    SupervisorStarted,
    WriterGranted,
)
from launcher.node.orders import Grant, Orders, read_orders
from tests.core.markets import run_view, spot


def journal(*events: Event | None) -> list[Entry]:
    """Records from 1 on; None stands for one that nobody can read."""
    return [
        Unreadable(number=number, digest="")
        if event is None
        else Record(number=number, previous_sha256="", incarnation="i", writer="s", nonce="n", at=0.0, event=event)
        for number, event in enumerate(events, 1)
    ]


def granted(attempt: int, parent: CommitRef | None = None) -> WriterGranted:
    return WriterGranted(at=0.0, attempt=attempt, parent=parent)


def unwanted(attempt: int, *, drain: bool = True) -> AttemptUnwanted:
    return AttemptUnwanted(at=0.0, attempt=attempt, reason="x", drain=drain)


def requested(attempt: int) -> AttemptRequested:
    return AttemptRequested(at=0.0, attempt=attempt, offer=spot("us-east-1a"), reason="r", view=run_view(), stop_at=None)


STARTED = SupervisorStarted(at=0.0, supervisor="s", host="h", pid=1)
TWO = Orders(attempt=2)


def test_grant_carries_its_number_its_parent_and_the_chain() -> None:
    orders = read_orders(TWO, journal(STARTED, granted(1), granted(2, CommitRef(1, 4))))
    assert orders.grant == Grant(number=3, parent=CommitRef(1, 4))
    assert orders.grants == {1: None, 2: CommitRef(1, 4)}
    assert orders.dismissed is None


def test_orders_of_other_attempts_are_not_mine() -> None:
    orders = read_orders(TWO, journal(unwanted(1), unwanted(3), AttemptSealed(at=0.0, attempt=1, last=None, step=None)))
    assert orders.dismissed is None


def test_nothing_behind_an_unreadable_record_is_acted_on() -> None:
    orders = read_orders(TWO, journal(STARTED, None, granted(2)))
    assert orders.grant is None
    assert orders.unreadable == (2,)


def test_damage_at_rest_does_not_take_a_grant_that_was_read() -> None:
    before = read_orders(TWO, journal(STARTED, granted(2)))
    orders = read_orders(before, journal(STARTED, None))
    assert orders.grant == before.grant
    assert orders.dismissed is None
    assert orders.unreadable == (2,)


def test_voided_grant_seals() -> None:
    before = read_orders(TWO, journal(STARTED, granted(2)))
    orders = read_orders(before, journal(STARTED)[:1])
    assert orders.dismissed is not None
    assert orders.dismissed.sealed


def test_stop_may_become_a_cancel_and_never_the_reverse() -> None:
    harder = read_orders(TWO, journal(unwanted(2), unwanted(2, drain=False), unwanted(2)))
    assert harder.dismissed is not None
    assert not harder.dismissed.drain


def test_attempt_given_up_for_lost_saves_what_it_can() -> None:
    lost = AttemptLost(at=0.0, attempt=2, cause=EndCause.UNTOLD, evidence="silence", heartbeat=None)
    orders = read_orders(TWO, journal(granted(2), lost))
    assert orders.dismissed is not None
    assert orders.dismissed.drain
    sealed = AttemptSealed(at=0.0, attempt=2, last=None, step=None)
    orders = read_orders(orders, journal(granted(2), lost, sealed))
    assert orders.dismissed is not None
    assert orders.dismissed.sealed


def test_end_of_the_run_before_this_attempt_was_requested_does_not_count() -> None:
    paused = RunPaused(at=0.0, exit_code=4, reason="budget")
    assert read_orders(TWO, journal(paused)).dismissed is not None
    assert read_orders(TWO, journal(paused, requested(2))).dismissed is None


def test_the_budget_ends_it_where_the_newest_record_of_its_own_says() -> None:
    told = [StopAtMoved(at=0.0, attempt=n, stop_at=at) for n, at in ((2, 10.0), (2, 20.0), (1, 99.0))]
    assert read_orders(TWO, journal(STARTED, requested(2))).stop_at is None
    assert read_orders(TWO, journal(STARTED, requested(2), *told)).stop_at == 20.0
