"""AWS's own word on our machines, from moto, which stands for EC2."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.session import Session

from launcher.adapters.cloud.skypilot.aws import AwsProvider
from launcher.core.instance import EndCause
from tests.servers.running import Servers

RUN, INCARNATION, REGION = "quiet-otter", "c0ffee", "us-east-1"
LABELS = {"launch-run": RUN, "launch-incarnation": INCARNATION, "launch-attempt": "3"}


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch, servers: Servers) -> Iterator[Any]:
    server = servers.get("moto")
    for name, value in server.kind.environment(server.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{server.port}")
    client = Session().create_client("ec2", region_name=REGION)
    yield client
    found = client.describe_instances()["Reservations"]
    client.terminate_instances(InstanceIds=[i["InstanceId"] for r in found for i in r["Instances"]])


def run(ec2: Any, labels: dict[str, str]) -> str:
    tags = [{"Key": key, "Value": value} for key, value in labels.items()]
    made = ec2.run_instances(
        ImageId="ami-12345678", MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    return str(made["Instances"][0]["InstanceId"])


def test_ours_are_found_by_their_labels_and_nobody_elses(ec2: Any) -> None:
    ours = run(ec2, LABELS)
    run(ec2, {"Name": "a colleague's"})
    run(ec2, {"launch-run": RUN, "launch-incarnation": "another", "launch-attempt": "1"})
    run(ec2, {"launch-run": RUN, "launch-incarnation": INCARNATION})  # no attempt of ours has no number
    (found,) = AwsProvider().machines(RUN, INCARNATION, [REGION, "us-west-2"])
    assert (found.name, found.id, found.region, found.is_up) == ("quiet-otter-c0ffee-3", ours, REGION, True)
    assert abs(found.billed_from - time.time()) < 60
    assert found.ended_at is None


def test_one_that_was_ended_stays_listed_with_the_time_of_its_end(ec2: Any) -> None:
    run(ec2, LABELS | {"launch-incarnation": "facade"})
    provider = AwsProvider()
    (standing,) = provider.machines(RUN, "facade", [REGION])
    provider.end(standing)
    (found,) = provider.machines(RUN, "facade", [REGION])
    assert not found.is_up
    assert found.cause is EndCause.UNTOLD, "somebody asked, and AWS does not say who"
    assert found.ended_at is not None
    assert abs(found.ended_at - time.time()) < 60


def test_all_of_ours_in_a_region_are_found_whichever_run_they_are_of(ec2: Any) -> None:
    run(ec2, LABELS | {"launch-incarnation": "decade"})
    run(ec2, {"Name": "a colleague's"})
    provider = AwsProvider()
    assert REGION in provider.regions()
    assert "quiet-otter-decade-3" in [machine.name for machine in provider.ours(REGION)]
    assert provider.ours("us-west-2") == []
