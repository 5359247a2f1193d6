"""The host process of a reference run: trains from step 0 to the end and keeps what came out.

    python -m launcher.adapters.cloud.local_reference_host FOLDER

A trainer that was killed begins at step 0 again, since what resumed would be no reference.
"""

import functools
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path

import xxhash

import launcher
from launcher import processes
from launcher.adapters import durable, retry
from launcher.adapters.cloud.local_host import inherited_environment
from launcher.adapters.cloud.local_reference import (
    KILL_AT_MOST_S,
    REFERENCE_VARIABLE,
    ReferenceEnded,
    ReferenceHosted,
    ReferenceOrder,
    measure,
    read,
)
from launcher.adapters.cloud.local_registry import locked
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.codec import dumps
from launcher.core.contract import FINAL_FILE, METRICS_FILE, REFERENCE_KEY, REFERENCE_PREFIX, Reference
from launcher.errors import KeyExists, KeyMissing, LaunchError

PACKAGE_ROOT = Path(launcher.__file__).parent.parent
RESTARTS_MAX = 5  # a trainer killed this often is killed by something that does not stop, such as a lack of memory
_LENGTH_BYTES = 8  # safetensors: the header's length comes first, as a little-endian number of 8 bytes


class _Failed(Exception):
    """This reference will never be; the message says why."""


def main(folder: Path) -> None:
    """Run the reference to its end, unless another process does or it has ended."""
    with locked(folder / "host.lock") as is_mine:
        order = read(ReferenceOrder, folder / "order.json")
        if is_mine and order is not None and read(ReferenceEnded, folder / "ended.json") is None:
            processes.become_subreaper()
            durable.replace_durably(folder / "ended.json", dumps(ReferenceEnded(failure=_failure_of(folder, order))))


def _failure_of(folder: Path, order: ReferenceOrder) -> str:
    try:
        store = open_store(order.store)
        if not _has_reference(store):
            _run(folder, order)
            _publish(folder, order, store)
    except (_Failed, LaunchError, OSError, ValueError, KeyError, TypeError) as error:  # the last three: files of another shape
        return str(error) or type(error).__name__
    return ""


def _run(folder: Path, order: ReferenceOrder) -> None:
    """Train from step 0 to the end; what is killed on the way begins anew."""
    _sweep(folder)
    hosted = ReferenceHosted(host=processes.me(), boot_id=processes.boot_id(), mark=str(uuid.uuid4()))
    for restarts in range(RESTARTS_MAX + 1):
        code = _train(folder, order, hosted, restarts)
        if code == 0:
            return
        if code > 0:
            raise _Failed(f"the trainer ended with exit code {code}: {_last_line(folder / 'trainer.log')}")
    raise _Failed(f"the trainer was killed {RESTARTS_MAX + 1} times, last by signal {-code}")


def _sweep(folder: Path) -> None:
    """End what a killed host of this reference may have left."""
    before = read(ReferenceHosted, folder / "host.json")
    if before is not None and before.boot_id == processes.boot_id():
        processes.kill_marked(REFERENCE_VARIABLE, before.mark, at_most=KILL_AT_MOST_S)


def _train(folder: Path, order: ReferenceOrder, hosted: ReferenceHosted, restarts: int) -> int:
    """One trainer's life, in an empty folder. Gives its exit code, negative for a signal."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    code = work / "code"
    code.mkdir(parents=True)
    if order.code is not None:
        with tarfile.open(fileobj=io.BytesIO(retry.store_calls()(open_store(order.store).get, order.code))) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(code)
    now = ReferenceHosted(
        host=hosted.host,
        boot_id=hosted.boot_id,
        mark=hosted.mark,
        restarts=restarts,
        trainer_started_mono=time.monotonic(),
    )
    durable.replace_atomically(folder / "host.json", dumps(now))
    with (folder / "trainer.log").open("ab") as log:
        trainer = subprocess.Popen(
            [sys.executable, "-P", "-m", order.module],
            cwd=code,
            env=_environment(order, hosted.mark, work),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(processes.bind_to, os.getpid()),
        )
    exit_code = trainer.wait()
    processes.kill_descendants(at_most=KILL_AT_MOST_S)
    return exit_code


def _environment(order: ReferenceOrder, mark: str, work: Path) -> dict[str, str]:
    inherited = {**inherited_environment(), **order.envs}
    paths = (str(PACKAGE_ROOT), inherited.get("PYTHONPATH", ""), str(work / "code"))  # as an agent starts a trainer
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "LAUNCH_TRAINER_DIR": str(work),
        "LAUNCH_TRAINER": json.dumps(order.args),
        REFERENCE_VARIABLE: mark,
    }


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


# --- the result --------------------------------------------------------------------------------------------------------------


def _has_reference(store: ObjectStore) -> bool:
    try:
        retry.store_calls()(store.get, REFERENCE_KEY)
    except KeyMissing:
        return False
    return True


def _publish(folder: Path, order: ReferenceOrder, store: ObjectStore) -> None:
    """The weights first: a `reference.json` that is there has them."""
    weights = (folder / "work" / FINAL_FILE).read_bytes()
    key = f"{REFERENCE_PREFIX}{xxhash.xxh3_64_hexdigest(weights)}-{FINAL_FILE}"
    measured, hosted = measure(folder.parent), read(ReferenceHosted, folder / "host.json")
    reference = Reference(
        run=order.run,
        incarnation=order.incarnation,
        losses=losses_of((folder / "work" / METRICS_FILE).read_text()),
        tensors=tensor_digests(weights),
        file=key,
        restarts=0 if hosted is None else hosted.restarts,
        measured={} if measured is None else {"startup_s": measured.startup_s, "step_s": measured.step_s},
    )
    _create(store, key, weights)
    _create(store, REFERENCE_KEY, dumps(reference))


def _create(store: ObjectStore, key: str, data: bytes) -> None:
    """Another host of this reference may have been as far and then been killed: what it made is as good."""
    try:
        retry.store_calls()(store.create, key, data)
    except KeyExists:
        return


def losses_of(metrics: str) -> tuple[float, ...]:
    """The loss of every step from 1 on, from METRICS_FILE. Raises where a step is missing or its loss is not a number."""
    rows = [json.loads(line) for line in metrics.splitlines()]
    for expected, row in enumerate(rows, start=1):
        if row["step"] != expected:
            raise _Failed(f"{METRICS_FILE} has step {row['step']} where {expected} was due")
        if not math.isfinite(row["loss"]):
            raise _Failed(f"the loss of step {expected} is {row['loss']}, and that compares with nothing")
    return tuple(float(row["loss"]) for row in rows)


def tensor_digests(safetensors: bytes) -> dict[str, str]:
    """XXH3-64 of each tensor's bytes. Raises ValueError for bytes that are no safetensors file."""
    begin = _LENGTH_BYTES + int.from_bytes(safetensors[:_LENGTH_BYTES], "little")
    header = json.loads(safetensors[_LENGTH_BYTES:begin])
    spans = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    if any(end > len(safetensors) - begin for _, end in spans.values()):
        raise ValueError(f"{FINAL_FILE} is cut short")
    data = memoryview(safetensors)[begin:]
    return {name: xxhash.xxh3_64_hexdigest(data[first:end]) for name, (first, end) in spans.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
