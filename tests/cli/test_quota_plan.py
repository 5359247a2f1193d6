"""A quota that a cloud refused an earlier run, in `launch plan` and `launch prices --for`."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.market.memory import Memory
from launcher.app.cli import main
from launcher.app.pricing_totals import withheld_lines
from launcher.app.remembering import memory_path
from launcher.core.market.lives import Lesson, Outcome
from launcher.core.market.offer import Capacity, Placement
from launcher.core.market.quota import QuotaRefusal
from launcher.core.plan.quotas import Withheld
from launcher.units import HOUR
from tests.cli.test_cloud_plan import JOB, answer, document, written


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return written(tmp_path, monkeypatch)


def refuse(home: Path, *, gpu: str = "A100", region: str = "us-east-1", ago: float = 3 * HOUR) -> None:
    where = Placement(
        cloud="aws", region=region, zone="z", instance="a2", accelerator=gpu, accelerators=1, capacity=Capacity.SPOT
    )
    told = Lesson(
        run="r", incarnation=region, attempt=1, at=time.time() - ago, placement=where, outcome=Outcome.REFUSED, why="quota"
    )
    Memory(memory_path(home)).add([told])


def test_a_quota_that_was_refused_is_left_out_and_told(
    capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(tmp_path / "home")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = answer(capsys, recipe, *JOB)
    assert max(map(len, lines.splitlines())) <= 80
    said = " ".join(lines.split())
    assert "left out for want of quota: A100:1 (spot) in aws us-east-1, $" in said
    assert "and more in 2 places, refused 3.0 h ago, tried again in" in said, "one has eight GPUs, which are more than one"
    assert "ask for more at https://console.aws.amazon.com/servicequotas; retry.quota=0s tries again at once" in said
    found = document(capsys, recipe, *JOB)["plan"]
    (kept,) = found["withheld"]
    assert (kept["why"], kept["cloud"], kept["region"], kept["capacity"]) == ("quota", "aws", "us-east-1", "spot")
    assert (kept["accelerator"], kept["accelerators"], kept["num_places"]) == ("A100", 1, 2)
    assert kept["again_at"] > kept["refused_at"]
    there = {(p["accelerator"], p["region"], p["capacity"]) for c in found["candidates"] if (p := c["offer"]["placement"])}
    assert ("A100", "us-east-1", "spot") not in there
    assert {("A100", "us-east-1", "on-demand"), ("A100", "eu-west-1", "spot"), ("T4", "us-east-1", "spot")} < there
    again = document(capsys, recipe, *JOB, "retry.quota=0s")["plan"]
    assert again["withheld"] == []
    assert again["candidates"][0]["total_usd"] == kept["total_usd"]


def test_where_only_the_quota_is_missing_the_plan_ends_with_3_and_names_it(
    capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path
) -> None:
    refuse(tmp_path / "home")
    words = ("resources.infra=aws/us-east-1", "resources.accelerators=A100:1", "resources.use_spot=true")
    assert main(["plan", str(recipe), "--work", "1h", *words]) == 3
    said = capsys.readouterr().err
    assert "get a quota of A100:1 (spot) in aws us-east-1 or write retry.quota=0s to fit: +$" in said


def test_prices_leave_out_what_the_plan_does(capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path) -> None:
    for region in ("us-east-1", "eu-west-1"):
        refuse(tmp_path / "home", region=region)
    assert main(["prices", "A100", "--for", str(recipe), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {total["capacity"] for total in found["totals"]} == {"on-demand"}
    assert {kept["region"] for kept in found["withheld"]} == {"us-east-1", "eu-west-1"}
    assert main(["prices", "A100", "--for", str(recipe)]) == 0
    assert capsys.readouterr().out.count("A100:1 (spot) in aws") == 2


def test_of_many_quotas_the_cheapest_are_told() -> None:
    told = QuotaRefusal(cloud="aws", region="r", accelerator="A100", gpus=1, capacity=Capacity.SPOT, refused_at=0.0)
    kept = [Withheld(refusal=replace(told, region=f"r{i}"), again_at=HOUR, num_places=1, usd=float(i)) for i in range(5)]
    line, helps = withheld_lines(kept, 0.0)
    assert [f"in aws r{i}," in line for i in range(5)] == [True] * 3 + [False] * 2
    assert line.endswith("; and 2 more (-o json has them all)")
    assert helps.startswith("quota: ask for more at https://console.aws")
    assert withheld_lines([], 0.0) == []
