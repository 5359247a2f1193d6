"""`-d` in the command that was typed: what becomes of the supervisor that it has just started."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.store.files import FileStore
from launcher.app import background, rehearsal, wiring
from launcher.app.home import Found, Home
from launcher.app.live import Screen
from launcher.app.opening import create
from launcher.app.session import Session
from launcher.core.contract import RunHead
from launcher.core.recipe import Recipe, Resources
from launcher.errors import RecipeError


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


def test_what_keeps_it_from_its_world_is_the_commands_own_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A trace was gone: the command said that the run was supervised, with 0, and the supervisor ended a moment later."""

    def gone(*args: Any) -> Any:
        raise RecipeError("local.trace is trace.csv, and that cannot be used")

    monkeypatch.setattr(rehearsal, "prepare", lambda *args: None)
    monkeypatch.setattr(wiring, "clock_of", lambda history: None)
    monkeypatch.setattr(wiring, "world_of", gone)
    home, opened = Home(tmp_path / "home"), list[str]()
    found = create(home, Recipe(name="r", run="true", resources=Resources(infra=("local",))), "r")
    with Screen(is_quiet=True) as screen, pytest.raises(RecipeError):
        Session(home=home, found=found, screen=screen, opened=lambda: opened.append("driven")).run()
    assert opened == []
