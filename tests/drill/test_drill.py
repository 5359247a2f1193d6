"""A short drill of each kind at every test run; `scripts/drill --kills 40` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its victims and strays in /proc")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "seed"),
    [
        ("supervisor", 28),  # before its first machine is started, and before the end of that is sealed
        ("machine", 4),  # all of it in the midst of a save, and its agent in the restore of that
        ("tick", 11),
    ],
)
def test_two_kills_lose_nothing(target: str, seed: int, tmp_path: Path):
    words = ["--kills", "2", "--seed", str(seed), "--target", target, "--keep", str(tmp_path)]
    command = [sys.executable, "-m", "scripts.drills", *words]
    drill = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert f"{target}: 2 kills" in drill.stdout
