"""A fake AWS: moto's server, whose EC2 instances are machines with sshd in namespaces of this one (instance.sh).

An instance lives while the API says so: it is started where one comes up, and killed where one is terminated, be that by its
owner or by the market. SIM/capacity.json (levers.py) and SIM/run_delay.json, the seconds that RunInstances takes, are read at
each request. SIM/moto.log tells each start, refusal and end, with its time.

What moto does otherwise than AWS, and SkyPilot minds, is mended at the top.
"""

import base64
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

SIM = Path(os.environ["SIM"])
HOST, PORT = os.environ["HOST"], int(os.environ["PORT"])
REGIONS = ("us-east-1", "us-east-2", "us-west-2")
ACCOUNT = "123456789012"  # moto's
ROLE = "skypilot-v1"  # SkyPilot makes it once in an account, and then sleeps twice for 15 s
LOOK_S = 0.2
_HERE = Path(__file__).parent
os.environ.setdefault("MOTO_AMIS_PATH", str(SIM / "amis.json"))
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")  # SkyPilot attaches AmazonEC2FullAccess

import boto3  # noqa: E402 - moto reads these variables where it is imported
import moto.ec2.models.elastic_network_interfaces as interfaces  # noqa: E402
import moto.iam.models  # noqa: E402
from moto.backends import get_backend  # noqa: E402
from moto.ec2.exceptions import EC2ClientError  # noqa: E402
from moto.ec2.models.instances import InstanceBackend  # noqa: E402
from moto.ec2.models.subnets import Subnet  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

# SkyPilot's policy document has no Version: AWS takes it, moto does not.
moto.iam.models.IAMPolicyDocumentValidator.validate = lambda self: None

spots: set[str] = set()  # ids of instances that were asked for as spot


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    interfaces.random_public_ip = addresses("10.213")
    Subnet.get_available_subnet_ip = addresses("172.31")
    InstanceBackend.run_instances = run_instances(InstanceBackend.run_instances)
    ThreadedMotoServer(ip_address=HOST, port=PORT, verbose=False).start()
    for region in REGIONS:
        open_to_the_world(region)
    make_role()
    say("moto up")
    watch()


def say(*words: object) -> None:
    """A line at once: the threads of several requests would write theirs into each other's."""
    sys.stdout.write(" ".join((f"{time.time():.3f}", *map(str, words))) + "\n")
    sys.stdout.flush()


def client(service: str, region: str) -> Any:
    endpoint = f"http://{HOST}:{PORT}"
    return boto3.client(service, region_name=region, endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x")


# --- an account that was used before -------------------------------------------------------------------------------------------


def addresses(network: str) -> Callable[..., str]:
    """Each given once: all regions lie on one bridge, where two machines of one address would take each other's packets."""
    lock, last = threading.Lock(), 10

    def next_one(*_: object, **__: object) -> str:
        nonlocal last
        with lock:
            last += 1
            return f"{network}.{last // 250}.{last % 250 + 1}"

    return next_one


def open_to_the_world(region: str) -> None:
    """moto's subnets have no gateway, and SkyPilot takes none but public ones."""
    ec2 = client("ec2", region)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.describe_route_tables(Filters=of_vpc)["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    for subnet in ec2.describe_subnets(Filters=of_vpc)["Subnets"]:
        ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})


def make_role() -> None:
    iam = client("iam", REGIONS[0])
    iam.create_instance_profile(InstanceProfileName=ROLE)
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


# --- capacity ------------------------------------------------------------------------------------------------------------------


class Refused(EC2ClientError):
    def __init__(self, zone: str, code: str) -> None:
        full = "We currently do not have sufficient capacity in the Availability Zone you requested"
        super().__init__(code, f"{full if code == FULL else 'Refused by the lab'} ({zone}).")


FULL = "InsufficientInstanceCapacity"


