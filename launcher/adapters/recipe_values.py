"""What each key of a recipe may say: from plain YAML values to those that the dataclasses of core/recipe.py hold.

The dataclasses are the table: field names are the keys, types and metadata say how a value is read and bounded. Keys whose
text has a shape of its own ("A100:8", "200 steps", "s3://…") have a reader in `SHAPES`. A reader raises ValueError whose
message is the remedy; key, value and line are added here, in one place. What is wrong with one key says nothing of another, so
all is told at once.
"""

import dataclasses
import functools
import re
import typing
from collections.abc import Mapping
from typing import Any

from launcher.adapters.recipe_origin import Origins
from launcher.adapters.recipe_shapes import ENV_NAME, SHAPES, SPLIT, InsideError
from launcher.adapters.recipe_skypilot import RESOURCE_KEYS, TASK_KEYS
from launcher.adapters.recipe_units import plain, without_none
from launcher.codec import Json
from launcher.core.recipe import Recipe
from launcher.errors import RecipeError

NUM_TOLD_MOST = 10  # problems; of a file that is no recipe every line is one

_ALSO_KNOWN = {"": (*TASK_KEYS, "defaults"), "resources": (*RESOURCE_KEYS, "cloud", "region", "zone"), "data": ("residency",)}


def read_values(tree: dict[str, Json], origins: Origins) -> dict[str, Json]:
    """`tree` with every value checked and in our units. Raises RecipeError naming key, line and remedy."""
    try:
        return _block(Recipe, tree, "", origins)
    except RecipeError as error:
        told, more = error.args[:NUM_TOLD_MOST], error.args[NUM_TOLD_MOST:]
        raise RecipeError(*told, *([f"and {len(more)} more problems"] if more else [])) from None


@functools.cache
def keys_of(kind: type) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Type and metadata of each field that is a key of its own."""
    hints = typing.get_type_hints(kind)
    return {f.name: (hints[f.name], f.metadata) for f in dataclasses.fields(kind) if f.metadata.get("unit") != "derived"}


@functools.cache
def paths_of(kind: type = Recipe, prefix: str = "") -> Mapping[str, str]:
    """Key -> path ("deadline" -> "policy.deadline") for keys inside blocks: people forget the block."""
    paths: dict[str, str] = {}
    for key, (hint, _) in keys_of(kind).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            paths |= paths_of(hint, f"{prefix}{key}.")
        elif prefix:
            paths[key] = f"{prefix}{key}"
    return paths


def _block(kind: type, tree: Json, path: str, origins: Origins) -> dict[str, Json]:
    keys = keys_of(kind)
    if not isinstance(tree, dict):
        origins.refuse(path, tree, f"write a mapping with keys such as {', '.join(list(keys)[:3])}")
    values: dict[str, Json] = {}
    problems: list[str] = []
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        try:
            if key not in keys:
                origins.refuse_unknown(here, (*keys, *_ALSO_KNOWN.get(path, ())), paths_of())
            if value is not None:
                hint, metadata = keys[key]
                values |= _read(here, hint, metadata, value, origins)
        except RecipeError as error:
            problems += error.args
    if problems:
        raise RecipeError(*problems)
    return values


def _read(path: str, hint: Any, metadata: Mapping[str, Any], value: Json, origins: Origins) -> dict[str, Json]:
    """The field (sometimes another than its key) and its value."""
    key = path.rpartition(".")[2]
    inner = without_none(hint)
    if isinstance(inner, type) and dataclasses.is_dataclass(inner):
        return {key: _block(inner, value, path, origins)}
    if path == "notify":
        items = value if isinstance(value, list) else [value]
        return {key: [_block(typing.get_args(inner)[0], item, f"notify.{i}", origins) for i, item in enumerate(items)]}
    if path == "secrets":
        return {key: _secrets(value, origins)}
    if typing.get_origin(inner) is dict and not isinstance(value, dict):
        origins.refuse(path, value, "write a mapping of names to values")
    try:
        if path in SPLIT:
            return SPLIT[path](value)
        return {key: SHAPES[_generic(path)](value) if _generic(path) in SHAPES else plain(inner, metadata, value)}
    except InsideError as error:
        origins.refuse(f"{path}.{error.key}", error.value, str(error))
    except ValueError as error:
        origins.refuse(path, value, str(error))


def _generic(path: str) -> str:
    return re.sub(r"\.\d+\.", ".*.", path)


def _secrets(value: Json, origins: Origins) -> list[str]:
    """Names only. SkyPilot's mapping is read where it holds no values; no message here ever shows one."""
    if isinstance(value, dict):
        if any(text is not None for text in value.values()):
            origins.refuse_hidden("secrets", "write the names only, as [HF_TOKEN]; their values come from your environment")
        value = list(value)
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and ENV_NAME.fullmatch(name) for name in names):
        origins.refuse_hidden("secrets", "write names of environment variables only, as [HF_TOKEN], without their values")
    return names
