"""The recipes, configs and trainers that come with the package, wherever it was installed from.

A wheel carries the first two in `launcher/_data/`; a source checkout (an editable install too) has them beside the package.
"""

from pathlib import Path

import launcher


def data_root() -> Path:
    """The folder that holds `recipes/` and `configs/`."""
    package = Path(launcher.__file__).resolve().parent
    inside = package / "_data"
    return inside if inside.is_dir() else package.parent


def packaged() -> list[tuple[str, str]]:
    """Name and first comment line of each packaged recipe, by name."""
    return [(path.stem, _summary(path)) for path in sorted((data_root() / "recipes").glob("*.yaml"))]


def packaged_recipe(name: str) -> Path | None:
    path = data_root() / "recipes" / f"{name}.yaml"
    return path if path.is_file() else None


def fragment(name: str, beside: Path | None) -> tuple[Path, str] | None:
    """The config fragment called `name` and how to show it: one beside the recipe, else ours."""
    for root in (beside, data_root()):
        if root is not None and (path := root / "configs" / f"{name}.yaml").is_file():
            return path, f"configs/{name}.yaml"
    return None


def fragment_names(beside: Path | None) -> list[str]:
    """All fragments that a recipe may name under `defaults:`."""
    roots = [root / "configs" for root in (beside, data_root()) if root is not None]
    return sorted({path.relative_to(root).with_suffix("").as_posix() for root in roots for path in root.rglob("*.yaml")})


def trainers() -> dict[str, Path]:
    """The trainer modules that come with us, with their files: importing one would import torch."""
    folder = Path(launcher.__file__).parent / "trainers"
    return {f"launcher.trainers.{path.stem}": path for path in sorted(folder.glob("[a-z]*.py"))}


def _summary(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
