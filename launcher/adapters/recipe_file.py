"""A recipe file to a Recipe: layers, interpolation, checks.

A recipe is read as a stack of layers: the fragments named under `defaults:`, the file itself, then flags. OmegaConf merges the
stack and resolves `${oc.env:VAR,default}`; the checked values then go through the structured config of core/recipe.py, so
what comes out fits the schema. Every refusal is a RecipeError that names key, FILE:LINE and a remedy.

`run` and `setup` are shell text, in which `${VAR}` is the shell's: they are never interpolated.
This is the only file that imports OmegaConf.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from launcher import codec
from launcher.adapters.packaged import packaged
from launcher.adapters.recipe_changes import permitted_changes
from launcher.adapters.recipe_origin import FLAG, Origin, Origins
from launcher.adapters.recipe_rules import check, placed
from launcher.adapters.recipe_skypilot import translated
from launcher.adapters.recipe_source import Layer, found, fragments, is_path, name_from, origins_of, text_of
from launcher.adapters.recipe_text import VERBATIM, dump, escaped, leaves, typed_leaves
from launcher.adapters.recipe_values import read_values
from launcher.adapters.recipe_yaml import read_value, read_yaml
from launcher.codec import Json
from launcher.core.recipe import Recipe
from launcher.errors import RecipeError

__all__ = ["Loaded", "change", "dump", "leaves", "load", "packaged", "parse", "typed_leaves"]

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w/-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A recipe, the origin of each of its `leaves`, and what its file said."""

    recipe: Recipe
    origins: dict[str, Origin]
    text: str
    path: Path


def load(path_or_name: str, overrides: Sequence[str] = (), envs: Mapping[str, str] | None = None) -> Loaded:
    """The recipe in a file, or a packaged one by its name ("quickstart"), under `overrides` ("policy.budget=40") and `envs`.

    Paths in the file are relative to the file, those in overrides to the working directory.
    """
    path = found(path_or_name)
    text = text_of(path, path_or_name)
    shown_as = path_or_name if is_path(path_or_name) else path.name
    flags = [*_flags(overrides), *({"envs": {key: value}} for key, value in (envs or {}).items())]
    recipe, origins = _resolved(text, shown_as, flags, path.parent)
    return Loaded(recipe=recipe, origins={leaf: origins.exactly(leaf) for leaf in leaves(recipe)}, text=text, path=path)


def parse(text: str, shown_as: str = "recipe.yaml", overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a text that was resolved before (`dump`): the file system is not asked whether its paths exist."""
    return _resolved(text, shown_as, _flags(overrides), None)[0]


def change(recipe: Recipe, overrides: Sequence[str], allowed_keys: Collection[str] = ()) -> tuple[Recipe, dict[str, str]]:
    """The recipe of a run under `overrides`, and what changed, by key path. `allowed_keys` are those of --allow-change.

    Raises RecipeError for what may not change.
    """
    changed = parse(dump(recipe), "the run's recipe", overrides)
    return changed, permitted_changes(leaves(recipe), leaves(changed), allowed_keys)


def _resolved(text: str, shown_as: str, flags: list[dict[str, Json]], folder: Path | None) -> tuple[Recipe, Origins]:
    document = read_yaml(text, shown_as)
    origins = Origins(shown_as)
    own = origins_of("recipe", shown_as, document.lines)
    layers = [*fragments(document.tree.pop("defaults", None), own, shown_as, folder), (document.tree, own)]
    layers += [(flag, dict.fromkeys(_paths(flag), FLAG)) for flag in flags]
    tree, kept = _merged(layers, origins)
    values = read_values(tree, origins)
    check(tree, values, origins)
    values = placed(values, origins, folder)
    values.setdefault("name", name_from(shown_as))
    return _fitted(values | {"not_rehearsed": kept}, origins), origins


# --- layers ------------------------------------------------------------------------------------------------------------------


def _flags(overrides: Sequence[str]) -> list[dict[str, Json]]:
    """One layer for each KEY=VALUE."""
    return [_flag(override) for override in overrides]


def _flag(override: str) -> dict[str, Json]:
    key, equals, text = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise RecipeError(f"{key!r} (on the command line) is not KEY=VALUE; write it like policy.budget=40")
    is_text = key in ("run", "setup") or key.startswith(("envs.", "resources.labels."))
    value: Json = text if is_text else read_value(text, f"{key} on the command line")
    for part in reversed(key.split(".")):
        value = {part: value}
    tree: dict[str, Json] = value
    return tree


def _paths(tree: Json, prefix: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return []
    return [path for key, value in tree.items() for path in (f"{prefix}{key}", *_paths(value, f"{prefix}{key}."))]


def _merged(layers: Sequence[Layer], origins: Origins) -> tuple[dict[str, Json], dict[str, Json]]:
    """All layers in one tree, interpolations resolved, and SkyPilot's own keys beside it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    kept: dict[str, Json] = {}
    verbatim: dict[str, Json] = {}
    trees: list[dict[str, Json]] = []
    for tree, origin_of in layers:
        origins.lay(origin_of)
        ours, theirs = translated(tree, origins)
        kept |= theirs
        verbatim |= {key: ours.pop(key) for key in VERBATIM if key in ours}
        trees.append(ours)
    try:
        merged: Any = OmegaConf.to_container(OmegaConf.merge(*[OmegaConf.create(tree) for tree in trees]), resolve=True)
    except OmegaConfBaseException as error:
        _refuse_interpolation(error, trees, origins)
    _refuse_missing(merged, "", origins)
    return merged | verbatim, kept


def _refuse_interpolation(error: Exception, trees: list[dict[str, Json]], origins: Origins) -> NoReturn:
    path = re.sub(r"\[(\d+)\]", r".\1", str(getattr(error, "full_key", None) or ""))
    problem = " ".join(str(error).splitlines()[0].split())
    unset = re.search(r"Environment variable '(\w+)' not found", problem)
    if unset:
        remedy = f"{unset[1]} is not set; set it, or write a default as in ${{oc.env:{unset[1]},null}}"
    else:
        remedy = f"it cannot be resolved ({problem}); write \\${{…}} for a literal ${{…}}"
    origins.refuse(path, next((value for tree in reversed(trees) if (value := _at(tree, path)) is not None), None), remedy)


def _at(tree: Json, path: str) -> Json:
    for key in path.split("."):
        if isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _refuse_missing(value: Json, path: str, origins: Origins) -> None:
    """OmegaConf's sign for "to be given" was left standing."""
    if value == "???":
        origins.refuse(path, value, "give it a value there or on the command line")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _refuse_missing(item, f"{path}.{key}".lstrip("."), origins)


def _fitted(values: dict[str, Json], origins: Origins) -> Recipe:
    """`values` through the structured config, as frozen dataclasses."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        filled = OmegaConf.merge(OmegaConf.structured(Recipe), escaped(values))
        return codec.decode(Recipe, _listed(OmegaConf.to_container(filled, resolve=True)))
    except OmegaConfBaseException as error:
        path = str(getattr(error, "full_key", None) or "recipe")
        raise RecipeError(f"{path} ({origins.where(path)}): {str(error).splitlines()[0]}") from None


def _listed(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
