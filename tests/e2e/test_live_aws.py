"""AWS's word from moto, which stands for EC2, with credentials as a person has them: live prices, and names of zones."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.cloud.skypilot.base import Refused
from launcher.adapters.cloud.skypilot.zones import zone_name
from launcher.app.cli import main
from launcher.core.market.offer import Capacity, Placement
from tests.market import lists
from tests.servers.running import Servers

MOTOS = 0.00001  # what moto says of every machine in every zone


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Servers) -> None:
    server = servers.get("moto")
    for name, value in server.kind.environment(server.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{server.port}")
    for name in ("LAUNCH_CATALOG_URL", "LAUNCH_AZURE_PRICES_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def refreshed(capsys: pytest.CaptureFixture[str], folder: Path, on_demand: float) -> tuple[str, dict[str, tuple[float, str]]]:
    """What is said, and spot and source by zone; the list has a machine in two zones of one region."""
    rows = [("g5.xlarge", "A10G", 1, on_demand, on_demand / 2, zone) for zone in ("use1-az6", "use1-az9")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAUNCH_CATALOG", str(lists.folder(folder, aws=lists.aws(*rows))))
        assert main(["prices", "A10G", "--cloud", "aws", "--refresh", "-o", "json"]) == 0
    heard = capsys.readouterr()
    found = json.loads(heard.out)["offers"]
    return heard.err, {offer["zone"]: (offer["spot_usd_per_h"], offer["source"]) for offer in found}


def test_a_price_of_ec2_takes_the_listed_ones_place_in_its_zone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said, found = refreshed(capsys, tmp_path / "lists", 0.00005)
    assert "live spot prices: aws (1)" in said
    assert found == {"use1-az6": (MOTOS, "live"), "use1-az9": (0.000025, str(tmp_path / "lists"))}


def test_what_would_be_shown_as_nothing_is_no_price(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, found = refreshed(capsys, tmp_path / "lists", 3.06)
    assert found["use1-az6"] == (1.53, str(tmp_path / "lists"))


def test_a_server_that_is_gone_has_one_word(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{taken.getsockname()[1]}")
        said, found = refreshed(capsys, tmp_path / "lists", 3.06)
    assert "no live prices: aws: us-east-1: Could not connect" in said
    assert found["use1-az6"] == (1.53, str(tmp_path / "lists"))


def test_a_zone_of_the_lists_has_the_accounts_own_name_and_a_foreign_one_is_refused() -> None:
    where = Placement(
        cloud="aws",
        region="us-east-1",
        zone="use1-az6",
        instance="g5.xlarge",
        accelerator="A10G",
        accelerators=1,
        capacity=Capacity.SPOT,
    )
    assert zone_name(where) == "us-east-1a"
    assert zone_name(replace(where, zone="us-east-1b")) == "us-east-1b", "a name already"
    with pytest.raises(Refused, match="no zone use1-az9"):
        zone_name(replace(where, zone="use1-az9"))
