"""Three hundred seeded disasters are survived, each kind of trouble among them; a seed gives one history, whoever plays it."""

import os
import subprocess
import sys

import pytest

from launcher.sim.faults import Fault
from launcher.sim.soak import SEEDS_THAT_SHOW_ALL, run_seed, silence, soak, tally

# Plays seeds and prints a digest of all that happened: each write in its order, each machine, each bill, each supervisor's end.
DIGEST = """
import hashlib, sys
from launcher import log
from launcher.sim.seeds import world_of

log.configure()
for seed in map(int, sys.argv[1:]):
    world = world_of(seed)
    world.play()
    digest = hashlib.sha256()
    for written in world.store.log:
        digest.update(repr((written.at, written.key, written.data)).encode())
    for name, instance in world.cloud.instances.items():
        digest.update(repr((name, instance.requested_at, instance.billed_from, instance.ended_at, instance.cause)).encode())
        digest.update(repr((world.cloud.bill_of(instance), [agent.ended_at for agent in instance.agents])).encode())
    for life in world.lives:
        digest.update(repr((life.started_at, life.ended_at, life.outcome, str(life.error))).encode())
    digest.update(repr(sorted((fault.name, times) for fault, times in world.plan.fired.items())).encode())
    print(seed, world.timeline.now, len(world.store.log), digest.hexdigest())
"""
SEEDS = range(8)


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "scripts.soaks", *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_three_hundred_disasters_are_survived_and_each_fault_fired():
    soaked = run_script("--seeds", str(SEEDS_THAT_SHOW_ALL))
    assert (soaked.returncode, soaked.stderr) == (0, ""), soaked.stdout
    assert f"{SEEDS_THAT_SHOW_ALL} seeds, 0 violations" in soaked.stdout


def test_a_seed_gives_the_same_history_in_processes_with_different_hash_seeds():
    def digests(hash_seed: str) -> str:
        command = [sys.executable, "-c", DIGEST, *map(str, SEEDS)]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    first = digests("1")
    assert len(first.splitlines()) == len(SEEDS)
    assert digests("2") == first


def test_a_kind_that_never_fired_is_named_once_there_were_seeds_enough():
    with silence():
        few = [run_seed(seed, frozenset()) for seed in range(2)]
    assert tally(few).silent() == []
    enough = tally(few * (SEEDS_THAT_SHOW_ALL // 2))
    assert enough.silent() == list(Fault)
    assert enough.silent(frozenset({Fault.CRON})) == [Fault.CRON]


def test_verdicts_are_the_same_in_however_many_processes():
    alone, shared = (run_script("--seeds", "8", "--from", "30", "--jobs", jobs).stdout.splitlines() for jobs in "12")
    assert "on 2 processes" in shared[-1]
    assert shared[:-1] == alone[:-1]


def test_what_simulated_supervisors_warn_of_is_not_heard(capfd):
    list(soak(range(3), only=frozenset({Fault.STORE_AWAY}), num_processes=1))
    assert capfd.readouterr() == ("", "")


def test_the_script_tells_what_fired_and_the_story_of_a_seed():
    many = run_script("--seeds", "3", "--only", "CAPACITY", "--jobs", "1")
    assert (many.returncode, many.stderr) == (0, "")
    assert "capacity refused" in many.stdout
    assert "3 seeds, 0 violations" in many.stdout
    one = run_script("--seed", "0", "-v", "--only", "CAPACITY")
    assert (one.returncode, one.stderr) == (0, "")
    assert "AttemptRequested" in one.stdout


def test_a_checker_that_raises_is_said_with_its_seed_and_stops_no_other(monkeypatch):
    def broken(world):
        raise RuntimeError("no idea")

    monkeypatch.setattr("launcher.sim.soak.judge", broken)
    found = list(soak(range(2), only=frozenset(), num_processes=1))
    assert [(v.checker, v.seed, v.what) for verdict in found for v in verdict.violations] == [
        ("soak", 0, "raised RuntimeError: no idea"),
        ("soak", 1, "raised RuntimeError: no idea"),
    ]
