"""The first line a person sees. Imports next to nothing, since it comes before everything that takes time."""

from launcher import __version__
from launcher.core.recipe import Recipe


def first_line(recipe: Recipe, run: str | None) -> str:
    named = f"run {run} · " if run else ""
    return f"launch {__version__} · {named}recipe {recipe.name} ({_program(recipe)})"


def _program(recipe: Recipe) -> str:
    if recipe.trainer is None:
        return f"run: {(recipe.run or '').strip().splitlines()[0][:50]}"
    steps = recipe.trainer.get("steps")
    kind = str(recipe.trainer["kind"])
    what = "small GPT on the Python standard library" if kind == "launcher.trainers.gpt" else kind
    return f"{what}, {steps} steps" if steps else what
