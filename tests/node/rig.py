"""A machine for agents: a store, a clock, a hand-written journal, and real agent processes. Waiting is on events, bounded."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from launcher import clock, codec, processes
from launcher.adapters.journal import Journal
from launcher.adapters.store.files import FileStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import (
    AttemptSpec,
    Claim,
    CommandProgram,
    ExitReport,
    Heartbeat,
    Notice,
    claim_key,
    commit_key,
    exit_key,
    heartbeat_key,
    log_prefix,
    notice_key,
)
from launcher.core.market.offer import Capacity, Placement
from launcher.core.run.events import AttemptUnwanted, Event, SupervisorStarted, WriterGranted
from launcher.errors import KeyMissing

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent
SPEED = 100.0  # market seconds a real one: the agent's intervals lie at their floors
START = 1_800_000_000.0
PATIENCE_S = 150.0  # real; only a failing test waits so long
PLACEMENT = Placement(
    cloud="aws", region="us-east-1", zone="us-east-1b", instance="p4d", accelerator="A100", accelerators=1, capacity=Capacity.SPOT
)


def eventually(answer: Callable[[], T | None], what: str) -> T:
    """The first answer that is neither None nor False. Fails after PATIENCE_S."""
    until = time.monotonic() + PATIENCE_S
    while not (found := answer()):
        assert time.monotonic() < until, f"did not happen in {PATIENCE_S} s: {what}"
        time.sleep(0.01)
    return found


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FileStore(folder / "store")
        self.clock_path = folder / "clock.json"
        clock.create(self.clock_path, speed=SPEED, market_start=START)
        self.clock = clock.ScaledClock(self.clock_path)
        self.journal = Journal(self.store, incarnation="i1", event_type=Event, writer="s1")
        self.journal.open(SupervisorStarted(at=START, supervisor="s1", host="here", pid=1), START)
        self.agents: list[Agent] = []

    def spec(self, command: str, **changes: Any) -> AttemptSpec:
        plain = AttemptSpec(
            run="r",
            incarnation="i1",
            attempt=1,
            store=self.store.url,
            placement=PLACEMENT,
            program=CommandProgram(setup=None, command=command),
            speed=SPEED,
            kill_grace_real=10.0,  # only a test that ignores SIGTERM waits for it; a busy machine may need some of it to save
        )
        return replace(plain, **changes)

    def start(self, spec: AttemptSpec, name: str = "machine", *, node: int = 0, **env: str) -> "Agent":
        of_gang = f"-node{node}" if spec.num_nodes > 1 else ""
        agent = Agent(self, spec, self.folder / f"{name}{spec.attempt}{of_gang}", env, node)
        self.agents.append(agent)
        return agent

    def append(self, event: Event) -> None:
        self.journal.append(event, START)

    def grant(self, attempt: int = 1, parent: CommitRef | None = None) -> None:
        self.append(WriterGranted(at=START, attempt=attempt, parent=parent))

    def dismiss(self, attempt: int = 1, *, drain: bool = True) -> None:
        self.append(AttemptUnwanted(at=START, attempt=attempt, reason="not needed any more", drain=drain))

    def read(self, kind: type[T], key: str) -> T | None:
        try:
            return codec.loads_digested(kind, self.store.get(key))
        except KeyMissing:
            return None

    def commit(self, attempt: int, number: int) -> Manifest | None:
        try:
            commit = manifests.read(self.store.get(commit_key(CommitRef(attempt, number))))
        except KeyMissing:
            return None
        return commit if isinstance(commit, Manifest) else None

    def start_gang(self, spec: AttemptSpec, **env: str) -> "list[Agent]":
        return [self.start(spec, node=node, **env) for node in range(spec.num_nodes)]

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()


class Agent:
    """One agent process, hosted by this test. Its disk is `root`."""

    def __init__(self, rig: Rig, spec: AttemptSpec, root: Path, env: dict[str, str], node: int) -> None:
        root.mkdir()
        self.rig = rig
        self.attempt = spec.attempt
        self.node = node
        self.root = root
        self.notice_source = root.with_suffix(".notice")
        # A name of nobody else's: `kill` ends all that carry it, and other workers of these tests have machines of the same name.
        self.instance_id = f"{root.name}-{uuid.uuid4().hex}"
        spec_path = root.with_suffix(".spec.json")
        spec_path.write_bytes(codec.dumps(spec))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher.node", str(spec_path)],
            cwd=root,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "LAUNCH_CLOCK": str(rig.clock_path),
                "LAUNCH_NOTICE_SOURCE": str(self.notice_source),  # "" for an agent that asks its cloud
                "LAUNCH_INSTANCE_ID": self.instance_id,
                "LAUNCH_HOST_PID": str(os.getpid()),
                "SKYPILOT_NODE_RANK": str(node),
                "SKYPILOT_NUM_NODES": str(spec.num_nodes),
                "SKYPILOT_NODE_IPS": "\n".join(["127.0.0.1"] * spec.num_nodes),
                **env,
            },
        )

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    def give_notice(self, left_real_s: float) -> None:
        ends_at = self.rig.clock.utc_s() + left_real_s * SPEED
        aside = self.notice_source.with_suffix(".aside")
        aside.write_text(json.dumps({"ends_at": ends_at, "source": "test", "stretched": False}))
        aside.replace(self.notice_source)

    def claim(self) -> Claim:
        return eventually(lambda: self.rig.read(Claim, claim_key(self.attempt, self.node)), "a claim")

    def heartbeat(self) -> Heartbeat | None:
        return self.rig.read(Heartbeat, heartbeat_key(self.attempt, self.node))

    def notice(self, number: int) -> Notice:
        return eventually(lambda: self.rig.read(Notice, notice_key(self.attempt, number, self.node)), f"notice {number}")

    def report(self) -> ExitReport:
        return eventually(lambda: self.rig.read(ExitReport, exit_key(self.attempt, self.node)), "an exit report")

    def has_started(self) -> None:
        """Waits until the program has made the file `started`."""
        eventually(lambda: (self.root / "code/started").exists(), "the program started")

    def file(self, name: str) -> str:
        """The content of a file of the program's, once it is there."""
        path = self.root / "code" / name
        return eventually(lambda: path.exists() and path.read_text(), f"{name} written")

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        metas = self.rig.store.list(log_prefix(self.attempt, self.node))
        return b"".join(self.rig.store.get(meta.key) for meta in metas).decode()

    def kill(self) -> None:
        """As a host ends a machine: the agent, and then whatever came from it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        assert not processes.kill_marked("LAUNCH_INSTANCE_ID", self.instance_id, at_most=PATIENCE_S)
