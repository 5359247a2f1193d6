"""A plan on the real rows: a cheap hour loses there too, in several ways, and each price stands in a list."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from launcher.app.cli import main
from tests.market.lists import FOLDER, real

RECIPE = """
name: llama
resources: {accelerators: ['A100:1', 'A100-80GB:1', 'L40S:1', 'T4:1', 'H100:1'], infra: [aws, gcp, azure, lambda]}
data: {train: 's3://corp/tokens'}
run: python train.py
checkpoint: {dir: 's3://corp/ckpt'}
"""
JOB = ("--work", "10h", "--state", "14GB", "--data", "500GB@aws/us-east-1", "--store-in", "aws/us-east-1")


def planned(capsys: pytest.CaptureFixture[str], path: Path) -> list[dict[str, Any]]:
    path.write_text(RECIPE)
    assert main(["plan", str(path), *JOB, "-o", "json"]) == 0
    return list(json.loads(capsys.readouterr().out)["plan"]["candidates"])


@real
def test_a_cheap_hour_loses_on_real_rows_in_several_ways_and_each_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = planned(capsys, tmp_path / "r.yaml")
    whys = [c["why"] for c in found]
    for words in ("times the hours", "for moving checkpoints", "for reading the data", "8 GPUs for one"):
        assert any(words in why for why in whys), words
    assert sum(c["is_chosen"] for c in found) == 1
    assert all(bool(c["why"]) != c["is_chosen"] for c in found)
    cheapest_hour = min(found, key=lambda c: c["offer"]["price"])
    assert not cheapest_hour["is_chosen"]


@real
def test_prices_of_aws_are_those_of_its_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert FOLDER is not None
    with (Path(FOLDER) / "aws.csv").open(newline="") as file:
        rows = {(r["InstanceType"], r["AvailabilityZone"]): r for r in csv.DictReader(file)}
    ours = [c["offer"] for c in planned(capsys, tmp_path / "r.yaml") if c["offer"]["placement"]["cloud"] == "aws"]
    assert len(ours) > 100
    for offer in ours:
        p = offer["placement"]
        row = rows[p["instance"], p["zone"]]
        listed = row["SpotPrice"] if p["capacity"] == "spot" else row["Price"]
        assert offer["price"] == pytest.approx(float(listed))
        assert (p["region"], p["accelerator"], p["accelerators"]) == (
            row["Region"],
            row["AcceleratorName"],
            float(row["AcceleratorCount"]),
        )
