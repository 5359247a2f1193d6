"""A program that failed says why on the screen, and once it is mended the run goes on with the mended code."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.history import History
from launcher.app.home import Home
from launcher.app.live import Screen
from launcher.app.narrator import Narrator
from launcher.app.opening import begin, create
from launcher.app.result import resume_command
from launcher.app.resuming import resumption, with_new_code
from launcher.core.contract import ExitKind
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.errors import UsageError
from tests.builders import NOW, after, exited, sealed, training_run
from tests.cli.past import document, failed, keep, launch, log

SAID = "".join(f"line {n}\n" for n in range(8)) + "ValueError: no such file\n"


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Of a run that failed, its program in a folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.py").write_text("bug\n")
    found = create(Home(tmp_path / "home"), Recipe(name="r", run="python train.py", workdir=str(folder)), "run")
    history = begin(found, supervisor="s1")
    history.append(ev.RunFailed(at=NOW, exit_code=1, reason="it failed"))
    return history


def resumed(history: History, *overrides: str, allowed: tuple[str, ...] = ("workdir",)) -> ev.RunResumed:
    event = resumption(history, NOW, overrides, allowed, None)
    assert event is not None
    return with_new_code(event, history, allowed)


def test_a_file_mended_in_place_is_frozen_anew_where_that_is_allowed_and_the_journal_says_so(history: History, tmp_path: Path):
    (tmp_path / "mine" / "train.py").write_text("mended\n")
    event = resumed(history)
    assert event.code != history.state.code
    assert b"mended" in history.store.get(str(event.code))
    assert event.changes["workdir"].startswith(str(tmp_path / "mine"))
    assert resumed(history, allowed=()).code is None
    history.append(event)
    assert history.state.code == event.code


def test_another_folder_named_on_resume_is_the_one_whose_code_runs(history: History, tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "train.py").write_text("other\n")
    event = resumed(history, f"workdir={tmp_path / 'new'}")
    assert b"other" in history.store.get(str(event.code))
    assert event.recipe.workdir == str(tmp_path / "new")


def test_code_that_is_the_same_is_no_change(history: History):
    assert (resumed(history).code, resumed(history).changes) == (None, {})


def test_a_failed_run_with_code_of_its_own_names_the_command_that_takes_it_mended(history: History, capsys):
    assert launch("status", history.store.url) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"launch resume {history.store.url} --allow-change workdir")


def test_a_module_that_was_not_found_is_what_is_to_be_changed():
    state = after(training_run(), exited(1, ExitKind.PROGRAM_FAILED, exit_code=127), sealed(1))
    state = after(state, ev.RunFailed(at=NOW, exit_code=1, reason="it failed", program_exit_code=127))
    assert resume_command(state, "file:///runs/r") == "launch resume r trainer.kind='…' --allow-change trainer.kind"


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (ExitKind.PROGRAM_FAILED, 127, "run='…' --allow-change run"),
        (ExitKind.PROGRAM_FAILED, 126, "run='…' --allow-change run"),
        (ExitKind.SETUP_FAILED, 127, "setup='…' --allow-change setup"),
        (ExitKind.PROGRAM_FAILED, 1, "--allow-change workdir"),
    ],
)
def test_a_command_line_that_could_not_be_started_is_what_is_to_be_changed(outcome: ExitKind, code: int, expected: str):
    mine = Recipe(name="r", run="pyhton train.py", setup="pyp install x", workdir="mine")
    state = replace(training_run(mine), code="code/x.tar.gz")
    state = after(state, exited(1, outcome, exit_code=code), sealed(1))
    state = after(state, ev.RunFailed(at=NOW, exit_code=1, reason="it failed", program_exit_code=code))
    assert resume_command(state, "file:///runs/r") == f"launch resume r {expected}"


def test_a_dry_run_says_which_code_would_run_where_the_files_were_changed(history: History, tmp_path: Path, capsys):
    def said(*words: str) -> str:
        assert launch("resume", history.store.url, "--dry-run", *words) == 0
        return str(capsys.readouterr().out)

    assert said() == said("--allow-change", "workdir")
    assert "workdir" not in said()
    (tmp_path / "mine" / "train.py").write_text("mended\n")
    before = [meta.key for meta in history.store.list("")]
    assert "old ones run again unless you add --allow-change workdir" in said()
    assert said("--allow-change", "workdir").endswith(f"workdir={tmp_path / 'mine'} (its files as of now)\n")
    (tmp_path / "mine" / ".env").write_text("TOKEN=…")
    assert "stay here" in said("--allow-change", "workdir")
    assert "stay here" not in said(), "the old ones run"
    assert [meta.key for meta in history.store.list("")] == before, "a dry run stores nothing"


def test_a_dry_run_refuses_what_the_real_one_refuses(history: History, tmp_path: Path, capsys):
    (tmp_path / "mine").rename(tmp_path / "moved")
    words = ("resume", history.store.url, "--allow-change", "workdir")
    assert (launch(*words, "--dry-run"), launch(*words)) == (2, 2)
    dry, real = capsys.readouterr().err.splitlines()
    assert dry == real


@pytest.mark.parametrize(
    ("key", "said"),
    [("workdri", "did you mean 'workdir'?"), ("policy.budget", "leave it out"), ("trainer.stepz", "no such key")],
)
def test_a_key_that_allows_nothing_is_refused_and_no_old_code_runs(history: History, key: str, said: str, capsys):
    assert launch("resume", history.store.url, "--dry-run", "--allow-change", key) == 2
    told = capsys.readouterr()
    assert (said in told.err, told.out) == (True, "")


def test_a_change_that_would_be_passed_over_is_refused(tmp_path: Path):
    found = create(Home(tmp_path / "home"), Recipe(name="r", run="python train.py"), "run")
    with pytest.raises(UsageError, match="has not ended"):
        resumption(begin(found, supervisor="s1"), NOW, (), ("workdir",), None)


@pytest.mark.parametrize("command", ["resume", "stop", "cancel"])
def test_a_dry_run_answers_in_json_where_that_is_asked_for(command: str, history: History, capsys: pytest.CaptureFixture[str]):
    if command != "resume":
        event = resumption(history, NOW, (), (), None)
        assert event is not None
        history.append(event)
    told = document(capsys, command, history.store.url, "--dry-run")
    assert (told["run"], bool(told["would"])) == ("run", True)


def test_the_end_of_what_a_failed_program_printed_is_on_the_screen_and_in_the_document(capsys: pytest.CaptureFixture[str]):
    store = keep(failed())
    state = failed().history.state
    log(store, state.writer, SAID[:20], SAID[20:])
    assert document(capsys, "report", "r")["log_tail"] == SAID.splitlines()[-5:]
    with Screen() as screen:
        last = next(record.event for record in failed().history.records[::-1] if isinstance(record.event, ev.RunFailed))
        Narrator(screen, store, None).hear(last, state)
    said = capsys.readouterr().err
    assert said.index("✗ failed") < said.index("line 4") < said.index("ValueError: no such file")
    assert "line 3" not in said
