"""What a checkpoint notes of the world it was made in: on the same software and hardware a resume is exact to the bit.

Elsewhere the state is still exact, but the next sum may round another way; the user is told so. Facts that the program itself
declares (its corpus, say) are another matter: where one differs, it is another training, and resuming is refused.
"""

import platform
from collections.abc import Mapping

import torch

from launcher.checkpoint.stage import StateMismatch


def environment() -> dict[str, str]:
    """Everything outside the state that arithmetic depends on."""
    facts = {
        "torch": torch.__version__,
        "device": _device(),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }
    if torch.cuda.is_available():
        facts |= {"cuda": str(torch.version.cuda), "tf32": str(torch.backends.cuda.matmul.allow_tf32)}
    return facts


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def refuse_other_training(saved: Mapping[str, str], declared: Mapping[str, str]) -> None:
    """Raises StateMismatch where a fact that the program declares is not what the checkpoint was trained with."""
    for name, here in declared.items():
        if saved.get(name, here) != here:
            raise StateMismatch(
                f"the {name} differs: the checkpoint was trained with {saved[name]}, here it is {here}; "
                f"resume where the {name} is the same, or start a new run"
            )


def warnings(saved: Mapping[str, str], here: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each fact that may change how sums round."""
    return tuple(
        f"{name} was {saved[name]}, now {value}: arithmetic may differ"
        for name, value in here.items()
        if name in saved and saved[name] != value
    )
