"""Azure's prices from a server of its shape on loopback: each row gets its own, or none, whatever the server does."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import WAITS_S, Unanswered, ask_all
from launcher.adapters.market.live_azure import REQUESTS_MOST, SIZES_AT_ONCE, azure_spots
from launcher.core.market.quote import Quote
from tests.market.live_hosting import Server, azure_pages, meter, serving

V100 = Quote(
    cloud="azure",
    region="eastus",
    zone=None,
    instance="Standard_NC6s_v3",
    accelerator="V100",
    accelerators=1.0,
    vcpus=6.0,
    memory_gib=112.0,
    spot=0.3978,
    on_demand=3.06,
)
WESTUS = replace(V100, region="westus2")
T4 = replace(V100, instance="NC4as_T4_v3", accelerator="T4", on_demand=0.526)  # as our own list writes it
SIZE, SIZE_T4 = "Standard_NC6s_v3", "Standard_NC4as_T4_v3"


def spots(server: Server, *rows: Quote) -> dict[Key, float]:
    return {row: price for batch in azure_spots(rows, server.url) for row, price in batch.items()}


def told(*meters: dict[str, Any], rows: tuple[Quote, ...] = (V100,), **server: Any) -> list[float]:
    with serving(azure_pages(*meters)) as made:
        for name, value in server.items():
            setattr(made, name, value)
        return list(spots(made, *rows).values())


def test_two_pages_are_read_and_each_row_gets_its_own_price() -> None:
    meters = [meter(SIZE, "eastus", 0.41), meter(SIZE_T4, "eastus", 0.07), meter(SIZE, "westus2", 0.36)]
    with serving(azure_pages(*meters, per_page=2)) as server:
        assert spots(server, V100, WESTUS, T4) == {key(V100): 0.41, key(WESTUS): 0.36, key(T4): 0.07}
        first, second = server.questions
    assert second["$skip"] == "2"
    assert "armSkuName eq 'Standard_NC6s_v3' or armSkuName eq 'Standard_NC4as_T4_v3'" in first["$filter"]
    assert first["currencyCode"] == "USD"


@pytest.mark.parametrize(
    "changes",
    [
        {"productName": "Virtual Machines NCSv3 Series Windows"},
        {"productName": "Virtual Machines NCCadsv5 Srs Win"},
        {"productName": "NCSv3 Series Cloud Services"},
        {"productName": "Virtual Machines NCSv3 Series SUSE"},
        {"skuName": "NC6s v3 Low Priority"},
        {"skuName": "NC6s v3"},
        {"type": "DevTestConsumption"},
        {"currencyCode": "EUR"},
        {"unitOfMeasure": "1/Month"},
        {"tierMinimumUnits": 100.0},
        {"isPrimaryMeterRegion": False},
        {"armSkuName": "Standard_NC12s_v3"},
        {"armRegionName": "eastus2"},
        {"retailPrice": 0.0},
        {"retailPrice": "0.4"},
        {"retailPrice": -0.4},
        {"retailPrice": None},
        {"effectiveStartDate": "2099-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_what_is_another_price_or_none_is_not_taken(changes: dict[str, Any]) -> None:
    """Neither alone nor beside the right one."""
    assert told(meter(SIZE, "eastus", 0.5, **changes)) == []
    if changes != {"retailPrice": 0.0} and "retailPrice" not in changes:
        assert told(meter(SIZE, "eastus", 0.5, **changes), meter(SIZE, "eastus", 0.41)) == [0.41]


def test_of_two_prices_the_one_in_force_by_the_servers_clock_is_taken() -> None:
    before, after = meter(SIZE, "eastus", 0.5), meter(SIZE, "eastus", 0.6, effectiveStartDate="2025-06-01T00:00:00Z")
    assert told(before, after) == [0.6]
    assert told(before, after, now=1745000000.0) == [0.5], "April 2025, by the server: the dearer one is yet to come"


def test_where_two_prices_are_in_force_neither_is_taken() -> None:
    assert told(meter(SIZE, "eastus", 0.5), meter(SIZE, "eastus", 0.6)) == []
    assert told(meter(SIZE, "eastus", 0.5), meter(SIZE, "eastus", 0.0)) == []
    assert told(meter(SIZE, "eastus", 0.5), meter(SIZE, "eastus", 0.5)) == [0.5]


def test_some_moments_of_patience_are_granted() -> None:
    with serving(azure_pages(meter(SIZE, "eastus", 0.41))) as server:
        server.refusals = [(429, "0"), (503, "0")]
        assert list(spots(server, V100).values()) == [0.41]
        server.refusals = [(429, "0")] * (1 + len(WAITS_S))
        with pytest.raises(Unanswered, match="answers 429 Too Many Requests; it asks to come back after 0 s"):
            spots(server, V100)


def test_who_does_not_say_how_long_is_asked_again_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.adapters.market.live_ask.WAITS_S", (0.0,))
    assert told(meter(SIZE, "eastus", 0.41), refusals=[(429, "")]) == [0.41]
    with pytest.raises(Unanswered, match=r"answers 429 Too Many Requests$"):
        told(meter(SIZE, "eastus", 0.41), refusals=[(429, ""), (429, "")])


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"refusals": [(429, "60")]}, "answers 429 Too Many Requests; it asks to come back after 60 s"),
        ({"refusals": [(429, "Sun, 29 Nov 2026 00:00:00 GMT")]}, "answers 429 Too Many Requests"),
        ({"refusals": [(302, "")]}, "answers 302"),
        ({"refusals": [(404, "")]}, "answers 404"),
        ({"cut": True}, "half of a page"),
        ({"page": lambda _: {"error": "no"}}, "something else than a page of prices"),
        ({"page": lambda _: ["no"]}, "something else than a page of prices"),
    ],
)
def test_what_is_no_page_is_told_and_gives_no_price(trouble: dict[str, Any], said: str) -> None:
    with pytest.raises(Unanswered, match=said):
        told(meter(SIZE, "eastus", 0.41), **trouble)


def test_half_of_the_pages_give_no_price_and_earlier_ones_stay() -> None:
    """The second dozen of sizes breaks off; the price of the first stands."""
    rows = [replace(V100, instance=f"Standard_NC{n}s_v3") for n in range(SIZES_AT_ONCE + 1)]
    meters = [meter(row.instance, "eastus", 0.4) for row in rows]

    def page(question: dict[str, str]) -> dict[str, Any]:
        return azure_pages(*meters)(question) if "'Standard_NC0s_v3'" in question["$filter"] else {}

    with serving(page) as server:
        (asked,) = ask_all({"azure": azure_spots(rows, server.url)})
    assert list(asked.spots) == [key(row) for row in rows[:SIZES_AT_ONCE]]
    assert "something else than a page" in asked.trouble


def test_pages_without_end_are_left() -> None:
    with serving(azure_pages(*[meter(SIZE, "eastus", 0.41)] * 2 * REQUESTS_MOST, per_page=1)) as server:
        with pytest.raises(Unanswered, match="more pages than are worth asking for"):
            spots(server, V100)
        assert len(server.questions) == REQUESTS_MOST
        server.page = lambda _: {"Items": [], "NextPageLink": f"{server.url}?$skip=1"}
        with pytest.raises(Unanswered, match="more pages"):
            spots(server, V100)


def test_no_other_host_is_asked_whatever_the_link_says() -> None:
    meters = [meter(SIZE, "eastus", 0.41), meter(SIZE, "westus2", 0.36)]
    with serving(azure_pages()) as other, serving(azure_pages(*meters, per_page=1, host=other.url)) as server:
        assert len(spots(server, V100, WESTUS)) == 2
    assert other.questions == []


def test_a_redirect_is_not_followed() -> None:
    with serving(azure_pages(meter(SIZE, "eastus", 0.41))) as other, serving(azure_pages()) as server:
        server.refusals, server.elsewhere = [(302, "")], other.url
        with pytest.raises(Unanswered, match="answers 302"):
            spots(server, V100)
    assert other.questions == []


def test_what_could_end_a_filter_is_not_asked_for() -> None:
    with serving(azure_pages()) as server:
        assert spots(server, replace(V100, instance="x' or 'a' eq 'a")) == {}
        assert server.questions == []


def test_nobody_there_is_told() -> None:
    with pytest.raises(Unanswered, match=r"127\.0\.0\.1 gives no answer"):
        list(azure_spots([V100], "http://127.0.0.1:9"))


def test_silence_ends_with_the_deadline_and_what_came_before_stays() -> None:
    rows = [replace(V100, instance=f"Standard_NC{n}s_v3") for n in range(2 * SIZES_AT_ONCE)]
    with serving(lambda _: {}) as server:
        first = azure_pages(*[meter(row.instance, "eastus", 0.4) for row in rows])

        def page(question: dict[str, str]) -> dict[str, Any]:
            server.is_silent.set()
            return first(question)

        server.page = page
        asked = ask_all({"azure": azure_spots(rows, server.url)}, within_s=2.0)[0]
    assert len(asked.spots) == SIZES_AT_ONCE
    assert asked.trouble == "no answer, or not the whole of it, within 2 s"


def test_what_comes_after_the_deadline_is_not_taken_and_no_more_is_asked() -> None:
    is_late, is_done, num_asked = threading.Event(), threading.Event(), []

    def slow() -> Iterator[dict[Key, float]]:
        try:
            for price in (0.4, 0.5, 0.6):
                num_asked.append(price)
                yield {key(V100): price}
                is_late.wait(60.0)
        finally:
            is_done.set()

    batches = slow()
    (asked,) = ask_all({"azure": batches}, within_s=1.0)
    is_late.set()
    del batches
    assert is_done.wait(60.0)
    assert (asked.spots, num_asked) == ({key(V100): 0.4}, [0.4, 0.5])
    assert asked.trouble.startswith("no answer")


def broken() -> Any:
    yield {key(V100): 0.4}
    raise KeyError("surprise")


@pytest.mark.parametrize("batches", [broken])
def test_an_answer_that_nobody_foresaw_is_a_word_and_no_traceback(batches: Callable[[], Any]) -> None:
    (asked,) = ask_all({"azure": batches()})
    assert asked.spots == {key(V100): 0.4}
    assert asked.trouble == "what it said was not understood (KeyError: 'surprise')"
