"""The packaged plain program needs torch and nothing else."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "recipes" / "any_program.py"
WITHOUT_NUMPY = """\
import runpy, sys
sys.modules["numpy"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_any_program_ends_with_a_digest_where_numpy_is_missing(tmp_path: Path):
    words = [sys.executable, "-c", WITHOUT_NUMPY, str(SCRIPT), "--dir", str(tmp_path), "--steps", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert "done: 2 steps, weights " in done.stdout, done.stderr
