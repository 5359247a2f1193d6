"""Units, checkpoint rules and chains of manifests: what holds for any arguments."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from launcher.core.checkpoint.manifest import CommitRef, Manifest, before
from launcher.core.checkpoint.rules import Candidate, expendable, pinned, save_interval
from launcher.core.contract import KeepRule, pin_key
from launcher.core.recipe import every_seconds, every_steps
from launcher.units import parse_duration, parse_size, parse_usd, show_duration, show_rate, show_size, show_usd

times = st.floats(0, 1e9)
lives = st.floats(1e-3, 1e9)
refs = st.builds(CommitRef, st.integers(1, 9), st.integers(1, 9))
candidates = st.lists(
    st.tuples(refs, st.integers(0, 5000), st.none() | st.floats()), max_size=15, unique_by=lambda candidate: candidate[0]
)
SOME = settings(max_examples=settings().max_examples // 2)
rules = st.builds(KeepRule, last=st.integers(0, 5), best=st.integers(0, 4), every_steps=st.none() | st.integers(1, 2000))

# --- units -----------------------------------------------------------------------------------------------------------------


@SOME
@given(st.floats(0, 1e8))
def test_a_duration_shown_is_read_again_to_the_digits_shown(seconds: float) -> None:
    shown = show_duration(seconds)
    number, unit = shown.split()
    digit = parse_duration(f"1{unit}") * (0.1 if "." in number else 1.0)
    assert abs(parse_duration(shown) - seconds) <= digit / 2 * (1 + 1e-9)


@SOME
@given(st.floats(0, 1e8), st.floats(0, 1e8))
def test_a_longer_duration_is_never_shown_as_shorter(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert parse_duration(show_duration(low)) <= parse_duration(show_duration(high)) * 1.01 + 0.5


@SOME
@given(st.integers(0, 10**15))
def test_a_size_shown_is_read_again_to_the_digits_shown(size: int) -> None:
    shown = show_size(size)
    unit = parse_size("1" + shown.split()[1])
    assert abs(parse_size(shown) - size) <= unit * 0.05 + 1


@SOME
@given(st.floats(0, 1e9))
def test_money_shown_is_read_again_and_a_cost_is_never_shown_as_free(usd: float) -> None:
    shown = show_usd(usd)
    assert abs(parse_usd(shown.replace(",", "")) - usd) <= (0.005 if usd >= 0.1 else 0.00005) * (1 + 1e-9)
    assert show_rate(usd) == (f"{shown}/h" if usd else "unpriced")
    assert usd < 0.00005 or parse_usd(shown.replace(",", "")) > 0


@SOME
@given(st.text() | st.from_regex(r"[ $]?\d{0,3}[.,]?\d{0,3} ?[a-zA-Z]{0,4}", fullmatch=True))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_usd, every_seconds, every_steps):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value is None or (0 <= value < math.inf)


# --- when to save ----------------------------------------------------------------------------------------------------------


@SOME
@given(times, lives, times, times)
def test_the_save_interval_lies_between_its_bounds(stall: float, life: float, durable: float, max_loss: float) -> None:
    interval = save_interval(stall, life, durable, max_loss)
    assert durable <= interval <= max(durable, max_loss)


@SOME
@given(times, times, lives, lives, times, times)
def test_dearer_saves_and_longer_lives_never_call_for_more_saves(
    stall: float, more: float, life: float, longer: float, durable: float, max_loss: float
) -> None:
    least = save_interval(stall, life, durable, max_loss)
    assert save_interval(stall + more, life, durable, max_loss) >= least
    assert save_interval(stall, life + longer, durable, max_loss) >= least
    assert save_interval(stall, life, durable + more, max_loss) >= least
    assert save_interval(stall, life, durable, max_loss + more) >= least


@SOME
@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_any_arguments_give_an_interval_or_a_value_error(stall: float, life: float, durable: float, max_loss: float) -> None:
    assume(not any(map(math.isnan, (stall, life, durable, max_loss))))
    if min(stall, durable, max_loss) < 0 or life <= 0:
        with pytest.raises(ValueError):
            save_interval(stall, life, durable, max_loss)
    else:
        assume(not (stall == 0 and math.isinf(life)))  # nothing times for ever
        assert save_interval(stall, life, durable, max_loss) >= durable


# --- what to keep ----------------------------------------------------------------------------------------------------------


@SOME
@given(candidates, rules, st.frozensets(refs))
def test_what_is_protected_and_the_newest_are_never_expendable(
    chain: list[Candidate], rule: KeepRule, protected: frozenset[CommitRef]
) -> None:
    gone = expendable(chain, rule, protected)
    known = {ref for ref, _, _ in chain}
    assert gone <= known - protected
    assert not chain or max(known) not in gone
    assert len(known - gone) >= min(len(known), rule.last)


@SOME
@given(candidates, rules, st.frozensets(refs), st.randoms())
def test_what_goes_depends_on_no_order_and_nothing_goes_later_that_was_kept(
    chain: list[Candidate], rule: KeepRule, protected: frozenset[CommitRef], dice: object
) -> None:
    gone = expendable(chain, rule, protected)
    shuffled = list(chain)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert expendable(shuffled, rule, protected) == gone
    assert not expendable([c for c in chain if c[0] not in gone], rule, protected)


@SOME
@given(candidates, rules, st.frozensets(refs), st.frozensets(refs))
def test_a_wider_rule_and_more_protection_never_delete_more(
    chain: list[Candidate], rule: KeepRule, protected: frozenset[CommitRef], more: frozenset[CommitRef]
) -> None:
    gone = expendable(chain, rule, protected)
    assert expendable(chain, rule, protected | more) <= gone
    wider = KeepRule(last=rule.last + 1, best=rule.best + 1, every_steps=rule.every_steps)
    assert expendable(chain, wider, protected) <= gone


@SOME
@given(st.frozensets(refs), st.lists(st.text(max_size=8).map(lambda text: f"pins/{text}.json"), max_size=3))
def test_every_pin_is_found_and_no_other_key_harms(pins: frozenset[CommitRef], strange: list[str]) -> None:
    assert pinned([*map(pin_key, pins), *strange]) >= pins


# --- the chain -------------------------------------------------------------------------------------------------------------


@SOME
@given(
    grants=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    commits=st.lists(st.integers(0, 4), min_size=6, max_size=6),
    readable=st.sets(st.integers(0, 200)),
)
def test_the_chain_is_the_same_whichever_of_its_manifests_can_be_read(
    grants: list[int], commits: list[int], readable: set[int]
) -> None:
    """Attempts that each went on from the newest commit before them; walked down from the newest."""
    parents: dict[int, CommitRef | None] = {}
    chain: list[CommitRef] = []
    for attempt in range(1, len(grants) + 1):
        parents[attempt] = chain[-1] if chain else None
        chain += [CommitRef(attempt, number) for number in range(1, commits[attempt - 1] + 1)]
    manifests = {ref: _manifest(ref, chain[i - 1] if i else None) for i, ref in enumerate(chain)}
    walked: list[CommitRef] = []
    at = chain[-1] if chain else None
    while at is not None:
        walked.append(at)
        at = before(at, manifests[at] if len(walked) in readable else None, parents)
    assert walked == chain[::-1]


def _manifest(ref: CommitRef, parent: CommitRef | None) -> Manifest:
    return Manifest(
        run="r",
        incarnation="inc",
        ref=ref,
        save=ref.commit,
        grant=1,
        nonce="n",
        parent=parent,
        parent_sha256=None,
        step=0,
        files=(),
    )


@SOME
@given(refs)
def test_the_name_of_a_commit_is_read_again(ref: CommitRef) -> None:
    assert CommitRef.parse(str(ref)) == ref
