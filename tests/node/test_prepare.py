"""What an attempt needs before its grant: its code, and nothing but its code."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from launcher.adapters.store.memory import MemoryStore
from launcher.errors import Damaged, StoreUnknown
from launcher.node.prepare import unpack_code
from launcher.node.workspace import Workspace
from tests.training.scene import Once, Wrapped


def packed(text: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return file.getvalue()


def key_of(data: bytes) -> str:
    return f"code/{hashlib.sha256(data).hexdigest()}.tar"


def test_code_is_fetched_again_when_the_store_does_not_answer(tmp_path: Path) -> None:
    store, data, place = MemoryStore(), packed(b"print()"), Workspace(root=tmp_path)
    place.make()
    store.create(key_of(data), data)
    unpack_code(Wrapped(store, before_get=Once("code/", StoreUnknown("no answer"))), key_of(data), place)
    assert (place.code / "train.py").read_bytes() == b"print()"


def test_code_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    store, place = MemoryStore(), Workspace(root=tmp_path)
    place.make()
    key = key_of(packed(b"print()"))
    store.create(key, packed(b"steal()"))
    with pytest.raises(Damaged, match="not what the run was started with"):
        unpack_code(store, key, place)
    assert not (place.code / "train.py").exists()
