"""What of a recipe may change when a run goes on.

Money, time, places and patience change freely; what changes the mathematics of training only where it is named; what makes the
run this run never. Values before and after are compared, so a change by any spelling is judged by what it does.
"""

from collections.abc import Collection, Mapping

from launcher.adapters.recipe_origin import nearest
from launcher.adapters.recipe_skypilot import TASK_KEYS
from launcher.errors import RecipeError

NEVER = ("name", "checkpoint.dir", "local.seed", "local.trace", "local.speed")  # which run this is, and which lives it has
MATHEMATICS = ("trainer", "run", "setup", "envs", "data", "workdir", "num_nodes", *TASK_KEYS)


def permitted_changes(before: Mapping[str, str], after: Mapping[str, str], allowed_keys: Collection[str]) -> dict[str, str]:
    """What differs, by key path. Raises RecipeError for what may not, naming the flag where one helps."""
    paths = sorted({*before, *after})
    differing = {path: after.get(path, "none") for path in paths if before.get(path, "none") != after.get(path, "none")}
    for path in differing:
        if _is_under(path, NEVER):
            raise RecipeError(f"{path} cannot change within a run; start a new one with `launch train`")
    for key in allowed_keys:
        _check_allowed(key, paths)
    for path in differing:
        if _is_under(path, MATHEMATICS) and not _is_under(path, allowed_keys):
            raise RecipeError(f"{path} changes the mathematics of training; if that is meant, add --allow-change {path}")
    return differing


def _check_allowed(key: str, paths: Collection[str]) -> None:
    """A key that allows nothing is a slip of the pen: going on in silence would train what was to be changed."""
    if key in MATHEMATICS or any(_is_under(path, (key,)) for path in paths if _is_under(path, MATHEMATICS)):
        return
    if key in paths or any(_is_under(path, (key,)) for path in paths):
        raise RecipeError(
            f"--allow-change {key}: the flag is for what training depends on, {', '.join(MATHEMATICS[:7])}; leave it out"
        )
    raise RecipeError(f"--allow-change {key}: there is no such key; {nearest(key, MATHEMATICS)}")


def change_mathematics(changes: Collection[str]) -> list[str]:
    """Those of the changed key paths that make it another training."""
    return [path for path in changes if _is_under(path, MATHEMATICS)]


def _is_under(path: str, keys: Collection[str]) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in keys)
