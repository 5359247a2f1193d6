"""In which order training sees its samples: a pure function of (seed, position), so that a resumed run needs one number.

A shuffled list would have to be stored or replayed. Here each epoch is a permutation that can be asked for any single place: a
Feistel network, keyed by seed and epoch, over the smallest even-bit domain that holds all samples; results outside of the range
are sent through again ("cycle walking", Black and Rogaway 2002), which keeps it a permutation.

`position` counts samples delivered to the step, never what a loader has read ahead. It knows nothing of ranks: a batch is cut
from the global order, so another number of machines sees the same samples in the same steps.
"""

from typing import Any

NUM_ROUNDS = 6  # more than the four that make a Feistel network look random; shuffling has no adversary
_WORD = 2**64 - 1


class SampleOrder:
    """Endless indices into `num_samples` samples, each once an epoch, resumable at any sample."""

    def __init__(self, *, num_samples: int, seed: int) -> None:
        assert num_samples > 0, "an order of nothing"
        self.num_samples = num_samples
        self.seed = seed
        self.position = 0

    @property
    def epoch(self) -> int:
        return self.position // self.num_samples

    def next_batch(self, batch_size: int, *, rank: int = 0, world_size: int = 1) -> list[int]:
        """Indices of this rank's share of the next global batch of `batch_size`; the position moves by the whole batch."""
        start = self.position
        self.position += batch_size
        return [sample_at(self.seed, self.num_samples, start + i) for i in range(rank, batch_size, world_size)]

    def state_dict(self) -> dict[str, int]:
        return {"num_samples": self.num_samples, "seed": self.seed, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for another data set or seed: the position would mean other samples."""
        if (state["num_samples"], state["seed"]) != (self.num_samples, self.seed):
            raise ValueError(
                f"the checkpoint's order is of {state['num_samples']} samples with seed {state['seed']}, "
                f"this one of {self.num_samples} with seed {self.seed}"
            )
        self.position = state["position"]


def sample_at(seed: int, num_samples: int, position: int) -> int:
    """The sample at a place of the endless order."""
    epoch, place = divmod(position, num_samples)
    half_bits = max(1, ((num_samples - 1).bit_length() + 1) // 2)
    while True:
        place = _feistel(seed, epoch, place, half_bits)
        if place < num_samples:
            return place


def _feistel(seed: int, epoch: int, place: int, half_bits: int) -> int:
    mask = (1 << half_bits) - 1
    left, right = place >> half_bits, place & mask
    key = _mixed(_mixed(seed) ^ epoch)
    for number in range(NUM_ROUNDS):
        left, right = right, left ^ (_mixed(key ^ number << 56 ^ right) & mask)
    return left << half_bits | right


def _mixed(value: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    value = (value + 0x9E3779B97F4A7C15) & _WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _WORD
    return value ^ value >> 31
