"""SkyPilot's hosted price lists and AWS's interruption bands, over HTTP into our own cache: bounded, checked, whole or absent.

Beside each list lie the digest of its bytes, whose time says when it was last confirmed, and the server's validator, so that an
unchanged list is confirmed without being sent again. A list that is no list (half of one, an error page) replaces nothing.
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
import fsspec

from launcher.adapters import durable
from launcher.adapters.market.bands import ADVISOR, read_advisor
from launcher.adapters.market.catalog import CatalogUnusable, read_catalog
from launcher.adapters.market.sources import CLOUDS, LAYOUT, meta_path
from launcher.core.market.quote import Quote
from launcher.units import Bytes, Seconds, show_size

Answer = TypeVar("Answer")
HOSTED = f"https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/{LAYOUT}"
# What the page aws.amazon.com/ec2/spot/instance-advisor itself loads; public, about 2 MB.
ADVISED = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"
CONNECT_MOST_S: Seconds = 5.0
READ_MOST_S: Seconds = 15.0  # without a byte
FETCH_MOST_S: Seconds = 90.0  # of one list: the largest has 4 MB
BYTES_MOST: Bytes = 64 * 10**6  # what is larger is no list
CHUNK: Bytes = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one cloud's list. `trouble` "": the cache holds what the server has, and `quotes` are in it."""

    cloud: str
    is_new: bool
    trouble: str = ""
    quotes: tuple[Quote, ...] = ()


def refresh(downloads: Path, *, base_url: str = HOSTED) -> list[Fetched]:
    """Bring each cloud's list in `downloads` up to date. After a server that cannot be reached the others are not tried."""
    web = _web()
    found: list[Fetched] = []
    for cloud in CLOUDS:
        path = downloads / cloud / "vms.csv"
        try:
            found.append(_fetch(web, f"{base_url}/{cloud}/vms.csv", cloud, path))
        except CatalogUnusable as error:
            found.append(Fetched(cloud=cloud, is_new=False, trouble=str(error)))
        except OSError as error:
            found.append(Fetched(cloud=cloud, is_new=False, trouble=f"{path} cannot be written: {error.strerror or error}"))
        except _Unreachable as error:
            return [*found, *(Fetched(cloud=c, is_new=False, trouble=str(error)) for c in CLOUDS[len(found) :])]
    return found


def refresh_bands(downloads: Path, url: str = ADVISED) -> str:
    """Bring AWS's interruption bands in `downloads` up to date. Gives why they could not be, or nothing."""
    path = downloads / ADVISOR
    try:
        data = _asked(url, lambda: _read(_web(), url))
        if not read_advisor(_decoded(data, url)):
            return f"{url} has no bands"
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace_durably(path, data)
    except (CatalogUnusable, _Unreachable) as error:
        return str(error)
    except ValueError as error:
        return f"{url} cannot be used: {error}"
    except OSError as error:
        return f"{path} cannot be written: {error.strerror or error}"
    return ""


def _web() -> fsspec.AbstractFileSystem:
    timeout = aiohttp.ClientTimeout(total=FETCH_MOST_S, sock_connect=CONNECT_MOST_S, sock_read=READ_MOST_S)
    return fsspec.filesystem("https", client_kwargs={"timeout": timeout, "trust_env": True}, skip_instance_cache=True)


class _Unreachable(Exception):
    """The server gives no answer; another list of the same server would get none either."""


def _fetch(web: fsspec.AbstractFileSystem, url: str, cloud: str, path: Path) -> Fetched:
    """Raises CatalogUnusable, _Unreachable, OSError."""
    etag_path = meta_path(path).with_suffix(".etag")
    etag = _asked(url, lambda: web.info(url)).get("ETag", "")
    if etag and etag == _text(etag_path) and _is_whole(path):
        data = path.read_bytes()
        _confirm(path, data)
        return Fetched(cloud=cloud, is_new=False, quotes=read_catalog(cloud, _decoded(data, url), name=url).quotes)
    data = _asked(url, lambda: _read(web, url))
    quotes = read_catalog(cloud, _decoded(data, url), name=url).quotes
    is_new = not path.is_file() or path.read_bytes() != data
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_durably(path, data)
    _confirm(path, data)
    # Two servers behind one name may have two lists: a validator counts only if it is the same before and after the bytes.
    is_same = etag == _asked(url, lambda: web.info(url)).get("ETag", "")
    durable.replace_atomically(etag_path, etag.encode() if is_same else b"")
    return Fetched(cloud=cloud, is_new=is_new, quotes=quotes)


def _read(web: fsspec.AbstractFileSystem, url: str) -> bytes:
    """All of it, or CatalogUnusable where that is no end of bytes."""
    parts, size = [], 0
    with web.open(url, "rb", block_size=0) as stream:  # as a stream: what the server says of its size may be wrong
        while part := stream.read(CHUNK):
            parts.append(part)
            size += len(part)
            if size > BYTES_MOST:
                raise CatalogUnusable(f"{url} has more than {show_size(BYTES_MOST)}, so it is no list")
    return b"".join(parts)


def _asked(url: str, call: Callable[[], Answer]) -> Answer:
    """The server's answer, or what is wrong in two words: nobody there, or not the list."""
    try:
        return call()
    except FileNotFoundError as error:  # fsspec's for whatever went wrong; the cause tells
        cause = error.__cause__ or error
    except (aiohttp.ClientError, TimeoutError) as error:
        cause = error
    if isinstance(cause, aiohttp.ClientResponseError):
        raise CatalogUnusable(f"{url} answers {cause.status} {cause.message}") from cause
    if isinstance(cause, aiohttp.ClientPayloadError):
        raise CatalogUnusable(f"{url} broke off in the middle") from cause
    if isinstance(cause, FileNotFoundError):
        raise CatalogUnusable(f"{url} is not there") from cause
    raise _Unreachable(f"{urlsplit(url).hostname} cannot be reached ({str(cause) or type(cause).__name__})") from cause


def _decoded(data: bytes, url: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CatalogUnusable(f"{url} is no text") from None


def _confirm(path: Path, data: bytes) -> None:
    """From now on the bytes at `path` count as fetched now."""
    meta = meta_path(path)
    meta.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_atomically(meta, _digest(data).encode())


def _is_whole(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return _text(meta_path(path)) == _digest(path.read_bytes())
    return False


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace")
    return ""
