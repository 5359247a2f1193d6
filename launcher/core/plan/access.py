"""Whether machines are let into the store: on its own cloud by their role, elsewhere by a key that travels as named secrets."""

from collections.abc import Iterable

from launcher.core.plan.shopping import CLOUD_OF_SCHEME
from launcher.core.recipe import Recipe

# What the providers' libraries read on a machine that has no role there.
KEYS = {
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gcp": ("GOOGLE_CREDENTIALS",),
    "azure": ("AZURE_STORAGE_CONNECTION_STRING",),
}


def locked_out(recipe: Recipe, clouds: Iterable[str]) -> str | None:
    """What is to be said where machines of some of `clouds` would not be let into `checkpoint.dir`."""
    directory = recipe.checkpoint.dir or ""
    home = CLOUD_OF_SCHEME.get(directory.partition("://")[0], "")
    lacking = [name for name in KEYS.get(home, ()) if name not in recipe.secrets]
    foreign = sorted(set(clouds) - {home})
    if not lacking or not foreign:
        return None
    return (
        f"a machine of {' or '.join(foreign)} has no role at {home}: {directory} would keep it out, and it be paid for in vain; "
        f"name a key of that bucket alone, secrets: [{', '.join(lacking)}], or write resources.infra={home}"
    )
