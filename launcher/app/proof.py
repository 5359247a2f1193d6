"""The proof of a rehearsal: a run that was torn apart and put together again equals one that nobody disturbed.

The run's curve is the concatenation of `metrics.jsonl` along its chain of commits; it must hold every step once and be equal to
the reference's, float for float. The final weights are compared by the digest of each tensor; only where one differs are the
bytes of both read, to say by how much.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from launcher import codec
from launcher.adapters.history import History
from launcher.adapters.recipe_changes import change_mathematics
from launcher.adapters.store.base import ObjectStore
from launcher.checkpoint import verify
from launcher.checkpoint.format import header_bytes, slots
from launcher.core.checkpoint.manifest import FileEntry, Manifest
from launcher.core.contract import METRICS_FILE, REFERENCE_KEY, Reference
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.errors import KeyMissing, StoreError
from launcher.retention import chain_of

WEIGHTS = "model."  # what the checkpoint names the model's tensors with; the rest is the optimizer's


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`compared` False: there was nothing to compare with, and `reason` says why. A delta of None: names or shapes differ."""

    compared: bool
    losses_equal: bool | None = None
    weights_max_abs_delta: float | None = None
    num_losses: int = 0
    reason: str = ""

    @property
    def has_failed(self) -> bool:
        return self.compared and not (self.losses_equal and self.weights_max_abs_delta == 0)


def not_compared(reason: str) -> Proof:
    return Proof(compared=False, reason=reason)


def has_reference(store: ObjectStore) -> bool:
    try:
        store.get(REFERENCE_KEY)
    except KeyMissing:
        return False
    return True


def read_reference(store: ObjectStore) -> Reference | None:
    """What the uninterrupted run left, None where it has not finished. Raises ValueError where that is not whole."""
    try:
        reference: Reference = codec.loads(Reference, store.get(REFERENCE_KEY))
    except KeyMissing:
        return None
    return reference


def proof_of(history: History) -> Proof | None:
    """The proof of a succeeded run as far as it can be made now; None where there is nothing to prove."""
    state = history.state
    if state.phase is not Phase.SUCCEEDED or state.recipe.trainer is None or not state.recipe.is_local:
        return None
    if changed := changed_mathematics(history):
        return not_compared(f"{', '.join(changed)} changed on the way, so there is no uninterrupted run of the same training")
    try:
        reference = read_reference(history.store)
    except ValueError as error:
        return not_compared(f"what the uninterrupted run left cannot be read: {error}")
    return not_compared("the uninterrupted run has not finished") if reference is None else prove(state, history.store, reference)


def changed_mathematics(history: History) -> list[str]:
    """The keys by which a resume made this another training than its reference."""
    changes = [record.event.changes for record in history.records if isinstance(record.event, ev.RunResumed)]
    return sorted({path for change in changes for path in change_mathematics(change)})


def prove(state: RunState, store: ObjectStore, reference: Reference) -> Proof:
    """Compares a succeeded run with its reference."""
    chain = list(chain_of(state, store))[::-1]
    if not chain:
        return not_compared("the run has no checkpoint that can be read")
    try:
        losses = curve(store, chain)
    except (StoreError, ValueError) as error:
        return Proof(compared=True, losses_equal=False, reason=f"the run's curve cannot be put together: {error}")
    theirs = reference.losses
    at = next((i for i, (a, b) in enumerate(zip(losses, theirs, strict=False)) if not _same(a, b)), None)
    delta = _weights_delta(store, chain[-1], reference)
    return Proof(
        compared=True,
        losses_equal=at is None and len(losses) == len(theirs),
        weights_max_abs_delta=delta,
        num_losses=len(losses),
        reason=_difference(losses, theirs, at, delta),
    )


def curve(store: ObjectStore, chain: Iterable[Manifest]) -> tuple[float, ...]:
    """The losses of steps 1 to n along a chain, oldest commit first. Raises ValueError at a hole or a repeat."""
    losses: list[float] = []
    for manifest in chain:
        for step, loss in metrics(store, manifest):
            if step != len(losses) + 1:
                raise ValueError(f"commit {manifest.ref} tells of step {step} where step {len(losses) + 1} is due")
            losses.append(loss)
    return tuple(losses)


def metrics(store: ObjectStore, manifest: Manifest) -> Iterator[tuple[int, float]]:
    """Step and loss of each step since the commit before, its digests verified. Raises Damaged."""
    for entry in manifest.files:
        if entry.path == METRICS_FILE:
            for line in b"".join(verify.verified_pieces(store, entry)).splitlines():
                row = json.loads(line)
                yield int(row["step"]), float(row["loss"])


def _same(ours: float, theirs: float) -> bool:
    return repr(ours) == repr(theirs)  # to the bit: -0.0 is not 0.0, and NaN is NaN


def _difference(losses: tuple[float, ...], theirs: tuple[float, ...], at: int | None, delta: float | None) -> str:
    if at is not None:
        return f"the loss of step {at + 1} is {losses[at]!r}, in the uninterrupted run {theirs[at]!r}"
    if len(losses) != len(theirs):
        return f"the run has {len(losses)} losses, the uninterrupted one {len(theirs)}"
    if delta is None:
        return "the final weights have other names or shapes"
    return "" if delta == 0 else f"the final weights differ by up to {delta:g}"


# --- weights -----------------------------------------------------------------------------------------------------------------


def weight_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files of a checkpoint that hold the model's tensors."""
    return tuple(f for f in manifest.files if any(name.startswith(WEIGHTS) for name in f.tensors))


def _weights_delta(store: ObjectStore, last: Manifest, reference: Reference) -> float | None:
    """The largest absolute difference of any weight; 0.0 without reading any where all digests are equal."""
    ours = {n: d for f in weight_files(last) for n, d in f.tensors.items() if n.startswith(WEIGHTS)}
    if ours == reference.tensors:
        return 0.0
    if ours.keys() != reference.tensors.keys() or reference.file is None:
        return None
    there = _tensors(store.get(reference.file))
    here = {n: t for f in weight_files(last) for n, t in _tensors(b"".join(verify.verified_pieces(store, f))).items()}
    pairs = [(here[name], there[name]) for name in ours if ours[name] != reference.tensors[name]]
    if any(a[0] != b[0] or len(a[1]) != len(b[1]) for a, b in pairs):
        return None
    return max(_largest_delta(dtype, a, b) for (dtype, a), (_, b) in pairs)


def _tensors(data: bytes) -> dict[str, tuple[str, bytes]]:
    """Dtype and bytes of each tensor of a safetensors file."""
    length = header_bytes(data)
    return {name: (slot.dtype, data[slot.start : slot.end]) for name, slot in slots(data[:length]).items()}


_STRUCT = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U8": "B", "BOOL": "B"}


def _largest_delta(dtype: str, ours: bytes, theirs: bytes) -> float:
    deltas = (abs(a - b) for a, b in zip(_numbers(dtype, ours), _numbers(dtype, theirs), strict=True))
    # A NaN on one side only compares with nothing: it is as different as can be.
    return max((math.inf if math.isnan(d) else d for d in deltas), default=0.0)


def _numbers(dtype: str, data: bytes) -> Iterator[float]:
    if dtype == "BF16":  # the upper half of a float32
        data, dtype = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2)), "F32"
    return (float(number) for (number,) in struct.iter_unpack(f"<{_STRUCT[dtype]}", data))
