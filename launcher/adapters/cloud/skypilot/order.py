"""An attempt as a task for SkyPilot: one place, our agent as its only job, on each machine of a gang.

A place is named in full, since nothing else keeps SkyPilot from going back to the zone that was just lost. The agent's code goes
along with the request and runs in an environment of its own, so that what the user's `setup` installs never meets it. Nothing
secret is in the task's text: secrets are a file beside the code, which the agent deletes (handover.py).
"""

import base64
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import launcher
from launcher import codec
from launcher.adapters.cloud.skypilot.base import TaskConfig
from launcher.adapters.cloud.skypilot.pods import AGENT_PID_FILE, asked_of_pods, grace_of
from launcher.codec import Json
from launcher.core.contract import AttemptSpec, TrainerProgram
from launcher.core.instance import InstanceName
from launcher.core.market.offer import Capacity, Placement
from launcher.core.plan.unpriced import is_unpriced

DISTRIBUTION = "spot-launch"
# From an agent's exit to the end of its bill, where no supervisor ends the machine: core/tempo.py counts on it. It has a price:
# before SkyPilot calls such a machine gone, it may ask the dead one over SSH whether it has ended itself (4 s once, 66 s once).
AUTODOWN_IDLE_MIN = 5
# Keys of a task file that choose a place, end a machine or run the job in another way than ours.
NOT_HANDED_ON = frozenset(
    """experimental event_callback inputs pool service outputs workdir resources.any_of resources.ordered resources.autostop
    resources.instance_type resources.job_recovery""".split()
)
CODE_FOLDER = "~/.launch/code"
VENV_FOLDER = "~/.launch/venv-$(hostname)"  # the machines of a Slurm cluster share their homes
NODE_FOLDER = "~/.launch/node-$SKYPILOT_NODE_RANK"
UV = '"$HOME/.local/bin/uv"'  # where SkyPilot lays it on every machine (`SKY_UV_CMD` in sky/skylet/constants.py, 0.14.1)
SECRETS_FILE = "~/.launch/secrets.json"
# Credential files that SkyPilot copies from the client onto every machine and cannot be told not to, by the cloud that they are
# for; a machine of that cloud ends itself by them. (`get_credential_file_mounts` in sky/clouds and sky/adaptors, 0.14.1)
UNINVITED = {
    "cudo": "~/.config/cudo/cudo.yml",
    "fluidstack": "~/.fluidstack/api_key",
    "ibm": "~/.ibm/credentials.yaml",
    "lambda": "~/.lambda_cloud/lambda_keys",
    "paperspace": "~/.paperspace/config.json",
    "primeintellect": "~/.prime/config.json",
    "runpod": "~/.runpod/config.toml",
    "scp": "~/.scp/scp_credential",
    "seeweb": "~/.seeweb_cloud/seeweb_keys",
    "shadeform": "~/.shadeform/api_key",
    "vsphere": "~/.vsphere/credential.yaml",
    "yotta": "~/.yotta/credentials",
    "cloudflare": "~/.cloudflare/r2.credentials",
    "coreweave": "~/.coreweave/cw.credentials",
    "vastdata": "~/.vastdata/vastdata.credentials",
    "huggingface": "~/.cache/huggingface/token",
}
STAGED = "~/.sky/.runtime_files"  # where SkyPilot lays what it copies before it copies it on, and leaves it
_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "az", "abfs": "az"}  # by the scheme of the store


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHome:
    """Whence the agent comes. `python`: an interpreter of the machine that has all it needs; None: one is made there."""

    package: Path = Path(launcher.__file__).parent
    python: str | None = None


def task_of(name: InstanceName, spec: AttemptSpec, agent: AgentHome, zone: str | None, secrets: Path | None = None) -> TaskConfig:
    """`zone`: what the placement's is called in this account; `secrets`: the file with the values of those that it names."""
    theirs, resources = _wishes(spec, ""), _wishes(spec, "resources.")
    if not is_unpriced(spec.placement):  # there an instance type says how many it has
        resources = {key: wish for key, wish in resources.items() if key not in ("cpus", "memory")}
    mounts, labels = theirs.pop("file_mounts", {}), resources.pop("labels", {})
    assert isinstance(mounts, dict), "a task's file_mounts are target and source"
    assert isinstance(labels, dict), "the recipe's labels are names and values"
    if spec.placement.cloud == "k8s":
        config = theirs.get("config", {})
        assert isinstance(config, dict), "a task's config is SkyPilot's settings by name"
        theirs["config"] = asked_of_pods(config)
    task: TaskConfig = {
        **theirs,
        "name": "launch",
        "resources": {
            **resources,
            **_machine(spec.placement, zone),
            **_end(spec.placement),
            "labels": labels | labels_of(spec),
        },
        "num_nodes": spec.num_nodes,
        "api_server_access": False,
        "file_mounts": mounts | {f"{CODE_FOLDER}/launcher": str(agent.package)} | _copied(secrets),
        "run": _run(name, spec, agent.python or f"{VENV_FOLDER}/bin/python", theirs.get("config")),
    }
    if agent.python is None:
        task["setup"] = _setup(requirements(extras(spec)))
    return task


