"""A plain PyTorch script without one line of ours ends with the same weights, however often its machine is killed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.drills.scene import ROOT, answer_of
from tests.rehearsal.stages import scene_in

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "recipes" / "any_program.py"
STEPS = "4500"
DONE = re.compile(rf"done: {STEPS} steps, weights ([0-9a-f]{{64}})")


def test_any_program_ends_with_the_same_weights_under_kills_as_without(tmp_path: Path):
    alone = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--dir", str(tmp_path / "alone"), "--steps", STEPS], stdout=subprocess.PIPE, text=True
    )
    scene = scene_in(tmp_path / "scene")
    words = (f"run=python any_program.py --steps {STEPS}", "local.speed=700", "-n", scene.run, "-o", "json")
    ended = answer_of(scene.start("train", "any-program", *words, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"))
    undisturbed, _ = alone.communicate()

    assert ended.code == 0, scene.said()
    assert ended.json["kills"] >= 3
    assert DONE.findall(scene.launch("logs", scene.run).text) == DONE.findall(undisturbed) != []
