"""Right-sizing as a person meets it: `accelerators: auto`, GPUs by their memory, and a GPU that is too small."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.app.cli import main
from tests.market import lists

# 1,211,224,064 parameters; with 4 * 1024 tokens a step it needs 38 GB: see tests/core/test_sizing.py.
SHAPE = "layers: 24, width: 2048, heads: 16, context: 1024"
TRAINER = f"trainer: {{kind: launcher.trainers.gpt, steps: 100, batch_size: 4, {SHAPE}}}\n"
ROWS = (("t4", "T4", 0.25), ("a100", "A100", 1.00), ("a100-80", "A100-80GB", 2.00), ("h100", "H100", 90.00))


@pytest.fixture(autouse=True)
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One list, of AWS; a home of nobody."""
    lines = [f"{name},{gpu},1,8.0,61.0,,{3 * usd},{usd},us-east-1,use1-az1,x86_64" for name, gpu, usd in ROWS]
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", aws="\n".join((lists.AWS, *lines, "")))))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


def recipe(gpus: str, program: str = TRAINER, infra: str = "aws") -> str:
    return f"name: r\nresources: {{accelerators: {gpus}, infra: {infra}}}\n{program}"


Written = Callable[[str], str]


def planned(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> set[str]:
    """The GPUs that a plan has places for."""
    assert main(["plan", name, "-o", "json", *words]) == 0
    candidates = json.loads(capsys.readouterr().out)["plan"]["candidates"]
    return {candidate["offer"]["placement"]["accelerator"] for candidate in candidates}


def test_auto_plans_on_all_gpus_that_are_large_enough(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """The H100 loses on its price alone."""
    name = recipe_at(recipe("auto"))
    assert planned(capsys, name) == {"A100", "A100-80GB", "H100"}
    assert main(["plan", name]) == 0
    said = capsys.readouterr().out
    assert "training needs 38 GB of GPU memory (18.0 of state, 12.5 of activations)" in said
    assert "T4 (16 GB)" in said.partition("too small for it: ")[2]


def test_gpus_by_their_memory_need_no_count_of_ours(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    program = "run: python train.py\nworkdir: .\n"
    assert planned(capsys, recipe_at(recipe("80GB+", program)), "--work", "1h") == {"A100-80GB", "H100"}
    assert planned(capsys, recipe_at(recipe("40GB", program)), "--work", "1h") == {"A100"}
    assert "T4" in planned(capsys, recipe_at(recipe("16GB+"))), "who says 16 GB knows better than our count"


def test_a_named_gpu_that_is_too_small_fits_nothing(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", recipe_at(recipe("T4"))]) == 3
    said = capsys.readouterr().err
    assert "training needs 38 GB of GPU memory (18.0 of state, 12.5 of activations), and T4 has 16" in said
    assert "write resources.accelerators=auto" in said


def test_where_nothing_is_large_enough_the_largest_is_named(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", recipe_at(recipe("auto")), "trainer.batch_size=64"]) == 3
    said = capsys.readouterr().err
    assert "training needs 257 GB" in said
    assert "has 80 (with trainer.recompute=true it needs 48); make the training smaller" in said
    assert "to fit: +" not in said


def test_a_rehearsal_takes_auto_from_its_own_list(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the bundled list T4, L4 and V100 are too small."""
    gpus = planned(capsys, recipe_at(recipe("auto", infra="local")))
    assert {"A100", "A100-80GB", "H100", "L40S"} <= gpus
    assert not gpus & {"T4", "L4", "V100"}
    assert main(["plan", recipe_at(recipe("500GB+", infra="local"))]) == 2
    assert "resources.accelerators is 500GB+" in capsys.readouterr().err


def test_auto_never_falls_back_in_silence(recipe_at: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", recipe_at(recipe("auto")), "-y"]) == 5
    assert "resources.infra=local" in capsys.readouterr().err
