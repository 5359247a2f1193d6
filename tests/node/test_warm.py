"""A trainer of ours is begun before its grant, and becomes itself once it is told."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher.core.contract import NOT_FOUND, TrainerProgram
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


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("my.trainer", NOT_FOUND, "trainer.kind is 'my.trainer', and no such module can be run here"),
        ("pkg", NOT_FOUND, "trainer.kind is 'pkg'"),
        ("pkg.plain.deeper", NOT_FOUND, "trainer.kind is 'pkg.plain.deeper'"),
        ("pkg.needs", 1, "No module named 'elsewhere'"),
        ("needs.all", 1, "No module named 'elsewhere'"),
    ],
)
def test_a_module_that_is_not_there_ends_as_a_command_that_is_not(module: str, code: int, said: str, tmp_path: Path):
    for name in ("pkg/__init__.py", "pkg/plain.py", "pkg/needs.py", "needs/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import elsewhere" if "needs" in name else "")
    ended = subprocess.run(
        warm_command(TrainerProgram(module=module, args={}), "memory://"),
        input="{}\n",
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE_ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr


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
