"""Writers killed in the middle of a request: nothing torn is ever visible, and whoever comes next goes on.

Each is killed while the proxy holds one of its requests: before any of it arrived, in the middle of its body, or with its answer
on the way back. Which request and which way is drawn from a seed, so that the moments fall into every phase of a life.
"""

import os
import random
import re
import signal
import subprocess
import sys

import pytest

from launcher.adapters.journal import Entry, Record
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.checkpoint import verify
from launcher.units import Bytes
from tests.conformance.journals import journal
from tests.e2e.conftest import Remote
from tests.e2e.writer import SHARD, STEPS, shard_bytes
from tests.servers.faults import Fault
from tests.servers.proxy import FaultProxy
from tests.servers.running import ROOT, Servers
from tests.training import scene

NUM_KILLS = 10  # of each batch
HELD_WITHIN_S = 120.0
WRITES = r"^(PUT|POST) "
HOLDS = {"blackhole": ".", "hold_response": ".", "hold_request": WRITES}  # each with the requests it is for
BODY_MOST: Bytes = 300_000  # a shard is cut before its end, or passes and the next body is cut


@pytest.mark.parametrize("batch", range(4))
def test_a_writer_killed_in_any_request_leaves_nothing_torn(remote: Remote, servers: Servers, batch: int) -> None:
    dice = random.Random(batch)
    store = open_store(remote.url)
    port = servers.get(remote.name).port
    num_requests = {match: requests_of_a_life(remote, port, match) for match in {*HOLDS.values()}}
    known = records_that_stand(store, [])
    for life in range(3, 3 + NUM_KILLS):
        action = dice.choice([*HOLDS])
        skip = dice.randrange(num_requests[HOLDS[action]])
        with FaultProxy(port) as proxy:
            fault = proxy.add(HOLDS[action], action, skip=skip, after=dice.choice((0, 40, dice.randrange(BODY_MOST))), count=None)
            killed_while_held(one_life(remote, life, proxy.port), fault)
        known = records_that_stand(store, known)
        assert_whole(store, life)
    assert one_life(remote, 3 + NUM_KILLS, port).wait(HELD_WITHIN_S) == 0
    records_that_stand(store, known)
    assert len(scene.commits(store, 3 + NUM_KILLS)) == len(STEPS)


def requests_of_a_life(remote: Remote, port: int, match: str) -> int:
    """How many there are of a kind, from a life that nobody ends: lives 1 and 2."""
    life = 1 if match == WRITES else 2
    with FaultProxy(port) as proxy:
        assert one_life(remote, life, proxy.port).wait(HELD_WITHIN_S) == 0
        return sum(bool(re.search(match, entry.line)) for entry in proxy.log)


def killed_while_held(writer: subprocess.Popen[bytes], fault: Fault) -> None:
    while not fault.is_held.wait(0.05):
        assert writer.poll() is None, "its life ended before any of its requests was held"
    writer.send_signal(signal.SIGKILL)
    writer.wait()


def one_life(remote: Remote, life: int, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.e2e.writer", remote.url, str(life)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **remote.kind.environment(port)})


def records_that_stand(store: ObjectStore, known: list[Entry]) -> list[Entry]:
    """All records; each is whole, and those that stood before still do."""
    found = journal(store).read()
    assert all(isinstance(entry, Record) for entry in found), found
    assert found[: len(known)] == known
    return found


def assert_whole(store: ObjectStore, life: int) -> None:
    """What is listed of an attempt's saves has all its bytes, and every commit that stands can be trusted."""
    for meta in store.list(f"attempts/{life:04d}/saves/"):
        if meta.key.endswith(SHARD):
            step = int(meta.key.split("/")[-2])
            assert store.get(meta.key) == shard_bytes(life, step), f"{meta.key} is torn"
    for manifest in scene.commits(store, life):
        assert verify.verify(store, manifest.ref) == []
