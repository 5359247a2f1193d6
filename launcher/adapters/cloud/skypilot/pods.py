"""What a pod of Kubernetes needs beside other machines, so that its end is no surprise to the agent.

Kubernetes tells the first process of a pod alone that it ends, and that of SkyPilot's pods heeds nothing (`trap : TERM INT` in
`kubernetes-ray.yml.j2` of 0.14.1): without more the agent hears of nothing and is killed with the rest 30 s later. So the pod
tells the agent first, by a `preStop` hook, and waits until it is gone. SkyPilot's own `hooks` for a preemption reach node 0 only.

SkyPilot itself deletes pods without any grace, so what is asked for here delays nobody but who preempts, evicts or drains.
"""

from typing import Any

from launcher.codec import Json
from launcher.units import Seconds

AGENT_PID_FILE = "/tmp/launch-agent.pid"  # of the pod alone: its home may be a volume that others have too
# Whoever takes the node itself away may leave less: 15 s of Google's 30 on a spot node. AWS's two minutes are the longest notice.
GRACE_S: Seconds = 120.0
_TELL = f'pid=$(cat {AGENT_PID_FILE}) && kill -TERM "$pid" && while kill -0 "$pid"; do sleep 0.2; done'


def asked_of_pods(config: dict[str, Json]) -> dict[str, Json]:
    """The task's `config` with what the agent needs of its pod, below what the recipe says itself."""
    container: Json = {"lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _TELL]}}}}
    ours: dict[str, Json] = {
        "kubernetes": {"pod_config": {"spec": {"terminationGracePeriodSeconds": int(GRACE_S), "containers": [container]}}}
    }
    return _merged(ours, config)


def grace_of(config: dict[str, Any]) -> Seconds:
    """From the agent's SIGTERM to the end of a pod that was asked for with `config`."""
    return float(config["kubernetes"]["pod_config"]["spec"]["terminationGracePeriodSeconds"])


def _merged(ours: dict[str, Json], theirs: dict[str, Json]) -> dict[str, Json]:
    """Of lists all, theirs last: SkyPilot lays the containers that have no name over its own, one after the other.

    A key with nothing after it says nothing.
    """
    merged = dict(ours)
    for key, value in theirs.items():
        mine = ours.get(key)
        if value is None and mine is not None:
            continue
        if isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = _merged(mine, value)
        else:
            merged[key] = [*mine, *value] if isinstance(mine, list) and isinstance(value, list) else value
    return merged
