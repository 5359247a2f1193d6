"""What tells one provider of object stores from another: how it is reached, its handful of requests, and what its errors mean.

Each provider's library spells the same trouble differently, and one and the same class may be a refusal or a stumble. So each
provider finds the code of an error, and here codes become the errors that callers know (`launcher.errors`), with a remedy for
those that no retry mends.
"""

import email.utils
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from launcher import log
from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.credentials import secrets_in
from launcher.errors import KeyExists, KeyMissing, NoSuchHost, StoreDenied, StoreError, StoreUnknown, StoreUnusable
from launcher.units import Bytes, Seconds, Utc, show_duration

MARK = "launchmark"  # user metadata; letters only, since proxies drop headers with underscores and Azure takes no hyphen
IGNORES_CREATE = "it ignores create-if-absent, on which every checkpoint and the journal rest; use another store"
_NO_BUCKET = "there is no bucket {bucket}; create it, or mend the name in checkpoint.dir"
_TAKEN = ("PreconditionFailed", "BlobAlreadyExists")  # the only condition is ours; s3fs knows it only where the server names it
# An upload may be missing as well: finished, with the answer lost, or thrown away. Azure finds its blocks gone.
_MISSING = ("BlobNotFound", "ResourceNotFound", "ResourceNotFoundError", "NoSuchUpload", "InvalidBlockList")
_BEYOND = ("InvalidRange", "416")
Receipt = Mapping[str, Any]  # what a provider wants to hear again of a part when the upload is finished
_SKEW_TOLD: Seconds = 300.0  # clouds refuse requests that are 5 to 15 minutes off; less explains no refusal


