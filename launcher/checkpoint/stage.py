"""Training state as bytes, and back to the bit: model, optimizer, scheduler, data position and every random stream.

A resumed run equals an uninterrupted one only when nothing is forgotten; a forgotten random stream shows within three steps.
So everything registered is asked for its `state_dict()`, the random states are added, and all of it is copied at once, on the
caller's thread: when `capture` returns, training may go on and change anything. (Copying lazily behind the optimizer can
take this function's place; what comes after it only sees bytes.)

Buffers that a module declares non-persistent are not saved: their author says they can be derived again.
"""

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from launcher.checkpoint import format as layout
from launcher.checkpoint import tree
from launcher.checkpoint.format import NamedTensor, Source
from launcher.errors import LaunchError

STATE_FILE = "state.json"
RANDOM_PART = "random"  # the part that holds the random streams; no caller may use its name

_DTYPE_WORDS = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.uint16: "U16", torch.int32: "I32",
    torch.uint32: "U32", torch.int64: "I64", torch.uint64: "U64", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float32: "F32", torch.float64: "F64", torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
_DTYPES = {word: dtype for dtype, word in _DTYPE_WORDS.items()}


class StateMismatch(LaunchError):
    """The checkpoint and the program do not describe the same training."""

    exit_code = 1


@runtime_checkable
class Stateful(Protocol):
    """What a module, an optimizer, a scheduler, a scaler and our SampleOrder have in common."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


Part = Stateful | torch.Generator | random.Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A whole copy of the training state, owned by nobody else."""

    tensors: tuple[NamedTensor, ...]
    aliases: dict[str, str]  # tied tensor -> the name it is stored under
    state: bytes  # JSON of everything that is not a tensor

    def sources(self) -> tuple[Source, ...]:
        shard = layout.safetensors_source(layout.shard_name(0), self.tensors, self.aliases)
        return shard, layout.bytes_source(STATE_FILE, self.state)


def capture(parts: Mapping[str, Part]) -> Staged:
    """A copy of all `parts` and of the random streams as they are now. Raises CannotSave."""
    assert RANDOM_PART not in parts
    states = {name: _state_of(part) for name, part in parts.items()} | {RANDOM_PART: random_states()}
    forms: dict[str, Any] = {}
    live: dict[str, torch.Tensor] = {}
    for name, state in states.items():
        forms[name], found = tree.split(state, name, torch.is_tensor)
        live |= found
    aliases = _tied(live)
    copies = tuple(_copied(name, tensor) for name, tensor in live.items() if name not in aliases)
    return Staged(tensors=copies, aliases=aliases, state=json.dumps(forms, allow_nan=False).encode())


def put_back(parts: Mapping[str, Part], shard: bytearray, aliases: Mapping[str, str], state: bytes | bytearray) -> None:
    """Sets `parts` and the random streams to what a shard and its state file hold. Raises StateMismatch, naming what differs.

    Nothing is loaded in part by name: a missing, an extra and a mis-shaped tensor are all errors.
    """
    forms: dict[str, Any] = json.loads(bytes(state))
    _same_names("parts", forms.keys() - {RANDOM_PART}, parts.keys())
    stored = _tensors_in(shard)
    stored |= {tied: stored[name] for tied, name in aliases.items()}
    values = tree.join(forms, stored)
    _, used = tree.split(values, "", torch.is_tensor)
    if len(used) != len(stored):
        raise StateMismatch(f"the checkpoint's shard holds {len(stored)} tensors, its state names {len(used)}")
    for name, part in parts.items():
        _load(name, part, values[name])
    set_random_states(values[RANDOM_PART])  # last: loading may draw


# --- one part ---------------------------------------------------------------------------------------------------------


def _state_of(part: Part) -> Any:
    match part:
        case torch.Generator():
            return part.get_state()
        case random.Random():
            return part.getstate()
        case _:
            return part.state_dict()


def _load(name: str, part: Part, state: Any) -> None:
    match part:
        case torch.Generator():
            part.set_state(state.clone())
        case random.Random():
            part.setstate(state)
        case torch.nn.Module():
            _same_tensors(name, state, part.state_dict())
            part.load_state_dict(state)
        case _:
            own = _cloned(state)
            try:
                part.load_state_dict(own)
            except ValueError as error:
                raise StateMismatch(f"{name} of the checkpoint does not fit: {error}") from error
            if isinstance(part, torch.optim.Optimizer):
                _undo_casts(part, own)


