"""The memory of places: every line whole or absent, through a kill at any instruction, two writers at once, and damage."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.market import memory as memory_module
from launcher.adapters.market import turns
from launcher.adapters.market.memory import KEPT, KEPT_MOST, Memory
from launcher.core.market.lives import Lesson, Outcome
from launcher.units import HOUR
from tests.core.markets import NOW, placement

ONE = Lesson(run="r", incarnation="inc", attempt=1, at=NOW, placement=placement("us-east-1a"), outcome=Outcome.LOST, life=HOUR)


def lesson(attempt: int, *, at: float = NOW, incarnation: str = "inc") -> Lesson:
    return replace(ONE, attempt=attempt, at=at, incarnation=incarnation)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history/attempts.jsonl"


def attempts(path: Path) -> list[int]:
    return [one.attempt for one in Memory(path).read().lessons]


def test_nothing_was_remembered_before_the_first(path: Path) -> None:
    assert Memory(path).read() == memory_module.Remembered()
    assert not path.parent.exists(), "who reads leaves nothing behind"


def test_each_attempt_is_remembered_once_however_often_it_is_told(path: Path) -> None:
    assert Memory(path).add([lesson(1), lesson(2)]) == 2
    before = path.stat()
    assert Memory(path).add([lesson(1), lesson(2)]) == 0
    assert path.stat().st_mtime_ns == before.st_mtime_ns, "nothing new, nothing written"
    assert Memory(path).add([lesson(2), lesson(3), lesson(3)]) == 1
    assert attempts(path) == [1, 2, 3]


def test_the_same_number_of_another_run_is_another_attempt(path: Path) -> None:
    assert Memory(path).add([lesson(1), lesson(1, incarnation="other")]) == 2


def test_a_line_is_as_it_was_given(path: Path) -> None:
    full = replace(ONE, why="quota", boot=1.5, notice=120.0, program="abc", steps_per_s=0.25)
    Memory(path).add([full])
    assert Memory(path).read().lessons == (full,)


def test_old_ones_count_no_more(path: Path) -> None:
    Memory(path).add([lesson(1, at=NOW), lesson(2, at=NOW + 2 * HOUR)])
    assert attempts(path) == [1, 2]
    found = Memory(path).read(since=NOW + HOUR)
    assert ([one.attempt for one in found.lessons], found.num_damaged) == ([2], 0)


def test_a_clock_far_ahead_forgets_nothing_however_often_it_is_asked(path: Path) -> None:
    Memory(path).add([lesson(n) for n in range(10)])
    for n in range(10, 20):
        assert Memory(path).add([lesson(n, at=NOW + 100 * KEPT)]) == 1
    assert Memory(path).add([lesson(20)]) == 1
    assert sorted(attempts(path)) == list(range(21))


def test_of_too_many_those_that_were_told_first_go_whatever_their_dates(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "KEPT_MOST", 4)
    Memory(path).add([lesson(n, at=NOW + 100 * KEPT) for n in range(4)])
    for n in range(4, 10):
        Memory(path).add([lesson(n, at=NOW + n)])
    assert attempts(path) == [6, 7, 8, 9], "what is learnt now is not crowded out"


def test_of_too_many_the_oldest_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "KEPT_MOST", 3)
    assert Memory(path).add([lesson(n, at=NOW + n) for n in range(5)]) == 3
    assert attempts(path) == [2, 3, 4]
    assert KEPT_MOST >= 1000


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"garbage\n", b'{"body":1,"sha256":"00"}\n'])
def test_a_damaged_line_is_set_aside_and_the_others_count(path: Path, damage: bytes) -> None:
    Memory(path).add([lesson(1), lesson(2), lesson(3)])
    first, second, third = path.read_bytes().splitlines(keepends=True)
    bad = damage or second[:-30] + b"\n"
    path.write_bytes(first + bad + (b"" if bad.endswith(b"\n") else b"\n") + third)
    found = Memory(path).read()
    assert ([one.attempt for one in found.lessons], found.num_damaged) == ([1, 3], 1)
    assert Memory(path).add([lesson(2)]) == 1, "its run still tells it"
    assert (sorted(attempts(path)), Memory(path).read().num_damaged) == ([1, 2, 3], 0)
    assert path.with_suffix(".damaged").read_bytes() == bad.rstrip(b"\n") + b"\n"


def test_a_flipped_bit_is_damage(path: Path) -> None:
    Memory(path).add([lesson(1)])
    path.write_bytes(path.read_bytes().replace(b'"life":3600', b'"life":9600'))
    assert Memory(path).read() == memory_module.Remembered(num_damaged=1)


def test_what_a_newer_launch_wrote_is_left_as_it_is(path: Path) -> None:
    Memory(path).add([lesson(1)])
    body = json.dumps({"is": "Lesson", "outcome": "swapped"}, sort_keys=True, separators=(",", ":")).encode()
    newer = b'{"body":' + body + b',"sha256":"' + codec.digest_of(body).encode() + b'"}'
    path.write_bytes(path.read_bytes() + newer + b"\n")
    Memory(path).add([lesson(2)])
    assert attempts(path) == [1, 2]
    assert newer in path.read_bytes().splitlines()
    assert Memory(path).read().num_damaged == 0


def test_what_a_newer_launch_wrote_is_bounded_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "KEPT_MOST", 3)
    Memory(path).add([lesson(1)])
    newer = [codec.dumps_digested({"is": "Lesson", "outcome": "swapped", "n": n}) for n in range(9)]
    path.write_bytes(path.read_bytes() + b"".join(line + b"\n" for line in newer))
    Memory(path).add([lesson(2)])
    assert path.read_bytes().splitlines()[:-2] == newer[-3:], "those written last"
    assert attempts(path) == [1, 2]


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file in the way")
    with pytest.raises(OSError):
        Memory(tmp_path / "history/attempts.jsonl").add([ONE])


def test_who_hangs_with_the_lock_keeps_no_run_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_MOST_S", 0.05)
    with turns.turn(path), pytest.raises(turns.Busy, match="another process"):
        Memory(path).add([ONE])
    assert Memory(path).add([ONE]) == 1


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from launcher.adapters.market import turns
from launcher.adapters.market.memory import Memory
from tests.market.test_memory import NOW, lesson
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
turns.BUSY_MOST_S = 100.0  # the other takes one turn after another, on a slow disk for longer than anybody does
for attempt in range(first, last):
    Memory(path).add([lesson(attempt)])
"""


