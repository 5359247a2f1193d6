"""A Recipe as text again: frozen into a run, and shown to a person.

`dump` writes the resolved recipe so that reading it gives an equal one; `leaves` gives each value with its unit by key path.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from launcher.adapters.recipe_skypilot import restored
from launcher.adapters.recipe_yaml import write_yaml
from launcher.codec import Json
from launcher.core.recipe import Recipe
from launcher.units import Seconds, Usd

VERBATIM = ("run", "setup", "secrets")  # never interpolated: `${VAR}` is the shell's, and a secret's value stays out of recipes
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


Money = Callable[[Usd], Json]


def _write_usd(amount: Usd) -> str:
    cents = f"{amount:.2f}"
    return cents if float(cents) == amount else format(Decimal(repr(amount)), "f")


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML with units. Reading it gives an equal Recipe, whatever the environment."""
    ours = {key: value if key in VERBATIM else escaped(value) for key, value in _tree(recipe).items()}
    return write_yaml(_with_kept(ours, recipe.not_rehearsed))


def leaves(recipe: Recipe) -> dict[str, str]:
    """Every value with its unit, by key path ("policy.budget"), as a person reads it."""
    return {path: _shown(value) for path, value in _flat(_with_kept(_tree(recipe), recipe.not_rehearsed), "").items()}


def typed_leaves(recipe: Recipe) -> dict[str, Json]:
    """The same for a program: numbers, truth values, lists and null as such, durations and sizes as the recipe writes them."""
    return _flat(_with_kept(_tree(recipe, float), recipe.not_rehearsed), "")


def escaped(value: Json) -> Json:
    """`value` so that an interpolating reader gives it back as it is: a literal `${` is written `\\${`."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _tree(recipe: Recipe, money: Money = _write_usd) -> dict[str, Json]:
    tree = _block(recipe, money)
    policy, data = tree["policy"], tree["data"]
    if recipe.policy.deadline_at is not None:
        policy["deadline"] = datetime.fromtimestamp(recipe.policy.deadline_at, UTC).isoformat()
    if recipe.residency:
        data["residency"] = list(recipe.residency)
    return tree


def _with_kept(tree: dict[str, Json], kept: dict[str, Json]) -> dict[str, Json]:
    """With SkyPilot's own keys at their places; nothing interpolates them."""
    theirs = restored(kept)
    return tree | theirs | {"resources": tree["resources"] | theirs.get("resources", {})}


def _block(block: Any, money: Money) -> dict[str, Json]:
    fields = [f for f in dataclasses.fields(block) if f.metadata.get("unit") != "derived"]
    return {f.name: _written(getattr(block, f.name), f.name, f.metadata, money) for f in fields}


def _written(value: Any, name: str, metadata: Mapping[str, Any], money: Money) -> Json:
    if dataclasses.is_dataclass(value):
        return _block(value, money)
    match metadata.get("unit"), value:
        case "duration", float() | int():
            return write_duration(value)
        case "usd", float() | int():
            return money(value)
        case "count", None:
            return "unlimited"
    if name == "speed":
        return "auto" if value is None else int(value) if value == int(value) else value
    if name == "use_spot" and value != "auto":
        return bool(value == "true")
    if isinstance(value, tuple):
        return [_written(item, name, {}, money) for item in value]
    return dict(value) if isinstance(value, dict) else value


def write_duration(seconds: Seconds) -> str:
    """`seconds` as a recipe says it, exactly: "1h30m", "0.25s"."""
    if seconds != int(seconds):
        return f"{format(Decimal(repr(seconds)), 'f')}s"
    rest, parts = int(seconds), ""
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def _flat(value: Json, prefix: str) -> dict[str, Json]:
    if not isinstance(value, dict) or (not value and prefix):
        return {prefix: value}
    flat: dict[str, Json] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else key)
    return flat


def _shown(value: Json) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    return str(value)
