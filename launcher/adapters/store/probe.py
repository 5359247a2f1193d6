"""Whether a store keeps the one promise that everything rests on: what exists cannot be created again."""

import contextlib
import uuid

from launcher.adapters.retry import first_contact
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.providers.base import IGNORES_CREATE
from launcher.errors import KeyExists, StoreError, StoreUnusable

PROBES_PREFIX = "probes/"


@first_contact()
def check_create(store: ObjectStore) -> None:
    """Create a key twice and delete it. Raises StoreUnusable where the second create was not refused."""
    key = f"{PROBES_PREFIX}{uuid.uuid4().hex}"
    try:
        with contextlib.suppress(KeyExists):  # our own, where the answer was lost
            store.create(key, b"first")
        with contextlib.suppress(KeyExists):
            store.create(key, b"second")
            raise StoreUnusable(f"cannot use {store.url}: {IGNORES_CREATE}")
    finally:
        with contextlib.suppress(StoreError):  # a few bytes that nobody reads
            store.delete(key)
