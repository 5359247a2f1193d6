"""The files of a checkpoint: readable by stock tools, aligned, and never loaded wrong."""

import json
import random
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from launcher.adapters.store.memory import MemoryStore
from launcher.checkpoint import format as layout
from launcher.checkpoint import stage, tree, verify
from launcher.core.checkpoint.manifest import PIECE_BYTES, CommitRef
from launcher.core.contract import commit_key
from tests.training import scene

MIXED = {
    "flags": torch.tensor([True, False, True]),
    "half": torch.arange(5, dtype=torch.bfloat16),
    "whole": torch.arange(6, dtype=torch.int64).view(2, 3),
    "single": torch.tensor(3.5),
    "nothing": torch.empty(0, 4),
    "turned": torch.arange(12, dtype=torch.float32).view(3, 4).t(),
}


class Holder:
    """A part with any state."""

    def __init__(self, state: object) -> None:
        self.state = state

    def state_dict(self) -> object:
        return self.state

    def load_state_dict(self, state: object) -> None:
        self.state = state


def shard_of(tensors: dict[str, torch.Tensor]) -> bytes:
    staged = stage.capture({"model": Holder(tensors)})
    return b"".join(staged.sources()[0].chunks())


def test_data_starts_on_a_disk_block_and_every_tensor_is_aligned():
    data = shard_of(MIXED)

    assert layout.header_bytes(data) % layout.DATA_ALIGNMENT == 0
    assert all(slot.start % layout.ITEM_BYTES[slot.dtype] == 0 for slot in layout.slots(data).values())


def test_the_safetensors_package_reads_a_shard(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / scene.SHARD
    path.write_bytes(shard_of(MIXED))

    loaded = safetensors.load_file(path)

    assert all(torch.equal(loaded[f"model.{name}"], tensor) for name, tensor in MIXED.items())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stock_distributed_checkpoint_loads_a_shard(tmp_path: Path):
    pytest.importorskip("safetensors")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    reader = pytest.importorskip("torch.distributed.checkpoint.hf_storage").HuggingFaceStorageReader
    (tmp_path / scene.SHARD).write_bytes(shard_of(MIXED))
    wanted = {f"model.{name}": torch.zeros_like(tensor) for name, tensor in MIXED.items() if tensor.numel()}

    checkpoint.load(wanted, storage_reader=reader(str(tmp_path)), no_dist=True)

    assert all(torch.equal(tensor, MIXED[name.removeprefix("model.")]) for name, tensor in wanted.items())


def test_a_large_file_has_a_digest_for_each_piece():
    digests = layout.PieceDigests()

    chunks = list(digests.passing([b"x" * (PIECE_BYTES - 1), b"yz" * 3]))

    assert b"".join(chunks) == b"x" * (PIECE_BYTES - 1) + b"yzyzyz"
    assert digests.pieces() == (layout.digest(b"x" * (PIECE_BYTES - 1) + b"y"), layout.digest(b"zyzyz"))
    assert digests.size == PIECE_BYTES + 5


def test_every_one_of_300_random_flips_is_refused():
    """Bits anywhere: in the manifest, the header, the tensors, the padding, the state."""
    store = MemoryStore()
    manifest = scene.save(scene.committer(store), step=3)
    keys = [entry.key for entry in manifest.files] + [commit_key(manifest.ref)]
    draw = random.Random(7)

    for _ in range(300):
        key = draw.choice(keys)
        bit = draw.randrange(8 * len(store.get(key)))
        scene.flip(store, key, bit)
        assert verify.verify(store, manifest.ref) != [], f"bit {bit} of {key} went unnoticed"
        scene.flip(store, key, bit)
    assert verify.verify(store, manifest.ref) == []


def test_the_tensor_that_was_damaged_is_named():
    store = MemoryStore()
    manifest = scene.save(scene.committer(store), step=3)
    key = scene.key_of(manifest, scene.SHARD)
    scene.flip(store, key, 8 * (len(store.get(key)) - 1))

    (culprit,) = verify.verify(store, CommitRef(1, 1))

    assert scene.SHARD in culprit
    assert "tensor model.b" in culprit


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F7", "shape": [], "data_offsets": [0, 4]}},
        {"a": 3},
    ],
)
def test_a_header_that_describes_no_tensor_is_refused(header: dict[str, object]):
    text = json.dumps(header).encode()
    with pytest.raises(ValueError):
        layout.slots(struct.pack("<Q", len(text)) + text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.dictionaries(st.just("~"), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_any_state_comes_back_as_it_was(value: object):
    form, _ = tree.split(value, "x", torch.is_tensor)

    assert tree.join(json.loads(json.dumps(form, allow_nan=False)), {}) == value


def test_what_cannot_be_saved_is_named_by_its_path():
    with pytest.raises(tree.CannotSave, match=r"scheduler\.rules\.1 is a object"):
        tree.split({"rules": [1, object()]}, "scheduler", torch.is_tensor)
