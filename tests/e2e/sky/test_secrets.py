"""What is left of secrets and credentials after a run on real SkyPilot: on the machine, in its processes, and here."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.cloud.skypilot.client import KEPT_BACK
from launcher.adapters.cloud.skypilot.order import UNINVITED
from launcher.adapters.store.open import open_store
from launcher.app.wiring import policy_of, shell_of
from launcher.clock import SystemClock
from launcher.core.policy.base import Phase
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.loop import World
from launcher.processes import descendants
from launcher.supervisor import supervise
from tests.e2e.sky.conftest import BUCKET, SECRET, Lab, eventually
from tests.e2e.sky.test_run import FixedOffers, begun
from tests.e2e.sky.users import said_by

pytestmark = [pytest.mark.timeout(900)]
KEY = "K3Y-of-another-cloud-77b1"  # in each credential file of the client
LOOK_S = 0.1
# Of clouds whose files SkyPilot can be told to keep back; the last one can only be deleted.
PLANTED = {
    "~/.config/gcloud/application_default_credentials.json": {"type": "service_account", "private_key": KEY},
    "~/.azure/msal_token_cache.json": {"RefreshToken": KEY},
    "~/.nebius/credentials.json": {"key": KEY},
    UNINVITED["lambda"]: {"api_key": KEY},
    UNINVITED["runpod"]: {"api_key": KEY},
}
PROGRAM = """
set -e
echo "the token is $TOKEN"
test ${#TOKEN} -gt 10
mkdir -p $LAUNCH_CHECKPOINT_DIR
echo done > $LAUNCH_CHECKPOINT_DIR/state
sleep 8
"""


@dataclass
class Ears:
    """Every command line of this machine, and so of each instance, as long as it listens. `heard` those with a secret in them."""

    heard: set[str] = field(default_factory=set)
    is_over: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        while not self.is_over.wait(LOOK_S):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    if is_secret(line):
                        self.heard.add(line.replace(b"\0", b" ").decode(errors="replace")[:300])


@contextlib.contextmanager
def listening() -> Iterator[Ears]:
    ears = Ears()
    thread = threading.Thread(target=ears.listen)
    thread.start()
    try:
        yield ears
    finally:
        ears.is_over.set()
        thread.join()


@pytest.fixture
def planted() -> Iterator[None]:
    """Credential files of other clouds in the client's home, none of which was there."""
    made = []
    for name, content in PLANTED.items():
        path = Path(name).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        made.append(path)
    yield
    for path in made:
        path.unlink()
        with contextlib.suppress(OSError):  # up to what was there before
            for folder in path.parents:
                folder.rmdir()


def is_secret(data: bytes) -> bool:
    return SECRET.encode() in data or KEY.encode() in data


def telling(folder: Path) -> list[str]:
    """Files below `folder` with a secret in them."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink() and is_secret(path.read_bytes()):
                found.append(str(path.relative_to(folder)))
    return found


def on_machine(lab: Lab, instance: dict[str, Any]) -> list[str]:
    """Its disk, and what lies in the memory of its /tmp, /run and /dev/shm, seen through one of its processes."""
    root = next(
        root for pid in pids(lab, instance) if (root := Path(f"/proc/{pid}/root")).joinpath("etc/lab_sshd_config").exists()
    )
    return [
        *telling(lab.disk(instance)),
        *(f"{place}/{name}" for place in ("tmp", "run", "dev/shm") for name in telling(root / place)),
    ]


def test_nothing_secret_is_left_on_the_machine_in_its_processes_or_here(lab: Lab, planted: None, tmp_path: Path) -> None:
    store = open_store(f"s3://{BUCKET}/{lab.run}")
    recipe = Recipe(
        name="lab",
        resources=Resources(infra=("aws",), accelerators=("L4:1",), use_spot="true"),
        run=PROGRAM,
        secrets=("TOKEN",),
        checkpoint=CheckpointSpec(dir=f"s3://{BUCKET}"),
    )
    history = begun(store, recipe, lab)
    scans: dict[str, list[str]] = {}
    shells: list[str] = []

    def hear(event: ev.Event, state: RunState) -> None:
        print(f"{time.time():.1f} {type(event).__name__}", flush=True)
        if isinstance(event, (ev.WriterGranted, ev.AttemptExited)):
            (instance,) = lab.living()
            if isinstance(event, ev.AttemptExited):
                eventually(lambda: not any(b"launcher.node" in line for line in lines_of(lab, instance)), within_s=60.0)
            scans[type(event).__name__] = on_machine(lab, instance)
            _, cluster = shell_of(state, state.attempts[1]).command
            shells.append(said_by(Path(os.environ["HOME"]), cluster, "ls ~/.launch", tmp_path))

    with listening() as ears:
        world = World(clock=SystemClock(), cloud=lab.cloud(), store=store, feed=FixedOffers())
        state = supervise(world, history, policy_of, supervisor="lab", listener=hear)

    print("on the machine:", scans, "command lines:", ears.heard, "by SSH:", shells)
    assert state.phase is Phase.SUCCEEDED, "the program had its secret"
    assert scans == {"WriterGranted": [], "AttemptExited": []}
    assert ears.heard == set()
    objects = lab.objects()
    assert any(b"the token is [TOKEN]" in data for data in objects.values()), "it told it, and the log did not"
    assert [name for name, data in objects.items() if is_secret(data)] == []
    assert list(Path(os.environ["HANDOVER"]).glob("*")) == []
    assert "code" in shells[0], shells
    home = Path(os.environ["HOME"])
    assert [name for name in telling(home / ".sky") if SECRET.encode() in (home / ".sky" / name).read_bytes()] == []


def pids(lab: Lab, instance: dict[str, Any]) -> list[int]:
    return [process.pid for process in descendants(int((lab.disk(instance).parent / "pid").read_text()))]


def lines_of(lab: Lab, instance: dict[str, Any]) -> list[bytes]:
    lines = []
    for pid in pids(lab, instance):
        with contextlib.suppress(OSError):
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return lines


def test_every_cloud_whose_files_skypilot_can_keep_back_is_told_to() -> None:
    from sky.utils import registry
    from sky.utils.schemas import get_config_schema

    clouds = get_config_schema()["properties"]
    told = {name for name in registry.CLOUD_REGISTRY if "remote_identity" in clouds.get(name, {}).get("properties", {})}
    assert told == set(KEPT_BACK)
    assert set(UNINVITED) >= {name for name, cloud in registry.CLOUD_REGISTRY.items() if name not in told and files_of(cloud)}


def files_of(cloud: Any) -> dict[str, str]:
    try:
        return dict(cloud.get_credential_file_mounts())
    except Exception:  # its library is not installed, so it has none
        return {}