def _copied(secrets: Path | None) -> TaskConfig:
    return {} if secrets is None else {SECRETS_FILE: str(secrets)}


def labels_of(spec: AttemptSpec) -> dict[str, Json]:
    """By which a machine is known to be ours at its cloud, whoever launched it."""
    return {"launch-run": spec.run, "launch-incarnation": spec.incarnation, "launch-attempt": str(spec.attempt)}


def _wishes(spec: AttemptSpec, prefix: str) -> TaskConfig:
    """What the recipe wants of SkyPilot beside us, without what would choose another place or end the machine otherwise."""
    paths = (path for path in spec.skypilot if path.rpartition(".")[0] == prefix.rstrip("."))
    return {path.removeprefix(prefix): spec.skypilot[path] for path in paths if path not in NOT_HANDED_ON}


def _machine(placement: Placement, zone: str | None) -> TaskConfig:
    """The place in full. GPUs are named only where they are no part of the instance type: names differ between price lists."""
    place: TaskConfig = {
        "infra": "/".join(part for part in (placement.cloud, placement.region, zone) if part),
        "use_spot": placement.capacity is Capacity.SPOT,
    }
    gpus = f"{placement.accelerator}:{placement.accelerators:g}"
    if is_unpriced(placement):
        return {**place, "accelerators": gpus}
    typed: TaskConfig = {**place, "instance_type": placement.instance}
    return {**typed, "accelerators": gpus} if placement.cloud == "gcp" else typed


def _end(placement: Placement) -> TaskConfig:
    """What ends a machine after its agent where no supervisor does: SkyPilot, but on Slurm, where the job itself does."""
    return {} if placement.cloud == "slurm" else {"autostop": {"idle_minutes": AUTODOWN_IDLE_MIN, "down": True}}


def extras(spec: AttemptSpec) -> tuple[str, ...]:
    """Of our package, what the machine of this attempt needs."""
    store = _EXTRAS.get(spec.store.partition("://")[0])
    trainer = "train" if isinstance(spec.program, TrainerProgram) else None
    return tuple(extra for extra in (store, trainer) if extra)


def requirements(wanted: Iterable[str]) -> tuple[str, ...]:
    """What the agent needs beside itself: what this installation of ours was made with, less what only the client uses."""
    marks = [f'extra == "{extra}"' for extra in wanted]
    found = []
    for line in metadata.requires(DISTRIBUTION) or ():
        package, _, condition = line.replace("'", '"').partition(";")
        if "extra ==" not in condition or any(mark in condition for mark in marks):
            rest = " and ".join(part for part in condition.split(" and ") if "extra ==" not in part).strip()
            found.append(package.strip() + (f"; {rest}" if rest else ""))
    return tuple(found)


def _setup(packages: Iterable[str]) -> str:
    """An environment with a Python of ours, fetched where the image has none: that of SkyPilot's own images is 3.10.

    (Ubuntu 22.04, by `OSVersion` in images.csv of its catalogs for AWS and GCP, read November 2026.)
    """
    wanted = shlex.quote(metadata.metadata(DISTRIBUTION)["Requires-Python"])
    named = " ".join(shlex.quote(package) for package in packages)
    return "\n".join(
        (
            "set -e",
            "export UV_LINK_MODE=copy",
            f"{UV} venv --quiet --no-project --allow-existing --python {wanted} {VENV_FOLDER}",
            f"{UV} pip install --quiet --python {VENV_FOLDER}/bin/python {named}",
            "",
        )
    )


def _uninvited(cloud: str) -> list[str]:
    return [path for owner, path in UNINVITED.items() if owner != cloud]


def _run(name: InstanceName, spec: AttemptSpec, python: str, config: Any) -> str:
    told = base64.b64encode(codec.dumps(spec)).decode()
    return "\n".join(
        (
            f"rm -rf {STAGED} {' '.join(_uninvited(spec.placement.cloud))}",
            "unset OMP_NUM_THREADS",  # ray sets it to 1, and PyTorch would train on one core
            "set -e",
            f"mkdir -p {NODE_FOLDER}/work",
            f"cd {NODE_FOLDER}/work",
            f"echo {told} | base64 -d > ../spec.json",
            f"export LAUNCH_INSTANCE_ID={shlex.quote(name)}",
            f"export PYTHONPATH={CODE_FOLDER}",
            *([f"export LAUNCH_SECRETS={SECRETS_FILE}"] if spec.secrets else []),
            *_agent(f"{python} -P -m launcher.node ../spec.json", spec.placement.cloud, config),
        )
    )


def _agent(command: str, cloud: str, config: Any) -> tuple[str, ...]:
    if cloud == "k8s":
        return (f"export LAUNCH_TERM_GRACE_S={grace_of(config):g}", f"echo $$ > {AGENT_PID_FILE}", f"exec {command}")
    if cloud != "slurm":
        return (f"exec {command}",)
    return (
        "trap : TERM",  # which Slurm sends to all of a job: the agent saves, and dies with its parent
        f"{command} || true",
        f'[ "$SKYPILOT_NODE_RANK" != 0 ] || {{ sleep {60 * AUTODOWN_IDLE_MIN}; scancel "$SLURM_JOB_ID"; }}',
    )
