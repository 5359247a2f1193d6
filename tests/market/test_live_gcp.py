"""Google's prices from a server of its shape on loopback: a sum of parts, believed only where the same sum fits on demand."""

from dataclasses import replace
from typing import Any

import pytest

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import Unanswered
from launcher.adapters.market.live_gcp import COMPUTE_ENGINE, PAGES_MOST, gcp_spots
from launcher.core.market.quote import Quote
from tests.market.live_hosting import Server, google_pages, serving, sku

HERE, THERE = "us-central1", "europe-west1"
# 4 x 0.03 + 16 x 0.004 + 0.56 = 0.744 on demand; 4 x 0.012 + 16 x 0.0016 + 0.22 = 0.2936 on spot.
L4 = Quote(
    cloud="gcp",
    region=HERE,
    zone=f"{HERE}-a",
    instance="g2-standard-4",
    accelerator="L4",
    accelerators=1.0,
    vcpus=4.0,
    memory_gib=16.0,
    spot=0.28,
    on_demand=0.744,
)
PARTS = [
    sku("G2 Instance Core running in Americas", "OnDemand", 0.03, HERE),
    sku("G2 Instance Ram running in Americas", "OnDemand", 0.004, HERE, unit="GiBy.h"),
    sku("Nvidia L4 GPU running in Americas", "OnDemand", 0.56, HERE),
    sku("Spot Preemptible G2 Instance Core running in Americas", "Preemptible", 0.012, HERE),
    sku("Spot Preemptible G2 Instance Ram running in Americas", "Preemptible", 0.0016, HERE, unit="GiBy.h"),
    sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.22, HERE),
]
OTHERS = [
    sku("Commitment v1: Nvidia L4 GPU running in Americas for 1 Year", "Commit1Yr", 0.4, HERE),
    sku("Reserved Nvidia L4 GPU in Americas", "OnDemand", 0.5, HERE),
    sku("G2 Custom Instance Core running in Americas", "OnDemand", 0.05, HERE),
    sku("G2 Instance Core running in Belgium", "OnDemand", 0.09, THERE),
    sku("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.11, HERE),
    sku("Nvidia L4 GPU attached to DWS Defined Duration VMs running in Americas", "OnDemand", 0.3, HERE),
]


def spots(server: Server, *rows: Quote) -> dict[Key, float]:
    return {row: round(price, 6) for batch in gcp_spots(rows, "a-key", server.url) for row, price in batch.items()}


def told(*skus: dict[str, Any], row: Quote = L4, per_page: int = 5000) -> list[float]:
    with serving(google_pages(*skus, per_page=per_page)) as server:
        return list(spots(server, row).values())


def test_a_machine_is_the_sum_of_its_parts_in_every_zone_of_the_region() -> None:
    other_zone, abroad = replace(L4, zone=f"{HERE}-b"), replace(L4, region=THERE, zone=f"{THERE}-b")
    with serving(google_pages(*OTHERS, *PARTS, per_page=5)) as server:
        assert spots(server, L4, other_zone, abroad) == {key(L4): 0.2936, key(other_zone): 0.2936}
        assert [question.get("pageToken") for question in server.questions] == [None, "5", "10"]
        assert server.keys == ["a-key"] * 3, "in a header: an address is written into logs"
    assert "6F81-5844-456A" in COMPUTE_ENGINE


def test_the_sum_of_several_gpus() -> None:
    """8 x 0.56 + 96 x 0.03 + 384 x 0.004 = 8.896; on spot 8 x 0.22 + 96 x 0.012 + 384 x 0.0016 = 3.5264."""
    eight = replace(L4, instance="g2-standard-96", accelerators=8.0, vcpus=96.0, memory_gib=384.0, on_demand=8.896)
    assert told(*PARTS, row=eight) == [3.5264]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (replace(L4, on_demand=0.8), "the list has another price on demand, so these are not its parts"),
        (replace(L4, on_demand=None), "nothing to compare with"),
        (replace(L4, vcpus=None), "of unknown size"),
        (replace(L4, instance="g4-standard-4"), "parts of an unknown name"),
        (replace(L4, accelerator="L40"), "a GPU of an unknown name"),
    ],
)
def test_where_the_sum_proves_nothing_the_row_is_left_out(row: Quote, why: str) -> None:
    assert told(*PARTS, row=row) == [], why


@pytest.mark.parametrize(
    "change",
    [
        {"usageType": "OnDemand"},
        {"unit": "mo"},
        {"nanos": 0},
        {"nanos": "x"},
        {"currencyCode": "EUR"},
        {"tiers": 2},
        {"regions": [THERE]},
        {"pricingInfo": []},
        {"pricingInfo": None},
    ],
    ids=str,
)
def test_a_part_that_is_not_what_it_should_be_is_missing(change: dict[str, Any]) -> None:
    part = sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.22, HERE)
    expression = part["pricingInfo"][0]["pricingExpression"]
    for name, value in change.items():
        match name:
            case "usageType":
                part["category"]["usageType"] = value
            case "unit":
                expression["usageUnit"] = value
            case "tiers":
                expression["tieredRates"] *= value
            case "regions":
                part["serviceRegions"] = value
            case "pricingInfo":
                part["pricingInfo"] = value
            case _:
                expression["tieredRates"][0]["unitPrice"][name] = value
    assert told(*PARTS[:-1], part) == []


def test_a_description_and_a_usage_that_contradict_each_other_are_not_believed() -> None:
    assert told(*PARTS[:-1], sku("Nvidia L4 GPU running in Americas", "Preemptible", 0.22, HERE)) == []


def test_a_part_with_two_prices_is_nobodys() -> None:
    double = sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Iowa", "Preemptible", 0.2, HERE)
    assert told(*PARTS, double, per_page=6) == []
    assert told(*PARTS, PARTS[-1]) == [0.2936]


def test_pages_without_end_and_half_an_answer_give_nothing() -> None:
    with serving(lambda _: {"skus": PARTS, "nextPageToken": "more"}) as server:
        with pytest.raises(Unanswered, match="more pages than are worth asking for"):
            spots(server, L4)
        assert len(server.questions) == PAGES_MOST
        server.cut = True
        with pytest.raises(Unanswered, match="half of a page"):
            spots(server, L4)
        server.cut, server.refusals = False, [(403, "")]
        with pytest.raises(Unanswered, match="answers 403 Forbidden"):
            spots(server, L4)


def test_where_no_row_could_be_told_nobody_is_asked() -> None:
    with serving(google_pages()) as server:
        assert spots(server, replace(L4, accelerator="tpu-v5p-8", instance="TPU-VM")) == {}
        assert server.questions == []
