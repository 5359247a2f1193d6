"""The files of a recipe: the one named, packaged ones, and the fragments under its `defaults:`."""

import re
from collections.abc import Mapping
from pathlib import Path

from launcher.adapters.packaged import fragment, fragment_names, packaged, packaged_recipe
from launcher.adapters.recipe_origin import Origin, nearest
from launcher.adapters.recipe_yaml import FILE_BYTES_MAX, read_yaml
from launcher.codec import Json
from launcher.errors import RecipeError

Layer = tuple[dict[str, Json], Mapping[str, Origin]]  # values, and the origin of each key path


def is_path(path_or_name: str) -> bool:
    return "/" in path_or_name or "\\" in path_or_name or path_or_name.endswith((".yaml", ".yml"))


def found(path_or_name: str) -> Path:
    if is_path(path_or_name):
        return Path(path_or_name).expanduser()
    path = packaged_recipe(path_or_name)
    if path is None:
        remedy = nearest(path_or_name, [name for name, _ in packaged()])
        raise RecipeError(f"no packaged recipe is called {path_or_name!r}; {remedy}; for a file of yours write ./{path_or_name}")
    return path


def text_of(path: Path, shown_as: str) -> str:
    try:
        if not path.is_file():  # asking takes a right to the folders above it
            problem = "is not a file" if path.exists() else "does not exist"
            raise RecipeError(f"{shown_as} {problem}; give a recipe file, or a name that `launch recipes ls` prints")
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RecipeError(f"{shown_as} cannot be read: {error.strerror}; give a recipe file") from None
    if len(data) > FILE_BYTES_MAX:
        raise RecipeError(f"{shown_as} is larger than {FILE_BYTES_MAX // 1000} kB; a recipe is a page: is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{shown_as} is not UTF-8 text; give a recipe in YAML") from None


def name_from(shown_as: str) -> str:
    """A run name from a file name, for a recipe that has none."""
    return re.sub(r"[^a-z0-9]+", "-", Path(shown_as).stem.lower()).strip("-")[:40].strip("-") or "run"


def fragments(named: Json, own: Mapping[str, Origin], shown_as: str, folder: Path | None) -> list[Layer]:
    layers: list[Layer] = []
    for i, name in enumerate(named if isinstance(named, list) else [] if named is None else [named]):
        place = own.get(f"defaults.{i}", own["defaults"]).place
        hit = fragment(name, folder) if isinstance(name, str) else None
        if hit is None:
            remedy = nearest(str(name), fragment_names(folder))
            raise RecipeError(f"defaults names {str(name)!r} ({place}), and no such fragment is in configs/; {remedy}")
        path, shown = hit
        document = read_yaml(text_of(path, shown), shown)
        if "defaults" in document.tree:
            place = f"{shown}:{document.lines['defaults']}"
            raise RecipeError(f"defaults ({place}): a fragment names no fragments; list them in {shown_as}")
        layers.append((document.tree, origins_of("config", shown, document.lines)))
    return layers


def origins_of(source: str, shown_as: str, lines: Mapping[str, int]) -> dict[str, Origin]:
    return {path: Origin(source=source, place=f"{shown_as}:{line}") for path, line in lines.items()}
