"""How much there is to train, in floating-point operations, and how long that takes on a GPU that nobody has measured yet.

A roofline of one line: training a large network multiplies matrices, so its time is operations over what a chip can do, times
the share of that which training reaches. That share is taken to be the same on every chip. It is not quite: old chips starve
less, and small networks are bound by memory or by launching kernels. So the hours are good for a ranking; a
measured speed is worth more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.core.market.chips import CHIPS, Chip
from launcher.core.recipe import AUTO, Recipe, memory_named
from launcher.units import HOUR, Seconds

# Of a chip's peak. Published for large language models: 21 to 46 % (GPT-3 21.3, MT-NLG 30.2, Gopher 32.5, PaLM 46.2; Chowdhery et
# al. 2022, "PaLM", table 3).
UTILIZATION = 0.35
REFERENCE = "A100"  # whose hour is the measure where the work of a program is not known, and the recipe names no GPU
GPT = "launcher.trainers.gpt"
_VOCABULARY = 256  # of that trainer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`flops` of all steps together; `reads_16`: in 16 bits, else in fp32. `basis` says what they are, for a person.

    Of a measured or stated time `flops` are what those GPUs do in it, so that other GPUs are told by the ratio of their peaks.
    `is_known` is False where they stand for a program that may train for any time.
    """

    flops: float
    reads_16: bool
    basis: str
    is_known: bool = True


def work_of(recipe: Recipe) -> Work:
    """The work of a trainer of ours; of any other program what one hour of its first GPUs does."""
    if recipe.trainer is not None and is_ours(recipe):
        steps = recipe.trainer.get("steps")
        return Work(flops=_gpt_flops(recipe.trainer), reads_16=False, basis=f"the {steps} steps of {GPT}, in fp32")
    gpu, count = first_gpus(recipe)
    basis = f"what one hour of {gpu}:{count} does in 16 bits, since nobody knows how long the program trains"
    return replace(work_in(HOUR, gpu, count, recipe, basis=basis), is_known=False)


def work_in(time: Seconds, gpu: str, count: int, recipe: Recipe, *, basis: str) -> Work:
    """What `count` such GPUs do for this recipe in that time."""
    reads_16 = not is_ours(recipe)
    return Work(flops=(1 if is_ours(recipe) else count) * _peak(CHIPS[gpu], reads_16) * time, reads_16=reads_16, basis=basis)


def is_ours(recipe: Recipe) -> bool:
    """Whether it is trained by our GPT, which works in fp32 and on one GPU; any other program is taken to use 16 bits and all."""
    return recipe.trainer is not None and recipe.trainer.get("kind") == GPT


def first_gpus(recipe: Recipe) -> tuple[str, int]:
    """The GPUs that the recipe names first, and all nodes' number of them: of the reference where it names them by their memory
    ("40GB+:8"), and one of it where it names none known.
    """
    name, _, count = (recipe.resources.accelerators[0] if recipe.resources.accelerators else REFERENCE).partition(":")
    known = next((gpu for gpu in CHIPS if gpu.lower() == name.lower()), None)
    if known is None and name != AUTO and not memory_named(name):
        return REFERENCE, 1
    return known or REFERENCE, max(1, int(float(count or 1))) * recipe.num_nodes


def time_on(chip: Chip, gpus: float, work: Work) -> Seconds:
    """How long `work` takes on so many of these, all used."""
    return work.flops / (gpus * _peak(chip, work.reads_16))


def _peak(chip: Chip, reads_16: bool) -> float:
    """Operations a second that training reaches."""
    return (chip.tflops_16 if reads_16 else chip.tflops_32) * 1e12 * UTILIZATION


def _gpt_flops(trainer: Mapping[str, object]) -> float:
    """6 operations for each parameter and token, forward and backward, and 12 per layer, width and pair of positions.

    Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1; with attention as in Chowdhery et al. 2022,
    appendix B. Blocks that are computed anew in backward are a second forward pass: two of the six once more.
    """
    steps, batch, layers, width, context = (
        _number(trainer, name, default)
        for name, default in (("steps", 400), ("batch_size", 16), ("layers", 2), ("width", 96), ("context", 64))
    )
    parameters = 12 * layers * width**2 + (_VOCABULARY + context) * width
    tokens = steps * batch * context
    passes = 4 / 3 if trainer.get("recompute") else 1
    return passes * tokens * (6 * parameters + 12 * layers * width * context)


def _number(trainer: Mapping[str, object], name: str, default: int) -> float:
    value = trainer.get(name, default)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float(default)
