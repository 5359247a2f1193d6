"""The lab of lab.sh, as tests see it: SkyPilot's server for the session, the market's levers, and no instance left of a test."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from launcher.adapters.cloud.skypilot.client import SkyClient
from launcher.adapters.cloud.skypilot.cloud import SkypilotCloud
from launcher.adapters.cloud.skypilot.looks import Providers
from launcher.adapters.cloud.skypilot.order import AgentHome
from launcher.core.contract import AttemptSpec, CommandProgram
from launcher.core.instance import InstancePhase, InstanceStatus, instance_name
from launcher.core.market.offer import Capacity, Placement
from launcher.errors import CloudUnreachable
from launcher.processes import kill_marked
from tests.conftest import MARK

LAB_SH = Path(__file__).with_name("lab.sh")
LAB = Path(os.environ["LAB"])  # tests here run by `lab.sh exec` alone
CARRIED = ("HOME", "PATH", "SIM", "PORT", "HOST")
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name in CARRIED or name.startswith(("SKYPILOT_", "AWS_", "PIP_"))
}
SECRET = "S3CR3T-a9f4c2e1"
BUCKET = "bkt"
WITHIN_S = 400.0  # a launch takes half a minute on an idle machine, and five times as long on a busy one


@pytest.fixture(autouse=True, scope="session")
def client_of_the_lab(_session_on_its_own: None) -> Iterator[None]:
    """SkyPilot's server reads its environment when it starts, so it starts in the session's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        subprocess.run(["sky", "api", "start"], check=True, stdout=subprocess.DEVNULL)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield
        stop_server()


def stop_server() -> None:
    """With the helpers that outlive it by half a minute: those that this test, or the session, has started."""
    subprocess.run(["sky", "api", "stop"], check=True, stdout=subprocess.DEVNULL)
    kill_marked(MARK, os.environ[MARK], at_most=10.0)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator["Lab"]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Lab()
    yield made
    made.capacity({})
    for instance in made.living():
        made.preempt(instance)
    assert not made.left_over, "a test ends what it started"


@dataclass
class Lab:
    run: str = field(default_factory=lambda: f"otter-{uuid.uuid4().hex[:6]}")
    incarnation: str = "c0ffee"
    left_over: list[dict[str, Any]] = field(default_factory=list)

    # --- the market ---

    def lever(self, *words: str) -> str:
        done = subprocess.run(["bash", LAB_SH, *words], check=True, capture_output=True, text=True)
        return done.stdout

    def instances(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lever("ls").splitlines()]

    def living(self) -> list[dict[str, Any]]:
        return [found for found in self.instances() if found["state"] in ("pending", "running")]

    def preempt(self, instance: dict[str, Any]) -> None:
        self.lever("preempt", instance["region"], instance["id"])

    def capacity(self, limits: dict[str, int | str]) -> None:
        self.lever("capacity", json.dumps(limits))

    def disk(self, instance: dict[str, Any]) -> Path:
        """What an instance has written, while it lives."""
        return Path(os.environ["SIM"]) / "run/nodes" / instance["id"] / "up"

    # --- ours ---

    def cloud(self, *, providers: Providers | None = None, num_nodes: int = 1) -> SkypilotCloud:
        agent = AgentHome(python=str(LAB / "node/bin/python"))
        return SkypilotCloud(SkyClient(), agent, {"TOKEN": SECRET}, providers=providers, num_nodes=num_nodes)

    def name(self, attempt: int = 1) -> str:
        return instance_name(self.run, self.incarnation, attempt)

    def spec(self, attempt: int = 1, *, zone: str = "us-east-1a", instance: str = "g6.xlarge") -> AttemptSpec:
        return AttemptSpec(
            run=self.run,
            incarnation=self.incarnation,
            attempt=attempt,
            store=f"s3://{BUCKET}/{self.run}",
            placement=place(zone, instance),
            program=CommandProgram(setup=None, command="true"),
            secrets=("TOKEN",),
        )

    def becomes(
        self, cloud: SkypilotCloud, phase: InstancePhase, attempt: int = 1, *, each: Callable[[], None] = lambda: None
    ) -> InstanceStatus:
        """`each` is done before each look, as a loop repeats its commands."""

        def status() -> InstanceStatus | None:
            each()
            try:
                found = cloud.poll(self.run, self.incarnation).get(self.name(attempt))
            except CloudUnreachable:
                return None
            assert found is None or found.failure is None or phase is InstancePhase.FAILED, found
            is_billed = found is not None and (phase is not InstancePhase.RUNNING or found.billed_from is not None)
            return found if found is not None and found.phase is phase and is_billed else None

        return eventually(status)

    def objects(self) -> dict[str, bytes]:
        s3 = boto3.client("s3")
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.run}/").get("Contents", [])
        return {o["Key"].removeprefix(f"{self.run}/"): s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in listed}


def place(zone: str, instance: str = "g6.xlarge", capacity: Capacity = Capacity.SPOT) -> Placement:
    return Placement(
        cloud="aws", region=zone[:-1], zone=zone, instance=instance, accelerator="L4", accelerators=1, capacity=capacity
    )


def eventually(look: Callable[[], Any], *, within_s: float = WITHIN_S) -> Any:
    patience = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < patience, "it did not happen"
        time.sleep(0.5)
    return found
