"""`launch ssh`: where a shell is opened, and that it is only opened where something lives."""

import os
from pathlib import Path

import pytest

from launcher.adapters.cloud.local_registry import instance_of
from launcher.app.wiring import registry_of, shell_of
from launcher.core.instance import instance_name
from launcher.core.recipe import Resources
from launcher.core.run.state import RunState
from launcher.errors import UsageError
from tests import builders
from tests.cli.past import INCARNATION, document, keep, launch, preempted, unsupervised


@pytest.fixture
def folder() -> Path:
    """The disk of the machine of a run that nobody supervises."""
    unsupervised(seen=2)
    work = instance_of(registry_of(INCARNATION), instance_name("r", INCARNATION, 1)).work
    work.mkdir(parents=True)
    return work


def test_of_a_rehearsal_it_is_a_shell_in_the_attempts_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[tuple[str, str]] = []
    monkeypatch.setenv("SHELL", "/bin/zsh")
    monkeypatch.setattr(os, "execvp", lambda command, words: opened.append((command, os.getcwd())))
    monkeypatch.chdir(folder.parent)
    launch("ssh", "r")
    assert opened == [("/bin/zsh", str(folder))]
    assert "a shell on attempt 1" in capsys.readouterr().err


def test_a_dry_run_and_a_document_open_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "ssh", "r")
    assert (told["attempt"], told["folder"]) == (1, str(folder))
    assert launch("ssh", "r", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("would open a shell on attempt 1")


def test_where_nothing_lives_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    keep(preempted())
    assert launch("ssh", "r") == 2
    assert "no machine of r is up" in capsys.readouterr().err


def on_aws() -> RunState:
    run = builders.new_run(builders.recipe(resources=Resources(infra=("aws",))))
    return builders.after(run, builders.requested(run))


def test_on_a_cloud_it_goes_by_the_name_that_skypilot_gave_to_ssh() -> None:
    state = on_aws()
    with pytest.raises(UsageError, match="no address of attempt 1"):
        shell_of(state, state.attempts[1])
    hosts = Path("~/.sky/generated/ssh").expanduser()
    hosts.mkdir(parents=True)
    (hosts / "launch-r-inc-1").write_text("Host launch-r-inc-1")
    assert shell_of(state, state.attempts[1]).command == ("ssh", "launch-r-inc-1")
