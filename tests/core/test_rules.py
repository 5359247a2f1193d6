"""When to save and what to delete."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.checkpoint.rules import Candidate, expendable, save_interval
from launcher.core.contract import KeepRule


def chain(*steps: int, losses: tuple[float | None, ...] | None = None) -> list[Candidate]:
    losses = losses or (None,) * len(steps)
    return [(CommitRef(1, n), step, loss) for n, (step, loss) in enumerate(zip(steps, losses, strict=True), start=1)]


def refs(*numbers: int) -> frozenset[CommitRef]:
    return frozenset(CommitRef(1, n) for n in numbers)


def test_saves_at_youngs_optimum_between_its_bounds():
    assert save_interval(stall=2, life=3600, durable=10, max_loss=600) == pytest.approx(120)


def test_never_saves_faster_than_a_save_becomes_durable():
    assert save_interval(stall=0, life=3600, durable=10, max_loss=600) == 10
    assert save_interval(stall=5, life=3600, durable=900, max_loss=600) == 900


def test_never_risks_more_than_the_user_allows():
    assert save_interval(stall=100, life=360_000, durable=10, max_loss=600) == 600


def test_a_life_of_nothing_is_refused():
    with pytest.raises(ValueError, match="life > 0"):
        save_interval(stall=1, life=0, durable=1, max_loss=600)


@given(st.floats(0.01, 100), st.floats(1000, 1e6))
def test_no_nearby_interval_loses_less_to_first_order(stall: float, life: float):
    def loss(interval: float) -> float:
        return stall / interval + interval / (2 * life)

    best = save_interval(stall=stall, life=life, durable=0, max_loss=math.inf)
    assert loss(best) <= min(loss(best * 0.9), loss(best * 1.1))


def test_keeps_the_last_ones():
    assert expendable(chain(10, 20, 30, 40), KeepRule(last=2), set()) == refs(1, 2)


def test_keeps_the_newest_even_if_told_to_keep_none():
    assert expendable(chain(10, 20), KeepRule(last=0), set()) == refs(1)


def test_keeps_the_best_by_loss_and_does_not_trust_nan():
    commits = chain(10, 20, 30, 40, 50, losses=(2.0, math.nan, 1.0, 3.0, 4.0))
    assert expendable(commits, KeepRule(last=1, best=1), set()) == refs(1, 2, 4)


def test_keeps_the_first_commit_at_or_after_each_milestone():
    commits = chain(90, 110, 190, 205, 290, 330, 335)
    assert expendable(commits, KeepRule(last=1, every_steps=100), set()) == refs(1, 3, 5)


def test_a_later_attempt_is_newer_whatever_its_numbers():
    commits: list[Candidate] = [(CommitRef(2, 1), 50, None), (CommitRef(1, 9), 90, None)]
    assert expendable(commits, KeepRule(last=1), set()) == {CommitRef(1, 9)}


def test_what_is_protected_stays():
    assert expendable(chain(10, 20, 30), KeepRule(last=1), refs(1)) == refs(2)


@given(st.lists(st.integers(1, 1000), max_size=20), st.integers(0, 4), st.integers(0, 3), st.sampled_from([None, 50, 300]))
def test_deleting_twice_deletes_no_more(steps: list[int], last: int, best: int, every: int | None):
    commits = chain(*sorted(steps), losses=tuple(float(s % 7) for s in steps))
    rule = KeepRule(last=last, best=best, every_steps=every)
    gone = expendable(commits, rule, set())
    left = [c for c in commits if c[0] not in gone]
    assert bool(left) == bool(commits)
    assert expendable(left, rule, set()) == frozenset()
