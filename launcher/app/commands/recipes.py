"""`launch recipes ls|show|cp|validate`: the packaged recipes, to be read, copied and tried; and any file, to be checked."""

import argparse
import re
import sys
from pathlib import Path

from launcher.adapters import recipe_file
from launcher.adapters.recipe_source import found, text_of
from launcher.app.answer import print_answer, table
from launcher.app.plans import check_secrets, checked, first_plan, is_for_clouds, note_on_code
from launcher.core.recipe import Recipe
from launcher.errors import AccessError, LaunchError, NoCapacity, RecipeError, UsageError


def run(args: argparse.Namespace) -> int:
    if args.target is not None and args.action != "cp":
        raise UsageError(f"`launch recipes {args.action}` has no place for {args.target!r}")
    match args.action:
        case "ls":
            return _ls(args)
        case "show":
            return _show(args, _needed(args))
        case "cp":
            return _cp(args, _needed(args))
        case _:
            return _validate(args, _needed(args))


def _needed(args: argparse.Namespace) -> str:
    if args.recipe is None:
        raise UsageError(f"`launch recipes {args.action}` needs a RECIPE; `launch recipes ls` lists the packaged ones")
    return str(args.recipe)


def _ls(args: argparse.Namespace) -> int:
    if args.recipe is not None:
        raise UsageError(f"`launch recipes ls` lists all; `launch recipes show {args.recipe}` prints one")
    known = recipe_file.packaged()
    document = {"recipes": [{"name": name, "summary": summary} for name, summary in known]}
    print_answer(args, document, table([("RECIPE", "WHAT IT IS"), *known]))
    return 0


def _show(args: argparse.Namespace, name: str) -> int:
    """The recipe as it is, so that it can be redirected into a file; its scripts are named beside it."""
    path = found(name)
    text = text_of(path, name)
    scripts = _scripts(path, text)
    if scripts and not args.quiet:
        named = " and ".join(str(script) for script in scripts)
        print(f"its program is {named}; `launch recipes cp {name} FOLDER/` copies both", file=sys.stderr)
    files = {script.name: script.read_text(encoding="utf-8") for script in scripts}
    document = {"recipe": name, "path": str(path), "text": text, "files": files}
    print_answer(args, document, text.rstrip("\n").splitlines())
    return 0


def _validate(args: argparse.Namespace, name: str) -> int:
    """One line where it is good, and notes. A wrong recipe is raised, and ends in one line too; one that is good but cannot be
    trained here and now is valid, and the line says why `train` refuses it."""
    recipe = recipe_file.load(name).recipe
    notes = [note] if (note := note_on_code(recipe)) else []
    obstacle = _obstacle(recipe)
    what = f"trainer {recipe.trainer['kind']}" if recipe.trainer else "run"
    where = ", ".join(recipe.resources.infra) or "anywhere"
    verdict = "ok" if obstacle is None else f"valid, but `launch train` ends with {obstacle.exit_code}"
    said = f"{verdict}: {name} is recipe {recipe.name} ({what}, on {where})"
    if obstacle is not None:
        notes.append(str(obstacle))
    document = {"recipe": recipe.name, "valid": True, "runs_here": obstacle is None, "notes": notes}
    print_answer(args, document, [said, *(f"note: {note}" for note in notes)])
    return 0


def _obstacle(recipe: Recipe) -> LaunchError | None:
    """Why a good recipe is not trained by this installation, on what is on offer or in this environment. Raises RecipeError for
    what is wrong with the recipe itself."""
    try:
        if is_for_clouds(recipe):
            from launcher.app import clouds  # only here: other recipes need no price lists

            clouds.check(recipe)
        else:
            first_plan(checked(recipe))
    except (AccessError, NoCapacity) as error:
        return error
    try:
        check_secrets(recipe)
    except RecipeError as error:
        return error
    return None


# --- copying -------------------------------------------------------------------------------------------------------------------


def _cp(args: argparse.Namespace, name: str) -> int:
    """The recipe and the scripts beside it that it names."""
    source = found(name)
    text = text_of(source, name)
    target = _target(args.target, source)
    copies = {target: text.encode()} | {target.parent / path.name: path.read_bytes() for path in _scripts(source, text)}
    taken = [path for path in copies if path.exists()]
    if taken:
        raise UsageError(
            f"{taken[0]} exists already, and nothing is overwritten; name another file: launch recipes cp {name} TARGET"
        )
    if not args.dry_run:
        _write(copies)
    if not args.quiet:
        print(f"{'would write' if args.dry_run else 'wrote'} {len(copies)} files; next: launch train {target}", file=sys.stderr)
    print_answer(args, {"recipe": name, "written": [str(path) for path in copies]}, [str(path) for path in copies])
    return 0


def _target(given: str | None, source: Path) -> Path:
    """A folder gets the recipe under its own name. Without any, the working directory."""
    if given is None:
        return Path(source.name)
    path = Path(given).expanduser()
    return path / source.name if given.endswith("/") or path.is_dir() else path


def _scripts(source: Path, text: str) -> list[Path]:
    words = set(re.findall(r"[\w-]+\.(?:py|sh)", text))
    return sorted(path for word in words if (path := source.parent / word).is_file())


def _write(copies: dict[Path, bytes]) -> None:
    for path, data in copies.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}; name another file") from None
