"""`launch plan` for a recipe that names clouds: no account, no network, and every loser's reason in words."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.market.memory import Memory
from launcher.app.cli import main
from launcher.app.plan_answer import ROWS_SHOWN, Row, table_lines, telling
from launcher.app.remembering import memory_path
from launcher.core.market.lives import Lesson, Outcome
from launcher.core.market.offer import Capacity, Placement
from launcher.core.plan.candidates import Candidate
from launcher.core.plan.shopping import totals
from launcher.core.plan.transfer import Haul
from launcher.core.plan.work import work_of
from launcher.core.recipe import Recipe, Resources
from launcher.core.run.events import CheckpointSeen
from launcher.core.run.lessons import program_of
from launcher.units import HOUR
from tests.cli.past import keep, preempted
from tests.core.test_cheapest_hour import offers as priced
from tests.market import lists

RECIPE = """
name: llama
resources: {accelerators: ['A100:1', 'T4:1', 'H100:1'], infra: [aws]}
data: {train: 's3://corp/tokens'}
run: python train.py
workdir: .
checkpoint: {dir: 's3://corp/ckpt'}
"""
# instance, GPU, how many, on-demand, spot, region, zone
ROWS = (
    ("a2", "A100", 1, 3.00, 1.00, "us-east-1", "use1-az1"),
    ("a2", "A100", 1, 3.00, 0.90, "eu-west-1", "euw1-az1"),
    ("a2", "A100", 8, 24.00, 6.00, "us-east-1", "use1-az1"),
    ("t4", "T4", 1, 0.52, 0.25, "us-east-1", "use1-az2"),
    ("h1", "H100", 1, 9.00, "", "us-east-1", "use1-az4"),
    ("p2", "K80", 1, 0.90, 0.30, "us-east-1", "use1-az4"),
)
JOB = ("--work", "10h", "--state", "14GB", "--data", "500GB@aws/us-east-1", "--store-in", "aws/us-east-1")


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return written(tmp_path, monkeypatch)


def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe and the one list of prices that there is; a home of nobody."""
    lines = [f"{i},{gpu},{n},8.0,61.0,,{od},{spot},{region},{zone},x86_64" for i, gpu, n, od, spot, region, zone in ROWS]
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", aws="\n".join((lists.AWS, *lines, "")))))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    return path


