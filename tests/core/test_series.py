"""A recorded market answers at any instant, also after its recording has ended, and says what is wrong with its files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.market import layout
from launcher.core.market.layout import Entry
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.recording import RecordedOffer, Recording, quotes
from launcher.core.market.series import Series, from_samples
from launcher.core.market.trace import FOREVER, typical_life
from tests.core.markets import on_demand, spot

SAMPLES = st.lists(st.integers(0, 4), min_size=1, max_size=40)
LISTED = (spot("us-east-1a", 0.9), on_demand("us-east-1a", 3.0))


def series(text: str, tick_s: float = 10.0) -> Series:
    return from_samples([float(digit) for digit in text], tick_s)


@given(SAMPLES, st.integers(0, 200))
def test_a_series_gives_each_sample_back_at_its_tick_and_in_every_round(samples: list[int], tick: int):
    ring = from_samples([float(s) for s in samples], 10.0)
    assert ring.resample(10.0) == tuple(map(float, samples))
    assert ring.value(tick * 10.0) == ring.value(tick * 10.0 + 9.99) == samples[tick % len(samples)]


@given(SAMPLES, st.integers(0, 100), st.integers(1, 4))
def test_the_next_fall_is_the_first_sample_below(samples: list[int], tick: int, least: int):
    ring = from_samples([float(s) for s in samples], 10.0)
    found = ring.next_below(tick * 10.0 + 3, least)
    rounds = range(tick + 1, tick + 1 + len(samples))
    # From where the value is below already, the next fall is the next change to another such value.
    if samples[tick % len(samples)] >= least:
        assert found == next((i * 10.0 for i in rounds if samples[i % len(samples)] < least), None)
    else:
        assert found is None or ring.value(found) < least


@given(SAMPLES, st.integers(0, 100))
def test_the_next_change_is_the_first_other_value(samples: list[int], tick: int):
    ring = from_samples([float(s) for s in samples], 10.0)
    here = samples[tick % len(samples)]
    expected = next((i * 10.0 for i in range(tick + 1, tick + 1 + len(samples)) if samples[i % len(samples)] != here), None)
    found = ring.next_change(tick * 10.0)
    assert found == expected


def test_a_slice_begins_where_it_was_cut_and_is_a_ring_of_its_own():
    part = series("1122334").slice(15.0, 45.0)
    assert (part.at, part.values, part.period) == ((0.0, 5.0, 25.0), (1.0, 2.0, 3.0), 30.0)
    assert part.value(31.0) == 1.0


def test_a_slice_may_run_over_the_end():
    assert series("12").slice(15.0, 30.0).values == (2.0, 1.0)


def test_a_slice_of_more_than_the_whole_is_refused():
    with pytest.raises(ValueError, match="0 to 20 s"):
        series("12").slice(0.0, 21.0)


def test_resampling_takes_what_held_at_each_tick():
    assert series("1234").resample(15.0) == (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("at", "values", "period"),
    [
        ((), (), 10.0),
        ((1.0,), (1.0,), 10.0),
        ((0.0, 5.0), (1.0,), 10.0),
        ((0.0, 5.0, 5.0), (1.0, 2.0, 3.0), 10.0),
        ((0.0,), (1.0,), 0),
    ],
)
def test_instants_that_make_no_series_are_refused(at, values, period):
    with pytest.raises(ValueError, match="series"):
        Series(at=at, values=values, period=period)


# --- files -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.csv: line 1 must be 'tick,ZONE,…'"),
        ("tick,a,a\n0,1,1", "line 1 must name each column, and none twice"),
        ("tick,a", "line 2 is missing; write one row for each tick, such as '0,1'"),
        ("tick,a\n0,1\n2,1", "line 3 is tick 2 where tick 1 is due; write one row for each tick"),
        ("tick,a\n0,1\n1,-1", "line 3: '-1' is no amount; write numbers only, 0 or above"),
        ("tick,a\n0,nan", "line 2: 'nan' is no amount"),
        ("tick,a\n\n0,1,1", "line 3 has 3 columns, the header 2; write one number for each column"),
    ],
)
def test_a_file_of_samples_that_is_none_is_refused_with_line_and_remedy(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        layout.availability(text, name="t.csv", tick_s=10.0)


def test_prices_hold_until_the_next_row():
    found = layout.prices("tick,a\n0,1.5\n3,2", name="p.csv", tick_s=10.0, period=50.0)["a"]
    assert [found.value(t) for t in (0.0, 29.0, 30.0, 49.0, 50.0)] == [1.5, 1.5, 2.0, 2.0, 1.5]


@pytest.mark.parametrize(
    ("text", "words"), [("tick,a\n1,1", "line 2 must be tick 0"), ("tick,a\n0,1\n3,1\n3,2", "line 4 is tick 3 after tick 3")]
)
def test_prices_out_of_order_are_refused_with_line_and_remedy(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        layout.prices(text, name="p.csv", tick_s=10.0, period=50.0)


def test_the_index_tells_tick_start_and_prices():
    text = """{"x": {"gap_seconds": 195, "start_utc": "1970-01-01T01:00:00Z", "capacity": 4, "on_demand_usd_h": {"v100_8": 24},
        "spot_usd_h": "not recorded; spot = 0.5 x on-demand"}, "y": {"on_demand_usd_h": 3.06}}"""
    found = layout.index(text)
    assert found["x"] == Entry(tick_s=195.0, start_at=3600.0, capacity=4, on_demand={"v100_8": 24.0}, spot={"v100_8": 12.0})
    assert found["y"] == Entry(on_demand={"": 3.06})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "index.json: .*write JSON"),
        ("[]", "must be an object of recordings"),
        ('{"x": {"gap_seconds": 0}}', "x: gap_seconds is 0; write the seconds between two rows"),
        ('{"x": {"start_utc": "soon"}}', "x: start_utc is 'soon'; write an instant"),
    ],
)
def test_an_index_that_is_none_is_refused_with_the_remedy(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        layout.index(text)


# --- what the columns stand for ------------------------------------------------------------------------------------------------


def quoted(column: str, entry: Entry, listed: tuple[Offer, ...] = LISTED) -> tuple[RecordedOffer, ...]:
    return quotes(Recording(name="rec", capacity={column: series("10")}, entry=entry), listed)


def test_a_column_is_a_spot_machine_that_comes_and_goes_and_an_on_demand_one_that_stays():
    spot_quote, sure = quoted("us-west-2a_v100_8", Entry(on_demand={"v100_8": 24.0}, spot={"v100_8": 8.0}))
    assert spot_quote.offer.placement.place == "aws/us-west-2a/p3.16xlarge/V100:8/spot"
    assert (spot_quote.offer.price, spot_quote.offer.on_demand_price, spot_quote.capacity) == (8.0, 24.0, series("10"))
    assert spot_quote.offer.mean_life == typical_life()  # not what this very file would betray
    assert (sure.offer.placement.capacity, sure.offer.price, sure.capacity) == (Capacity.ON_DEMAND, 24.0, None)
    assert sure.offer.mean_life == FOREVER


def test_a_column_named_by_its_zone_alone_takes_the_machine_from_the_index():
    text = """{"h": {"unit": "number of a3-highgpu-1g (1xH100-80GB) launched",
        "spot_and_on_demand_usd_h_for_8gpu_node": {"us-east4-a": [16, 80]}}}"""
    spot_quote, _ = quoted("us-east4-a", layout.index(text)["h"])
    assert spot_quote.offer.placement.place == "gcp/us-east4-a/a3-highgpu-1g/H100:1/spot"
    assert (spot_quote.offer.price, spot_quote.offer.on_demand_price) == (2.0, 10.0)


def test_a_machine_without_a_recorded_price_costs_what_the_list_says_for_its_gpu():
    spot_quote, sure = quoted("us-west-2a_a100_40gb_8", Entry())
    assert (spot_quote.offer.price, sure.offer.price) == (8 * 0.9, 8 * 3.0)
    assert "bundled list" in spot_quote.offer.source


def test_a_file_that_names_no_machines_stands_for_the_places_of_the_list():
    spot_quote, sure = quoted("zone-1", Entry())
    assert spot_quote.offer.placement == LISTED[0].placement
    assert (spot_quote.capacity, sure.capacity) == (series("10"), None)