def run_instances(original: Callable[..., Any]) -> Callable[..., Any]:
    def limited(self: Any, image_id: str, count: int, user_data: Any, groups: Any, **asked: Any) -> Any:
        zone, is_spot = zone_of(self, asked), "spot" in json.dumps(asked.get("instance_market_options") or "", default=str)
        places = [zone, self.region_name]
        limit = capacity([*places, *(f"spot:{place}" for place in places if is_spot)])
        living = [i for i in self.all_instances() if i._state.name in ("pending", "running") and i.placement.zone == zone]
        kind = "spot" if is_spot else "on-demand"
        if isinstance(limit, str) or (limit is not None and len(living) + count > limit):
            say("RunInstances", zone, kind, "REFUSED", limit)
            raise Refused(zone, limit if isinstance(limit, str) else FULL)
        time.sleep(read(SIM / "run_delay.json", 0.0))
        made = original(self, image_id, count, user_data, groups, **asked)
        if is_spot:
            spots.update(instance.id for instance in made.instances)
        say("RunInstances", self.region_name, zone, kind, [instance.id for instance in made.instances])
        return made

    return limited


def zone_of(backend: Any, asked: dict[str, Any]) -> str:
    found = asked.get("nics") or []
    nics = list(found.values()) if isinstance(found, dict) else found
    subnet = (nics[0].get("SubnetId") if nics else None) or asked["subnet_id"]
    return str(backend.get_subnet(subnet).availability_zone)


def capacity(places: list[str]) -> int | str | None:
    """How many instances the tightest of these allows, or the code of an error; None: as many as you like."""
    limits = read(SIM / "capacity.json", {})
    named = [limits[place] for place in places if place in limits]
    codes = [limit for limit in named if isinstance(limit, str)]
    return codes[0] if codes else min(named, default=None)


def read(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return otherwise


# --- machines ------------------------------------------------------------------------------------------------------------------


def watch() -> None:
    """Makes the machines follow the API, for ever."""
    machines: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        for region, instance in list(all_instances()):
            state = instance._state.name
            if state in ("pending", "running") and instance.id not in machines:
                machines[instance.id] = start(instance, region)
            elif state in ("pending", "running") and is_due(instance.id):
                say("notice is over", instance.id, region)
                instance.terminate()
            elif state not in ("pending", "running") and instance.id in machines:
                subprocess.run(["bash", _HERE / "instance.sh", "stop", instance.id], stdin=subprocess.DEVNULL, check=False)
                machines.pop(instance.id).wait()
                say("node down", instance.id, state)
        time.sleep(LOOK_S)


def all_instances() -> Iterator[tuple[str, Any]]:
    for region, backend in list(get_backend("ec2")[ACCOUNT].items()):
        for instance in list(backend.all_instances()):
            yield region, instance


def start(instance: Any, region: str) -> subprocess.Popen[bytes]:
    folder = SIM / "run/nodes" / instance.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "authorized_keys").write_text(keys_in(instance) + "\n")
    meta = {
        "instance-id": instance.id,
        "ami-id": instance.image_id,
        "instance-type": instance.instance_type,
        "instance-life-cycle": "spot" if instance.id in spots else "on-demand",
        "placement/availability-zone": instance.placement.zone,
        "placement/region": region,
        "local-ipv4": instance.private_ip,
        "public-ipv4": instance.public_ip,
        "hostname": f"ip-{instance.private_ip.replace('.', '-')}",
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    command = ["bash", str(_HERE / "instance.sh"), "start", instance.id, instance.public_ip, instance.private_ip]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    say("node up", instance.id, region, instance.placement.zone, instance.public_ip)
    return process


def keys_in(instance: Any) -> str:
    """The SSH keys in an instance's cloud-init, which SkyPilot sends as base64 or plain."""
    try:
        text = base64.b64decode(str(instance.user_data), validate=True).decode()
    except ValueError:
        text = str(instance.user_data)
    config = yaml.safe_load(text) or {} if "#cloud-config" in text else {}
    users = [user for user in config.get("users", []) if isinstance(user, dict)]
    return "\n".join(key for user in users for key in user.get("ssh_authorized_keys", []))


def is_due(instance: str) -> bool:
    return bool(time.time() >= read(SIM / "run/nodes" / instance / "deadline.json", float("inf")))


if __name__ == "__main__":
    main()
