"""An attempt as a task for SkyPilot, and what is made of its errors."""

from dataclasses import replace
from importlib import metadata

import pytest

from launcher.adapters.cloud.skypilot.failures import MESSAGE_CHARS_MAX, failure_of
from launcher.adapters.cloud.skypilot.order import SECRETS_FILE, STAGED, UNINVITED, AgentHome, requirements, task_of
from launcher.core.instance import FailureKind, StartFailure
from launcher.core.market.offer import Capacity, Placement
from tests.conformance.clouds import PLACE
from tests.conformance.test_skypilot_cloud import INCARNATION, NAME, RUN, SPEC


def test_a_task_without_secrets_copies_none() -> None:
    assert SECRETS_FILE not in task_of(NAME, replace(SPEC, secrets=()), AgentHome(), None)["file_mounts"]
    assert "LAUNCH_SECRETS" not in task_of(NAME, replace(SPEC, secrets=()), AgentHome(), None)["run"]


def test_credential_files_that_skypilot_copies_unasked_are_deleted_but_for_those_of_the_machines_own_cloud() -> None:
    assert "~/.cache/huggingface/token" in task_of(NAME, SPEC, AgentHome(), None)["run"]
    assert UNINVITED["lambda"] in task_of(NAME, SPEC, AgentHome(), None)["run"]
    assert f"rm -rf {STAGED} " in task_of(NAME, SPEC, AgentHome(), None)["run"], "with the copies that it makes on its way"
    on_lambda = replace(SPEC, placement=replace(PLACE, cloud="lambda"))
    assert UNINVITED["lambda"] not in task_of(NAME, on_lambda, AgentHome(), None)["run"]


def test_a_task_names_one_place() -> None:
    task = task_of(NAME, SPEC, AgentHome(python="/usr/bin/python3"), "us-east-1b")
    assert task["resources"]["infra"] == "aws/us-east-1/us-east-1b"
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["autostop"] == {"idle_minutes": 5, "down": True}
    assert task["api_server_access"] is False
    assert "setup" not in task


@pytest.mark.parametrize(
    ("store", "library"), [("s3://b", "s3fs"), ("gs://b", "gcsfs"), ("az://c", "adlfs"), ("abfs://c@account", "adlfs")]
)
def test_the_machine_gets_what_the_agent_needs_and_no_sky(store: str, library: str) -> None:
    setup = task_of(NAME, replace(SPEC, store=store), AgentHome(), None)["setup"]
    assert library in setup
    assert "torch" not in setup
    assert "skypilot" not in setup
    assert not any("sky" in line for line in requirements(("s3", "train")))


def test_the_agent_gets_a_python_that_it_runs_on_whatever_the_image_has() -> None:
    setup = task_of(NAME, SPEC, AgentHome(), None)["setup"]
    assert f"--python '{metadata.metadata('spot-launch')['Requires-Python']}'" in setup
    assert "python3 " not in setup, "that of SkyPilot's images is 3.10"


def test_what_only_skypilot_can_act_on_is_handed_on_and_the_place_and_the_end_stay_ours() -> None:
    wishes = {
        "file_mounts": {"/data": "s3://corp/tokens"},
        "config": {"docker": {}},
        "workdir": {"url": "https://example.org/code"},
        "resources.disk_size": 200,
        "resources.labels": {"team": "nlp", "launch-run": "another"},
        "resources.any_of": [{"infra": "gcp"}],
        "resources.autostop": False,
    }
    task = task_of(NAME, replace(SPEC, skypilot=wishes), AgentHome(), "us-east-1b")
    assert set(task["file_mounts"]) == {"/data", "~/.launch/code/launcher"}
    assert task["config"] == {"docker": {}}
    assert "workdir" not in task
    assert task["resources"]["disk_size"] == 200
    assert task["resources"]["labels"] == {
        "team": "nlp",
        "launch-run": RUN,
        "launch-incarnation": INCARNATION,
        "launch-attempt": "1",
    }
    assert "any_of" not in task["resources"]
    assert task["resources"]["autostop"] == {"idle_minutes": 5, "down": True}


def test_gpus_are_named_only_where_they_are_no_part_of_the_instance_type() -> None:
    gcp = Placement(
        cloud="gcp",
        region="us-central1",
        zone="us-central1-a",
        instance="n1-standard-8",
        accelerator="T4",
        accelerators=1,
        capacity=Capacity.SPOT,
    )
    assert task_of(NAME, replace(SPEC, placement=gcp), AgentHome(), gcp.zone)["resources"]["accelerators"] == "T4:1"
    assert "accelerators" not in task_of(NAME, SPEC, AgentHome(), None)["resources"], "aws: its instance type says it"


IN_COLOURS = (
    "\x1b[31m⨯\x1b[0m Failed. botocore.exceptions.ClientError: \x1b[1mAn error occurred ({code}) when calling the RunInstances "
    "operation (reached max retries: 0): Refused (us-east-1a).\x1b[0m\n"
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", FailureKind.CAPACITY),
        ("VcpuLimitExceeded", FailureKind.QUOTA),
        ("MaxSpotInstanceCountExceeded", FailureKind.QUOTA),
        ("UnauthorizedOperation", FailureKind.PERMISSION),
        ("AuthFailure", FailureKind.CREDENTIALS),
        ("InvalidParameterValue", FailureKind.RECIPE),
        ("SomethingNew", FailureKind.UNREACHABLE),
    ],
)
def test_the_clouds_own_code_is_found_in_the_log(code: str, kind: FailureKind) -> None:
    failure = failure_of("ResourcesUnavailableError", "…", IN_COLOURS.replace("{code}", code), was_tried=True)
    assert failure == StartFailure(failure=kind, message=f"{code}: Refused (us-east-1a).")


def test_of_a_password_in_a_refusal_not_even_what_is_left_of_it_is_told() -> None:
    told = f"{'x' * (MESSAGE_CHARS_MAX - 30)} https://me:hunter2@index.example/simple"
    message = failure_of("SomethingNew", told, "", was_tried=True).message
    assert "hunt" not in message
    assert len(message) == MESSAGE_CHARS_MAX, "it stands across the cut"


def test_a_launch_that_no_place_could_be_found_for_is_the_recipes_fault() -> None:
    assert failure_of("ResourcesUnavailableError", "none", "", was_tried=False).failure is FailureKind.RECIPE
    assert failure_of("ResourcesUnavailableError", "none", "", was_tried=True).failure is FailureKind.CAPACITY
    told = "No image found in catalog for region us-east-1. Try setting a valid image_id.\n"
    assert failure_of("ResourcesUnavailableError", "none", told, was_tried=True).failure is FailureKind.RECIPE
    assert failure_of("SomethingNew", "what", "", was_tried=True).failure is FailureKind.UNREACHABLE
