"""The names of GPUs: one chip under the names that clouds and people give it, and what a person may mean by one.

SkyPilot's names are the ones used here. Each alias below was seen in a catalog or is what vendors print on the product page.
"""

import fnmatch
from collections.abc import Iterable
from difflib import get_close_matches

# From what people and clouds write, in lower case, to SkyPilot's name.
ALIASES = {
    "a100-40gb": "A100",
    "a100-sxm4-40gb": "A100",
    "a100-80": "A100-80GB",
    "a100-80g": "A100-80GB",
    "a100-sxm": "A100-80GB",
    "a100-80gb-sxm": "A100-80GB",
    "a100-sxm4-80gb": "A100-80GB",
    "h100-80gb": "H100",
    "h100-sxm": "H100",
    "h100-sxm5": "H100",
    "h100-mega": "H100-MEGA",
    "h100-mega-80gb": "H100-MEGA",
    "h200-sxm": "H200",
    "h200-141gb": "H200",
    "b200-sxm": "B200",
    "gh200-480gb": "GH200",
    "v100-16gb": "V100",
    "v100-32": "V100-32GB",
    "t4-16gb": "T4",
    "l4-24gb": "L4",
    "l40s-48gb": "L40S",
    "a10-24gb": "A10",
}
# Sold under a name of its own, the same chip for training: what is asked for under the first finds the others too.
SAME_CHIP = {"H100": ("H100-SXM", "H100-MEGA"), "A100-80GB": ("A100-80GB-SXM",), "H200": ("H200-SXM",)}
# Slower boards with that chip: who asks for the first accepts them, and each counts at its own speed.
BOARDS = {"H100": ("H100-PCIe", "H100-NVL")}


def is_board_of(name: str, accelerator: str) -> bool:
    """Whether who asks for `name` accepts this one."""
    return name.lower() == accelerator.lower() or accelerator in BOARDS.get(name.upper(), ())


def canonical(name: str) -> str:
    """SkyPilot's name for what a person or a cloud calls a GPU; the name itself where no alias is known."""
    return ALIASES.get(name.lower(), name)


def matching(wanted: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names among `known` that `wanted` means: itself, the same chip's other names, or all that a glob fits."""
    names = sorted(set(known))
    is_known = wanted.lower() in {name.lower() for name in names}
    pattern = wanted.lower() if is_known else canonical(wanted).lower()
    if any(sign in pattern for sign in "*?["):
        return tuple(name for name in names if fnmatch.fnmatchcase(name.lower(), pattern))
    meant = {pattern, *(other.lower() for other in SAME_CHIP.get(pattern.upper(), ()))}
    return tuple(name for name in names if name.lower() in meant or is_board_of(pattern, name))


def nearest(wanted: str, known: Iterable[str]) -> str | None:
    """The known name that a person probably meant."""
    by_lower = {name.lower(): name for name in (*known,)}
    near = get_close_matches(canonical(wanted).lower(), [*by_lower, *ALIASES], n=1, cutoff=0.5)
    return by_lower.get(near[0], ALIASES.get(near[0])) if near else None
