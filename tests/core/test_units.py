"""Quantities: what people write is read exactly, what they cannot have meant is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.recipe import every_seconds, every_steps
from launcher.units import (
    parse_duration,
    parse_size,
    parse_usd,
    show_duration,
    show_excess,
    show_rate,
    show_size,
    show_usd,
)

WHOLE = st.integers(min_value=0, max_value=10**6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("2d", 172800),
        ("250ms", 0.25),
        ("1.5 h", 5400),
        (" 10 MIN ", 600),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "6", "h", "6 hors", "-5m", "5m5", "1e3s", "inf h", "5 m x", "five minutes", "9" * 400 + "h"]
)
def test_what_is_no_duration_is_refused_with_one_line(text):
    with pytest.raises(ValueError) as refused:
        parse_duration(text)
    assert "\n" not in str(refused.value)


@given(hours=WHOLE, minutes=WHOLE, seconds=WHOLE)
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds):
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0
    assert math.isfinite(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("512 kB", 512_000), ("16MiB", 16 * 2**20), ("2GB", 2 * 10**9), ("1TiB", 2**40), ("7b", 7)]
)
def test_sizes_know_decimal_and_binary_units(text, size):
    assert parse_size(text) == size


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text):
    try:
        assert parse_size(text) >= 0
    except ValueError:
        return


@pytest.mark.parametrize(("text", "dollars"), [("40", 40), ("40.00", 40), ("$2.50", 2.5), (" 3 USD ", 3), ("0.004", 0.004)])
def test_money_is_read_with_or_without_its_sign(text, dollars):
    assert parse_usd(text) == dollars


@pytest.mark.parametrize("text", ["", "forty", "-1", "1,50", "40 EUR", "nan", "inf", "1e3", "9" * 400])
def test_what_is_no_amount_of_dollars_is_refused(text):
    with pytest.raises(ValueError, match="no amount of money"):
        parse_usd(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_cents_survive_being_shown_and_read(cents):
    dollars = cents / 100
    assert abs(parse_usd(show_usd(dollars).replace(",", "")) - dollars) < 0.00501


def test_small_costs_do_not_read_as_free():
    assert show_usd(0.0123) == "$0.0123"
    assert show_usd(0) == "$0.00"
    assert show_rate(1.2) == "$1.20/h"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.8, "0.8 s"), (47, "47 s"), (720, "12 min"), (9000, "2.5 h"), (3.1 * 86400, "3.1 d")]
)
def test_durations_are_shown_in_the_unit_a_person_would_choose(seconds, shown):
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(("size", "shown"), [(812, "812 B"), (1_400_000, "1.4 MB"), (3 * 10**12, "3.0 TB")])
def test_sizes_are_shown_in_decimal_units(size, shown):
    assert show_size(size) == shown


def test_an_interval_is_steps_or_seconds_or_left_to_the_rules():
    assert every_steps("200 steps") == 200
    assert every_steps("1 step") == 1
    assert every_seconds("5m") == 300
    assert every_steps("auto") is every_seconds("auto") is every_seconds("never") is every_seconds("200 steps") is None
    with pytest.raises(ValueError):
        every_seconds("often")
    with pytest.raises(ValueError):
        every_steps("0 steps")


@pytest.mark.parametrize(
    ("factor", "text"),
    [(0.2, ""), (1.004, ""), (1.2, "20 % more"), (1.99, "99 % more"), (3.5, "3.5 times as much"), (27.79, "28 times as much")],
)
def test_a_large_excess_is_told_as_a_multiple(factor: float, text: str):
    assert show_excess(factor) == text
