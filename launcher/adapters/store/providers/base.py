"""What tells one provider of object stores from another: how its file system is made, and what its errors mean.

Each provider's library spells the same trouble differently, and one and the same class may be a refusal or a stumble. So each
provider sorts errors into the four that callers know (`launcher.errors`), with a remedy for those that no retry mends.
"""

import errno
from collections.abc import Iterator
from typing import Any, Protocol

from launcher.errors import KeyExists, KeyMissing, StoreError, StoreUnknown, StoreUnusable

IGNORES_CREATE = "it ignores create-if-absent, on which every checkpoint and the journal rest; use another store"


class Provider(Protocol):
    """One scheme. `connect` may raise StoreUnusable where its package is not installed."""

    extra: str  # what to install, as in spot-launch[s3]

    def connect(self, bucket: str) -> Any:
        """An fsspec AsyncFileSystem of this process, without caches and with bounded retries and time-outs."""
        ...

    def refusal(self, error: BaseException, bucket: str) -> str | None:
        """The remedy, where `error` (one of the chain of causes) is one that no retry mends; None where it may pass."""
        ...

    def is_taken(self, error: BaseException) -> bool:
        """Whether it says that the key exists already, in other words than FileExistsError."""
        ...


def sorted_error(provider: Provider, error: Exception, *, url: str, bucket: str, key: str) -> StoreError:
    """What `error` of a provider's library means to callers."""
    chain = tuple(causes(error))
    for cause in chain:
        remedy = provider.refusal(cause, bucket)
        if remedy is not None:
            return StoreUnusable(f"cannot use {url}: {remedy}")
    if any(isinstance(cause, FileExistsError) or provider.is_taken(cause) for cause in chain):
        return KeyExists(key)
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        return KeyMissing(key)
    if any(isinstance(cause, NotImplementedError) or _errno(cause) == errno.ENOSYS for cause in chain):
        return StoreUnusable(f"cannot use {url}: {IGNORES_CREATE}")
    if any(isinstance(cause, PermissionError) for cause in chain):
        return StoreUnusable(f"cannot use {url}: permission denied ({first_line(error)}); allow reading and writing there")
    return StoreUnknown(f"no answer for {url}/{key}: {type(error).__name__}: {first_line(error)}")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None