@dataclass(frozen=True, slots=True)
class Place:
    """An object: its bucket (or container) and its name there."""

    bucket: str
    name: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an object carries: the mark that it was created with, and the store's time of that."""

    mark: str | None
    written_at: Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Of an upload: its number, from 1, and its bytes, which begin at `start`; `total` is the object's size, told by the last."""

    number: int
    start: Bytes
    data: tuple[memoryview, ...]
    total: Bytes | None

    @property
    def size(self) -> Bytes:
        return sum(map(len, self.data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """An upload that was begun and not finished."""

    place: Place
    upload: str
    began_at: Utc


class Provider(Protocol):
    """One scheme.

    `remedies` and `denials` say what to do, by code; denials are about who we are. "{bucket}", "{region}" and "{said}", the
    library's own words, are filled in. `unreached` are the codes where nobody was reached at all, and `address` is what says
    where to reach somebody. The requests are coroutines for the loop of the file system `fs` and raise whatever
    the library does.
    """

    extra: str  # what to install, as in spot-launch[s3]
    parts_at_once: int  # of one upload
    remedies: Mapping[str, str]
    denials: Mapping[str, str]
    unreached: tuple[str, ...]
    address: str

    def connect(self, bucket: str) -> Any:
        """An fsspec AsyncFileSystem of this process, without caches and with bounded retries and time-outs.

        May ask the network who we are. Raises StoreUnusable where its package is not installed, or where nothing says how to
        reach the bucket.
        """
        ...

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        """If absent, and with `mark` in its metadata under MARK."""
        ...

    async def replace(self, fs: Any, place: Place, data: bytes) -> None: ...

    async def read(self, fs: Any, place: Place, start: Bytes, end: Bytes) -> bytes: ...

    async def read_into(self, fs: Any, place: Place, start: Bytes, into: memoryview) -> Bytes:
        """Fill `into` with what begins at `start`; how far, where the object ends before."""
        ...

    async def begin(self, fs: Any, place: Place, mark: str) -> str:
        """An upload in parts, by which name the provider knows it."""
        ...

    async def send(self, fs: Any, place: Place, upload: str, part: Part) -> Receipt:
        """May be repeated."""
        ...

    async def finish(self, fs: Any, place: Place, upload: str, receipts: list[Receipt], mark: str) -> None:
        """Create, if absent, the object of these parts, in their order, with `mark` in its metadata under MARK."""
        ...

    async def abandon(self, fs: Any, place: Place, upload: str) -> None: ...

    async def abandoned(self, fs: Any, bucket: str, prefix: str) -> list[Abandoned]:
        """Unfinished uploads to names that start with `prefix`; none where they go away by themselves."""
        ...

    async def stamp(self, fs: Any, place: Place) -> Stamp: ...

    async def names(self, fs: Any, bucket: str, prefix: str) -> list[tuple[str, Bytes]]:
        """Names that start with `prefix`, and their sizes. What the library says is missing here is the bucket."""
        ...

    async def delete(self, fs: Any, place: Place) -> None: ...

    async def lifecycle(self, fs: Any, bucket: str) -> list[LifecycleRule] | None:
        """None where the provider tells it by another way than this one."""
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
    words = {"bucket": repr(bucket), "said": _said(error), "region": _region(chain) or "its own"}
    for code in codes:
        if code in provider.denials:
            skew = skew_of(_header(chain, "date"))
            if skew is not None and abs(skew) > _SKEW_TOLD:
                return StoreUnusable(f"cannot use {url}: {clock_off(skew)}")
            return StoreDenied(f"cannot use {url}: {provider.denials[code].format(**words)}")
        if code in provider.remedies:
            return StoreUnusable(f"cannot use {url}: {provider.remedies[code].format(**words)}")
    if any(code in _BEYOND for code in codes):
        return BeyondEnd(f"{key} ends before the span")
    if any(isinstance(cause, FileExistsError) for cause in chain) or any(code in _TAKEN for code in codes):
        return KeyExists(key)
    if any(isinstance(cause, FileNotFoundError) for cause in chain) or any(code in _MISSING for code in codes):
        return KeyMissing(key)
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSYS for cause in chain):
        return StoreUnusable(f"cannot use {url}: {IGNORES_CREATE}")
    if any(isinstance(cause, PermissionError) for cause in chain):
        return StoreDenied(f"cannot use {url}: permission denied ({words['said']}); allow reading and writing there")
    kind = NoSuchHost if any(_has_no_address(cause) for cause in chain) else StoreUnknown
    is_silent = any(isinstance(cause, TimeoutError) for cause in chain) or any(code in provider.unreached for code in codes)
    remedy = f"; check the network and {provider.address}" if kind is NoSuchHost or is_silent else ""
    return kind(f"no answer for {url}/{key}: {': '.join(filter(None, (type(error).__name__, words['said'])))}{remedy}")


def keep_back_credentials() -> None:
    """Never write those of this process's environment, in no log and no error, nor let a library log them by itself."""
    for secret in secrets_in(os.environ).values():
        log.redact(secret)
    if logging.lastResort is not None:  # what prints the warnings of a library in a program that configures no logging
        logging.lastResort.setFormatter(_Redacting())


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return log.redacted(super().format(record))


def no_bucket(url: str, bucket: str) -> StoreUnusable:
    return StoreUnusable(f"cannot use {url}: {_NO_BUCKET.format(bucket=repr(bucket))}")


def skew_of(date: str | None) -> Seconds | None:
    """How far this machine's clock is before that of a server which has just said `date`; None where that is no date."""
    try:
        return None if date is None else time.time() - email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def clock_off(skew: Seconds) -> str:
    way = "fast" if skew > 0 else "slow"
    return f"this machine's clock is off: {show_duration(abs(skew))} {way}; set it (`timedatectl set-ntp true`)"


def _has_no_address(error: BaseException) -> bool:
    """As the resolver is certain of it; one that is out of reach itself says so."""
    return isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)


def _region(chain: tuple[BaseException, ...]) -> str | None:
    """Where Amazon says that a bucket lies: by a header, or where it speaks of a signature by the body."""
    bodies = (response for cause in chain if isinstance(response := getattr(cause, "response", None), Mapping))
    told = (response.get("Error", {}).get("Region") for response in bodies)
    return _header(chain, "x-amz-bucket-region") or next(filter(None, told), None)


def _header(chain: tuple[BaseException, ...], name: str) -> str | None:
    """A header of the answer behind an error, as botocore or azure-core keep it."""
    for cause in chain:
        response: Any = getattr(cause, "response", None)
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders") if isinstance(response, Mapping) else None
        found = {str(k).lower(): str(v) for k, v in dict(headers or getattr(response, "headers", None) or {}).items()}
        if name in found:
            return found[name]
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _said(error: BaseException) -> str:
    """The library's own words in one line; some begin with the path alone, and say why in the second."""
    return " ".join(log.redacted(str(error)).split("\n")[:2]).strip()[:200]  # cut last: of a secret in two no half is known
