"""A plain PyTorch script without one line of ours ends with the same weights, however often its machine is killed.

It needs torch and nothing else: alone it has no NumPy.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts.drills.scene import ROOT, answer_of, eventually
from tests.rehearsal.stages import await_training, commits, kill_machine, scene_in

AT_MOST_S = 900.0  # two trainings of twenty seconds of CPU and more, beside each other and all else of a busy machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(AT_MOST_S)]

SCRIPT = ROOT / "recipes" / "any_program.py"
STEPS = "5000"
WITHOUT_NUMPY = """\
import runpy, sys
sys.modules["numpy"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
DONE = re.compile(rf"done: {STEPS} steps, weights ([0-9a-f]{{64}})")


def test_any_program_ends_with_the_same_weights_under_kills_as_without(tmp_path: Path):
    alone = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_NUMPY, str(SCRIPT), "--dir", str(tmp_path / "alone"), "--steps", STEPS],
        stdout=subprocess.PIPE,
        text=True,
    )
    scene = scene_in(tmp_path / "scene")
    words = (
        f"run=python any_program.py --steps {STEPS}",
        "resources.use_spot=false",
        "local.speed=60",
        "retry.same_checkpoint=9",
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    supervisor = scene.start("train", "any-program", *words, "-n", scene.run, "-o", "json", PATH=path)
    eventually(lambda: scene.is_born and commits(scene), "its folder is published")
    for attempt in (1, 2):
        await_training(scene, attempt)
        kill_machine(scene)
    ended = answer_of(supervisor, AT_MOST_S)
    undisturbed, _ = alone.communicate()

    assert ended.code == 0, scene.said()
    assert ended.json["attempts"] == 3
    assert ended.json["checkpoints"] >= 2
    assert ended.json["weights"] == []
    kept = ended.json["files"]
    assert kept
    assert all(Path(unquote(urlsplit(url).path)).is_file() for url in kept), "what it left is where the last lines say"
    assert f"files   {kept[0]}" in scene.launch("resume", scene.run).text
    assert DONE.findall(scene.launch("logs", scene.run).text) == DONE.findall(undisturbed) != []
