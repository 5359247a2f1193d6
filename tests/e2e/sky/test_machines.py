"""Real SkyPilot starts, loses and ends machines of a stand-in AWS for us, with our agent on them."""

import time

import pytest

from launcher.codec import loads_digested
from launcher.core.contract import Claim
from launcher.core.instance import EndCause, FailureKind, InstancePhase
from tests.e2e.sky.conftest import SECRET, Lab, eventually
from tests.e2e.sky.users import User

pytestmark = [pytest.mark.timeout(900)]


def test_a_machine_comes_up_with_our_agent_and_goes_when_told(lab: Lab) -> None:
    cloud = lab.cloud()
    before = time.time()
    cloud.start(lab.name(), lab.spec())
    assert time.time() - before < 1.0, "a start returns at once"
    status = lab.becomes(cloud, InstancePhase.RUNNING, each=lambda: cloud.start(lab.name(), lab.spec()))
    (instance,) = lab.living()
    claim: Claim = loads_digested(Claim, eventually(lambda: lab.objects().get("attempts/0001/claim.json")))
    eventually(lambda: "attempts/0001/heartbeat.json" in lab.objects())
    assert (claim.instance_id, status.instance_id) == (lab.name(), lab.name())
    assert before <= (status.billed_from or 0.0) <= lab.asked_for()[instance["id"]], "not after the cloud began to charge"
    assert instance["zone"] == "us-east-1a"
    labels = {"launch-run": lab.run, "launch-incarnation": lab.incarnation, "launch-attempt": "1"}
    assert labels.items() <= instance["tags"].items()
    disk = lab.disk(instance)
    assert list(disk.glob("home/*/.aws/credentials")) == [], "no credential file travels"
    assert [p for p in disk.glob("home/*/.launch/**/*") if p.is_file() and SECRET in p.read_text(errors="replace")] == []

    cloud.stop(lab.name())
    end = lab.becomes(cloud, InstancePhase.GONE, each=lambda: cloud.stop(lab.name()))
    assert end.cause is EndCause.STOPPED
    assert lab.living() == []


def test_a_machine_that_the_market_takes_is_gone(lab: Lab) -> None:
    cloud = lab.cloud()
    lab.becomes(cloud, InstancePhase.RUNNING, each=lambda: cloud.start(lab.name(), lab.spec()))
    (instance,) = lab.living()
    lab.preempt(instance)
    taken = time.monotonic()
    end = lab.becomes(cloud, InstancePhase.GONE)
    print(f"known to be gone {time.monotonic() - taken:.1f} s after it was taken")
    assert end.cause is EndCause.UNTOLD


def test_a_refusal_says_what_the_cloud_said(lab: Lab) -> None:
    cloud = lab.cloud()
    refusals: dict[str | int, FailureKind] = {
        0: FailureKind.CAPACITY,
        "VcpuLimitExceeded": FailureKind.QUOTA,
        "MaxSpotInstanceCountExceeded": FailureKind.QUOTA,
        "UnauthorizedOperation": FailureKind.PERMISSION,
        "InvalidParameterValue": FailureKind.RECIPE,
    }
    for attempt, (limit, kind) in enumerate(refusals.items(), start=1):
        lab.capacity({"us-east-1": limit})
        cloud.start(lab.name(attempt), lab.spec(attempt))
        status = lab.becomes(cloud, InstancePhase.FAILED, attempt)
        assert status.failure is not None
        assert status.failure.failure is kind, status.failure
    assert lab.living() == []


def test_an_instance_that_no_catalog_has_is_the_recipes_fault(lab: Lab) -> None:
    cloud = lab.cloud()
    cloud.start(lab.name(), lab.spec(instance="g9.huge"))
    failure = lab.becomes(cloud, InstancePhase.FAILED).failure
    assert failure is not None
    assert failure.failure is FailureKind.RECIPE, failure


def test_a_launch_whose_server_is_killed_is_taken_up_again(lab: Lab, user: User) -> None:
    cloud = lab.cloud()
    cloud.start(lab.name(), lab.spec())
    eventually(lab.living)
    time.sleep(3)  # into the set-up of the machine
    user.kill_server()
    lab.becomes(cloud, InstancePhase.RUNNING, each=lambda: cloud.start(lab.name(), lab.spec()))
    assert len(lab.living()) == 1
    assert len(lab.of_the_run()) == 1
    eventually(lambda: "attempts/0001/claim.json" in lab.objects())
    cloud.stop(lab.name())
    lab.becomes(cloud, InstancePhase.GONE, each=lambda: cloud.stop(lab.name()))
    assert lab.living() == []
