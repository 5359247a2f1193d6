"""What programs printed, over all attempts, in order and byte for byte."""

from dataclasses import replace

import pytest

from launcher.app import cli, grammar
from launcher.app.commands import logs
from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.contract import log_key
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from tests.cli.past import cut, document, home, keep, launch, local, log, number_of, preempted
from tests.simulation.worlds import Sim


def test_all_attempts_come_in_one_stream_each_behind_its_mark(capfdbinary: pytest.CaptureFixture[bytes]):
    store = keep(preempted())
    log(store, 1, "one\ntwo\n", "three without an end")
    log(store, 2, "four \u00e9\n")
    assert launch("logs", "r") == 0
    said = "--- attempt 1\none\ntwo\nthree without an end\n--- attempt 2\nfour \u00e9\n"
    assert capfdbinary.readouterr() == (said.encode(), b"")


def test_bytes_that_are_no_text_pass_unchanged(capfdbinary: pytest.CaptureFixture[bytes]):
    store = keep(preempted())
    store.create(log_key(1, 1), b"\xff\x1b[2K\r50%\n")
    assert launch("logs", "r", "-q") == 0
    assert capfdbinary.readouterr() == (b"\xff\x1b[2K\r50%\n", b"")


def test_one_attempt_can_be_asked_for(capfd: pytest.CaptureFixture[str]):
    store = keep(preempted())
    log(store, 1, "one\n")
    log(store, 2, "two\n")
    assert launch("logs", "r", "--attempt", "2", "-q") == 0
    assert capfd.readouterr().out == "two\n"
    assert launch("logs", "r", "--attempt", "3") == 2
    assert "attempts 1 to 2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("num_lines", "expected"), [(0, ""), (1, "e\n"), (3, "c\nd\ne\n"), (4, "b\nc\nd\ne\n"), (99, "a\nb\nc\nd\ne\n")]
)
def test_the_tail_reaches_over_chunks_and_attempts(num_lines: int, expected: str, capfd: pytest.CaptureFixture[str]):
    store = keep(preempted())
    log(store, 1, "a\nb\n", "c\n")
    log(store, 2, "d\n", "e\n")
    assert launch("logs", "r", "--tail", str(num_lines), "-q") == 0
    assert capfd.readouterr().out == expected


def test_json_holds_the_lines_of_each_attempt(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    log(store, 1, "one\ntwo\n")
    log(store, 2, "three\n")
    told = document(capsys, "logs", "r")
    assert told["log"] == [{"attempt": 1, "lines": ["one", "two"]}, {"attempt": 2, "lines": ["three"]}]


def test_a_run_that_printed_nothing_says_so(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("logs", "r") == 0
    assert capsys.readouterr() == ("", "nothing was printed yet\n")


def test_following_shows_what_comes_from_old_and_new_attempts_until_the_run_ends(capfd: pytest.CaptureFixture[str]):
    store = keep(preempted())
    records = {meta.key: store.get(meta.key) for meta in store.list("journal/")}
    cut(store, number_of(preempted(), ev.NoticeSeen))
    log(store, 1, "one\n")
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 1:
            store.create(log_key(1, 2), b"two\n")
        elif len(waited) == 2:
            for key, data in records.items():
                store.replace(key, data)
            log(store, 2, "three\n")

    command = grammar.find("logs")
    assert command is not None
    assert logs.run(cli.parse(command, ["r", "-f", "-q"]), wait) == 0
    assert capfd.readouterr().out == "one\ntwo\nthree\n"
    assert len(waited) == 2


def test_following_makes_no_document(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("logs", "r", "-f", "-o", "yaml") == 2
    assert "no end" in capsys.readouterr().err


def test_the_supervisors_log_is_the_homes(capfd: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("logs", "r", "--supervisor") == 2
    assert "logs in the home where it runs" in capfd.readouterr().err
    (home() / "logs").mkdir()
    (home() / "logs" / "r.log").write_text("first\nsecond\n")
    assert launch("logs", "r", "--supervisor", "--tail", "1") == 0
    assert capfd.readouterr().out == "second\n"


@pytest.mark.parametrize("command", ["logs", "events"])
def test_without_a_name_the_newest_run_is_meant(command: str, capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "old", age_s=60)
    keep(preempted(), "new")
    assert document(capsys, command)["run"] == "new"


def test_another_node_of_a_gang_can_be_asked_for(capfd: pytest.CaptureFixture[str]):
    sim = Sim(recipe=replace(local(), num_nodes=2))
    sim.run()
    store = keep(sim)
    log(store, 1, "zero\n")
    store.create(log_key(1, 1, 1), b"one\n")
    assert launch("logs", "r", "--node", "1", "-q") == 0
    assert launch("logs", "r", "--node", "1", "--tail", "5", "-q") == 0
    assert launch("logs", "r", "-q") == 0
    assert capfd.readouterr().out == "one\none\nzero\n"
    assert launch("logs", "r", "--node", "2") == 2
    assert "nodes 0 to 1" in capfd.readouterr().err
