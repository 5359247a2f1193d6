"""A GPT, trained on text that is on every machine: the Python standard library's own source. Reads from top to bottom.

    python -m launcher.trainers.gpt        arguments as JSON in LAUNCH_TRAINER, defaults in `Settings`

Bytes are the vocabulary, so there is no tokenizer. Dropout is on, so that a resume which forgets a random stream shows. Tensors
carry their axes: B batch, T time, C channels, H heads, D channels of a head, V vocabulary.

Fine print: one thread and deterministic kernels, so that two runs agree to the bit. The optimizer is written out because
`torch.optim` loads the compiler with its first use, which costs each start of this process more than a second (measured with
torch 2.13); a rehearsal starts it at every life. `recompute` pays that second too, where it is asked for.
"""

import hashlib
import math
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from launcher import train
from launcher.data import SampleOrder

VOCABULARY = 256
CORPUS_BYTES_MAX = 2_000_000  # read and digested at every start; 400 steps see a fifth of it
LOG_EVERY = 20  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`trainer:` arguments."""

    steps: int = 400
    batch_size: int = 16
    lr: float = 3e-3
    seed: int = 1
    layers: int = 2
    width: int = 96
    heads: int = 4
    context: int = 64
    dropout: float = 0.1
    recompute: bool = False  # each block's insides anew in backward: a third more work, far less memory

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "layers", "width", "heads", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be at least 0 and below 1")


# --- text -------------------------------------------------------------------------------------------------------------


def corpus() -> bytearray:
    """The standard library's top-level modules, in order of name, up to CORPUS_BYTES_MAX."""
    text = bytearray()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"), key=lambda path: path.name):
        text += path.read_bytes()
        if len(text) >= CORPUS_BYTES_MAX:
            break
    return text[:CORPUS_BYTES_MAX]


def batch(text: Tensor, indices: list[int], context: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets [B, T]: sample i starts at byte i * context, targets are one byte further."""
    rows = torch.stack([text[i * context : i * context + context + 1] for i in indices]).long()
    return rows[:, :-1], rows[:, 1:]


# --- model ------------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Attention, then a perceptron, each on the normalised stream and added back to it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.dropout = settings.heads, settings.dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, stream_BTC: Tensor) -> Tensor:
        stream_BTC = stream_BTC + self._dropped(self._attention(self.norm_attention(stream_BTC)))
        return stream_BTC + self._dropped(self.narrow(functional.gelu(self.widen(self.norm_mlp(stream_BTC)))))

    def _attention(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        split_BT3HD = self.query_key_value(x_BTC).view(B, T, 3, self.heads, C // self.heads)
        query_BHTD, key_BHTD, value_BHTD = split_BT3HD.permute(2, 0, 3, 1, 4)
        mixed_BHTD = functional.scaled_dot_product_attention(query_BHTD, key_BHTD, value_BHTD, is_causal=True)
        return self.project(mixed_BHTD.transpose(1, 2).reshape(B, T, C))  # type: ignore[no-any-return]

    def _dropped(self, x_BTC: Tensor) -> Tensor:
        return functional.dropout(x_BTC, self.dropout, self.training)


class GPT(nn.Module):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, settings.width)
        self.position = nn.Embedding(settings.context, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.recompute = settings.recompute
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, VOCABULARY, bias=False)
        self.head.weight = self.token.weight  # tied: the same matrix reads and writes bytes
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.05)

    def forward(self, bytes_BT: Tensor) -> Tensor:
        stream_BTC = self.token(bytes_BT) + self.position.weight[: bytes_BT.shape[1]]
        for block in self.blocks:
            stream_BTC = checkpoint(block, stream_BTC, use_reentrant=False) if self.recompute else block(stream_BTC)
        return self.head(self.norm(stream_BTC))  # type: ignore[no-any-return]


# --- optimizer --------------------------------------------------------------------------------------------------------


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), all weights in one group."""

    BETA_MEAN, BETA_SQUARE, EPSILON, DECAY = 0.9, 0.98, 1e-8, 0.1

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights = weights
        self.num_steps = 0
        self.mean = [torch.zeros_like(w) for w in weights]
        self.square = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the weights by their gradients, and drop the gradients."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        self.num_steps += 1
        torch._foreach_lerp_(self.mean, gradients, 1 - self.BETA_MEAN)
        torch._foreach_mul_(self.square, self.BETA_SQUARE)
        torch._foreach_addcmul_(self.square, gradients, gradients, 1 - self.BETA_SQUARE)
        scale = torch._foreach_div(self.square, 1 - self.BETA_SQUARE**self.num_steps)
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, self.EPSILON)
        torch._foreach_mul_(self.weights, 1 - lr * self.DECAY)
        torch._foreach_addcdiv_(self.weights, self.mean, scale, -lr / (1 - self.BETA_MEAN**self.num_steps))
        for weight in self.weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"num_steps": self.num_steps, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if [m.shape for m in state["mean"]] != [w.shape for w in self.weights]:
            raise ValueError("its moments have other shapes than the weights")
        self.num_steps, self.mean, self.square = state["num_steps"], state["mean"], state["square"]


class Schedule:
    """The learning rate: up over the first tenth of the steps, then down a cosine to a tenth."""

    def __init__(self, *, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps
        self.num_steps = 0

    def next_rate(self) -> float:
        self.num_steps += 1
        warm_up = max(1, self.steps // 10)
        done = min(1.0, self.num_steps / self.steps)
        return self.peak * min(1.0, self.num_steps / warm_up) * (0.55 + 0.45 * math.cos(math.pi * done))

    def state_dict(self) -> dict[str, int]:
        return {"num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.num_steps = state["num_steps"]


# --- training ---------------------------------------------------------------------------------------------------------


def main() -> None:
    settings = train.arguments(Settings)
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    raw = corpus()
    text = torch.frombuffer(raw, dtype=torch.uint8)
    model = GPT(settings)
    optimizer = AdamW(list(model.parameters()))
    schedule = Schedule(peak=settings.lr, steps=settings.steps)
    order = SampleOrder(num_samples=(len(text) - 1) // settings.context, seed=settings.seed)
    checkpointer = train.Checkpointer(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        data=order,
        must_match={"corpus": hashlib.sha256(raw).hexdigest()},
    )
    for step in checkpointer.steps(settings.steps):
        inputs_BT, targets_BT = batch(text, order.next_batch(settings.batch_size), settings.context)
        logits_BTV = model(inputs_BT)
        loss = functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(schedule.next_rate())
        checkpointer.record(loss)
        if step % LOG_EVERY == 0 or step == settings.steps:
            print(f"step {step}/{settings.steps} loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
