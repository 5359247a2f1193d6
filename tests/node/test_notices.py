"""Notices: where they come from, the file the program sees, and the records."""

import json
from pathlib import Path

from launcher.core.contract import AttemptSpec, CommandProgram, SaveRule
from launcher.node.notices.base import Warned, standing
from launcher.node.notices.board import NoticeBoard
from launcher.node.notices.files import FileNotices
from launcher.node.notices.signals import SignalNotices
from launcher.node.orders import Dismissed, Orders
from launcher.node.reasons import Reasons, Situation
from tests.node.rig import PLACEMENT

WARNED = Warned(ends_at=100.0, source="aws")


def spec(**changes: object) -> AttemptSpec:
    plain = {
        "run": "r",
        "incarnation": "i",
        "attempt": 1,
        "store": "memory://x",
        "placement": PLACEMENT,
        "program": CommandProgram(setup=None, command="true"),
    }
    return AttemptSpec(**{**plain, **changes})  # type: ignore[arg-type]


def situation(**changes: object) -> Situation:
    plain = {
        "orders": Orders(attempt=1),
        "warned": None,
        "warned_left": 0.0,
        "lead": 0.0,
        "last_save_needs": 1.0,
        "supervisor_moved_at": float("inf"),
        "claimed_at": float("inf"),
    }
    return Situation(**{**plain, **changes})  # type: ignore[arg-type]


def reasons(now: float = 0.0, **changes: object) -> Reasons:
    return Reasons(spec(**changes), host_pid=None, utc=lambda: now)


def test_file_gives_the_notice_and_its_absence_takes_it_back(tmp_path: Path) -> None:
    path = tmp_path / "notice"
    source = FileNotices(path)
    assert source.read() is None
    path.write_text(json.dumps({"ends_at": 100, "source": "aws", "stretched": True}))
    told = Warned(ends_at=100.0, source="aws", stretched=True)
    assert source.read() == told
    path.write_text('{"ends_at": 1')
    assert source.read() == told, "half a file says nothing new"
    path.unlink()
    assert source.read() is None


def test_signal_is_a_notice_of_someone_who_waits_and_goes_first(tmp_path: Path) -> None:
    by_signal = SignalNotices(lambda: 500.0, grace=10.0)
    assert by_signal.read() is None
    by_signal.heed()
    assert by_signal.read() == Warned(ends_at=510.0, source="SIGTERM", awaited=True)
    (tmp_path / "notice").write_text(json.dumps({"ends_at": 100, "source": "aws"}))
    assert standing((FileNotices(tmp_path / "notice").read(), by_signal.read())) == by_signal.read()


def test_board_keeps_a_file_while_a_notice_stands_and_one_record_for_each_change(tmp_path: Path) -> None:
    path = tmp_path / "notice"
    board = NoticeBoard(path, attempt=3)
    assert board.update(None, now=0.0, left_real=0.0) is None
    first = board.update(WARNED, now=70.0, left_real=30.0)
    assert first is not None
    assert (first.attempt, first.number, first.ends_at, first.withdrawn) == (3, 1, 100.0, False)
    assert path.read_text() == "30.0\n"
    assert board.update(WARNED, now=75.0, left_real=25.0) is None
    assert path.read_text() == "25.0\n"
    withdrawn = board.update(None, now=76.0, left_real=0.0)
    assert withdrawn is not None
    assert (withdrawn.number, withdrawn.ends_at, withdrawn.withdrawn) == (2, 100.0, True)
    assert not path.exists()


def test_last_save_begins_when_it_must_and_not_before() -> None:
    early = situation(warned=WARNED, warned_left=20.0, lead=30.0, last_save_needs=5.0)
    due = situation(warned=WARNED, warned_left=4.9, lead=30.0, last_save_needs=5.0)
    assert reasons().to_end(early) is None
    told = reasons().to_end(due)
    assert told is not None
    assert told.drain
    assert told.lingers


def test_last_save_that_does_not_fit_or_is_not_wanted_ends_nothing() -> None:
    too_long = situation(warned=WARNED, warned_left=20.0, lead=30.0, last_save_needs=40.0)
    assert reasons().to_end(too_long) is None
    due = situation(warned=WARNED, warned_left=4.9, lead=30.0, last_save_needs=5.0)
    assert reasons(save=SaveRule(on_notice=False)).to_end(due) is None


def test_sender_of_a_signal_does_not_wait_for_training() -> None:
    awaited = Warned(ends_at=100.0, source="SIGTERM", awaited=True)
    told = reasons().to_end(situation(warned=awaited, warned_left=10.0, lead=10.0))
    assert told is not None
    assert not told.lingers


def test_journal_weighs_more_than_a_notice() -> None:
    dismissed = Orders(attempt=1, dismissed=Dismissed(reason="cancelled", drain=False))
    told = reasons().to_end(situation(orders=dismissed, warned=WARNED, warned_left=0.0, lead=30.0))
    assert told is not None
    assert not told.drain


def test_machine_without_a_supervisor_saves_and_ends() -> None:
    told = reasons(autostop=3600.0).to_end(situation(supervisor_moved_at=float("-inf")))
    assert told is not None
    assert told.drain
    assert "autostop" in told.reason


def test_budget_ends_at_its_instant() -> None:
    assert reasons(now=99.0, stop_at=100.0).to_end(situation()) is None
    assert reasons(now=100.0, stop_at=100.0).to_end(situation()) is not None


def test_budget_that_goes_further_ends_later() -> None:
    moved = situation(orders=Orders(attempt=1, stop_at=200.0))
    assert reasons(now=199.0, stop_at=100.0).to_end(moved) is None
    assert reasons(now=200.0, stop_at=100.0).to_end(moved) is not None
