"""A trainer with time on its hands, and with faults to order: `trainer: {kind: tests.rehearsal.patient, …}`.

Its model is one layer, so a step costs `step_s` of sleep and nothing else, and ten times that once a test strikes: no test races
the end of a run. The state is saved before each fault, since a save that is under way may land or not. The faults are meant for
the attempts; the reference, which runs the same arguments, is spared those that would only make it fail as well.
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
    slow_from: int = 0  # from then on a step costs ten times as much, in the first attempt only
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
        is_slow = attempt == 1 and 0 < settings.slow_from <= step
        time.sleep(settings.step_s * (10 if is_slow else 1))
        loss = (model(torch.randn(2, 16)) ** 2).mean()
        loss.backward()
        optimizer.step(0.1)
        checkpointer.record(loss.detach() + (attempt if settings.differs else 0))
        if attempt and step in (settings.exits_at, settings.disk_full_at):
            checkpointer.save(step, urgent=True).wait()
        if step == settings.exits_at and attempt:
            sys.exit(3)
        if step == settings.disk_full_at and attempt == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