def document(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["plan", *map(str, words), "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    return found


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["plan", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_every_loser_has_its_reason_and_the_winner_its_mark(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    said = answer(capsys, recipe, *JOB)
    (chosen,) = [line for line in said.splitlines() if line.endswith("✔")]
    assert "A100:1" in chosen
    assert "aws use1-az1" in chosen
    assert "less per hour, but" in said
    assert "times the hours" in said, "the T4"
    assert "8 GPUs for one" in said
    assert "more for reading the data" in said, "Ireland, where the hour is cheaper"


def test_the_plan_tells_all_that_a_yes_would_mean(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    said = answer(capsys, recipe, *JOB, "policy.budget=40", "policy.deadline=30h")
    for part in (
        "for 10.0 h of A100:1, as --work says",
        "with launcher.train every",
        "at worst $40.00: policy.budget",
        "ends after 12.0 h, $36.00 at most",
        "the run as a whole, drawn 200 times from place to place: ",
        "on average; in nine of ten runs at least",
        "deadline: ",
        "budget: ",
        "notice: aws gives 2 min, 14.0 GB take 46 s; so a save at the notice is in time",
        "creates: one machine (a2, spot, in aws use1-az1), and another whenever one is lost",
        "uploads: the workdir once; the journal and about ",
        "deletes: each machine when it is done with",
        "stay, for about $0.97 a month",
        "prices: aws by ",
    ):
        assert part in said, part


def test_saves_that_are_counted_in_steps_are_told_as_such(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    every = "checkpoint.every=500 steps"
    assert "500 steps; how long a step takes is not known" in " ".join(answer(capsys, recipe, *JOB, every).split())
    recipe.write_text(recipe.read_text().replace("run: python train.py", "trainer: {kind: launcher.trainers.gpt, steps: 90000}"))
    said = " ".join(answer(capsys, recipe, every).split())
    assert "(as checkpoint.every says, 500 steps)" in said


def test_the_document_holds_what_the_table_does(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    found = document(capsys, recipe, *JOB, "policy.budget=40")
    ranked = found["plan"]["candidates"]
    assert [c["total_usd"] for c in ranked] == sorted(c["total_usd"] for c in ranked)
    assert [c["rank"] for c in ranked] == list(range(1, len(ranked) + 1))
    first = ranked[0]
    assert first["is_chosen"]
    assert first["total_usd"] == pytest.approx(
        first["estimate"]["usd"] + sum(first["aside"][part] for part in ("keeping", "moving", "reading")), abs=1e-3
    )
    assert all(c["why"] for c in ranked[1:])
    assert all(c["total_usd_p50"] <= c["total_usd_p90"] for c in ranked)
    sure = next(c for c in ranked if c["offer"]["placement"]["capacity"] == "on-demand")
    assert sure["total_usd_p90"] == pytest.approx(sure["total_usd"]), "nothing is drawn where nothing is taken away"
    assert found["outlook"]["worst_usd"] == 40
    assert found["outlook"]["fits_notice"] is True
    played = found["outlook"]["played"]
    assert played["usd"] == pytest.approx(first["total_usd"], rel=0.2), "one place or place after place: about the same here"
    assert played["usd"] <= played["usd_p90"]
    assert found["outlook"]["budget_margin"] == pytest.approx(40 - played["usd"])
    assert found["outlook"]["budget_margin_p90"] == pytest.approx(40 - played["usd_p90"])
    assert found["prices"][0]["cloud"] == "aws"
    assert found["work"] == {
        "basis": "10.0 h of A100:1, as --work says",
        "flops": pytest.approx(3.93e18, rel=0.01),
        "is_known": True,
    }


def test_margins_on_demand_are_the_estimates_since_nothing_is_drawn(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    words = (recipe, "--work", "10h", "policy.deadline=20h", "resources.use_spot=false", "resources.accelerators=A100:1")
    found = document(capsys, *words)
    assert found["outlook"]["played"] is None
    best = next(c for c in found["plan"]["candidates"] if c["is_chosen"])
    assert found["outlook"]["deadline_margin"] == pytest.approx(20 * HOUR - best["estimate"]["elapsed"])


def test_what_is_doubtful_about_a_price_stands_beside_its_place(
    capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spot at exactly a tenth of on-demand is a floor: it is no offer, and the row says so."""
    rows = ("a2,A100,1,8.0,61.0,,3.00,0.30,us-east-1,use1-az1,x86_64", "a2,A100,1,8.0,61.0,,3.10,1.00,us-east-1,use1-az2,x86_64")
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "one", aws="\n".join((lists.AWS, *rows, "")))))
    said = answer(capsys, recipe, "--work", "1h")
    assert sum("use1-az1 (a)" in line for line in said.splitlines()) == 1
    assert "use1-az2 (a)" not in said
    assert "(a) spot is exactly 10 % of on-demand, a floor" in said
    found = {c["offer"]["placement"]["zone"]: c["doubts"] for c in document(capsys, recipe, "--work", "1h")["plan"]["candidates"]}
    assert found == {"use1-az1": ["spot_floor"], "use1-az2": []}


def test_a_state_too_large_for_the_notice_is_told(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    said = answer(capsys, recipe, "--work", "10h", "--state", "70GB")
    assert "70.0 GB take 4 min; so a save at the notice is late" in said


def test_what_nobody_knows_is_left_out_and_said(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    said = answer(capsys, recipe)
    assert "what one hour of A100:1 does in 16 bits, since nobody knows" in said
    assert "say so with --state" in said
    assert "say so with --data" in said
    assert "whether a checkpoint fits into it nobody knows" in said
    assert "no bound" in said


def test_operations_may_be_named_instead_of_hours(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    """An hour of an A100 at 35 % of 312 TFLOP/s is 3.93e17 operations."""
    found = document(capsys, recipe, "--work", "3.9312e17flop")
    (sure,) = [
        c
        for c in found["plan"]["candidates"]
        if c["offer"]["placement"]["accelerator"] == "A100" and c["gpus"] == 1 and c["offer"]["placement"]["accelerators"] == 1
        and c["offer"]["placement"]["capacity"] == "on-demand" and c["offer"]["placement"]["region"] == "us-east-1"
    ]  # fmt: skip
    assert sure["task"]["work"] == pytest.approx(HOUR)


def test_a_measured_pace_replaces_the_data_sheet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """4,000 steps at 0.5 a second are 2.2 h on the T4 that was measured; on an A100 by the ratio of their fp32 peaks, 8.1 to
    19.5 TFLOP/s: 0.92 h."""
    trainer = {"kind": "launcher.trainers.gpt", "steps": 4000, "seed": 1}
    path = tmp_path / "gpt.yaml"
    path.write_text(
        "name: small\nresources: {accelerators: ['T4:1', 'A100:1'], infra: [aws]}\n"
        "trainer: {kind: launcher.trainers.gpt, steps: 4000, seed: 1}\n"
    )
    placed = Placement(
        cloud="aws", region="us-east-1", zone="z", instance="t4", accelerator="T4", accelerators=1, capacity=Capacity.SPOT
    )
    from launcher.adapters import recipe_file

    program = program_of(recipe_file.load(str(path)).recipe)
    lesson = Lesson(
        run="r", incarnation="i", attempt=1, at=time.time(), placement=placed, outcome=Outcome.HELD, life=HOUR,
        program=program, steps_per_s=0.5, gpus=1,
    )  # fmt: skip
    Memory(memory_path(tmp_path / "home")).add([lesson])
    found = document(capsys, path)
    work = {
        c["offer"]["placement"]["accelerator"]: c["task"]["work"]
        for c in found["plan"]["candidates"]
        if c["offer"]["placement"]["accelerators"] == 1
    }
    assert work["T4"] == pytest.approx(8000)
    assert work["A100"] == pytest.approx(8000 * 8.1 / 19.5)
    assert "as measured on T4:1" in found["work"]["basis"]
    assert trainer["steps"] == 4000


def test_a_pace_is_of_the_gpus_used_on_as_many_machines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """36,000 steps at one a second are 10 h on one A100 each of four machines, whatever else those machines have; on T4s by the
    ratio of their peaks in 16 bits, 312 to 65 TFLOP/s: 48 h."""
    from launcher.adapters import recipe_file

    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nresources: {accelerators: ['A100:1', 'T4:1'], infra: [aws]}\nnum_nodes: 4\n"
        "trainer: {kind: own.trainer, steps: 36000}\nworkdir: .\ncheckpoint: {dir: 's3://corp/ckpt'}\n"
    )
    placed = Placement(
        cloud="aws", region="us-east-1", zone="z", instance="a2", accelerator="A100", accelerators=8, capacity=Capacity.SPOT
    )
    lesson = Lesson(
        run="r", incarnation="i", attempt=1, at=time.time(), placement=placed, outcome=Outcome.HELD, life=HOUR,
        program=program_of(recipe_file.load(str(path)).recipe), steps_per_s=1.0, gpus=1, num_nodes=4,
    )  # fmt: skip
    Memory(memory_path(tmp_path / "home")).add([lesson])
    found = document(capsys, path)
    hours = {c["offer"]["placement"]["accelerator"]: c["task"]["work"] / HOUR for c in found["plan"]["candidates"]}
    assert hours == {"A100": pytest.approx(10.0), "T4": pytest.approx(10.0 * 312 / 65)}


def test_a_pace_on_a_gpu_without_a_data_sheet_says_nothing_of_others(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from launcher.adapters import recipe_file

    path = tmp_path / "gpt.yaml"
    path.write_text("name: gpt\nresources: {infra: [aws]}\ntrainer: {kind: launcher.trainers.gpt, steps: 4000}\n")
    placed = Placement(
        cloud="aws", region="us-east-1", zone="z", instance="x", accelerator="NoSheet", accelerators=1, capacity=Capacity.SPOT
    )
    lesson = Lesson(
        run="r", incarnation="i", attempt=1, at=time.time(), placement=placed, outcome=Outcome.HELD, life=HOUR,
        program=program_of(recipe_file.load(str(path)).recipe), steps_per_s=1.0, gpus=1,
    )  # fmt: skip
    Memory(memory_path(tmp_path / "home")).add([lesson])
    assert "measured" not in document(capsys, path)["work"]["basis"]


def test_a_checkpoint_is_as_large_as_an_earlier_run_left_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A rehearsal's too: what is saved is the same on any machine. What is said counts more, what is counted less."""
    sim = preempted()
    (*_, size) = [r.event.size for r in sim.history.records if isinstance(r.event, CheckpointSeen)]
    path = tmp_path / "sim.yaml"
    path.write_text("name: sim\nresources: {infra: [aws]}\ntrainer: {kind: launcher.trainers.gpt, steps: 9}\n")
    assert "counted" in answer(capsys, path)
    keep(sim)
    assert document(capsys, path)["moved"]["state"] == size
    assert "as in an earlier run" in " ".join(answer(capsys, path).split())
    assert document(capsys, path, "--state", "1GB")["moved"]["state"] == 10**9


def test_a_bucket_outside_of_the_residency_is_refused(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    words = (str(recipe), "data.residency=[eu]", "--store-in")
    assert main(["plan", *words, "aws/us-east-1"]) == 2
    assert "outside data.residency (eu)" in capsys.readouterr().err
    answer(capsys, *words, "aws/eu-west-1")


def test_what_cannot_be_compared_is_named(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    said = answer(capsys, recipe, "--work", "1h", "resources.infra=[aws, k8s]", "resources.accelerators=[A100:1, K80:1]")
    assert "no price list has k8s" in said
    assert "left out: K80" in said
    assert main(["plan", str(recipe), "resources.accelerators=K80:1"]) == 3
    assert "nobody has looked up how fast K80 is" in capsys.readouterr().err


# --- nothing fits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("resources.max_hourly_cost=0.2", "allow $0.90/h as resources.max_hourly_cost to fit: +$"),
        ("resources.infra=aws/us-west-2", "allow aws/eu-west-1 in resources.infra to fit: +$"),
        ("data.residency=[us-west]", "in data.residency to fit: +$"),
    ],
)
def test_where_nothing_fits_the_nearest_miss_has_its_money(
    capsys: pytest.CaptureFixture[str], recipe: Path, override: str, said: str
) -> None:
    assert main(["plan", str(recipe), "--work", "1h", override]) == 3
    assert said in capsys.readouterr().err


def test_what_the_nearest_miss_advises_suffices(
    capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$0.40403 is more than $0.40: the next cent is said."""
    row = "a2,A100,1,8.0,61.0,,3.00,0.40403,us-east-1,use1-az1,x86_64"
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "one", aws=f"{lists.AWS}\n{row}\n")))
    assert main(["plan", str(recipe), "resources.max_hourly_cost=0.40"]) == 3
    said = capsys.readouterr().err
    assert "its $0.40403/h is above resources.max_hourly_cost $0.40/h" in said
    assert "allow $0.41/h as resources.max_hourly_cost" in said
    answer(capsys, recipe, "resources.max_hourly_cost=0.41")


def test_a_budget_that_no_run_could_keep_ends_with_3(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    """An H100 does ten hours of an A100 in 3.2 for $29.14; the A100 itself takes ten at $0.90."""
    assert main(["plan", str(recipe), "--work", "10h", "policy.budget=5"]) == 3
    assert "the budget is $5.00, and the work takes $9.07 where that is least" in capsys.readouterr().err
    answer(capsys, recipe, "--work", "10h", "policy.budget=15")


def test_hours_of_gpus_named_by_their_memory_are_of_so_many_of_them(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    found = document(capsys, recipe, "--work", "10h", "resources.accelerators=40GB+:8")
    assert found["work"]["basis"] == "10.0 h of A100:8, as --work says"


def test_a_deadline_that_the_fastest_gpu_cannot_meet_ends_with_3(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    """Ten hours of an A100 are 3.2 h of an H100."""
    assert main(["plan", str(recipe), "--work", "10h", "policy.deadline=3h"]) == 3
    assert "the deadline is in 3.0 h" in capsys.readouterr().err
    answer(capsys, recipe, "--work", "10h", "policy.deadline=4h")


def test_the_cheapest_place_that_is_too_slow_is_not_taken(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    """Ten hours of an A100 are two days of a T4, which at half the price would still be the cheapest to finish on."""
    cheap = (str(recipe), "--work", "10h", "resources.accelerators=[A100:1, T4:1]", "resources.infra=[aws/us-east-1]")
    free = document(capsys, *cheap, "resources.use_spot=true")["plan"]["candidates"]
    pressed = document(capsys, *cheap, "policy.deadline=40h", "resources.use_spot=true")["plan"]["candidates"]
    slow = next(c for c in pressed if c["offer"]["placement"]["accelerator"] == "T4")
    assert [c["rank"] for c in pressed] == [c["rank"] for c in free]
    assert slow["why"].startswith("misses the deadline by ")
    assert next(c for c in pressed if c["is_chosen"])["offer"]["placement"]["accelerator"] == "A100"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--work", "soon"], "--work: 'soon' is not a quantity"),
        (["--work", "0h"], "--work 0h"),
        (["--work", "0flop"], "--work 0flop: write how many operations"),
        (["--state", "big"], "--state: 'big'"),
        (["--data", "5GB@aws/us/1"], "write CLOUD/REGION"),
        (["--store-in", "/us-east-1"], "write CLOUD/REGION"),
        (["--store-in", "aws/us-esat-1"], "no list has such a region; did you mean aws/us-east-1?"),
        (["--store-in", "aws/US-EAST-1"], "did you mean aws/us-east-1?"),
        (["--data", "5GB@aws/us-eat-1"], "did you mean aws/us-east-1?"),
        (["--data", "5GB@aws/use1-az1"], "that is a zone of us-east-1; name the region"),
        (["--store-in", "r2/auto"], "what r2 bills for traffic is not known"),
        (["--store-in", "gcp/us-central1"], "checkpoint.dir is s3://corp/ckpt, a bucket of aws; write aws/REGION"),
        (["resources.accelerators=H10:1"], "did you mean H100?"),
        (["resources.infra=[aws/us-esat-1,gcp]"], "resources.infra aws/us-esat-1: no list has such a region; did you mean"),
        (["resources.infra=local", "--work", "1h"], "--work is for clouds"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_remedy(
    capsys: pytest.CaptureFixture[str], recipe: Path, words: list[str], said: str
) -> None:
    assert main(["plan", str(recipe), *words]) == 2
    assert said in capsys.readouterr().err


# --- pictures ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_screen_and_no_reason_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: Path, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = answer(capsys, recipe, *JOB, "policy.budget=40", "policy.deadline=90h")
    assert max(map(len, said.splitlines())) <= width
    for reason in ("times the hours", "8 GPUs for one", "more for reading the data"):
        assert reason in " ".join(said.split())


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_rehearsals_plan_fits_as_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: Path, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = answer(capsys, "quickstart")
    assert max(map(len, said.splitlines())) <= width
    assert "✔" in said


def many(num: int) -> tuple[Candidate, ...]:
    wanted = Recipe(name="r", run="x", resources=Resources(accelerators=("A100:1", "T4:1")))
    offers = [o for i in range(num) for o in priced("A100", spot=1 + i / 100, on_demand=3.0, at=f"aws/us-east-{i}")]
    offers += priced("T4", spot=0.5, on_demand=0.9, at="gcp/us-central1")
    return totals(wanted, work_of(wanted), Haul(), offers)


def test_of_many_places_the_cheapest_are_shown_and_one_of_each_other_kind() -> None:
    shown = telling(many(40))
    assert len(shown) <= ROWS_SHOWN
    assert [row.rank for row in shown][:5] == [1, 2, 3, 4, 5]
    assert {row.candidate.offer.placement.cloud for row in shown} == {"aws", "gcp"}
    assert {row.candidate.offer.placement.capacity for row in shown} == set(Capacity)


def test_on_a_narrow_screen_reasons_stand_below_the_table() -> None:
    rows = [Row(rank=i, candidate=c) for i, c in enumerate(many(3), start=1)]
    wide, narrow = table_lines(rows, 200), table_lines(rows, 60)
    assert "AGAINST IT" in wide[0]
    assert "AGAINST IT" not in narrow[0]
    assert narrow[len(wide)].startswith("against it: #2 ")
    assert all(f"#{row.rank} {row.candidate.why}" in " ".join(" ".join(narrow).split()) for row in rows if row.candidate.why)
    assert max(map(len, narrow)) <= 60


@pytest.mark.parametrize(("width", "quantiles"), [(50, []), (80, ["P90"]), (200, ["P50", "P90"])])
def test_quantiles_are_explained_where_the_table_has_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: Path, width: int, quantiles: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, _, said = answer(capsys, recipe, *JOB).partition("EST. TOTAL")
    head, _, below = said.partition("\n")
    assert re.findall(r"P\d0", below) == re.findall(r"P\d0", head) == quantiles


def test_neither_skypilot_nor_torch_nor_a_cloud_library_is_imported(recipe: Path) -> None:
    code = (
        f"import sys; from launcher.app.cli import main; main(['plan', {str(recipe)!r}, '--work', '1h', '-o', 'json']);"
        "print([m for m in ('sky', 'torch', 'fsspec', 'boto3', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_region_without_gpus_and_a_cloud_without_a_list_are_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("resources.infra=[aws,lambda]", "--store-in", "aws/us-east-2", "--data", "5GB@aws/us-east-1")
    assert main(["plan", str(recipe), *words, "-o", "json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("--store-in: no list has aws/us-east-2 (did you mean aws/us-east-1?)" in note for note in notes)
    assert any("no list on this machine has lambda" in note for note in notes)


def test_work_that_takes_years_is_refused_with_what_would_help(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    assert main(["plan", str(recipe), "--work", "3e30flop"]) == 3
    said = capsys.readouterr().err
    assert "the work takes more than 1095.0 d on the fastest machine that fits" in said
    assert "name more GPUs in resources.accelerators" in said


def test_a_limit_leaves_nothing_that_is_known_of_a_program_that_trains_for_any_time(
    capsys: pytest.CaptureFixture[str], recipe: Path
) -> None:
    said = answer(capsys, recipe, "policy.deadline=30h", "policy.budget=40")
    assert "deadline, budget: what is left of them nobody knows" in said
    assert " to spare" not in said
    found = document(capsys, recipe, "policy.deadline=30h")["outlook"]
    assert (found["deadline_margin"], found["deadline_margin_p90"]) == (None, None)
    assert "nobody knows how long" not in "".join(document(capsys, recipe)["outlook"]["margins"])


def test_a_dry_run_of_train_is_the_plan(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    assert main(["train", str(recipe), "--dry-run"]) == 0
    assert capsys.readouterr().out == answer(capsys, recipe)


def test_the_documents_numbers_have_six_digits_behind_the_point(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    main(["plan", str(recipe), *JOB, "-o", "json"])
    figures = re.findall(r"\d+\.(\d+)", capsys.readouterr().out)
    assert max(map(len, figures)) == 6


def test_a_machine_that_the_recipe_names_is_the_only_one(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranked = document(capsys, recipe, *JOB, "resources.instance_type=a2")["plan"]["candidates"]
    assert {c["offer"]["placement"]["instance"] for c in ranked} == {"a2"}


def test_a_machine_that_no_list_has_is_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(recipe), *JOB, "resources.instance_type=a22"]) == 2
    assert "resources.instance_type is a22, which no list has with the recipe's GPUs; did you mean a2?" in capsys.readouterr().err
