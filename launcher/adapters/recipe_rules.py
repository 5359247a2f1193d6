"""What must hold between the keys of a recipe, and where its paths lie."""

import ast
import os
from pathlib import Path

from launcher.adapters.packaged import trainers
from launcher.adapters.recipe_origin import Origins, nearest
from launcher.adapters.recipe_shapes import TRACES
from launcher.codec import Json
from launcher.core.plan.sizing import is_sized
from launcher.core.recipe import AUTO
from launcher.errors import RecipeError

_OURS = "launcher.trainers."
_ARGUMENTS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number such as 3.0e-4"),
    "bool": ((bool,), "true or false"),
}
_ANY_WHOLE_NUMBER = ("seed",)
_COUNT_MOST = 10**9  # of the others; what is more is a slip, and would not fit into a float


def check(tree: dict[str, Json], values: dict[str, Json], origins: Origins) -> None:
    """Refuse a recipe whose keys, each fine alone, do not go together. `tree` still shows which were written as empty."""
    _check_program(values, origins)
    _check_checkpoints(tree, values, origins)
    _check_size(values, origins)
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
    if "trainer" in values and values.get("outputs") is not None:
        origins.refuse(
            "outputs", values["outputs"], "leave it out: it is published for `run:`; a trainer's weights are its checkpoints"
        )
    if values.get("trainer", {}).get("kind", "").startswith(_OURS):
        _check_trainer(values["trainer"], origins)


def _check_trainer(trainer: dict[str, Json], origins: Origins) -> None:
    """A trainer of ours is known, and so are its arguments, before a machine is bought for it."""
    known = trainers()
    if trainer["kind"] not in known:
        origins.refuse("trainer.kind", trainer["kind"], nearest(trainer["kind"], known))
    arguments = _settings_of(known[trainer["kind"]])
    for key, value in trainer.items():
        path = f"trainer.{key}"
        if key != "kind" and key not in arguments:
            origins.refuse_unknown(path, ("kind", *arguments), {})
        kind = arguments.get(key, "")
        types, wish = _ARGUMENTS.get(kind, ((object,), "a number"))
        if not isinstance(value, types) or isinstance(value, bool) != (kind == "bool"):
            origins.refuse(path, value, f"write {wish}")
        if isinstance(value, int) and kind == "int" and key not in _ANY_WHOLE_NUMBER and not 1 <= value <= _COUNT_MOST:
            origins.refuse(path, value, f"write {wish} of at least 1" if value < 1 else f"write {wish} below 10^9")


def _check_size(values: dict[str, Json], origins: Origins) -> None:
    """`auto` is for training whose memory can be counted."""
    if values.get("resources", {}).get("accelerators") == [AUTO] and not is_sized(values.get("trainer")):
        program = "a program under `run:`" if "run" in values else str(values["trainer"]["kind"])
        remedy = f"how much memory {program} needs is not known; write it, such as '40GB+' or '40GB+:8', or name GPUs"
        origins.refuse("resources.accelerators", AUTO, remedy)


def _settings_of(module: Path) -> dict[str, str]:
    """Name and type of each argument: the fields of the module's class `Settings`, read from its text."""
    classes = [node for node in ast.parse(module.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    fields = next(node.body for node in classes if node.name == "Settings")
    return {ast.unparse(field.target): ast.unparse(field.annotation) for field in fields if isinstance(field, ast.AnnAssign)}


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