def test_two_processes_at_once_lose_nothing(path: Path) -> None:
    words = [(0, 40), (30, 70)]  # ten of them are told by both
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(a), str(b)], cwd=_ROOT) for a, b in words]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert sorted(attempts(path)) == list(range(70))
    assert Memory(path).read().num_damaged == 0


# The process is gone before a line of `add` or below it, as by SIGKILL: no block is left in order. One child for each line.
KILLED = """
import itertools, os, sys
from pathlib import Path
from launcher.adapters.market.memory import Memory
from tests.market.test_memory import NOW, lesson
folder, kind, PLACES = Path(sys.argv[1]), sys.argv[2], ("market/memory", "market/turns", "adapters/durable", "pathlib")
Memory(folder / "first").add([lesson(1)])
begun = (folder / "first").read_bytes() + b"damaged\\n"

def is_done(num: int) -> bool:
    path = folder / str(num) / "attempts.jsonl"
    path.parent.mkdir()
    path.write_bytes(begun)
    left = num
    def step(frame, event, arg):
        nonlocal left
        if not any(place in frame.f_code.co_filename for place in PLACES):
            return None
        frame.f_trace_opcodes = kind == "opcode"
        if event == kind:
            left -= 1
            if left < 0:
                os._exit(9)
        return step
    if (child := os.fork()) == 0:
        sys.settrace(step)
        Memory(path).add([lesson(1), lesson(2)])
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

print(next(num for num in itertools.count() if is_done(num)))
"""
_ROOT = Path(__file__).parents[2]
KIND = "line"  # "opcode": before each instruction, which takes minutes, and was seen to hold


def test_a_writer_killed_anywhere_leaves_whole_lines_and_no_lock(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), KIND], cwd=_ROOT, capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    assert int(made.stdout) > 100, "there were lines to be killed at"
    ends: set[tuple[int, ...]] = set()
    for num in range(int(made.stdout) + 1):
        path = tmp_path / str(num) / "attempts.jsonl"
        found = Memory(path).read()
        ends.add(tuple(one.attempt for one in found.lessons))
        aside = path.with_suffix(".damaged")
        assert found.num_damaged == 1 or aside.read_bytes() == b"damaged\n", "it stands in one of the two files at least"
        Memory(path).add([lesson(1), lesson(2)])  # and the next writer is not held up
        assert (attempts(path), Memory(path).read().num_damaged) == ([1, 2], 0)
        assert aside.read_bytes() == b"damaged\n"
    assert ends == {(1,), (1, 2)}, "before the file was replaced, and after"


def test_a_home_that_is_read_only_is_read(path: Path) -> None:
    Memory(path).add([ONE])
    os.chmod(path, 0o444)
    os.chmod(path.parent, 0o555)
    try:
        assert attempts(path) == [1]
    finally:
        os.chmod(path.parent, 0o755)
