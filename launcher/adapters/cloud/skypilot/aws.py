"""AWS's own word on our machines."""

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from launcher.adapters import ec2
from launcher.adapters.cloud.base import Machine
from launcher.core.instance import EndCause, instance_name
from launcher.errors import CloudUnreachable
from launcher.units import Utc

# EC2 API reference, InstanceState. One that is shutting down is billed no more (EC2 User Guide, "Instance lifecycle").
ANY_REGION = "us-east-1"  # in every account
UP = ("pending", "running")
# EC2 API reference, StateReason: the market's own end. Any other tells that somebody asked, and not who.
TAKEN = "Server.SpotInstanceTermination"
_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")  # in StateTransitionReason


class AwsProvider:
    """Implements Provider."""

    def __init__(self) -> None:
        self._regions: dict[str, ec2.Region] = {}

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        wanted = {"launch-run": run, "launch-incarnation": incarnation}
        filters = [{"Name": f"tag:{label}", "Values": [value]} for label, value in wanted.items()]
        return [machine for region in regions for machine in self._found(region, filters)]

    def regions(self) -> list[str]:
        return [region["RegionName"] for region in self._ask(ANY_REGION, "describe_regions")["Regions"]]

    def ours(self, region: str) -> list[Machine]:
        filters = [{"Name": "tag-key", "Values": ["launch-attempt"]}, {"Name": "instance-state-name", "Values": list(UP)}]
        return list(self._found(region, filters))

    def end(self, machine: Machine) -> None:
        self._ask(machine.region, "terminate_instances", InstanceIds=[machine.id])

    def _found(self, region: str, filters: list[dict[str, Any]]) -> Iterator[Machine]:
        for reservation in self._ask(region, "describe_instances", Filters=filters).get("Reservations", ()):
            for instance in reservation["Instances"]:
                machine = _machine(instance, region)
                if machine is not None:
                    yield machine

    def _ask(self, region: str, method: str, **arguments: Any) -> dict[str, Any]:
        try:
            if region not in self._regions:
                self._regions[region] = ec2.Region(ec2.session(), region)
            return self._regions[region].ask(method, **arguments)
        except (ec2.NobodyAsks, ec2.Unanswered) as error:
            raise CloudUnreachable(f"EC2 in {region}: {error}") from error


def _machine(instance: dict[str, Any], region: str) -> Machine | None:
    """None for what carries our labels, and no number of an attempt."""
    labels = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
    number = labels.get("launch-attempt", "")
    if not number.isdecimal() or not {"launch-run", "launch-incarnation"} <= labels.keys():
        return None
    is_taken = instance.get("StateReason", {}).get("Code") == TAKEN
    is_up = instance["State"]["Name"] in UP
    return Machine(
        name=instance_name(labels["launch-run"], labels["launch-incarnation"], int(number)),
        cloud="aws",
        region=region,
        id=instance["InstanceId"],
        is_up=is_up,
        billed_from=instance["LaunchTime"].timestamp(),
        ended_at=None if is_up else _ended_at(instance.get("StateTransitionReason", "")),
        cause=EndCause.PREEMPTED if is_taken else EndCause.UNTOLD,
    )


def _ended_at(told: str) -> Utc | None:
    found = _ENDED_AT.search(told)
    return None if found is None else datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()
