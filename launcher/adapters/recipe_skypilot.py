"""SkyPilot's task YAML, as far as it says things in another way than ours.

A task file is accepted as it is: older spellings are translated, and keys that only SkyPilot can act on are kept word for
word, under their path, so that a cloud run hands them on and a rehearsal can list them as not rehearsed.
Keys after the schema of SkyPilot 0.14 (sky/utils/schemas.py).
"""

from launcher.adapters.recipe_origin import Origins
from launcher.codec import Json

TASK_KEYS = (
    "api_server_access", "config", "event_callback", "experimental", "file_mounts", "hooks", "inputs", "pool", "service",
    "storage_mounts", "volumes",
)  # fmt: skip
RESOURCE_KEYS = (
    "accelerator_args", "any_of", "autostop", "container_image", "disk_tier", "ephemeral_storage", "hooks", "instance_type",
    "job_recovery", "local_disk", "network_tier", "ordered", "ports", "priority", "priority_class", "volumes",
)  # fmt: skip
_PLACE_KEYS = ("cloud", "region", "zone")


def translated(tree: dict[str, Json], origins: Origins) -> tuple[dict[str, Json], dict[str, Json]]:
    """`tree` in our own words, and what only SkyPilot understands, by path ("file_mounts", "resources.ports")."""
    tree, kept = _split(tree, TASK_KEYS, "")
    for key in ("workdir", "outputs"):  # SkyPilot's {url, ref} and {path: gigabytes}; ours are folders
        if isinstance(tree.get(key), dict):
            kept[key] = tree.pop(key)
    if isinstance(tree.get("resources"), dict):
        resources, kept_resources = _split(tree["resources"], RESOURCE_KEYS, "resources.")
        tree["resources"] = _modern(resources, origins)
        kept |= kept_resources
        if isinstance(resources.get("image_id"), dict):
            kept["resources.image_id"] = tree["resources"].pop("image_id")
    return tree, kept


def restored(kept: dict[str, Json]) -> dict[str, Json]:
    """The inverse of keeping: the keys at their places in a task file."""
    tree: dict[str, Json] = {}
    for path, value in kept.items():
        block, _, key = path.rpartition(".")
        (tree.setdefault(block, {}) if block else tree)[key] = value
    return tree


def _split(tree: dict[str, Json], keys: tuple[str, ...], prefix: str) -> tuple[dict[str, Json], dict[str, Json]]:
    ours = {key: value for key, value in tree.items() if key not in keys}
    theirs = {f"{prefix}{key}": value for key, value in tree.items() if key in keys and value is not None}
    return ours, theirs


def _modern(resources: dict[str, Json], origins: Origins) -> dict[str, Json]:
    """`gpus` is accelerators, and cloud, region, zone are `infra: cloud/region/zone` with * for what is left open."""
    new = {key: value for key, value in resources.items() if key not in (*_PLACE_KEYS, "gpus")}
    if resources.get("gpus") is not None:
        new.setdefault("accelerators", resources["gpus"])
        origins.move("resources.gpus", "resources.accelerators")
    named = [key for key in _PLACE_KEYS if resources.get(key) is not None]
    if not named:
        return new
    if new.get("infra") is not None:
        origins.refuse(f"resources.{named[0]}", resources[named[0]], "keep either it or infra: CLOUD/REGION/ZONE")
    origins.move(f"resources.{named[0]}", "resources.infra")
    parts = _PLACE_KEYS[: _PLACE_KEYS.index(named[-1]) + 1]
    return new | {"infra": "/".join(str(resources.get(key) or "*") for key in parts)}
