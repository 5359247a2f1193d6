"""Frozen dataclasses to canonical JSON and back.

A journal record or manifest must give the same bytes each time it is written, and must be readable years later.
So: keys sorted, no blanks, floats by repr, one `"is"` tag for members of a union, and unknown fields ignored on
reading (a newer writer may add some), missing ones taken from the field's default.

A supervisor reads the same few types day and night, so what a type asks for is worked out once: each has a reader and a writer.

What a field may be: str, int, float, bool, None, Enum, another dataclass, a union of dataclasses or of a type with None,
tuple[T, ...], dict[str, T], frozenset[T] (written sorted), and `Json` (any JSON value, unchanged).
"""

import dataclasses
import enum
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Json = Any  # a JSON value carried as it is

_KIND = "is"  # the tag that names the class; "kind" is a word recipes use


# No look-out for circles: values that cannot be changed hold none.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False)


def encode(value: Any) -> Any:
    """The JSON value of `value`; a dataclass carries its class name under "is"."""
    kind: type = type(value)
    return _writer(kind)(value)


def dumps(value: Any) -> bytes:
    """Canonical JSON: equal values give equal bytes."""
    # ASCII, since a file name or a program's output may hold lone surrogates, which UTF-8 has no bytes for.
    return _CANONICAL.encode(encode(value)).encode()


