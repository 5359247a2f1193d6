"""What must hold between the keys of a recipe, and where its paths lie."""

import os
import re
from pathlib import Path

import launcher.trainers
from launcher.adapters.recipe_origin import Origins, nearest
from launcher.adapters.recipe_shapes import TRACES
from launcher.codec import Json
from launcher.errors import RecipeError

_OURS = "launcher.trainers."


def check(tree: dict[str, Json], values: dict[str, Json], origins: Origins) -> None:
    """Refuse a recipe whose keys, each fine alone, do not go together. `tree` still shows which were written as empty."""
    _check_program(values, origins)
    _check_checkpoints(tree, values, origins)
    both = sorted(set(values.get("secrets", ())) & set(values.get("envs", {})))
    if both:
        origins.refuse_hidden(f"envs.{both[0]}", f"{both[0]} is a secret as well; keep it under `secrets` only")


def placed(values: dict[str, Json], origins: Origins, folder: Path | None) -> dict[str, Json]:
    """`values` with absolute paths: relative to the recipe's `folder`, or to the working directory where a flag names them."""

    def base(path: str) -> Path | None:
        return Path.cwd() if origins.of(path).source == "flag" else folder

    values = dict(values)
    if "workdir" in values and (root := base("workdir")):
        values["workdir"] = _existing("workdir", values["workdir"], root, origins)
    trace = values.get("local", {}).get("trace", TRACES[0])
    if trace not in TRACES and (root := base("local.trace")):
        values["local"] = values["local"] | {"trace": _existing("local.trace", trace, root, origins)}
    url = values.get("checkpoint", {}).get("dir")
    if url and "://" not in url and (root := base("checkpoint.dir")):
        values["checkpoint"] = values["checkpoint"] | {"dir": (root.absolute() / Path(url).expanduser()).as_uri()}
    return values


def _existing(path: str, written: str, root: Path, origins: Origins) -> str:
    found = Path(os.path.normpath(root.absolute() / Path(written).expanduser()))
    wanted, is_there = ("folder", found.is_dir()) if path == "workdir" else ("file", found.is_file())
    if not is_there:
        origins.refuse(path, written, f"there is no {wanted} {found}; paths are relative to the recipe file")
    return str(found)


def _check_program(values: dict[str, Json], origins: Origins) -> None:
    given = [key for key in ("run", "trainer") if key in values]
    if len(given) == 2:
        raise RecipeError(
            f"run ({origins.where('run')}) and trainer ({origins.where('trainer')}) are both set; keep one: `run` is a command "
            "of yours, `trainer` a module of ours"
        )
    if not given:
        raise RecipeError(f"neither run nor trainer is set ({origins.file}); write one, such as `run: python train.py`")
    if not str(values.get("run", "x")).strip():
        origins.refuse("run", values["run"], "write the command that trains, such as `run: python train.py`")
    kind = values.get("trainer", {}).get("kind", "")
    if kind.startswith(_OURS) and kind not in (known := _trainers()):
        origins.refuse("trainer.kind", kind, nearest(kind, known))


def _trainers() -> list[str]:
    """The trainer modules that come with us, by file name: importing one would import torch."""
    folder = Path(next(iter(launcher.trainers.__path__)))
    return [f"{_OURS}{path.stem}" for path in folder.glob("*.py") if re.fullmatch(r"[a-z]\w*", path.stem)]


def _check_checkpoints(tree: dict[str, Json], values: dict[str, Json], origins: Origins) -> None:
    """Training without checkpoints on spot is refused unless somebody wrote just that, here and not in a fragment."""
    if "trainer" not in values or values.get("resources", {}).get("use_spot") == "false":
        return
    remedy = "work on spot would be lost at each preemption; write `every: auto`, or `every: never` if that is meant"
    if "checkpoint" in tree and tree["checkpoint"] is None:
        origins.refuse("checkpoint", None, remedy)
    every = tree.get("checkpoint", {}).get("every", "auto")
    if every is None or (every == "never" and origins.of("checkpoint.every").source == "config"):
        origins.refuse("checkpoint.every", every, remedy)
