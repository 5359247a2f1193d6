"""The lab of lab.sh, as tests see it: SkyPilot's server for the session, the market's levers, and no instance left of a test."""

import functools
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from launcher import codec
from launcher.adapters.cloud.local_reference import ReferenceOrder
from launcher.adapters.cloud.skypilot.client import SkyClient
from launcher.adapters.cloud.skypilot.cloud import SkypilotCloud
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.looks import Providers
from launcher.adapters.cloud.skypilot.order import AgentHome
from launcher.adapters.history import History, read_head
from launcher.adapters.store.open import open_store
from launcher.app.proof import prove, read_reference
from launcher.core.contract import AttemptSpec, CommandProgram, Reference
from launcher.core.instance import InstancePhase, InstanceStatus, instance_name
from launcher.core.market.offer import Capacity, Placement
from launcher.core.run.state import RunState
from launcher.errors import CloudUnreachable
from launcher.processes import kill_marked
from tests.conftest import MARK
from tests.e2e.sky.users import ENVIRONMENT, LAB, User, at_another_machine, of_the_lab

LAB_SH = Path(__file__).with_name("lab.sh")
ROOT = Path(__file__).parents[3]
SECRET = f"S3CR3T-{uuid.uuid4().hex}"  # SkyPilot's folder may remember another session's
BUCKET = "bkt"
STEPS = 600  # minutes of training, so that the first checkpoint is seen while there is much to lose
TRAINER: dict[str, Any] = {"kind": "launcher.trainers.gpt", "steps": STEPS, "batch_size": 20, "lr": 3.0e-3, "seed": 1}
RECIPE = {
    "name": "lab",
    "resources": {"accelerators": ["L4:1"], "infra": ["aws"], "use_spot": True},
    "trainer": TRAINER,
    "checkpoint": {"dir": f"s3://{BUCKET}", "every": "20 steps"},
    "policy": {"budget": 5},
}
COLLEAGUES_PORT = "46591"
WITHIN_S = 900.0  # a launch takes half a minute on an idle machine, and ten times as long on a busy one


