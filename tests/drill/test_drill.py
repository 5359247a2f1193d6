"""A short drill of each kind at every test run; `scripts/drill --kills 40` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its victims and strays in /proc")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["supervisor", "machine", "tick"])
def test_four_kills_lose_nothing(target: str, tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "scripts.drills",
        "--kills",
        "4",
        "--seed",
        "11",
        "--target",
        target,
        "--keep",
        str(tmp_path),
    ]
    drill = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert f"{target}: 4 kills" in drill.stdout
