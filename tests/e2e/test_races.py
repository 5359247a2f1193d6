"""Processes that create the same key: one wins, each knows whether it did, all read the winner's bytes; lost answers or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Faulty
from tests.servers.running import ROOT

NUM_RACES = 200
NAMES = ("ann", "bob", "cid", "dee")


def test_of_four_processes_one_wins_each_race(faulty: Faulty) -> None:
    assert_one_winner_each(faulty.url)
    creates = [entry for entry in faulty.proxy.log if entry.line.startswith(("PUT ", "POST "))]
    assert len(creates) >= NUM_RACES * len(NAMES)
    assert faulty.kind.scheme == "gs" or all(entry.headers.get("if-none-match") == "*" for entry in creates)
    assert faulty.kind.scheme != "gs" or all("ifGenerationMatch=0" in entry.line for entry in creates)


def test_of_four_processes_one_wins_each_race_with_every_third_answer_lost(faulty: Faulty) -> None:
    lost = faulty.proxy.add(r"^(PUT|POST) ", "drop_response", count=None, share=1 / 3)
    assert_one_winner_each(faulty.url)
    assert lost.num_hits >= NUM_RACES * len(NAMES) / 4


def test_of_four_processes_one_wins_each_race_in_a_folder(tmp_path: Path) -> None:
    assert_one_winner_each(tmp_path.as_uri())


def assert_one_winner_each(url: str) -> None:
    racers = [racer(url, name) for name in NAMES]
    try:
        assert [heard(process) for process in racers] == ["ready"] * len(NAMES)
        won = {name: json.loads(line) for name, line in zip(NAMES, together(racers), strict=True)}
        assert sorted(race for races in won.values() for race in races) == list(range(NUM_RACES)), "one winner each"
        winner = {race: name for name, races in won.items() for race in races}
        for line in together(racers):
            assert json.loads(line) == [winner[race] for race in range(NUM_RACES)], "all read the bytes of who was told it won"
        assert [process.wait() for process in racers] == [0] * len(NAMES)
    finally:
        for process in racers:
            process.kill()
            process.communicate()


def racer(url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.e2e.racer", url, name, str(NUM_RACES)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def together(racers: list[subprocess.Popen[str]]) -> list[str]:
    for process in racers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [heard(process) for process in racers]


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "a racer ended early"
    return line