def _undo_casts(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """torch casts each moment to its parameter's dtype on loading, which would round fp32 moments of bf16 weights."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for index, moments in state["state"].items():
        live = optimizer.state[params[index]]
        for key, value in moments.items():
            if torch.is_tensor(value) and live[key].dtype != value.dtype:
                live[key] = value.to(live[key].device)


def _cloned(value: Any) -> Any:
    """The same tree with tensors of its own: parts may keep what they are given, and the file's bytes are shared."""
    form, tensors = tree.split(value, "", torch.is_tensor)
    return tree.join(form, {name: tensor.clone() for name, tensor in tensors.items()})


def _same_names(what: str, stored: Any, live: Any) -> None:
    problems = []
    if missing := sorted(set(live) - set(stored)):
        problems.append(f"the checkpoint lacks {', '.join(missing)}")
    if extra := sorted(set(stored) - set(live)):
        problems.append(f"the program has no {', '.join(extra)}")
    if problems:
        raise StateMismatch(f"{what} differ: {'; '.join(problems)}")


def _same_tensors(name: str, stored: Mapping[str, Any], live: Mapping[str, Any]) -> None:
    _same_names(f"names in {name}", stored.keys(), live.keys())
    for key, mine in live.items():
        theirs = stored[key]
        if torch.is_tensor(mine) and (theirs.shape, theirs.dtype) != (mine.shape, mine.dtype):
            saved, here = f"{list(theirs.shape)} {theirs.dtype}", f"{list(mine.shape)} {mine.dtype}"
            raise StateMismatch(f"{name}.{key} is {saved} in the checkpoint and {here} in the program")


# --- tensors ----------------------------------------------------------------------------------------------------------


def _tied(live: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Names that share storage, place and shape with an earlier one, and that one's name."""
    first: dict[object, str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in live.items():
        if tensor.layout == torch.strided and tensor.numel():
            place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            owner = first.setdefault(place, name)
            if owner != name:
                aliases[name] = owner
    return aliases


def _copied(name: str, tensor: torch.Tensor) -> NamedTensor:
    if tensor.layout != torch.strided or tensor.dtype not in _DTYPE_WORDS:
        raise tree.CannotSave(f"{name} is a {tensor.layout} tensor of {tensor.dtype}, which safetensors cannot hold")
    data = bytearray(tensor.numel() * tensor.element_size())
    if data:
        torch.frombuffer(data, dtype=tensor.dtype).view(tensor.shape).copy_(tensor.detach())
    return NamedTensor(name=name, dtype=_DTYPE_WORDS[tensor.dtype], shape=tuple(tensor.shape), data=data)


def _tensors_in(shard: bytearray) -> dict[str, torch.Tensor]:
    """Views of the file's bytes by name."""
    found: dict[str, torch.Tensor] = {}
    for name, slot in layout.slots(shard).items():
        dtype, count = _DTYPES[slot.dtype], (slot.end - slot.start) // layout.ITEM_BYTES[slot.dtype]
        flat = torch.frombuffer(shard, dtype=dtype, count=count, offset=slot.start) if count else torch.empty(0, dtype=dtype)
        found[name] = flat.view(slot.shape)
    return found


# --- random streams ---------------------------------------------------------------------------------------------------


def random_states() -> dict[str, Any]:
    """Every global random stream. NumPy's only where something has loaded it: else nothing here can have drawn from it."""
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        kind, key, position, has_gauss, gauss = numpy_random.get_state()
        states["numpy"] = [kind, key.tolist(), int(position), int(has_gauss), float(gauss)]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"].clone())
    if "numpy" in states:
        import numpy.random

        numpy.random.set_state(tuple(states["numpy"]))
    if "cuda" in states:
        if torch.cuda.device_count() != len(states["cuda"]):
            raise StateMismatch(f"saved with {len(states['cuda'])} CUDA devices, {torch.cuda.device_count()} are here")
        torch.cuda.set_rng_state_all([state.clone() for state in states["cuda"]])
