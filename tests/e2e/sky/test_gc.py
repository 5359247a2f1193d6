"""`launch gc` asks the cloud itself what carries our labels: what its journal does not want is ended there, and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import boto3
import pytest

from launcher.adapters.history import History
from launcher.app.home import Home
from launcher.app.opening import begin, create
from launcher.core.contract import journal_key
from launcher.core.instance import instance_name
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from tests import builders
from tests.e2e.sky.conftest import BUCKET, Lab
from tests.e2e.sky.users import User

REGION = "us-east-2"


@dataclass
class Machines:
    """Real ones, of nobody's SkyPilot."""

    started: dict[str, str] = field(default_factory=dict)  # by the name that their labels give them

    def start(self, run: str, incarnation: str) -> str:
        ec2 = boto3.client("ec2", region_name=REGION)
        labels = {"launch-run": run, "launch-incarnation": incarnation, "launch-attempt": "1"}
        tags = [{"Key": name, "Value": value} for name, value in labels.items()]
        made = ec2.run_instances(
            ImageId=ec2.describe_images()["Images"][0]["ImageId"],
            InstanceType="g6.xlarge",
            SubnetId=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        name = instance_name(run, incarnation, 1)
        self.started[name] = made["Instances"][0]["InstanceId"]
        return name

    def up(self) -> set[str]:
        told = boto3.client("ec2", region_name=REGION).describe_instances(InstanceIds=list(self.started.values()))
        states = {i["InstanceId"]: i["State"]["Name"] for group in told["Reservations"] for i in group["Instances"]}
        return {name for name, one in self.started.items() if states[one] in ("pending", "running")}


@pytest.fixture
def machines(lab: Lab) -> Iterator[Machines]:
    made = Machines()
    yield made
    boto3.client("ec2", region_name=REGION).terminate_instances(InstanceIds=list(made.started.values()))


def asked_for_a_machine(user: User, run: str) -> History:
    """A run that this home knows, in the bucket, whose journal has asked for one machine."""
    recipe = Recipe(
        name="lab", run="true", resources=Resources(infra=("local",)), checkpoint=CheckpointSpec(dir=f"s3://{BUCKET}")
    )
    history = begin(create(Home(user.folder / "launch"), recipe, run), supervisor="s1")
    history.append(builders.requested(history.state, at=history.records[-1].at))
    return history


def test_of_all_machines_with_our_labels_only_the_orphan_is_ended(lab: Lab, user: User, machines: Machines) -> None:
    orphans, wanted, damaged = (asked_for_a_machine(user, f"{lab.run}{which}") for which in ("-orphan", "-wanted", "-damaged"))
    at = orphans.records[-1].at
    orphans.append(ev.AttemptUnwanted(at=at, attempt=1, reason="stopped on request", drain=False))
    for key in [*map(journal_key, (1, 2)), *(found.key for found in damaged.store.list("segments/"))]:
        damaged.store.replace(key, b"rotten")
    orphan, *others = (machines.start(h.state.run, h.incarnation) for h in (orphans, wanted, damaged))
    others.append(machines.start("theirs", "c0ffee"))

    look = user.launch("gc", "-o", "json")
    assert look.ends(120.0) == 0, look.told
    fates = {found["name"]: found["fate"] for found in json.loads(look.answered.read_text())["machines"]}
    assert fates == {orphan: "unwanted", others[0]: "wanted", others[1]: "unknown", others[2]: "unknown"}
    assert machines.up() == {orphan, *others}, "a look ends nothing"

    act = user.launch("gc", "-y", "-o", "json")
    assert act.ends(120.0) == 0, act.told
    assert machines.up() == set(others)
