"""What core/plan/sizing.py counts of launcher.trainers.gpt, against the trainer itself."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from launcher.core.contract import SaveRule
from launcher.core.plan.sizing import VOCABULARY, GptShape, gpt_footprint, gpt_parameters
from launcher.trainers import gpt
from tests.training import scene

SHAPES = [
    {},
    {"layers": 1, "width": 16, "heads": 2, "batch_size": 2, "context": 16},
    {"layers": 4, "width": 128, "heads": 8, "batch_size": 4, "context": 128},
    {"layers": 3, "width": 192, "heads": 3, "batch_size": 1, "context": 256},
]


def test_its_defaults_are_the_trainers() -> None:
    settings = gpt.Settings()
    assert GptShape() == GptShape(**{f.name: getattr(settings, f.name) for f in fields(GptShape)})
    assert VOCABULARY == gpt.VOCABULARY


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_exact(shape: dict[str, int]) -> None:
    model = gpt.GPT(gpt.Settings(**shape))
    assert gpt_parameters(GptShape(**shape)) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_activations_are_what_backward_keeps(shape: dict[str, int]) -> None:
    """Autograd shows each tensor that it keeps. Not among them: the logits themselves and their gradient, two of the three times
    that tokens * 256 * 4 bytes are counted. Without dropout, whose masks have four bytes on a CPU and one on a GPU."""
    settings = gpt.Settings(**shape, dropout=0.0)
    expected = gpt_footprint(GptShape(**shape, dropout=0.0)).activations
    unseen = 2 * 4 * settings.batch_size * settings.context * gpt.VOCABULARY
    assert kept_for_backward(settings) + unseen == pytest.approx(expected, rel=0.02)


def test_blocks_computed_anew_keep_their_inputs_only() -> None:
    """What one block holds for a moment in backward, 64 bytes for each of its numbers, is not shown by autograd."""
    settings = gpt.Settings(**SHAPES[2], dropout=0.0, recompute=True)
    shape = GptShape(**SHAPES[2], dropout=0.0)
    one_block = 16 * 4 * settings.batch_size * settings.context * settings.width
    unseen = 2 * 4 * settings.batch_size * settings.context * gpt.VOCABULARY + one_block
    expected = gpt_footprint(shape, recomputes=True).activations
    assert kept_for_backward(settings) + unseen == pytest.approx(expected, rel=0.02)


def test_blocks_computed_anew_train_alike_to_the_bit() -> None:
    """Dropout draws again what it drew."""

    def trained(recompute: bool) -> list[Tensor]:
        settings = gpt.Settings(layers=2, width=32, context=32, recompute=recompute)
        torch.manual_seed(1)
        model = gpt.GPT(settings)
        optimizer = gpt.AdamW(list(model.parameters()))
        bytes_BT = torch.randint(0, gpt.VOCABULARY, (settings.batch_size, settings.context))
        for _ in range(3):
            functional.cross_entropy(model(bytes_BT).flatten(0, 1), bytes_BT.flatten()).backward()
            optimizer.step(1e-2)
        return [weight.detach() for weight in model.parameters()]

    assert all(torch.equal(one, other) for one, other in zip(trained(False), trained(True), strict=True))


def kept_for_backward(settings: gpt.Settings) -> int:
    """Bytes, without the weights."""
    torch.manual_seed(1)
    model = gpt.GPT(settings)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    bytes_BT = torch.randint(0, gpt.VOCABULARY, (settings.batch_size, settings.context))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_BTV = model(bytes_BT)
        functional.cross_entropy(logits_BTV.flatten(0, 1), bytes_BT.flatten())
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("shape", [{}, SHAPES[2]])
def test_a_checkpoint_on_disk_is_weights_and_moments(shape: dict[str, int], tmp_path: Path) -> None:
    """12 of the 16 bytes a parameter; gradients are not saved. Headers and random streams are the few per cent more."""
    machine = scene.machine(tmp_path / "machine")
    code, said = machine.run(gpt.main, args={**shape, "steps": 2}, rule=SaveRule(never=True))
    assert code == 0, said
    (last,) = scene.commits(machine.store, 1)
    expected = gpt_footprint(GptShape(**shape))
    assert last.size == pytest.approx(expected.weights + expected.optimizer, rel=0.03)
