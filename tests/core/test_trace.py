"""Traces repeat, and do what their names say."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.market.trace import FOREVER, GENERATED, Life, Trace, from_csv, generated
from launcher.units import HOUR, MINUTE

SPOT = "aws/us-east-1a/p3.2xlarge/spot"
PLACES = tuple(f"gcp/zone-{n}/a2-highgpu-1g/spot" for n in range(40))


def ups(trace: Trace, places: tuple[str, ...] = PLACES, count: int = 30) -> list[float]:
    return [trace.life(place, k).up for place in places for k in range(1, count + 1)]


@given(st.sampled_from(GENERATED), st.integers(0, 1000), st.sampled_from(PLACES), st.integers(1, 50))
def test_equal_name_and_seed_give_equal_lives(name: str, seed: int, place: str, k: int):
    assert generated(name, seed).life(place, k) == generated(name, seed).life(place, k)


def test_lives_are_the_same_on_every_machine_and_python():
    """Pinned numbers: a run recorded elsewhere must repeat here."""
    life = generated("demo", 7).life(SPOT, 1)
    assert (round(life.up, 3), round(life.down, 3), life.notice) == (4083.943, 799.951, True)


def test_seed_place_and_number_each_change_the_life():
    first = generated("lively", 7).life(SPOT, 1)
    others = [
        generated("lively", 8).life(SPOT, 1),
        generated("lively", 7).life(PLACES[0], 1),
        generated("lively", 7).life(SPOT, 2),
    ]
    assert first not in others


def test_demo_lives_end_between_55_and_75_minutes_and_are_not_all_equal():
    lives = ups(generated("demo", 1))
    assert 55 * MINUTE <= min(lives) < max(lives) <= 75 * MINUTE
    assert len(set(lives)) > len(lives) / 2


def test_demo_gaps_are_shorter_than_a_cooldown():
    assert all(generated("demo", 1).life(SPOT, k).down < 30 * MINUTE for k in range(1, 50))


def test_calm_lives_are_longest_and_harsh_ones_shortest():
    medians = [statistics.median(ups(generated(name, 3))) for name in ("calm", "lively", "harsh")]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 3 * medians[1] > 3 * medians[2]


def test_the_stated_mean_life_is_the_mean_of_the_lives_drawn():
    for name in GENERATED:
        trace = generated(name, 5)
        drawn = statistics.mean(ups(trace, PLACES[:1], count=1500))
        assert drawn == pytest.approx(trace.mean_life(PLACES[0]), rel=0.15), name


def test_young_machines_are_the_fragile_ones():
    lives = ups(generated("lively", 2))
    lost_in_first = sum(up < 600 for up in lives) / len(lives)
    older = [up for up in lives if up >= HOUR]
    lost_in_seventh = sum(up < HOUR + 600 for up in older) / len(older)
    assert lost_in_first > 2 * lost_in_seventh


def test_about_one_preemption_in_five_comes_without_notice():
    noticed = [generated("lively", 1).life(place, k).notice for place in PLACES for k in range(1, 30)]
    assert 0.75 < sum(noticed) / len(noticed) < 0.85


def test_on_demand_never_ends():
    for name in GENERATED:
        trace = generated(name, 1)
        assert trace.life("aws/us-east-1a/p3.2xlarge/on-demand", 3) == Life(up=FOREVER, down=0.0, notice=False)
        assert trace.mean_life("aws/us-east-1a/p3.2xlarge/on-demand") == FOREVER


def test_an_unknown_trace_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match="demo, calm, lively, harsh"):
        generated("stormy", 1)


def csv_trace(*columns: str, names: str = "us-east-1a_v100_1,us-east-1b_v100_1", tick_s: float = 10.0) -> Trace:
    rows = [",".join([str(tick), *values]) for tick, values in enumerate(zip(*columns, strict=True))]
    return from_csv("\n".join([f"tick,{names}", *rows]), name="t.csv", seed=1, tick_s=tick_s)


def spans(trace: Trace, place: str, count: int) -> list[tuple[float, float]]:
    return [(life.up, life.down) for life in (trace.life(place, k) for k in range(1, count + 1))]


def test_a_files_lives_are_the_runs_of_its_zone_and_repeat():
    trace = csv_trace("1100101110", "1111111111")
    assert spans(trace, SPOT, 4) == [(20, 20), (10, 10), (30, 10), (20, 20)]
    assert trace.mean_life(SPOT) == 20


def test_a_run_cut_by_the_files_ends_is_one_life():
    assert spans(csv_trace("1100011", "1111111"), SPOT, 2) == [(40, 30), (40, 30)]


def test_a_file_that_begins_without_capacity_begins_at_its_first_life():
    assert spans(csv_trace("0011010", "1111111"), SPOT, 2) == [(20, 10), (10, 30)]


def test_a_zone_that_is_always_up_lives_for_the_whole_file():
    assert spans(csv_trace("0101010", "1111111"), "aws/us-east-1b/p3.2xlarge/spot", 1) == [(70, 0)]


def test_counts_above_zero_are_capacity():
    assert spans(csv_trace("0490", "1111"), SPOT, 1) == [(20, 20)]


def test_a_place_without_a_column_always_gets_the_same_one():
    trace = csv_trace("0010", "0110")
    place = "gcp/us-central1-a/a2-highgpu-1g/spot"
    assert spans(trace, place, 3) == spans(csv_trace("0010", "0110"), place, 3)


def test_a_zone_that_is_never_up_is_not_used():
    assert spans(csv_trace("0000", "0110"), SPOT, 1) == [(20, 20)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 must be"),
        ("time,a\n0,1", "line 1 must be"),
        ("tick\n0", "line 1 must be"),
        ("tick,a\n0,yes", "line 2: .*numbers only"),
        ("tick,a\n0,1\n1", "line 3 has 1 columns"),
        ("tick,a\n0,0", "no zone is ever up"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_remedy(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        from_csv(text, name="t.csv", seed=1)
