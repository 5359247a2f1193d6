"""`scripts/bench recovery`: from the loss of a machine to the next step, ours beside a script's, on real SkyPilot.

*Scripted* is the best that a person can script: `status(FORCE)` asked without pause until the cluster is gone, then a launch of
the same task elsewhere. Ours is `launch train`: machines taken without a word, with a notice of 120 s, and with one of 30 s. Both
sides train recovery_train.py in the same environment on the same instances. Wants the lab of tests/e2e/sky to be up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import sky

from launcher.app.home import at
from launcher.core.run import events as ev
from launcher.units import Seconds, Utc

ROOT = Path(__file__).resolve().parents[2]
LAB = Path(os.environ["LAB"])
PYTHON = LAB / "node/bin/python"
SIM = Path(os.environ["SIM"])
BUCKET = "bench"
ZONES = [f"{region}{zone}" for region in ("us-east-1", "us-east-2", "us-west-2") for zone in "ab"]
REGIONS = ("us-east-1", "us-east-2", "us-west-2")
WAIT_MOST_S: Seconds = 600.0
SETTLE_S: Seconds = 15.0  # of training before the next loss, so that there is a checkpoint
GOALS = {"no notice": 1.0, "notice 120 s": 0.35, "notice 30 s": 0.6}
s3 = boto3.client("s3")


@dataclass
class Side:
    """One way of recovering, and what it took each time."""

    name: str
    gaps: list[Seconds] = field(default_factory=list)  # from the loss to the next step, or from the last step to the next
    parts: list[dict[str, Seconds]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--only", choices=("scripted", "none", "120", "30"), action="append")
    options = parser.parse_args()
    made = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    if BUCKET not in made:
        s3.create_bucket(Bucket=BUCKET)
    ways: dict[str, Callable[[], Side]] = {
        "scripted": lambda: scripted(options.kills),
        "none": lambda: ours("no notice", options.kills, None),
        "120": lambda: ours("notice 120 s", options.kills, 120.0),
        "30": lambda: ours("notice 30 s", options.kills, 30.0),
    }
    sides = [make() for name, make in ways.items() if not options.only or name in options.only]
    report(sides)
    return 0


# --- the two sides -------------------------------------------------------------------------------------------------------------


def scripted(kills: int) -> Side:
    side, run = Side("scripted"), f"script-{uuid.uuid4().hex[:6]}"
    task = {
        "resources": {"instance_type": "g6.xlarge", "use_spot": True},
        "file_mounts": {"~/train.py": str(ROOT / "scripts/benches/recovery_train.py")},
        "run": f"unset OMP_NUM_THREADS; exec {PYTHON} ~/train.py s3://{BUCKET}/{run}/state s3://{BUCKET}/{run}/marks",
    }

    def launch(number: int) -> None:
        zone = ZONES[number % len(ZONES)]
        made = sky.Task.from_yaml_config({**task, "resources": {**task["resources"], "infra": f"aws/{zone[:-1]}/{zone}"}})
        sky.get(sky.launch(made, cluster_name=f"{run}-{number}"))

    launch(0)
    for number in range(1, kills + 1):
        machine = settled(run, number)
        lost_at = take(machine)
        while sky.get(sky.status([f"{run}-{number - 1}"], refresh=sky.StatusRefreshMode.FORCE)):
            pass
        known_at = time.time()
        launch(number)
        note(side, marks(run, number + 1)[-1], lost_at, detect=known_at, provision=run_instances(lost_at))
    sky.get(sky.down(f"{run}-{kills}"))
    return side


def ours(name: str, kills: int, notice: Seconds | None) -> Side:
    side, run = Side(name), f"bench-{uuid.uuid4().hex[:6]}"
    with supervised(run):
        for number in range(1, kills + 1):
            machine = settled(run, number)
            lost_at = take(machine) if notice is None else announce(machine, notice)
            mark = marks(run, number + 1)[-1]
            if notice is not None:
                lost_at = marks(run, number)[number - 1]["last"]
            note(side, mark, lost_at, **told(run, number), provision=run_instances(lost_at - (notice or 0)))
    return side


@contextmanager
def supervised(run: str) -> Iterator[None]:
    folder = LAB / "tmp" / run
    folder.mkdir()
    (folder / "train.py").write_bytes((ROOT / "scripts/benches/recovery_train.py").read_bytes())
    recipe = {
        "name": "bench",
        "resources": {"accelerators": ["L4:1"], "infra": ["aws"], "use_spot": True},
        "workdir": str(folder),
        "run": f"{PYTHON} train.py s3://unused/state s3://{BUCKET}/{run}/marks",
        "checkpoint": {"dir": f"s3://{BUCKET}", "every": "20 steps"},
    }
    (folder / "r.yaml").write_text(json.dumps(recipe))  # which YAML is, too
    words = [sys.executable, "-c", "import sys; from launcher.app.cli import main; sys.exit(main())"]
    # A home of its own: in another's the places would cool down from the losses of the way before.
    env = {**os.environ, "LAUNCH_AGENT_PYTHON": str(PYTHON), "LAUNCH_HOME": str(folder / "home")}
    with (folder / "err").open("wb") as err:
        train = subprocess.Popen(
            [*words, "train", str(folder / "r.yaml"), "-y", "-n", run], stdout=subprocess.DEVNULL, stderr=err, env=env
        )
    try:
        yield
    finally:
        subprocess.run([*words, "cancel", run], env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        train.wait(300)


# --- what happened -------------------------------------------------------------------------------------------------------------


def marks(run: str, number: int) -> list[dict[str, Any]]:
    """Of each life of the program that made a step, the oldest first, once there are so many."""
    patience = time.monotonic() + WAIT_MOST_S
    while True:
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{run}/marks/").get("Contents", [])
        found = [json.loads(s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()) for one in listed]
        lives = sorted((one for one in found if "first" in one), key=lambda one: one["first"])
        if len(lives) >= number:
            return lives
        assert time.monotonic() < patience, f"{run} made no step in life {number}"
        time.sleep(0.2)


def settled(run: str, number: int) -> dict[str, str]:
    """The machine that trains now, after a while of training."""
    first_at = marks(run, number)[-1]["first"]
    time.sleep(max(0.0, first_at + SETTLE_S - time.time()))
    # The one before may be up still, under a notice.
    return max((found for found in living() if run in found["cluster"]), key=lambda found: found["since"])


def living() -> list[dict[str, str]]:
    found = []
    for region in REGIONS:
        for reservation in boto3.client("ec2", region_name=region).describe_instances()["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] in ("pending", "running"):
                    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
                    cluster = tags.get("skypilot-cluster-name", "")
                    since = instance["LaunchTime"].isoformat()
                    found.append({"region": region, "id": instance["InstanceId"], "cluster": cluster, "since": since})
    return found


def take(machine: dict[str, str]) -> Utc:
    boto3.client("ec2", region_name=machine["region"]).terminate_instances(InstanceIds=[machine["id"]])
    return time.time()


def announce(machine: dict[str, str], lead: Seconds) -> Utc:
    """Returns at once; the lab ends the machine on time."""
    from tests.e2e.sky.levers import main as lever

    lever("notice", machine["region"], machine["id"], str(lead))
    return time.time()


def run_instances(after: Utc) -> Utc:
    """When the cloud was first asked for a machine after that."""
    lines = (line.split() for line in (SIM / "moto.log").read_text().splitlines())
    return next(float(words[0]) for words in lines if "RunInstances" in words and float(words[0]) > after)


def told(run: str, lost: int) -> dict[str, Utc]:
    """When the journal knew of the loss, or of the notice, and had decided on the next machine."""
    history = at(f"s3://{BUCKET}/{run}").read()
    known = [r.event for r in history.records if isinstance(r.event, ev.InstanceMissed | ev.AttemptLost | ev.NoticeSeen)]
    decided = [r.event for r in history.records if isinstance(r.event, ev.AttemptRequested)]
    return {
        "detect": next(event.at for event in known if event.attempt == lost),
        "decide": next(event.at for event in decided if event.attempt == lost + 1),
    }


def note(side: Side, mark: dict[str, Any], lost_at: Utc, **times: Utc) -> None:
    """One recovery, its instants as spans from each to the next."""
    instants = {
        **times,
        "set up": mark["started"],
        "import": mark["imported"],
        "restore": mark["restored"],
        "step": mark["first"],
    }
    spans, before = {}, lost_at
    for name, instant in sorted(instants.items(), key=lambda item: item[1]):
        spans[name] = instant - before
        before = instant
    side.gaps.append(mark["first"] - lost_at)
    side.parts.append({**spans, "to RunInstances": times["provision"] - lost_at})
    print(f"{side.name:13} {side.gaps[-1]:6.1f} s  {'  '.join(f'{k} {v:.1f}' for k, v in spans.items())}", flush=True)


def report(sides: list[Side]) -> None:
    by_name = {side.name: statistics.median(side.gaps) for side in sides}
    scripted_s = by_name.get("scripted")
    print(
        f"\nload {os.getloadavg()[0]:.1f}; medians, in seconds; no notice: from the kill; else: from the last step of the old one"
    )
    for side in sides:
        parts = {name: statistics.median(part[name] for part in side.parts if name in part) for name in side.parts[0]}
        ratio = f"{by_name[side.name] / scripted_s:.2f} of scripted" if scripted_s else ""
        goal = f" (at most {GOALS[side.name]:g})" if side.name in GOALS and scripted_s else ""
        worst = max(side.gaps)
        print(f"{side.name:13} {by_name[side.name]:6.1f} (worst {worst:.1f}, {len(side.gaps)} times)  {ratio}{goal}")
        print(f"{'':13} {'  '.join(f'{name} {seconds:.1f}' for name, seconds in parts.items())}")


if __name__ == "__main__":
    sys.exit(main())
