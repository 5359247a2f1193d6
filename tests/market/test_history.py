"""The price history notes changes, once each, through two writers at once and a writer that is killed; and it forgets in time."""

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.market import history as history_module
from launcher.adapters.market.catalog import read_catalog
from launcher.adapters.market.history import PriceHistory
from launcher.core.market.quote import Quote
from tests.market import lists

QUOTES = read_catalog(
    "aws",
    lists.aws(*[("p3.2xlarge", "V100", 1, 3.06, 0.5 + n / 10, f"use1-az{n}") for n in range(3)]),
    name="aws.csv",
).quotes


def dearer(quote: Quote) -> Quote:
    return replace(quote, spot=None if quote.spot is None else 2 * quote.spot)


@pytest.fixture
def history(tmp_path: Path) -> PriceHistory:
    return PriceHistory(tmp_path / "history/prices.sqlite")


def test_only_what_changed_is_noted(history: PriceHistory) -> None:
    first, *others = QUOTES
    assert history.add(QUOTES, 100.0) == 3
    assert history.add(QUOTES, 200.0) == 0
    assert history.add([dearer(first), *others], 300.0) == 1
    assert history.add(QUOTES, 400.0) == 1
    newest = history.past(["V100"])[0]
    assert (newest.place, newest.num_changes, newest.now, newest.lowest, newest.highest) == ("use1-az0", 2, 0.5, 0.5, 1.0)
    assert (newest.first_at, newest.changed_at) == (100.0, 400.0)
    assert [past.num_changes for past in history.past(["V100"])[1:]] == [0, 0]
    assert history.past(["H100"]) == []


def test_spot_that_goes_and_comes_is_two_changes(history: PriceHistory) -> None:
    history.add(QUOTES[:1], 100.0)
    history.add([replace(QUOTES[0], spot=None)], 200.0)
    assert history.past(["V100"])[0].now is None
    history.add(QUOTES[:1], 300.0)
    assert history.past(["V100"])[0].num_changes == 2


def test_a_change_of_on_demand_alone_is_no_change_of_spot(history: PriceHistory) -> None:
    history.add(QUOTES[:1], 100.0)
    assert history.add([replace(QUOTES[0], on_demand=2.9)], 200.0) == 1
    (only,) = history.past(["V100"])
    assert (only.num_changes, only.changed_at) == (0, 100.0)


def test_what_is_listed_no_more_has_no_price(history: PriceHistory) -> None:
    history.add(QUOTES, 100.0)
    assert history.add(QUOTES[1:], 200.0) == 1
    gone = history.past(["V100"])[0]
    assert (gone.place, gone.now, gone.lowest, gone.num_changes) == ("use1-az0", None, 0.5, 1)
    assert history.add(QUOTES[1:], 300.0) == 0


def test_a_row_that_stands_twice_in_a_list_does_not_change_each_time(history: PriceHistory) -> None:
    assert history.add([*QUOTES, dearer(QUOTES[0])], 100.0) == 3
    assert history.add([*QUOTES, dearer(QUOTES[0])], 200.0) == 0


def test_a_clock_far_ahead_neither_freezes_nor_forgets_however_often_it_is_asked(history: PriceHistory) -> None:
    history.add(QUOTES[:1], 100.0)
    history.add([dearer(QUOTES[0])], 200.0)
    history.add(QUOTES[:1], 1e12)
    history.add([dearer(QUOTES[0])], 1e12 + 1)
    assert history.add(QUOTES[:1], 300.0) == 1
    assert history.add(QUOTES[:1], 400.0) == 0
    (only,) = history.past(["V100"])
    assert (only.now, only.first_at, only.num_changes) == (0.5, 100.0, 4)


def test_of_too_many_changes_of_a_machine_the_first_go(history: PriceHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT_MOST", 3)
    history.add(QUOTES[1:], 100.0)
    for n in range(9):
        history.add([dearer(QUOTES[0]) if n % 2 else QUOTES[0]], 200.0 + n, live=QUOTES[1:])
    changed, *others = history.past(["V100"])
    assert (changed.first_at, changed.num_changes, changed.now) == (206.0, 2, 0.5)
    assert [past.first_at for past in others] == [100.0, 100.0], "others keep the price that holds"


def test_two_refreshes_at_once_note_each_change_once(history: PriceHistory, tmp_path: Path) -> None:
    added: list[int] = []

    def refresh() -> None:
        added.append(PriceHistory(tmp_path / "history/prices.sqlite").add(QUOTES, 100.0))

    threads = [threading.Thread(target=refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 3]


def test_a_writer_that_is_ended_in_the_middle_leaves_nothing(history: PriceHistory) -> None:
    def broken() -> list[Quote]:
        yield QUOTES[0]  # type: ignore[misc]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        history.add(broken(), 100.0)
    assert history.past(["V100"]) == []
    assert history.add(QUOTES, 200.0) == 3


def test_a_live_price_beside_a_lists_and_its_end_are_no_moves(history: PriceHistory) -> None:
    listed, others = QUOTES[:1], QUOTES[1:]
    live = [dearer(QUOTES[0])]
    history.add(QUOTES, 100.0)
    for at in (200.0, 400.0):
        history.add(others, at, live=live)
        assert history.past(["V100"])[0].now == 1.0
        history.add(QUOTES, at + 100.0)
    assert [past.num_changes for past in history.past(["V100"])] == [0, 0, 0]
    history.add(others, 600.0, live=[dearer(live[0])])
    history.add([dearer(dearer(dearer(listed[0]))), *others], 700.0)
    moved = history.past(["V100"])[0]
    assert (moved.place, moved.num_changes, moved.changed_at) == ("use1-az0", 2, 700.0)


def test_a_history_of_an_older_launch_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "prices.sqlite"
    older = sqlite3.connect(path)
    older.executescript(
        "CREATE TABLE machines (machine INTEGER PRIMARY KEY, cloud TEXT, place TEXT, instance TEXT, accelerator TEXT,"
        " accelerators REAL, UNIQUE (cloud, place, instance, accelerator, accelerators));"
        "CREATE TABLE prices (num INTEGER PRIMARY KEY AUTOINCREMENT, machine INTEGER, at REAL, spot REAL, on_demand REAL);"
        "INSERT INTO machines VALUES (1, 'aws', 'use1-az0', 'p3.2xlarge', 'V100', 1.0);"
        "INSERT INTO prices VALUES (1, 1, 50.0, 0.4, 3.06);"
    )
    older.close()
    for at in (100.0, 200.0):
        history = PriceHistory(path)
        history.add(QUOTES[:1], at)
        (only,) = history.past(["V100"])
        assert (only.first_at, only.num_changes, only.now) == (50.0, 1, 0.5)
        history.close()
