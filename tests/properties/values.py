"""Strategies for any value that crosses between processes, read off its class as `codec` reads it.

Numbers stay within what a person would believe of a field: instants of this century, a few attempts, prices below a thousand.
"""

import dataclasses
import enum
import functools
import types
import typing
from typing import Any

from hypothesis import strategies as st

from launcher.core.recipe import Recipe

texts = st.text(max_size=6)  # lone surrogates too: a program's output and file names hold them
floats = st.floats(0, 4e9, allow_nan=False) | st.floats(allow_nan=False, allow_infinity=False)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=3,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(0, 9) | st.integers(),
    float: floats,
    bool: st.booleans(),
    type(None): st.none(),
    Any: jsons,
}


@functools.cache
def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a class, a union or an annotation that a field may have."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(of(arg) for arg in args))
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(of(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(of(arg) for arg in args))
    if origin is frozenset:
        return st.frozensets(of(args[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(texts, of(args[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if kind is Recipe:
        fields = fields_of(Recipe)
        return st.one_of(
            st.builds(Recipe, **{**fields, "trainer": st.none(), "run": texts}),
            st.builds(Recipe, **{**fields, "run": st.none(), "trainer": st.dictionaries(texts, jsons, max_size=2)}),
        )
    assert dataclasses.is_dataclass(kind), f"no values of {kind}"
    return st.builds(kind, **fields_of(typing.cast(type, kind)))


def fields_of(kind: type) -> dict[str, st.SearchStrategy[Any]]:
    hints = typing.get_type_hints(kind)
    return {f.name: of(hints[f.name]) for f in dataclasses.fields(kind) if f.init}
