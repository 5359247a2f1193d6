"""Signals become requests, filed by the waiting loop: once to save and pause, twice to stop at once, three times to leave."""

import signal
from dataclasses import replace

import pytest

from launcher.adapters.history import History
from launcher.adapters.store.memory import MemoryStore
from launcher.app.attention import Attention, stops_how
from launcher.app.live import Screen
from launcher.app.narrator import Narrator
from launcher.app.requests import unseen, withdraw_unseen
from launcher.app.signals import Detached, Signals
from launcher.core.contract import ExitKind, RequestKind
from launcher.core.recipe import Recipe, RetrySpec
from launcher.core.run import events as ev
from tests import builders


@pytest.fixture
def history() -> History:
    store = MemoryStore()
    history = History(store, "i", writer="s")
    history.open(ev.SupervisorStarted(at=0.0, supervisor="s", host="h", pid=1))
    recipe = Recipe(name="r", run="true")
    history.append(ev.RunCreated(at=0.0, run="r", incarnation="i", recipe=recipe, deadline_at=None, code=None))
    return history


def attention(history: History, signals: Signals) -> Attention:
    screen = Screen(is_quiet=True)
    return Attention(history, Narrator(screen, history.store, None), signals, screen)


def asked(history: History) -> set[RequestKind]:
    return {request.request for request in unseen(history.store, history.state)}


def test_one_ctrl_c_asks_for_a_stop_once(history: History):
    with Signals() as signals:
        watcher = attention(history, signals)
        assert watcher.look(0.0) is False
        signal.raise_signal(signal.SIGINT)
        assert watcher.look(0.0) is True, "the loop looks at once"
        assert watcher.look(0.0) is False
    assert asked(history) == {RequestKind.STOP}


def test_after_the_end_ctrl_c_ends_the_machine_that_is_kept_for_a_look_and_else_asks_for_nothing(history: History):
    retry = RetrySpec(error=0, keep_failed=60.0)
    history.append(ev.RunResumed(at=0.0, recipe=Recipe(name="r", run="true", retry=retry), deadline_at=None))
    failed = builders.exited(1, ExitKind.SETUP_FAILED, at=0.0, exit_code=1)
    for event in (builders.requested(history.state, at=0.0), failed, ev.RunFailed(at=0.0, exit_code=1, reason="it failed")):
        history.append(event)
    with Signals() as signals:
        watcher = attention(history, signals)
        signal.raise_signal(signal.SIGINT)
        assert watcher.look(59.0) is True
        assert asked(history) == {RequestKind.STOP}
        withdraw_unseen(history.store, history.state)
        signal.raise_signal(signal.SIGINT)
        assert watcher.look(60.0) is False
        assert asked(history) == set()


def test_ctrl_c_promises_no_save_of_a_program_that_saves_by_itself(history: History, capsys: pytest.CaptureFixture[str]):
    with Signals() as signals:
        screen = Screen()
        watcher = Attention(history, Narrator(screen, history.store, None), signals, screen)
        signal.raise_signal(signal.SIGINT)
        watcher.look(0.0)
    told = capsys.readouterr().err
    assert "no program runs; nothing saved yet" in told
    assert "saving" not in told


def test_what_keeps_the_world_from_what_was_asked_is_told(history: History, capsys: pytest.CaptureFixture[str]):
    screen = Screen()
    watcher = Attention(history, Narrator(screen, history.store, None), Signals(), screen)
    watcher.trouble = lambda: "SkyPilot does not start"
    watcher.look(0.0)
    watcher.look(1.0)
    assert capsys.readouterr().err.count("waiting     SkyPilot does not start") == 1


def test_ctrl_c_says_what_happens_to_a_program_that_runs():
    program = builders.training_run(replace(builders.recipe(), trainer=None, run="true"))
    told = stops_how(builders.after(program, builders.committed(1, 1, 1)))
    assert "SIGTERM" in told
    assert "(commit 1)" in told
    assert stops_how(builders.training_run()) == "saving and pausing"


def test_the_second_asks_to_stop_at_once_and_the_third_leaves(history: History):
    with Signals() as signals:
        watcher = attention(history, signals)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
            watcher.look(0.0)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            watcher.look(0.0)
    assert asked(history) == {RequestKind.STOP, RequestKind.STOP_NOW}


def test_a_hang_up_leaves_without_asking_for_anything(history: History):
    with Signals() as signals:
        watcher = attention(history, signals)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(Detached):
            watcher.look(0.0)
    assert asked(history) == set()


def test_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with Signals():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_what_was_asked_of_an_ended_run_is_not_asked_of_the_resumed_one(history: History):
    with Signals() as signals:
        watcher = attention(history, signals)
        signal.raise_signal(signal.SIGINT)
        watcher.look(0.0)
    withdraw_unseen(history.store, history.state)
    assert asked(history) == set()
