"""Frozen dataclasses to canonical JSON and back.

A journal record or manifest must give the same bytes each time it is written, and must be readable years later.
So: keys sorted, no blanks, floats by repr, one `"is"` tag for members of a union, and unknown fields ignored on
reading (a newer writer may add some), missing ones taken from the field's default.

What a field may be: str, int, float, bool, None, Enum, another dataclass, a union of dataclasses or of a type with None,
tuple[T, ...], dict[str, T], frozenset[T] (written sorted), and `Json` (any JSON value, unchanged).
"""

import dataclasses
import enum
import functools
import hashlib
import json
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")
Json = Any  # a JSON value carried as it is

_KIND = "is"  # the tag that names the class; "kind" is a word recipes use


def encode(value: Any) -> Any:
    """The JSON value of `value`; a dataclass carries its class name under "is"."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        assert _KIND not in fields, f"{type(value).__name__} has a field named {_KIND!r}, which is the tag"
        return {_KIND: type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, frozenset):
        return sorted(encode(v) for v in value)
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    assert value is None or isinstance(value, str | int | float | bool), f"cannot encode {type(value)}"
    return value


def dumps(value: Any) -> bytes:
    """Canonical JSON: equal values give equal bytes."""
    # ASCII, since a file name or a program's output may hold lone surrogates, which UTF-8 has no bytes for.
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def loads(kind: type[T] | Any, data: bytes | str) -> T:
    """The value of type `kind` (a class or a union) in `data`. Raises ValueError where it does not fit."""
    value: T = decode(kind, json.loads(data))
    return value


def digest_of(data: bytes) -> str:
    """SHA-256 in hex, for records and manifests (shards use XXH3)."""
    return hashlib.sha256(data).hexdigest()


def dumps_digested(value: Any) -> bytes:
    """`value` in an envelope that tells damage: {"body": …, "sha256": of the canonical body}."""
    body = dumps(value)
    return b'{"body":' + body + b',"sha256":"' + digest_of(body).encode() + b'"}'


def loads_digested(kind: type[T] | Any, data: bytes) -> T:
    """The value in an envelope made by `dumps_digested`. Raises ValueError where a byte of it is not as written.

    The digest is of the bytes as stored, so a newer writer's extra fields do not break an older reader.
    """
    head, tail = b'{"body":', b',"sha256":"'
    cut = len(data) - len(tail) - 66
    if not (data.startswith(head) and data[cut : cut + len(tail)] == tail and data.endswith(b'"}')):
        raise ValueError("cut short or not one of our records")
    body, stated = data[len(head) : cut], data[cut + len(tail) : -2]
    if digest_of(body).encode() != stated:
        raise ValueError("its content does not match its SHA-256")
    value: T = loads(kind, body)
    return value


def decode(kind: type[T] | Any, raw: Any) -> T:
    try:
        return typing.cast(T, _decode(kind, raw))
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ValueError(f"not a {getattr(kind, '__name__', kind)}: {error}") from error


@functools.cache
def _fields_of(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _decode(kind: Any, raw: Any) -> Any:
    if kind is Any:
        return raw
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(args, raw)
    if origin is tuple:
        if not isinstance(raw, list):
            raise TypeError(f"expected a list, found {raw!r}")
        if args[-1] is Ellipsis:
            return tuple(_decode(args[0], item) for item in raw)
        if len(args) != len(raw):
            raise TypeError(f"expected {len(args)} items, found {len(raw)}")
        return tuple(_decode(a, item) for a, item in zip(args, raw, strict=True))
    if origin is frozenset:
        return frozenset(_decode(args[0], item) for item in raw)
    if origin is dict:
        return {key: _decode(args[1], item) for key, item in raw.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(raw)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), raw)
    return _decode_scalar(kind, raw)


def _decode_union(args: tuple[Any, ...], raw: Any) -> Any:
    if raw is None and type(None) in args:
        return None
    if isinstance(raw, dict) and _KIND in raw:
        for arg in args:
            if dataclasses.is_dataclass(arg) and typing.cast(type, arg).__name__ == raw[_KIND]:
                return _decode(arg, raw)
        raise ValueError(f"unknown kind {raw[_KIND]!r}")
    errors: list[str] = []
    for arg in args:
        if arg is not type(None):
            try:
                return _decode(arg, raw)
            except (ValueError, TypeError) as error:
                errors.append(str(error))
    raise ValueError("; ".join(errors))


def _decode_dataclass(kind: type, raw: Any) -> Any:
    if not isinstance(raw, dict):
        raise TypeError(f"expected an object for {kind.__name__}, found {raw!r}")
    if raw.get(_KIND, kind.__name__) != kind.__name__:
        raise TypeError(f"expected kind {kind.__name__}, found {raw[_KIND]!r}")
    return kind(**{name: _decode(hint, raw[name]) for name, hint in _fields_of(kind).items() if name in raw})


def _decode_scalar(kind: Any, raw: Any) -> Any:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if kind is type(None) and raw is None:
        return None
    if kind in (str, int, float, bool) and isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)):
        return raw
    raise TypeError(f"expected {kind}, found {raw!r}")
