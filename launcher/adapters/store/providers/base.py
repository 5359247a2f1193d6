"""What tells one provider of object stores from another: how its file system is made, and what its errors mean.

Each provider's library spells the same trouble differently, and one and the same class may be a refusal or a stumble. So each
provider finds the code of an error, and here codes become the errors that callers know (`launcher.errors`), with a remedy for
those that no retry mends.
"""

import errno
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from launcher.errors import KeyExists, KeyMissing, StoreError, StoreUnknown, StoreUnusable

IGNORES_CREATE = "it ignores create-if-absent, on which every checkpoint and the journal rest; use another store"
_TAKEN = ("PreconditionFailed",)  # ours is the only condition; s3fs knows it only where the server names it
_BEYOND = ("InvalidRange", "416")


class Provider(Protocol):
    """One scheme. `remedies`: what to do, by code; "{bucket}" and "{said}", the library's own words, are filled in."""

    extra: str  # what to install, as in spot-launch[s3]
    remedies: Mapping[str, str]

    def connect(self, bucket: str) -> Any:
        """An fsspec AsyncFileSystem of this process, without caches and with bounded retries and time-outs.

        Raises StoreUnusable where its package is not installed, or where nothing says how to reach the bucket.
        """
        ...

    def code(self, error: BaseException) -> str:
        """The provider's name for what went wrong; "" where `error` has none."""
        ...


class BeyondEnd(StoreError):
    """A span that starts behind the end of its object."""


def sorted_error(provider: Provider, error: Exception, *, url: str, bucket: str, key: str) -> StoreError:
    """What `error` of a provider's library means to callers."""
    chain = tuple(_causes(error))
    codes = [provider.code(cause) for cause in chain]
    for code in codes:
        if code in provider.remedies:
            remedy = provider.remedies[code].format(bucket=repr(bucket), said=_first_line(error))
            return StoreUnusable(f"cannot use {url}: {remedy}")
    if any(code in _BEYOND for code in codes):
        return BeyondEnd(f"{key} ends before the span")
    if any(isinstance(cause, FileExistsError) for cause in chain) or any(code in _TAKEN for code in codes):
        return KeyExists(key)
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        return KeyMissing(key)
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSYS for cause in chain):
        return StoreUnusable(f"cannot use {url}: {IGNORES_CREATE}")
    if any(isinstance(cause, PermissionError) for cause in chain):
        return StoreUnusable(f"cannot use {url}: permission denied ({_first_line(error)}); allow reading and writing there")
    return StoreUnknown(f"no answer for {url}/{key}: {type(error).__name__}: {_first_line(error)}")


def no_bucket(url: str, bucket: str) -> StoreUnusable:
    return StoreUnusable(f"cannot use {url}: there is no bucket {bucket!r}; create it, or mend the name in checkpoint.dir")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