@pytest.fixture(autouse=True, scope="session")
def client_of_the_lab(_session_on_its_own: Path) -> Iterator[User]:
    """SkyPilot's server reads its environment when it starts, so it starts in the session's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        user = of_the_lab(_session_on_its_own)
        was_there = bool(user.servers())
        yield user
        if not was_there:
            user.server("stop")
        kill_marked(MARK, os.environ[MARK], at_most=10.0)  # the helpers that outlive it by half a minute


@pytest.fixture
def lab(client_of_the_lab: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["Lab"]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HANDOVER", str(tmp_path / "handover"))
    if not client_of_the_lab.servers():
        client_of_the_lab.server("start")
    made = Lab()
    yield made
    made.capacity({})
    made.delay(0.0)
    left = made.living()
    for instance in left:
        made.preempt(instance)
    assert not left, "a test ends what it started"
    eventually(lambda: made.asked_for().keys() <= made.ended().keys(), within_s=30.0)


@pytest.fixture(scope="session")
def uninterrupted(client_of_the_lab: User) -> Callable[[int], Reference]:
    """The same training over so many steps, never disturbed, on this machine with the instances' PyTorch."""

    @functools.cache
    def trained(steps: int) -> Reference:
        folder = client_of_the_lab.folder / f"uninterrupted-{steps}"
        args = {name: value for name, value in TRAINER.items() if name != "kind"}
        order = ReferenceOrder(
            run="uninterrupted",
            incarnation="c0ffee",
            store=f"{folder}/store",
            module=TRAINER["kind"],
            args={**args, "steps": steps},
        )
        folder.mkdir()
        (folder / "order.json").write_bytes(codec.dumps(order))
        host = [str(LAB / "node/bin/python"), "-P", "-m", "launcher.adapters.cloud.local_reference_host", str(folder)]
        subprocess.run(host, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
        found = read_reference(open_store(order.store))
        assert found is not None, (folder / "ended.json").read_text()
        return found

    return trained


@pytest.fixture
def user(lab: "Lab", tmp_path: Path) -> Iterator[User]:
    """At the lab's own home; a server that it starts is this test's."""
    yield of_the_lab(tmp_path / "user")
    end_all()


@pytest.fixture
def colleague(lab: "Lab", tmp_path: Path) -> Iterator[User]:
    colleague = at_another_machine(tmp_path / "colleague", COLLEAGUES_PORT)
    yield colleague
    end_all()
    user_hash = colleague.home / ".sky/user_hash"
    if user_hash.exists():  # by which SkyPilot names the folder of its SSH sockets
        shutil.rmtree(f"/tmp/sky_ssh_{user_hash.read_text()}", ignore_errors=True)


def end_all() -> None:
    """Commands and servers that this test has started."""
    kill_marked(MARK, os.environ[MARK], at_most=10.0)


@dataclass
class Lab:
    run: str = field(default_factory=lambda: f"otter-{uuid.uuid4().hex[:6]}")
    incarnation: str = "c0ffee"
    logged_before: int = field(default_factory=lambda: len(moto_log()))
    of_others: frozenset[str] = frozenset()  # up before this test began

    def __post_init__(self) -> None:
        self.of_others = frozenset(found["id"] for found in self.living())

    # --- the market ---

    def lever(self, *words: str) -> str:
        done = subprocess.run(["bash", LAB_SH, *words], check=True, capture_output=True, text=True)
        return done.stdout

    def instances(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lever("ls").splitlines()]

    def living(self) -> list[dict[str, Any]]:
        up = [found for found in self.ours() if found["state"] in ("pending", "running")]
        return [found for found in up if found["id"] not in self.of_others]

    def ours(self) -> list[dict[str, Any]]:
        """All but those that carry another run's label: of a test at the same time."""
        return [found for found in self.instances() if found["tags"].get("launch-run") in (None, self.run)]

    def of_the_run(self) -> list[dict[str, Any]]:
        return [found for found in self.instances() if found["tags"].get("launch-run") == self.run]

    def log(self) -> list[str]:
        """What the cloud was asked for and did since this test began, each with its time."""
        return moto_log()[self.logged_before :]

    def asked_for(self) -> dict[str, float]:
        """When each instance was asked for."""
        ours = {found["id"] for found in self.ours()}
        lines = [line.split(None, 2) for line in self.log() if " RunInstances " in line and "REFUSED" not in line]
        asked = {instance: float(at) for at, _, rest in lines for instance in re.findall(r"i-[0-9a-f]+", rest)}
        return {instance: at for instance, at in asked.items() if instance in ours}

    def ended(self) -> dict[str, float]:
        words = [line.split() for line in self.log() if " node down " in line]
        return {instance: float(at) for at, _, _, instance, *_ in words}

    def lives(self) -> list[tuple[float, float]]:
        """From when each machine was asked for to its end, oldest first."""
        ended = self.ended()
        return sorted((at, ended.get(instance, math.inf)) for instance, at in self.asked_for().items())

    def searched_s(self) -> float:
        """From the end of the first machine until a second was asked for."""
        (_, ended), (began, _) = self.lives()[:2]
        return began - ended

    def most_at_once(self) -> int:
        """Machines that were up together."""
        changes = [change for began, ended in self.lives() for change in ((began, 1), (ended, -1))]
        return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)

    def preempt(self, instance: dict[str, Any]) -> None:
        self.lever("preempt", instance["region"], instance["id"])

    def warn(self, instance: dict[str, Any], seconds: float) -> None:
        """Its metadata service says that it will be taken, and then it is."""
        self.lever("notice", instance["region"], instance["id"], str(seconds))

    def capacity(self, limits: dict[str, int | str]) -> None:
        self.lever("capacity", json.dumps(limits))

    def delay(self, seconds: float) -> None:
        """What RunInstances takes from now on, before there is a machine."""
        (Path(os.environ["SIM"]) / "run_delay.json").write_text(json.dumps(seconds))

    def disk(self, instance: dict[str, Any]) -> Path:
        """What an instance has written, while it lives."""
        return Path(os.environ["SIM"]) / "run/nodes" / instance["id"] / "up"

    # --- ours ---

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.run}"

    def recipe(self, folder: Path) -> Path:
        """A file that says what the tests here train."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lab.yaml"
        path.write_text(json.dumps(RECIPE))
        return path

    def has_saved(self, attempt: int) -> bool:
        return f"attempts/{attempt:04d}/commits/0001.json" in self.object_keys()

    def whereabouts(self) -> str:
        """How far the run is, for people."""
        attempts = self.state().attempts.values()
        return "; ".join(f"attempt {a.number}: {a.end.end.value if a.end else 'alive'}, saved {a.commit}" for a in attempts)

    def prove(self, state: RunState, reference: Reference) -> None:
        """That it ended as if nothing had happened."""
        proof = prove(state, open_store(self.url), reference)
        assert (proof.losses_equal, proof.weights_max_abs_delta, proof.num_losses) == (True, 0.0, len(reference.losses)), proof

    def state(self) -> RunState:
        store = open_store(self.url)
        history = History(store, read_head(store).incarnation)
        history.poll()
        return history.state

    def cloud(self, *, providers: Providers | None = None, num_nodes: int = 1) -> SkypilotCloud:
        agent = AgentHome(python=str(LAB / "node/bin/python"))
        handover = Handover(Path(os.environ["HANDOVER"]), {"TOKEN": SECRET})
        return SkypilotCloud(SkyClient(), agent, handover, providers=providers, num_nodes=num_nodes)

    def name(self, attempt: int = 1) -> str:
        return instance_name(self.run, self.incarnation, attempt)

    def spec(self, attempt: int = 1, *, zone: str = "us-east-1a", instance: str = "g6.xlarge") -> AttemptSpec:
        return AttemptSpec(
            run=self.run,
            incarnation=self.incarnation,
            attempt=attempt,
            store=self.url,
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

    def object_keys(self) -> list[str]:
        """Of the run's objects, its first thousand."""
        listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{self.run}/").get("Contents", [])
        return [found["Key"].removeprefix(f"{self.run}/") for found in listed]

    def objects(self) -> dict[str, bytes]:
        s3 = boto3.client("s3")
        return {key: s3.get_object(Bucket=BUCKET, Key=f"{self.run}/{key}")["Body"].read() for key in self.object_keys()}


def moto_log() -> list[str]:
    return (Path(os.environ["SIM"]) / "moto.log").read_text().splitlines()


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
