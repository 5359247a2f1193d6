"""Does the model fit into the GPU? What training holds in memory at its worst moment, and which GPUs have as much.

Training holds four things: the weights; a gradient for each; what the optimizer remembers of each; and the activations, which
forward keeps for backward. The first three go by the parameters alone: 16 bytes for each with Adam, be it all in fp32
(4 + 4 + 8) or in mixed precision (Rajbhandari et al. 2020, "ZeRO", section 3.1: 2 + 2 + 12). Activations go by tokens, width and
layers, and little of them is left where backward computes them anew ("activation checkpointing").

For our own trainer all of this is counted, tensor by tensor. Of any other program nobody knows it but its author, who writes it
down as SkyPilot does: `accelerators: 40GB+` (its pull request 5948). GPUs are sold by GB that are GiB; so are all GB here.
"""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.codec import Json
from launcher.core.market.chips import CHIPS, Chip
from launcher.core.market.gpus import is_board_of
from launcher.core.plan.work import GPT
from launcher.core.recipe import AUTO, Recipe, memory_named
from launcher.units import Bytes

GIB = 2**30
# What a GPU's size does not say. Its ECC takes a sixteenth where memory is GDDR ("reduced by 6.25%", NVIDIA, CUDA C++ Best
# Practices Guide, theoretical bandwidth); taken off every GPU. CUDA's kernels fill 1.3 GB before the first tensor (Hugging Face
# Transformers, "Model training anatomy"). Of an allocator's memory a share lies between tensors: a tenth is our assumption.
ECC_SHARE = 1 / 16
KERNELS_GIB = 1.3
BETWEEN_TENSORS = 1.1
VOCABULARY = 256  # of launcher.trainers.gpt: bytes
FP32: Bytes = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The tensors on the GPU at the worst moment of a step, in bytes. `scratch`: of the optimizer's step, after backward."""

    parameters: int
    weights: Bytes
    gradients: Bytes
    optimizer: Bytes
    activations: Bytes
    scratch: Bytes

    @property
    def tensors(self) -> Bytes:
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.scratch)

    @property
    def gib(self) -> float:
        """The GPU to ask for: with what CUDA, the allocator and ECC take besides."""
        return (self.tensors / GIB * BETWEEN_TENSORS + KERNELS_GIB) / (1 - ECC_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GptShape:
    """The arguments of launcher.trainers.gpt that its memory goes by."""

    batch_size: int = 16
    layers: int = 2
    width: int = 96
    heads: int = 4
    context: int = 64
    dropout: float = 0.1

    @classmethod
    def of(cls, trainer: Mapping[str, Json]) -> "GptShape":
        known = {name: value for name, value in trainer.items() if name in cls.__slots__}
        return cls(**known)  # a recipe's types are checked as it is read


@functools.lru_cache(maxsize=16)  # asked anew for each of thousands of offers
def gpt_footprint(shape: GptShape, *, recomputes: bool = False) -> Footprint:
    """Of launcher.trainers.gpt, all of it in fp32. `recomputes`: each block keeps its input only."""
    parameters = gpt_parameters(shape)
    return Footprint(
        parameters=parameters,
        weights=FP32 * parameters,
        gradients=FP32 * parameters,
        optimizer=2 * FP32 * parameters,  # two moments
        activations=_gpt_activations(shape, recomputes=recomputes),
        scratch=FP32 * parameters,  # the root of the second moment, for all weights at once
    )


def gpt_parameters(shape: GptShape) -> int:
    """A block has 12 width² in its four matrices, 9 width in their biases, 4 width in its norms; the head is the embedding."""
    width = shape.width
    return shape.layers * (12 * width**2 + 13 * width) + 2 * width + (VOCABULARY + shape.context) * width


def _gpt_activations(shape: GptShape, *, recomputes: bool) -> Bytes:
    """What one block keeps for backward, of s·b·h numbers each: 2 for its norms, 2 after them, 3 + 1 of attention, 4 + 4 of the
    perceptron; and two masks of dropout, a byte each. In fp32 66 s·b·h bytes.

    It is the 34 s·b·h of Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 4.1,
    whose numbers have two bytes. Its 5·a·s/h are not there: no attention matrix is kept, only a sum for each head and token. Then
    the last norm and what it gives; and per token the logits three times: themselves, log-softmax, its gradient.
    """
    tokens = shape.batch_size * shape.context
    numbers = tokens * shape.width
    block = 16 * FP32 * numbers + (2 * numbers if shape.dropout else 0) + FP32 * tokens * shape.heads
    blocks = FP32 * numbers * shape.layers + block if recomputes else block * shape.layers
    return blocks + 2 * FP32 * numbers + 3 * FP32 * tokens * VOCABULARY


# --- which GPUs ----------------------------------------------------------------------------------------------------------------


def footprint_of(recipe: Recipe) -> Footprint | None:
    """None where nobody can know it."""
    trainer = recipe.trainer
    return _gpt_of(trainer, recomputes=bool(trainer.get("recompute"))) if trainer is not None and is_sized(trainer) else None


def _gpt_of(trainer: Mapping[str, Json], *, recomputes: bool) -> Footprint:
    return gpt_footprint(GptShape.of(trainer), recomputes=recomputes)


def _needed(recipe: Recipe) -> Footprint | None:
    """As `footprint_of`; None too where the recipe itself says what memory will do, for its author knows better."""
    says = any(memory_named(wish.partition(":")[0]) for wish in recipe.resources.accelerators)
    return None if says else footprint_of(recipe)


def is_sized(trainer: Mapping[str, Json] | None) -> bool:
    """Whether the memory of this `trainer:` can be counted."""
    return trainer is not None and trainer.get("kind") == GPT


@functools.cache
def count_for(wish: str, accelerator: str) -> int | None:
    """How many of `accelerator` an entry of `accelerators` asks for ("A100:8", "40GB+:2", "auto"); None where it means others."""
    name, _, count = wish.partition(":")
    if not _means(name, accelerator) or not float(count or 1).is_integer():
        return None
    return int(float(count or 1))


def _means(name: str, accelerator: str) -> bool:
    chip, memory = _chip(accelerator), memory_named(name)
    if name == AUTO:
        return chip is not None
    if memory is None:
        return is_board_of(name, accelerator)
    if chip is None:
        return False
    return chip.memory_gib >= memory.gib if memory.is_least else chip.memory_gib == memory.gib


def show_wish(wish: str) -> str:
    return "a GPU whose memory is known" if wish == AUTO else wish


def show_memory(accelerator: str) -> str:
    """Such as " (16 GB)"; empty where nobody has looked it up."""
    chip = _chip(accelerator)
    return "" if chip is None else f" ({chip.memory_gib:g} GB)"


def too_small(recipe: Recipe, accelerator: str) -> str | None:
    """Why one such GPU does not hold the training, with figures; None where it does, or where it cannot be known.

    One GPU: launcher.train works in one process, so others beside it do not help.
    """
    found, chip = _needed(recipe), _chip(accelerator)
    if found is None or chip is None or not lacking_gib(recipe, accelerator):
        return None
    lighter = _lighter(recipe)
    helps = lighter is not None and lighter.gib <= chip.memory_gib
    remedy = f" (with trainer.recompute=true it needs {math.ceil(lighter.gib)})" if lighter is not None and helps else ""
    return f"training needs {show_need(found)}, and {accelerator} has {chip.memory_gib:g}{remedy}"


def lacking_gib(recipe: Recipe, accelerator: str) -> float:
    """By how much one such GPU is too small; 0 where it is not, or nobody knows."""
    found, chip = _needed(recipe), _chip(accelerator)
    return 0.0 if found is None or chip is None else max(0.0, found.gib - chip.memory_gib)


def _lighter(recipe: Recipe) -> Footprint | None:
    """The same training with its blocks computed anew; None where they are already."""
    trainer = recipe.trainer
    can = trainer is not None and is_sized(trainer) and not trainer.get("recompute")
    return _gpt_of(trainer, recomputes=True) if trainer is not None and can else None


def show_need(found: Footprint) -> str:
    """Rounded up, so that a GPU which has less always looks so. `state` is weights, gradients and the optimizer's."""
    state = found.weights + found.gradients + found.optimizer
    parts = f"{state / GIB:.1f} of state, {found.activations / GIB:.1f} of activations"
    return f"{math.ceil(found.gib)} GB of GPU memory ({parts})"


def size_lines(recipe: Recipe, accelerators: Iterable[str]) -> list[str]:
    """What a person should know of the memory of a training that `accelerators` are offered for; [] where it is not known."""
    found = _needed(recipe)
    if found is None:
        return []
    small = sorted({gpu for gpu in accelerators if too_small(recipe, gpu)})
    lines = [f"training needs {show_need(found)}"]
    if small:
        lines.append(f"too small for it: {', '.join(f'{gpu}{show_memory(gpu)}' for gpu in small)}")
    lighter = _lighter(recipe)
    if lighter is not None and any(chip is not None and lighter.gib <= chip.memory_gib for chip in map(_chip, small)):
        lines.append(f"with trainer.recompute=true, a third more work, it needs {show_need(lighter)}")
    return lines


def _chip(accelerator: str) -> Chip | None:
    return CHIPS.get(accelerator) or next((chip for name, chip in CHIPS.items() if name.lower() == accelerator.lower()), None)
