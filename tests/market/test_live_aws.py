"""EC2's price history from a server of its shape on loopback, through botocore itself; moto stands for EC2 in tests/e2e."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import ask_all
from launcher.core.market.quote import Quote
from tests.market.hosting import answering

pytest.importorskip("botocore", reason="botocore is not installed; the extra s3 brings it")
from launcher.adapters.market.live_aws import FAILURES_MOST, PAGES_MOST, aws_spots

V100 = Quote(
    cloud="aws",
    region="us-east-1",
    zone="use1-az1",
    instance="p3.2xlarge",
    accelerator="V100",
    accelerators=1.0,
    vcpus=8.0,
    memory_gib=61.0,
    spot=0.37,
    on_demand=3.06,
)
AZ2, WEST = replace(V100, zone="use1-az2"), replace(V100, region="us-west-2", zone="usw2-az1")
ZONES = "<item><zoneName>us-east-1a</zoneName><zoneId>use1-az1</zoneId></item>"
ZONES += "<item><zoneName>us-east-1b</zoneName><zoneId>use1-az2</zoneId></item>"


def entry(price: str, zone: str = "us-east-1a", *, zone_id: str = "", **changes: str) -> str:
    fields = {
        "instanceType": "p3.2xlarge",
        "productDescription": "Linux/UNIX",
        "spotPrice": price,
        "timestamp": "2026-11-28T10:00:00.000Z",
        "availabilityZone": zone,
        **({"availabilityZoneId": zone_id} if zone_id else {}),
        **changes,
    }
    return "<item>" + "".join(f"<{name}>{value}</{name}>" for name, value in fields.items()) + "</item>"


class Server(ThreadingHTTPServer):
    """`pages` are given in turn, the last one for ever; `error`: for all, or for a region that is named."""

    daemon_threads = True

    def __init__(self, *pages: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = list(pages)
        self.endless = False
        self.errors: dict[str, str] = {}  # by region; "" for all
        self.asked: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        question = {name: values[-1] for name, values in parse_qs(text).items()}
        region = self.headers["Authorization"].split("/")[2]
        server.asked.append({**question, "region": region})
        code = server.errors.get(region, server.errors.get("", ""))
        action = question["Action"]
        if code:
            body = f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
        elif action == "DescribeAvailabilityZones":
            body = f"<{action}Response><availabilityZoneInfo>{ZONES}</availabilityZoneInfo></{action}Response>"
        else:
            is_more = server.endless or len(server.pages) > 1
            page = server.pages.pop(0) if len(server.pages) > 1 else server.pages[0]
            token = "<nextToken>more</nextToken>" if is_more else ""
            body = f"<{action}Response><spotPriceHistorySet>{page}</spotPriceHistorySet>{token}</{action}Response>"
        self.send_response(401 if code == "AuthFailure" else 400 if code else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, *pages: str) -> Iterator[Server]:
    with answering(Server(*pages)) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{made.server_port}")
        yield made


def asked(*rows: Quote) -> tuple[dict[Key, float], str]:
    (found,) = ask_all({"aws": aws_spots(rows)})
    return found.spots, found.trouble


def test_zones_are_known_by_their_ids_told_or_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, entry("0.41", zone_id="use1-az2"), entry("0.42")) as server:
        assert asked(V100, AZ2) == ({key(AZ2): 0.41, key(V100): 0.42}, ""), "two pages"
        assert [question["Action"][8:20] for question in server.asked] == ["SpotPriceHis"] * 2 + ["Availability"]
        first = server.asked[0]
        assert (first["InstanceType.1"], first["ProductDescription.1"]) == ("p3.2xlarge", "Linux/UNIX")
        assert "StartTime" in first
    with serving(monkeypatch, entry("0.41", zone_id="use1-az2")) as server:
        assert asked(V100, AZ2) == ({key(AZ2): 0.41}, "")
        assert len(server.asked) == 1, "who tells ids is not asked for them"


@pytest.mark.parametrize(
    ("entries", "price"),
    [
        (entry("0.5") + entry("0.6", timestamp="2026-11-28T12:00:00.000Z"), 0.6),
        (entry("0.6", timestamp="2026-11-28T12:00:00.000Z") + entry("0.5"), 0.6),
        (entry("0.5", productDescription="Windows"), None),
        (entry("0.5", productDescription="SUSE Linux"), None),
        (entry("0.5", productDescription="Linux/UNIX (Amazon VPC)"), 0.5),
        (entry("0.5", instanceType="p3.8xlarge"), None),
        (entry("0.5", zone="us-east-1c"), None),
        (entry("0.000"), None),
        (entry("0.5") + entry("0", timestamp="2026-11-28T12:00:00.000Z"), None),
        (entry("dear"), None),
        (entry("nan"), None),
        ("", None),
    ],
)
def test_the_newest_linux_price_of_the_row_itself_or_none(
    monkeypatch: pytest.MonkeyPatch, entries: str, price: float | None
) -> None:
    with serving(monkeypatch, entries):
        assert asked(V100) == ({} if price is None else {key(V100): price}, "")


def test_a_region_that_is_not_enabled_hinders_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, entry("0.4", zone_id="usw2-az1")) as server:
        server.errors = {"us-east-1": "AuthFailure"}
        assert asked(V100, WEST) == ({key(WEST): 0.4}, "us-east-1: answers AuthFailure")


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "ExpiredToken"])
def test_where_nothing_is_granted_one_region_is_asked(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with serving(monkeypatch, "") as server:
        server.errors = {"": code}
        assert asked(V100, WEST) == ({}, f"us-east-1 answers {code}")
        assert len(server.asked) == 1


def test_where_no_region_answers_not_all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [replace(V100, region=region) for region in ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1")]
    with serving(monkeypatch, "") as server:
        server.errors = {"": "AuthFailure"}
        spots, trouble = asked(*rows)
        assert len(server.asked) == FAILURES_MOST
    assert (spots, trouble) == ({}, "us-east-1, us-east-2, us-west-1: answers AuthFailure")


def test_pages_without_end_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, entry("0.4", zone_id="use1-az1")) as server:
        server.endless = True
        assert asked(V100) == ({}, "EC2 has more pages than are worth asking for")
        assert len(server.asked) == PAGES_MOST


def test_nobody_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    spots, trouble = asked(V100)
    assert (spots, "Could not connect" in trouble) == ({}, True)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no AWS credentials"),
        (
            {"AWS_PROFILE": "nobody", "AWS_ACCESS_KEY_ID": ""},
            "no AWS credentials (The config profile (nobody)",
        ),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no AWS credentials"),
    ],
)
def test_without_credentials_one_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    spots, trouble = asked(V100)
    assert spots == {}
    assert trouble.startswith(said)


def test_without_botocore_the_word_is_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    assert asked(V100) == ({}, "botocore is not installed; pip install 'spot-launch[aws]'")
