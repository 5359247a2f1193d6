"""The proof tells the smallest difference, and never calls equal what was not compared."""

import json
import struct
from pathlib import Path

import pytest

from launcher.adapters.store.files import FileStore
from launcher.adapters.store.memory import MemoryStore
from launcher.app.proof import Proof, curve, prove
from launcher.app.show import load_line
from launcher.checkpoint.format import NamedTensor, digest, safetensors_source
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest, write
from launcher.core.contract import METRICS_FILE, Reference, commit_key
from launcher.core.recipe import Recipe
from launcher.core.run.state import UNKNOWN_OFFER, Attempt, RunState

LOSSES = (4.5, 4.25, 4.125, 4.0)
WEIGHTS = {"model.w": (1.0, 2.0), "model.b": (0.5, -0.5)}


def metrics(losses: dict[int, float]) -> bytes:
    return b"".join(json.dumps({"step": step, "loss": loss}).encode() + b"\n" for step, loss in losses.items())


def entry(store: MemoryStore, path: str, key: str, data: bytes, tensors: dict[str, str] | None = None) -> FileEntry:
    store.create(key, data)
    return FileEntry(path=path, key=key, size=len(data), pieces=(digest(data),), tensors=tensors or {})


def packed(values: tuple[float, ...]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def safetensors(weights: dict[str, tuple[float, ...]]) -> bytes:
    named = [NamedTensor(name=n, dtype="F32", shape=(len(v),), data=packed(v)) for n, v in weights.items()]
    return b"".join(bytes(chunk) for chunk in safetensors_source("weights", named).chunks())


def digests(weights: dict[str, tuple[float, ...]]) -> dict[str, str]:
    return {name: digest(packed(values)) for name, values in weights.items()}


def commit(
    store: MemoryStore, number: int, losses: dict[int, float], weights: dict[str, tuple[float, ...]] | None = None
) -> Manifest:
    files = [entry(store, METRICS_FILE, f"saves/{number}/metrics", metrics(losses))]
    if weights is not None:
        files.append(
            entry(store, "shard", f"saves/{number}/shard", safetensors(weights), digests(weights) | {"optimizer.m": "?"})
        )
    manifest = Manifest(
        run="r",
        incarnation="i",
        ref=CommitRef(1, number),
        save=number,
        grant=1,
        nonce="n",
        parent=CommitRef(1, number - 1) if number > 1 else None,
        parent_sha256=None,
        step=max(losses),
        files=tuple(files),
    )
    store.create(commit_key(manifest.ref), write(manifest))
    return manifest


def proof_against(
    losses: tuple[float, ...], weights: dict[str, tuple[float, ...]], *, second: dict[int, float] | None = None
) -> Proof:
    """A run of two commits with LOSSES and WEIGHTS, compared with a reference of `losses` and `weights`."""
    store = MemoryStore()
    commit(store, 1, {1: LOSSES[0], 2: LOSSES[1]})
    commit(store, 2, {3: LOSSES[2], 4: LOSSES[3]} if second is None else second, WEIGHTS)
    store.create("reference/final", safetensors(weights))
    attempt = Attempt(number=1, offer=UNKNOWN_OFFER, requested_at=0.0, reason="", granted_at=0.0, commit=CommitRef(1, 2))
    recipe = Recipe(name="r", trainer={"kind": "k"})
    state = RunState(run="r", incarnation="i", recipe=recipe, created_at=0.0, deadline_at=None, attempts={1: attempt}, writer=1)
    return prove(
        state, store, Reference(run="r", incarnation="i", losses=losses, tensors=digests(weights), file="reference/final")
    )


def test_equal_losses_and_weights_are_equal():
    proof = proof_against(LOSSES, WEIGHTS)
    assert (proof.compared, proof.losses_equal, proof.weights_max_abs_delta, proof.num_losses) == (True, True, 0.0, 4)
    assert not proof.has_failed
    assert proof.reason == ""


def test_a_loss_that_differs_in_its_last_bit_fails_the_proof_and_is_named():
    proof = proof_against((*LOSSES[:2], 4.125000000000001, LOSSES[3]), WEIGHTS)
    assert proof.has_failed
    assert "step 3 is 4.125, in the uninterrupted run 4.125000000000001" in proof.reason


def test_a_shorter_curve_fails_the_proof():
    proof = proof_against((*LOSSES, 3.9), WEIGHTS)
    assert proof.has_failed
    assert "4 losses, the uninterrupted one 5" in proof.reason


@pytest.mark.parametrize("second", [{4: 4.0}, {2: 4.25, 3: 4.125, 4: 4.0}], ids=["hole", "repeat"])
def test_a_curve_with_a_hole_or_a_repeat_fails_the_proof(second: dict[int, float]):
    proof = proof_against(LOSSES, WEIGHTS, second=second)
    assert proof.has_failed
    assert "where step 3 is due" in proof.reason


def test_weights_that_differ_are_measured():
    proof = proof_against(LOSSES, {**WEIGHTS, "model.w": (1.0, 2.25)})
    assert proof.weights_max_abs_delta == 0.25
    assert proof.has_failed


def test_weights_of_other_shapes_have_no_distance_and_fail():
    proof = proof_against(LOSSES, {**WEIGHTS, "model.w": (1.0,)})
    assert proof.weights_max_abs_delta is None
    assert proof.has_failed


def test_the_curve_is_read_along_the_chain_with_its_digests_checked():
    store = MemoryStore()
    chain = [commit(store, 1, {1: 1.0}), commit(store, 2, {2: 0.5})]
    assert curve(store, chain) == (1.0, 0.5)


def test_the_line_that_loads_the_weights_names_their_file_as_it_is_called(tmp_path: Path) -> None:
    url = FileStore(tmp_path / "my runs & more").url
    assert repr(str(tmp_path / "my runs & more" / "shard")) in load_line(f"{url}/shard")
