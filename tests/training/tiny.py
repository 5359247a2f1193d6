"""A user's training script in which everything that can be forgotten matters: `python -m tests.training.tiny`.

Dropout and noise draw from three random streams, BatchNorm has buffers, two layers share a weight, the rate follows a scheduler
and the samples an order. TINY_KILL is a step in which the process kills itself, after a checkpoint at TINY_SAVE.
"""

import os
import random
import signal
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from launcher import train
from launcher.data import SampleOrder

TOTAL = 40
SAMPLES = torch.randn(50, 8, generator=torch.Generator().manual_seed(3))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.3)

    def forward(self, x_BC: Tensor) -> Tensor:
        return self.second(self.drop(self.norm(self.first(x_BC))))


def parts(seed: int) -> dict[str, Any]:
    """A fresh model with all that belongs to it."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    model = Tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "data": SampleOrder(num_samples=50, seed=5)}


def one_step(parts: dict[str, Any]) -> Tensor:
    x_BC = SAMPLES[parts["data"].next_batch(8)]
    noise = random.random() + float(np.random.rand()) + torch.rand(())
    loss = ((parts["model"](x_BC) - x_BC * noise) ** 2).mean()
    loss.backward()
    parts["optimizer"].step()
    parts["optimizer"].zero_grad()
    parts["scheduler"].step()
    return loss.detach()


def main() -> None:
    torch.set_num_threads(1)
    kill_step, save_step = int(os.environ.get("TINY_KILL", "0")), int(os.environ.get("TINY_SAVE", "0"))
    training = parts(seed=1)
    checkpointer = train.Checkpointer(**training)
    for step in checkpointer.steps(TOTAL):
        loss = one_step(training)
        if step == kill_step:
            os.kill(os.getpid(), signal.SIGKILL)
        checkpointer.record(loss)
        if step == save_step:
            checkpointer.save(step, urgent=True).wait()


if __name__ == "__main__":
    main()
