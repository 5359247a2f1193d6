"""The texts of a recipe that have a shape of their own: GPUs, places, URLs, intervals, instants, names.

Each reader takes what the file says and gives what core/recipe.py holds. It raises ValueError whose message is the remedy;
recipe_values.py adds key, value and line. `InsideError` says which entry of a mapping is at fault.
"""

import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from launcher.adapters.recipe_origin import nearest
from launcher.adapters.recipe_units import integer, plain, text_of, texts_of, truth
from launcher.codec import Json
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import AUTO, every_seconds, every_steps
from launcher.units import parse_size

CLOUDS = (
    "*", "aws", "azure", "cudo", "do", "fluidstack", "gcp", "hyperbolic", "ibm", "k8s", "lambda", "local", "mithril",
    "nebius", "oci", "paperspace", "primeintellect", "runpod", "scp", "seeweb", "shadeform", "slurm", "ssh", "vast",
    "verda", "vsphere", "yotta",
)  # fmt: skip  # SkyPilot's registry (0.14) and our `local`
TRACES = ("calm", "lively", "harsh", "demo")
STORES = ("s3", "gs", "az", "abfs", "abfss", "file")
TRACKERS = ("wandb", "mlflow", "tensorboard")
OCCASIONS = ("preempted", "resumed", "done", "failed", "paused", "budget", "deadline", "warning")
NAME_MAX = 40  # characters: an instance name adds a suffix and must stay below 63

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SKYPILOT_NAME = re.compile(r"[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*")
_ACCELERATOR = re.compile(r"([A-Za-z0-9][\w.\-]*)(?::(\d+(?:\.\d+)?))?")
_GPU_MEMORY = re.compile(r"(?:nvidia:)?(\d{1,6}(?:\.\d{1,3})?)([mgt])b(\+?)(?::(\d{1,4}))?", re.IGNORECASE)
_PER_GB = {"m": 1024.0, "g": 1.0, "t": 1 / 1024}
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)


class InsideError(ValueError):
    """The fault lies in one entry of a mapping."""

    def __init__(self, key: str, value: Json, remedy: str) -> None:
        super().__init__(remedy)
        self.key, self.value = key, value


def run_name(value: Json) -> str:
    """A name as runs have it; SkyPilot's capitals, dots and underlines are turned into ours."""
    text = text_of(value)
    if not _SKYPILOT_NAME.fullmatch(text) or len(text) > NAME_MAX:
        raise ValueError(f"write a name of small letters, digits and single dashes, at most {NAME_MAX}, such as 'llama-lora'")
    return re.sub(r"[._-]+", "-", text.lower())


def _accelerators(value: Json) -> list[str]:
    """SkyPilot's ways to say it: "A100:8", [A100, L40S:2], {A100: 8}, {A100:1, L4:1}, "40GB+:8"; and ours, "auto"."""
    if isinstance(value, dict):
        value = [key if count is None else f"{key}:{text_of(count)}" for key, count in value.items()]
    gpus = [_accelerator(text.strip()) for text in texts_of(value)]
    if AUTO in gpus and len(gpus) > 1:
        raise ValueError("auto stands alone; it takes any GPU that is large enough")
    return gpus


def _accelerator(text: str) -> str:
    if text.lower() == AUTO:
        return AUTO
    if text.lower().startswith(f"{AUTO}:"):
        raise ValueError("auto takes one GPU; write auto, or how many of which, such as 'A100:8' or '40GB+:8'")
    memory = _GPU_MEMORY.fullmatch(text)
    if memory and float(memory[1]) > 0 and int(memory[4] or 1) > 0:
        size = f"{float(memory[1]) / _PER_GB[memory[2].lower()]:.6f}".rstrip("0").rstrip(".")
        return f"{size}GB{memory[3]}:{int(memory[4] or 1)}"
    found = _ACCELERATOR.fullmatch(text)
    if memory or not found or float(found[2] or 1) <= 0:
        raise ValueError("write GPU or GPU:NUMBER, such as 'A100:8', or the memory it must have, such as '40GB+'")
    count = found[2] or "1"
    return f"{found[1]}:{int(float(count)) if float(count).is_integer() else count}"


def _infra(value: Json) -> list[str]:
    places = [_place(text) for text in texts_of(value)]
    if "local" in places and len(places) > 1:
        raise ValueError("'local' is a rehearsal on this machine and stands alone")
    return places


def _place(text: str) -> str:
    cloud, slash, rest = text.strip().partition("/")
    cloud = "k8s" if cloud.lower() == "kubernetes" else cloud.lower()
    if cloud not in CLOUDS or (slash and not rest) or (cloud == "local" and slash):
        raise ValueError(f"write CLOUD or CLOUD/REGION; {nearest(cloud, CLOUDS)}")
    return f"{cloud}{slash}{rest}"


def _use_spot(value: Json) -> str:
    if value == "auto":
        return "auto"
    try:
        return str(truth(value)).lower()
    except ValueError:
        raise ValueError("write true, false or auto") from None


def _disk_size(value: Json) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        try:
            value = parse_size(value if value.lower().endswith("b") else f"{value}b") // 10**9
        except ValueError:
            raise ValueError("write gigabytes, such as 256 or '256GB'") from None
    return integer(int(value) if isinstance(value, str) else value, {"least": 1}, "gigabytes, such as 256 or '256GB':")


def _amount(value: Json) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?\s*([kmgt]i?b?)?[+x]?", text_of(value).lower()):
        raise ValueError("write a number, with + for 'or more', such as 8 or '32+'")
    return text_of(value)


def _every(value: Json) -> str:
    text = text_of(value).strip()
    try:
        interval = every_seconds(text)
    except ValueError:
        interval = 0.0
    if interval == 0.0:
        raise ValueError("write auto, a duration such as '5m', steps such as '200 steps', or never")
    return text


