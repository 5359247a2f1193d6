"""A gang is one instance of several machines: what the adapter says of one that has lost some of them."""

from dataclasses import replace

import pytest

from launcher.adapters.cloud.skypilot.base import ClusterState
from launcher.adapters.cloud.skypilot.client import cluster_state
from launcher.adapters.cloud.skypilot.cloud import SkypilotCloud
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.order import AgentHome, task_of
from launcher.core.instance import EndCause, InstancePhase
from launcher.core.market.offer import Capacity, Placement
from tests.conformance.test_skypilot_cloud import (
    CLUSTER,
    NAME,
    SPEC,
    FakeProvider,
    FakeSky,
    asked,
    becomes,
    made,
    running,
    waiting,
)


def test_a_gang_of_which_its_cloud_lists_one_machine_less_is_broken_once_its_task_was_sent() -> None:
    sky, provider = FakeSky(), FakeProvider()
    cloud = SkypilotCloud(sky, AgentHome(), Handover(waiting(), {"TOKEN": "s3cr3t"}), providers={"aws": provider}, num_nodes=2)
    asked(cloud, sky)
    provider.bring_up()
    becomes(cloud, InstancePhase.STARTING)
    provider.bring_up("i-2")
    sky.let_up()
    becomes(cloud, InstancePhase.RUNNING)
    provider.listed[1] = replace(provider.listed[1], is_up=False, cause=EndCause.PREEMPTED)
    broken = becomes(cloud, InstancePhase.BROKEN)
    assert (broken.billed_from, broken.cause) == (1010.0, EndCause.PREEMPTED)
    provider.listed.pop()
    becomes(cloud, InstancePhase.BROKEN)
    cloud.stop(NAME)
    assert becomes(cloud, InstancePhase.GONE).cause is EndCause.STOPPED


def test_a_gang_that_lost_a_machine_is_broken_until_the_others_are_ended() -> None:
    sky = FakeSky()
    cloud = made(sky)
    running(cloud, sky)
    sky.up[CLUSTER] = replace(sky.up[CLUSTER], state=ClusterState.BROKEN)
    assert becomes(cloud, InstancePhase.BROKEN).billed_from == 1000.0
    cloud.stop(NAME)
    assert becomes(cloud, InstancePhase.GONE).billed_from == 1000.0
    assert not sky.up, "the others are ended too"


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("Cluster is abnormal because one or more nodes terminated. Transitioned to INIT", ClusterState.BROKEN),
        ("Cluster is abnormal because some but not all nodes are stopped. Transitioned to INIT", ClusterState.BROKEN),
        ("Cluster is abnormal because 1 of 2 node(s) in unexpected state: INIT. Transitioned", ClusterState.BROKEN),
        ("Cluster is abnormal because ray cluster is unhealthy (timed out). Transitioned", ClusterState.INIT),
        (None, ClusterState.INIT),
    ],
)
def test_a_gang_is_broken_where_its_clouds_list_says_so(told: str | None, state: ClusterState) -> None:
    assert cluster_state("INIT", told) is state
    assert cluster_state("UP", told) is ClusterState.UP


SLURM = Placement(
    cloud="slurm",
    region="spota",
    zone="spot",
    instance="spota",
    accelerator="H100",
    accelerators=1,
    capacity=Capacity.ON_DEMAND,
)


def test_a_slurm_job_is_asked_for_by_its_gpus_and_ends_itself() -> None:
    spec = replace(SPEC, placement=SLURM, num_nodes=2, skypilot={"resources.cpus": "2", "resources.memory": "4"})
    task = task_of(NAME, spec, AgentHome(python="/opt/python"), SLURM.zone)
    resources = task["resources"]
    assert isinstance(resources, dict)
    wanted = {"infra": "slurm/spota/spot", "accelerators": "H100:1", "use_spot": False, "cpus": "2", "memory": "4"}
    assert {key: resources.get(key) for key in wanted} == wanted
    assert not {"instance_type", "autostop"} & resources.keys()
    assert task["num_nodes"] == 2
    assert str(task["run"]).endswith('scancel "$SLURM_JOB_ID"; }')


def test_cpus_and_memory_are_an_instance_types_own_elsewhere() -> None:
    spec = replace(SPEC, skypilot={"resources.cpus": "2", "resources.memory": "4", "resources.disk_size": 200})
    resources = task_of(NAME, spec, AgentHome(), "us-east-1b")["resources"]
    assert isinstance(resources, dict)
    assert not {"cpus", "memory"} & resources.keys()
    assert resources["disk_size"] == 200
