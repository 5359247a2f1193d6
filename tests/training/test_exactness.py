"""A resumed training equals an uninterrupted one, and forgetting any single piece is seen."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from launcher.checkpoint import stage
from launcher.checkpoint.stage import StateMismatch
from tests.training import tiny

HALF, TOTAL = 20, 30


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fingerprint(parts: dict[str, Any]) -> str:
    """SHA-256 over everything that a checkpoint holds."""
    staged = stage.capture(parts)
    whole = hashlib.sha256(staged.state)
    for tensor in staged.tensors:
        whole.update(tensor.name.encode() + bytes(tensor.data))
    return whole.hexdigest()


def train(parts: dict[str, Any], num_steps: int) -> list[float]:
    return [tiny.one_step(parts).item() for _ in range(num_steps)]


def put_back(parts: dict[str, Any], staged: stage.Staged) -> None:
    shard = bytearray(b"".join(staged.sources()[0].chunks()))
    stage.put_back(parts, shard, staged.aliases, staged.state)


def interrupted(forget: Callable[[dict[str, Any]], None]) -> tuple[list[float], str]:
    """Losses and final state of a training that was taken up half way by a stranger process's objects."""
    first = tiny.parts(seed=1)
    losses = train(first, HALF)
    staged = stage.capture(first)
    second = tiny.parts(seed=99)
    put_back(second, staged)
    forget(second)
    return losses + train(second, TOTAL - HALF), fingerprint(second)


@pytest.fixture(scope="module")
def whole() -> tuple[list[float], str]:
    torch.set_num_threads(1)
    parts = tiny.parts(seed=1)
    return train(parts, TOTAL), fingerprint(parts)


def test_a_resumed_training_equals_an_uninterrupted_one(whole):
    assert interrupted(lambda parts: None) == whole


def forget_torch_stream(parts: dict[str, Any]) -> None:
    torch.manual_seed(99)


def forget_python_stream(parts: dict[str, Any]) -> None:
    random.seed(99)


def forget_numpy_stream(parts: dict[str, Any]) -> None:
    np.random.seed(99)


def forget_scheduler(parts: dict[str, Any]) -> None:
    parts["scheduler"].load_state_dict(tiny.parts(seed=1)["scheduler"].state_dict())


def forget_moments(parts: dict[str, Any]) -> None:
    parts["optimizer"].state.clear()


def forget_learning_rate(parts: dict[str, Any]) -> None:
    parts["optimizer"].param_groups[0]["lr"] = 1e-2


def forget_position(parts: dict[str, Any]) -> None:
    parts["data"].position = 0


def forget_buffers(parts: dict[str, Any]) -> None:
    parts["model"].norm.reset_running_stats()


def forget_weights(parts: dict[str, Any]) -> None:
    parts["model"].norm.reset_parameters()


FORGETTABLE = [
    forget_torch_stream,
    forget_python_stream,
    forget_numpy_stream,
    forget_scheduler,
    forget_moments,
    forget_learning_rate,
    forget_position,
    forget_buffers,
    forget_weights,
]


@pytest.mark.parametrize("forget", FORGETTABLE, ids=lambda forget: forget.__name__)
def test_forgetting_one_piece_makes_another_training(whole, forget):
    assert interrupted(forget) != whole


def test_tied_weights_are_stored_once_and_stay_tied():
    parts = tiny.parts(seed=1)
    staged = stage.capture(parts)

    assert staged.aliases == {"model.second.weight": "model.first.weight"}
    assert "model.second.weight" not in [tensor.name for tensor in staged.tensors]
    other = tiny.parts(seed=2)
    put_back(other, staged)
    assert other["model"].second.weight is other["model"].first.weight
    assert torch.equal(other["model"].first.weight, parts["model"].first.weight)


def test_a_copy_does_not_change_with_the_training():
    parts = tiny.parts(seed=1)
    train(parts, 2)
    staged = stage.capture(parts)
    before = [bytes(tensor.data) for tensor in staged.tensors]
    train(parts, 2)

    assert [bytes(tensor.data) for tensor in staged.tensors] == before


def test_moments_wider_than_their_weights_come_back_unrounded():
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    optimizer.state[weight]["exp_avg"] = torch.full((3,), 1 + 2**-20)
    model = torch.nn.Linear(1, 1)
    staged = stage.capture({"model": model, "optimizer": optimizer})
    fresh = torch.optim.AdamW([weight])
    put_back({"model": model, "optimizer": fresh}, staged)

    assert torch.equal(fresh.state[weight]["exp_avg"], torch.full((3,), 1 + 2**-20))


def test_generators_of_the_users_own_are_parts_like_any_other():
    mine = {"model": torch.nn.Linear(1, 1), "noise": torch.Generator().manual_seed(1), "dice": random.Random(2)}
    staged = stage.capture(mine)
    drawn = torch.rand(1, generator=mine["noise"]), mine["dice"].random()
    put_back(mine, staged)

    assert (torch.rand(1, generator=mine["noise"]), mine["dice"].random()) == drawn


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (torch.nn.Linear(8, 4), "model.weight is .*8, 8.* in the checkpoint and .*4, 8"),
        (torch.nn.Linear(8, 8, bias=False), "the program has no bias"),
        (torch.nn.Sequential(torch.nn.Linear(8, 8)), "the checkpoint lacks 0.bias, 0.weight"),
    ],
)
def test_another_model_is_refused_by_name(other, told):
    staged = stage.capture({"model": torch.nn.Linear(8, 8)})

    with pytest.raises(StateMismatch, match=told):
        put_back({"model": other}, staged)


def test_a_part_that_was_not_saved_is_missed_by_name():
    staged = stage.capture({"model": torch.nn.Linear(8, 8)})

    with pytest.raises(StateMismatch, match="parts differ: the checkpoint lacks ema"):
        put_back({"model": torch.nn.Linear(8, 8), "ema": torch.nn.Linear(8, 8)}, staged)


def test_an_optimizer_of_other_groups_is_refused():
    model = torch.nn.Linear(8, 8)
    staged = stage.capture({"model": model, "optimizer": torch.optim.AdamW(model.parameters())})

    with pytest.raises(StateMismatch, match="optimizer of the checkpoint does not fit"):
        put_back({"model": model, "optimizer": torch.optim.AdamW([model.weight])}, staged)
