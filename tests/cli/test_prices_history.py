"""`launch prices GPU --history` shows what our own attempts met there, beside what prices did."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.market import download
from launcher.adapters.market.bands import TABLE
from launcher.app import pricelists
from launcher.app.cli import main
from launcher.app.pricing_history import learnt_lines, met
from launcher.app.remembering import memory_of, memory_path
from launcher.core.market.lives import Lesson, Lives, Outcome, band_life, learnt
from launcher.core.market.offer import Capacity, Placement
from launcher.units import HOUR, MINUTE
from tests.market import lists
from tests.market.hosting import Server, serving

HERE = Placement(
    cloud="aws",
    region="us-east-1",
    zone="use1-az2",
    instance="p3.2xlarge",
    accelerator="V100",
    accelerators=1,
    capacity=Capacity.SPOT,
)
ROWS = (("p3.2xlarge", "V100", 1, 3.06, 0.5, "use1-az2"), ("p5.48xlarge", "H100", 8, 55.04, 17.6, "use1-az6"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    named = lists.folder(tmp_path / "lists", aws=lists.aws(*ROWS))
    monkeypatch.setenv("LAUNCH_CATALOG", str(named))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    return named


def lesson(attempt: int, outcome: Outcome = Outcome.LOST, **more: object) -> Lesson:
    base = Lesson(
        run="r",
        incarnation="inc",
        attempt=attempt,
        at=time.time() - attempt * HOUR,
        placement=HERE,
        outcome=outcome,
        life=2 * HOUR,
        boot=3 * MINUTE,
        notice=120.0 if outcome is Outcome.LOST else None,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def four() -> tuple[Lesson, ...]:
    """As of now: a suite that takes minutes must not make them older."""
    return (
        lesson(1),
        lesson(2, notice=None),
        lesson(3, Outcome.HELD, life=5 * HOUR),
        lesson(4, Outcome.REFUSED, life=None, boot=None, why="capacity"),
    )


def history(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["prices", *words, "--history", "-o", "json"]) == 0
    return list(json.loads(capsys.readouterr().out)["learnt"])


def test_lives_and_refusals_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory_of(tmp_path / "home").add(four())
    assert main(["prices", "V100", "--history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("met by attempts of this home:")
    assert lines[at + 1].split("  ")[0] == "GPU"
    row = " ".join(lines[at + 2].split())
    assert row.startswith("V100:1 aws use1-az2 p3.2xlarge spot 3 2 1, capacity 4.5 h ")
    assert "3 min 120" not in row
    assert row.endswith("3 min 2 min, 1 without 60 min ago")


def test_in_json_with_what_is_expected_there_and_why(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / TABLE).write_text("Region,InstanceType,Band\nus-east-1,p3.2xlarge,4\n")
    memory_of(tmp_path / "home").add(four())
    (found,) = history(capsys, "V100")
    assert (found["num_lives"], found["num_taken"], found["num_unwarned"], found["num_refused"]) == (3, 2, 1, 1)
    assert found["refused_why"] == "capacity"
    assert (found["mean_life_s"], found["boot_s"], found["notice_s"]) == (4.5 * HOUR, 180.0, 120.0)
    assert found["expected_life_s"] == pytest.approx((2 * band_life(4) + 9 * HOUR) / 4, rel=0.01)
    assert found["expected_by"] == "3 of our own there, 9.0 h together, 2 taken; AWS's band above 20 %"


def test_other_gpus_clouds_and_sizes_are_not_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory_of(tmp_path / "home").add(four())
    assert history(capsys, "H100") == []
    assert history(capsys, "V100:8") == []
    assert history(capsys, "V100", "--cloud", "gcp") == []
    assert len(history(capsys, "V100:1", "--cloud", "aws")) == 1


def test_without_an_attempt_nothing_is_said_of_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "V100", "--history"]) == 0
    assert "attempts" not in capsys.readouterr().out


def test_damage_is_said_and_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory_of(tmp_path / "home").add(four())
    path = memory_path(tmp_path / "home")
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["prices", "V100", "--history", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["learnt"]) == 1
    assert err == f"1 line of {path} cannot be read; the others count\n"


def test_bands_that_cannot_be_used_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / TABLE).write_text("Region,InstanceType\n")
    assert main(["prices", "V100", "--history"]) == 0
    assert capsys.readouterr().err == f"the interruption bands in {folder / TABLE} cannot be used: it has no column Band\n"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_nothing_wraps(width: int) -> None:
    now = time.time()
    many = [replace(one, placement=replace(HERE, zone=f"use1-az{n}")) for n in range(25) for one in four()]
    lives = Lives(learnt=learnt(many, now))
    lines = learnt_lines(met(lives, ["V100"]), lives, now, width=width)
    assert max(map(len, lines)) <= width
    assert lines[-1] == "and 5 more; -o json has them all"
    assert all(word in lines[2] for word in ("GPU", "PLACE", "LIVES", "TAKEN", "REFUSED", "MEAN LIFE"))


def test_the_cost_to_finish_counts_with_what_was_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty machines that lived a minute each make spot in that place the dearer choice."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: r\nrun: python train.py\nresources: {accelerators: V100:1, use_spot: true, infra: aws}\n")

    def restarts() -> float:
        assert main(["prices", "V100", "--for", str(recipe), "-o", "json"]) == 0
        (total,) = json.loads(capsys.readouterr().out)["totals"]
        return float(total["restarts"])

    before = restarts()
    memory_of(tmp_path / "home").add([lesson(n, life=MINUTE) for n in range(20)])
    assert restarts() > 3 * before


# --- bands that are fetched ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """In the place of SkyPilot's and AWS's own; nobody is asked for live prices."""
    with serving() as made:
        made.bodies["/advised.json"] = json.dumps({"spot_advisor": {"us-east-1": {"Linux": {"p3.2xlarge": {"r": 0}}}}}).encode()
        monkeypatch.setattr(download, "HOSTED", made.url)
        monkeypatch.setattr(download, "ADVISED", f"{made.url}/advised.json")
        monkeypatch.setattr(pricelists, "ask_live", lambda rows: [])
        yield made


def test_a_refresh_fetches_aws_bands_and_they_count(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAUNCH_CATALOG")
    assert main(["prices", "V100", "--refresh"]) == 0
    assert "lambda (new), AWS's interruption bands\n" in capsys.readouterr().err
    memory_of(tmp_path / "home").add(four())
    (found,) = history(capsys, "V100")
    assert found["expected_by"].endswith("AWS's band below 5 %")


def test_bands_that_cannot_be_fetched_are_said_and_the_old_ones_count(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.bodies["/advised.json"] = b"{}"
    assert main(["prices", "V100", "--refresh"]) == 0
    said = capsys.readouterr().err
    assert f"AWS's interruption bands are not refreshed: {server.url}/advised.json cannot be used: " in said
    assert "; those that were there count\n" in said


def test_who_names_a_mirror_has_nobody_else_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCH_CATALOG_URL", server.url)
    assert main(["prices", "V100", "--refresh"]) == 0
    assert "bands" not in capsys.readouterr().err
    assert not [line for line in server.lines if "advised" in line]
