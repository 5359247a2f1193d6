"""What the market does to us: levers.py ls | preempt REGION ID | notice REGION ID SECONDS | rebalance REGION ID | capacity JSON

Capacity is a JSON object from a zone or region ("us-east-1a", "spot:us-west-2") to how many instances may run there, or to the
code of the error that EC2 answers instead; {} lifts all of it.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
SIM = Path(os.environ["SIM"])


def main(act: str, *words: str) -> None:
    if act == "ls":
        for instance in instances():
            print(json.dumps(instance))
    elif act == "preempt":
        ec2(words[0]).terminate_instances(InstanceIds=[words[1]])
    elif act == "notice":
        ends_at = time.time() + float(words[2])
        put(SIM / "run/nodes" / words[1] / "notice.json", {"action": "terminate", "time": iso(ends_at)})
        put(SIM / "run/nodes" / words[1] / "deadline.json", ends_at)
    elif act == "rebalance":
        put(SIM / "run/nodes" / words[1] / "rebalance.json", {"noticeTime": iso(time.time())})
    elif act == "capacity":
        put(SIM / "capacity.json", json.loads(words[0]))
    else:
        sys.exit(__doc__)


def ec2(region: str) -> Any:
    endpoint = f"http://{os.environ['HOST']}:{os.environ['PORT']}"
    return boto3.client("ec2", region_name=region, endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x")


def instances() -> Iterator[dict[str, Any]]:
    for region in REGIONS:
        for reservation in ec2(region).describe_instances()["Reservations"]:
            for found in reservation["Instances"]:
                tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
                yield {
                    "region": region,
                    "zone": found["Placement"]["AvailabilityZone"],
                    "id": found["InstanceId"],
                    "type": found["InstanceType"],
                    "state": found["State"]["Name"],
                    "cluster": tags.get("skypilot-cluster-name"),
                    "tags": tags,
                }


def put(path: Path, said: object) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(said))
    aside.replace(path)


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["help"]))