def loads(kind: type[T] | Any, data: bytes | str) -> T:
    """The value of type `kind` (a class or a union) in `data`. Raises ValueError where it does not fit."""
    try:
        raw = _PARSER.decode(data if isinstance(data, str) else data.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply to be one of ours") from error
    value: T = decode(kind, raw)
    return value


def finite(text: str) -> float:
    """A number that can be written again: JSON knows no others, though Python's reader does."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


_PARSER = json.JSONDecoder(parse_float=finite, parse_constant=finite)


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
    """The value of type `kind` (a class or a union) that the JSON value `raw` stands for. Raises ValueError."""
    try:
        value: T = _known_reader(typing.cast(typing.Hashable, kind), typing.get_args(kind))(raw)
        return value
    except (TypeError, KeyError, AttributeError, AssertionError, OverflowError) as error:
        raise ValueError(f"not a {getattr(kind, '__name__', kind)}: {error}") from error


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    """What a value is made from; what follows from that is neither written nor read."""
    return [f for f in dataclasses.fields(kind) if f.init]


# --- writing, by the class of the value --------------------------------------------------------------------------------------

_Step = Callable[[Any], Any]  # from a value to its JSON value, or back
_SCALARS = (str, int, float, bool)
_UNCHANGED: frozenset[type] = frozenset((*_SCALARS, type(None)))  # a set, since each field of each value is looked up in it


@functools.cache
def _writer(kind: type) -> _Step:
    if issubclass(kind, enum.Enum):
        return lambda value: value.value
    if dataclasses.is_dataclass(kind):
        return _dataclass_writer(kind)
    if issubclass(kind, dict):
        return lambda value: {str(k): encode(v) for k, v in value.items()}
    if issubclass(kind, frozenset):
        return lambda value: sorted(encode(v) for v in value)
    if issubclass(kind, list | tuple):
        return lambda value: [v if type(v) in _UNCHANGED else encode(v) for v in value]
    assert issubclass(kind, (*_UNCHANGED,)), f"cannot encode {kind}"
    return lambda value: value


def _dataclass_writer(kind: type) -> _Step:
    names = tuple(f.name for f in _fields(kind))
    assert _KIND not in names, f"{kind.__name__} has a field named {_KIND!r}, which is the tag"
    # In the order of the canonical text: what is sorted already is sorted at once.
    blank = {name: kind.__name__ if name == _KIND else None for name in sorted((_KIND, *names))}

    def write(value: Any) -> Any:
        whole: dict[str, Any] = blank.copy()
        for name in names:
            v = getattr(value, name)
            of_v: type = type(v)
            whole[name] = v if of_v in _UNCHANGED else _writer(of_v)(v)
        return whole

    return write


# --- reading, by the type that is meant --------------------------------------------------------------------------------------


@functools.cache
def _known_reader(kind: Any, args: tuple[Any, ...]) -> _Step:
    """The reader of `kind`. `args` tell unions apart that are equal and try their members in another order."""
    return _reader(kind)


def _reader(kind: Any) -> _Step:
    if kind is Any:
        return lambda raw: raw
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(args)
    if origin is tuple:
        return _row_reader(_reader(args[0])) if args[-1] is Ellipsis else _tuple_reader([_reader(arg) for arg in args])
    if origin is frozenset:
        member = _reader(args[0])
        return lambda raw: frozenset(map(member, raw))
    if origin is dict:
        of_value = _reader(args[1])
        return lambda raw: {key: of_value(item) for key, item in raw.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(typing.cast(type, kind))
    return _scalar_reader(kind)


def _row_reader(member: _Step) -> _Step:
    def read(raw: Any) -> Any:
        if not isinstance(raw, list):
            raise TypeError(f"expected a list, found {raw!r}")
        return tuple(map(member, raw))

    return read


def _tuple_reader(members: list[_Step]) -> _Step:
    def read(raw: Any) -> Any:
        if not isinstance(raw, list):
            raise TypeError(f"expected a list, found {raw!r}")
        if len(members) != len(raw):
            raise TypeError(f"expected {len(members)} items, found {len(raw)}")
        return tuple(member(item) for member, item in zip(members, raw, strict=True))

    return read


def _union_reader(args: tuple[Any, ...]) -> _Step:
    has_none = type(None) in args
    members = {arg: _reader(arg) for arg in args if arg is not type(None)}
    tagged = {typing.cast(type, arg).__name__: member for arg, member in members.items() if dataclasses.is_dataclass(arg)}

    def read(raw: Any) -> Any:
        if raw is None and has_none:
            return None
        if isinstance(raw, dict) and _KIND in raw:
            tag = raw[_KIND]
            if not isinstance(tag, str) or tag not in tagged:
                raise ValueError(f"unknown kind {tag!r}")
            return tagged[tag](raw)
        errors: list[str] = []
        for member in members.values():
            try:
                return member(raw)
            except (ValueError, TypeError) as error:
                errors.append(str(error))
        raise ValueError("; ".join(errors))

    return read


@functools.cache
def _dataclass_reader(kind: type) -> _Step:
    fields: list[tuple[str, type | None, bool, _Step]] = []
    named = kind.__name__

    def read(raw: Any) -> Any:
        if not fields:  # not before one comes: a class may hold itself
            hints = typing.get_type_hints(kind)
            fields.extend((f.name, *_scalar_of(hints[f.name]), _reader(hints[f.name])) for f in _fields(kind))
        if not isinstance(raw, dict):
            raise TypeError(f"expected an object for {named}, found {raw!r}")
        if raw.get(_KIND, named) != named:
            raise TypeError(f"expected kind {named}, found {raw[_KIND]!r}")
        given = {}
        for name, scalar, or_none, member in fields:
            if name in raw:
                item = raw[name]
                if type(item) is scalar or (or_none and item is None):
                    given[name] = item
                else:
                    given[name] = member(item)
        return kind(**given)

    return read


def _scalar_of(kind: Any) -> tuple[type | None, bool]:
    """The class whose values `kind` takes as they are, and whether it takes None: most fields are such, and need no reader."""
    args = typing.get_args(kind) or (kind,)
    members = [arg for arg in args if arg is not type(None)]
    is_union = typing.get_origin(kind) in (None, typing.Union, types.UnionType)
    return (members[0] if is_union and len(members) == 1 and members[0] in _SCALARS else None), is_union and type(None) in args


def _scalar_reader(kind: Any) -> _Step:
    def read(raw: Any) -> Any:
        if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
            return float(raw)
        if kind is type(None) and raw is None:
            return None
        if kind in _SCALARS and isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)):
            return raw
        raise TypeError(f"expected {kind}, found {raw!r}")

    return read
