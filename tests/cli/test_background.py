"""`-d` in the command that was typed: what becomes of the supervisor that it has just started."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.store.files import FileStore
from launcher.app import background
from launcher.app.home import Found
from launcher.app.live import Screen
from launcher.core.contract import RunHead


def test_ctrl_c_before_it_drives_the_run_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[subprocess.Popen[Any]] = []

    def interrupted(*args: Any) -> bool:
        raise KeyboardInterrupt

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        made.append(popen(*args, **kwargs))
        return made[0]

    popen = subprocess.Popen
    monkeypatch.setattr(background, "COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(background, "_told", interrupted)
    monkeypatch.setattr(background.subprocess, "Popen", start)
    args = argparse.Namespace(home=str(tmp_path), output="table", quiet=True, yes=True)
    found = Found(store=FileStore(tmp_path / "store"), head=RunHead(run="r", incarnation="i", created_at=0.0, launch_version="0"))
    try:
        with Screen(is_quiet=True) as screen, pytest.raises(KeyboardInterrupt):
            background.supervise_detached(args, screen, found)
        assert made[0].returncode == -signal.SIGTERM
    finally:
        made[0].kill()
        made[0].wait()
