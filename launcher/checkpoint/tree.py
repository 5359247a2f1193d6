"""State of any shape as JSON beside named tensors, and back to the bit. No pickle: loading a checkpoint must not run code.

A `state_dict()` nests dicts, lists, tuples, numbers and tensors. Tensors leave for the tensor file under the path that leads
to them ("optimizer.state.0.exp_avg"); everything else becomes JSON. What JSON would bend (tuples, non-string keys, nan, bytes)
is wrapped as {"~": kind, …}; floats are written by repr, which reads back exactly.
"""

import collections
import math
from collections.abc import Callable, Mapping
from typing import Any

from launcher.codec import Json
from launcher.errors import LaunchError

_TAG = "~"


class CannotSave(LaunchError):
    """A piece of training state that has no faithful JSON or tensor form."""

    exit_code = 1


def split(value: Any, path: str, is_tensor: Callable[[Any], bool]) -> tuple[Json, dict[str, Any]]:
    """`value` as JSON, and the tensors in it by name. Raises CannotSave, naming the path."""
    tensors: dict[str, Any] = {}

    def visit(value: Any, path: str) -> Json:
        if is_tensor(value):
            assert path not in tensors, f"two tensors are named {path!r}"
            tensors[path] = value
            return {_TAG: "tensor", "name": path}
        match value:
            case None | bool() | str():
                return value
            case float():
                return float(value) if math.isfinite(value) else {_TAG: "float", "value": repr(float(value))}
            case int():
                return int(value)
            case bytes():
                return {_TAG: "bytes", "hex": value.hex()}
            case dict():
                return visit_dict(value, path)
            case list():
                return [visit(item, f"{path}.{i}") for i, item in enumerate(value)]
            case tuple():
                return {_TAG: "tuple", "items": [visit(item, f"{path}.{i}") for i, item in enumerate(value)]}
        raise CannotSave(
            f"{path} is a {type(value).__name__}, which cannot be saved without pickle; keep numbers, text, tensors, dicts"
        )

    def visit_dict(value: dict[Any, Any], path: str) -> Json:
        if type(value) in (dict, collections.OrderedDict) and _TAG not in value and all(isinstance(k, str) for k in value):
            return {key: visit(item, f"{path}.{key}") for key, item in value.items()}
        kind = "counter" if isinstance(value, collections.Counter) else "dict"
        return {_TAG: kind, "items": [[visit(k, f"{path}.{k}"), visit(v, f"{path}.{k}")] for k, v in value.items()]}

    return visit(value, path), tensors


def join(raw: Json, tensors: Mapping[str, Any]) -> Any:
    """The value that `split` took apart. Raises KeyError for a tensor that is not in `tensors`."""
    if isinstance(raw, list):
        return [join(item, tensors) for item in raw]
    if not isinstance(raw, dict):
        return raw
    match raw.get(_TAG):
        case None:
            return {key: join(item, tensors) for key, item in raw.items()}
        case "tensor":
            return tensors[raw["name"]]
        case "tuple":
            return tuple(join(item, tensors) for item in raw["items"])
        case "float":
            return float(raw["value"])
        case "bytes":
            return bytes.fromhex(raw["hex"])
        case "dict":
            return dict(_items(raw, tensors))
        case "counter":
            return collections.Counter(dict(_items(raw, tensors)))
    raise ValueError(f"unknown form {raw[_TAG]!r}: written by a newer launch")


def _items(raw: dict[str, Any], tensors: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(join(k, tensors), join(v, tensors)) for k, v in raw["items"]]
