"""A trainer of ours is begun before its grant, and becomes itself once it is told."""

import os
import subprocess
from pathlib import Path

from launcher.core.contract import TrainerProgram
from launcher.node.workspace import PACKAGE_ROOT, warm_command

NO_NUMPY = "raise ModuleNotFoundError(\"No module named 'numpy'\")\n"


def test_a_missing_numpy_is_not_complained_of_and_other_warnings_are_shown(tmp_path: Path):
    (tmp_path / "numpy.py").write_text(NO_NUMPY)
    (tmp_path / "chatty.py").write_text("import warnings\nwarnings.warn('mind the gap')\n")
    ended = subprocess.run(
        warm_command(TrainerProgram(module="chatty", args={}), "memory://"),
        input="{}\n",
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mind the gap" in ended.stderr
    assert "NumPy" not in ended.stderr


def test_the_library_of_its_store_is_loaded_beforehand(tmp_path: Path):
    (tmp_path / "s3fs.py").write_text("class S3FileSystem:\n    def __init__(self, **how):\n        print('ready for s3')\n")
    (tmp_path / "chatty.py").write_text("print('begins')\n")
    ended = subprocess.run(
        warm_command(TrainerProgram(module="chatty", args={}), "s3://bkt/runs/r"),
        input="{}\n",
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split("\n") == ["ready for s3", "begins", ""]