def _every_steps(value: Json) -> str:
    text = text_of(value).strip()
    try:
        if every_steps(text) is None:
            raise ValueError
    except ValueError:
        raise ValueError("write steps such as '1000 steps'") from None
    return text


def _store_url(value: Json) -> str:
    text = text_of(value)
    found = _URL.fullmatch(text)
    if found and (found[1] not in STORES or not found[2].strip("/")):
        remedy = nearest(found[1], STORES) if found[1] not in STORES else "name a bucket and a folder"
        raise ValueError(f"write a URL such as 's3://bucket/folder'; {remedy}")
    if not found and (":" in text or not text.strip()):
        raise ValueError("write a URL such as 's3://bucket/folder', or the path of a folder")
    return text


def _deadline(value: Json) -> dict[str, Json]:
    """A duration from the run's start, or an instant; a date-time without zone is local time."""
    try:
        return {"deadline": plain(float, {"unit": "duration", "above": 0}, value)}
    except ValueError:
        if not re.match(r"\s*\d{4}-?\d\d-?\d\d", str(value)):
            raise ValueError("write a duration such as '6h', or a date-time such as '2027-03-01 08:00'") from None
    try:
        return {"deadline_at": datetime.fromisoformat(str(value).strip()).astimezone().timestamp()}
    except (ValueError, OverflowError):
        raise ValueError("write a date-time such as '2027-03-01 08:00' or '2027-03-01T08:00+01:00'") from None


def _data(value: Json) -> dict[str, Json]:
    urls = {key: _text_inside(key, url) for key, url in value.items() if key != "residency" and url is not None}
    for key in urls:
        if not ENV_NAME.fullmatch(key):
            raise InsideError(key, urls[key], "its name must do as part of a variable: letters, digits, underlines")
    residency = value.get("residency")
    return {"data": urls, "residency": [] if residency is None else texts_of(residency)}


def _envs(value: Json) -> dict[str, str]:
    for key, text in value.items():
        if not ENV_NAME.fullmatch(key):
            raise InsideError(key, text, "a variable's name has letters, digits and underlines only")
        if key.startswith("LAUNCH_"):
            raise InsideError(key, text, "names that begin with LAUNCH_ are set by the agent; choose another")
        if text is None:
            raise InsideError(key, text, f"give its value with --env {key}=VALUE, or write it here")
    return {key: _text_inside(key, text) for key, text in value.items()}


def _labels(value: Json) -> dict[str, str]:
    return {key: _text_inside(key, text) for key, text in value.items()}


def _text_inside(key: str, value: Json) -> str:
    try:
        return text_of(value)
    except ValueError as error:
        raise InsideError(key, value, str(error)) from None


def _trainer(value: Json) -> dict[str, Json]:
    kind = value.get("kind")
    if not isinstance(kind, str) or not _MODULE.fullmatch(kind):
        raise InsideError("kind", kind, "write the dotted name of a trainer module, such as launcher.trainers.gpt")
    for key in ("steps", "batch_size"):
        if key in value:
            try:
                integer(value[key], {"least": 1}, "a whole number")
            except ValueError as error:
                raise InsideError(key, value[key], str(error)) from None
    return dict(value)


def _tracking(value: Json) -> dict[str, Json]:
    for key in value:
        if key not in TRACKERS:
            raise InsideError(key, value[key], nearest(key, TRACKERS))
    return dict(value)


def _occasions(value: Json) -> list[str]:
    for text in texts_of(value):
        if text not in OCCASIONS:
            raise ValueError(f"{text!r} never happens; {nearest(text, OCCASIONS)}")
    return texts_of(value)


def _strategy(value: Json) -> str:
    name = text_of(value)
    if name not in POLICIES:
        raise ValueError(f"write one of {', '.join(POLICIES)}; {nearest(name, POLICIES)}")
    return name


def _trace(value: Json) -> str:
    """A bundled trace, or the path of a file, which has a suffix or a folder."""
    text = text_of(value)
    if text not in TRACES and not re.search(r"[./\\]", text):
        raise ValueError(f"write the path of a CSV file, or a bundled trace; {nearest(text, TRACES)}")
    return text


def _outputs(value: Json) -> str:
    """A folder of the program's own: of one beside it, whatever a machine holds would be published."""
    text = text_of(value)
    if os.path.isabs(text) or os.path.normpath(text).split(os.sep)[0] == os.pardir:
        raise ValueError("write a folder below the workdir, such as out")
    return text


def _speed(value: Json) -> float | None:
    """Below 1 all that the loop does every few seconds would be as much slower: obeying Ctrl-C, say."""
    if value == "auto":
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        number = 0.0
    if not 1 <= number < 1e9:
        raise ValueError("write auto, or how many seconds there pass in one here, such as 200; the least is 1")
    return number


SHAPES: dict[str, Callable[[Any], Json]] = {
    "name": run_name,
    "resources.accelerators": _accelerators,
    "resources.infra": _infra,
    "resources.use_spot": _use_spot,
    "resources.disk_size": _disk_size,
    "resources.cpus": _amount,
    "resources.memory": _amount,
    "resources.labels": _labels,
    "envs": _envs,
    "trainer": _trainer,
    "outputs": _outputs,
    "checkpoint.dir": _store_url,
    "checkpoint.every": _every,
    "checkpoint.keep.every": _every_steps,
    "tracking": _tracking,
    "notify.*.on": _occasions,
    "policy.strategy": _strategy,
    "local.trace": _trace,
    "local.speed": _speed,
}
SPLIT: dict[str, Callable[[Any], dict[str, Json]]] = {"policy.deadline": _deadline, "data": _data}  # keys that fill two fields
