"""A trainer with time on its hands, and with faults to order: `trainer: {kind: tests.rehearsal.patient, …}`.

Its model is one layer, so a step costs `step_s` of sleep and nothing else: a test can strike in the middle of a run without
racing it. The faults are meant for the attempts; the reference, which runs the same arguments, is spared those that would only
make it fail as well.
"""

import os
import resource
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn

from launcher import train
from launcher.trainers.gpt import AdamW

DISK_BYTES = 10_000  # less than a checkpoint, more than the few lines by which the trainer says how it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    steps: int = 200
    step_s: float = 0.02
    exits_at: int = 0  # with code 3, in every attempt
    disk_full_at: int = 0  # from then on no file may grow, in the first attempt only
    differs: bool = False  # losses of attempts are not those of the reference


def main() -> None:
    settings = train.arguments(Settings)
    attempt = int(os.environ.get("LAUNCH_ATTEMPT", "0"))  # 0: the reference
    torch.manual_seed(1)
    model = nn.Linear(16, 16)
    optimizer = AdamW(list(model.parameters()))  # those of torch take longer to load than some of these runs last
    checkpointer = train.Checkpointer(model=model, optimizer=optimizer)
    for step in checkpointer.steps(settings.steps):
        time.sleep(settings.step_s)
        loss = (model(torch.randn(2, 16)) ** 2).mean()
        loss.backward()
        optimizer.step(0.1)
        checkpointer.record(loss.detach() + (attempt if settings.differs else 0))
        if step == settings.exits_at and attempt:
            sys.exit(3)
        if step == settings.disk_full_at and attempt == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
