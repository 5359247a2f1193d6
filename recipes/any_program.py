"""A plain PyTorch training script: it knows a folder for checkpoints, and nothing of what may happen to its machine.

It fits a small network to a fixed function. Every few seconds it writes its whole state into a new file, and at its start it
restores the newest one. Batches are drawn from the step number alone, so a run that was interrupted ends with the same
weights, to the bit, as one that was not.
"""

import argparse
import hashlib
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

NUM_STEPS = 12_000
BATCH = 256
SAVE_EVERY_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a small network to a fixed function, with checkpoints.")
    parser.add_argument("--dir", default=os.environ.get("LAUNCH_CHECKPOINT_DIR", "checkpoints"), help="folder for checkpoints")
    parser.add_argument("--steps", type=int, default=NUM_STEPS)
    args = parser.parse_args()
    folder = Path(args.dir)
    folder.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(1)  # equal sums in equal order
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(16, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = restore(folder, model, optimizer)

    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    saved_at = time.monotonic()
    while step < args.steps:
        inputs, targets = batch(step)
        loss = nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 500 == 0:
            print(f"step {step}/{args.steps}  loss {loss.item():.5f}", flush=True)
        if asked_to_end or time.monotonic() - saved_at >= SAVE_EVERY_S:
            save(folder, step, model, optimizer)
            saved_at = time.monotonic()
        if asked_to_end:
            print(f"asked to end; saved step {step}", flush=True)
            os._exit(0)  # all is saved; to take PyTorch apart Python needs a second or more, and nobody may have that left

    write(folder / "final.pt", model.state_dict())
    print(f"done: {step} steps, weights {digest(model)}", flush=True)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs and targets of one step, the same whenever and wherever it is computed."""
    source = torch.Generator().manual_seed(step)
    inputs = torch.randn(BATCH, 16, generator=source)
    return inputs, torch.sin(inputs).sum(dim=1, keepdim=True)


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the whole state into a new file, and keep the newest two."""
    write(folder / f"step-{step:06d}.pt", {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
    for old in sorted(folder.glob("step-*.pt"))[:-2]:
        old.unlink()


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The step of the newest checkpoint, whose state is now the model's; 0 when there is none."""
    files = sorted(folder.glob("step-*.pt"))
    if not files:
        return 0
    state = torch.load(files[-1], weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"restored {files[-1].name}", flush=True)
    return int(state["step"])


def write(path: Path, state: object) -> None:
    """Write aside and rename, so that a file under its final name is always whole."""
    aside = path.with_suffix(".tmp")
    torch.save(state, aside)
    os.replace(aside, path)


def digest(model: nn.Module) -> str:
    """SHA-256 of all weights."""
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()))  # torch alone does not bring numpy
    return sha.hexdigest()


if __name__ == "__main__":
    main()
