"""`launch config show RECIPE [key=value …]`: every value of the resolved recipe, with its unit and whence it came."""

import argparse

from launcher.adapters import recipe_file
from launcher.app.answer import print_answer, table

UNSET_MEANS = {"resources.accelerators": "none (any A100)", "checkpoint.dir": "none (in the home)"}


def run(args: argparse.Namespace) -> int:
    envs = dict(pair.split("=", 1) for pair in args.env)
    loaded = recipe_file.load(args.recipe, args.overrides, envs)
    values = recipe_file.leaves(loaded.recipe)
    origins = {key: loaded.origins[key] for key in values}
    rows = [(key, _told(key, value), str(origins[key])) for key, value in values.items()]
    listed = [
        {"key": key, "value": value, "source": origins[key].source, "place": origins[key].place or None}
        for key, value in recipe_file.typed_leaves(loaded.recipe).items()
    ]
    print_answer(args, {"recipe": loaded.recipe.name, "values": listed}, table([("KEY", "VALUE", "FROM"), *rows]))
    return 0


def _told(key: str, value: str) -> str:
    return UNSET_MEANS.get(key, value) if value == "none" else _one_line(value)


def _one_line(value: str) -> str:
    """A script of several lines in one, its line ends shown."""
    return " ⏎ ".join(value.strip().splitlines())
