"""Google Cloud Storage: gcsfs. Credentials come from Google's own chain.

Requests go through gcsfs's session one at a time: its own retries wait up to half a minute, longer than a machine's last notice,
and its errors do not tell a missing bucket from a missing object.
"""

import contextlib
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from launcher.adapters.store import wire
from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.providers.base import IGNORES_CREATE, MARK, Abandoned, Part, Place, Receipt, Stamp
from launcher.adapters.store.wire import Answer, Request
from launcher.errors import StoreDenied, StoreUnusable
from launcher.units import Bytes, Seconds

_EMULATOR = "STORAGE_EMULATOR_HOST"
_KEY = "GOOGLE_CREDENTIALS"  # a key file's content, as Terraform reads it: a machine elsewhere is given secrets, no files
_LOGIN = "run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file"
_NONE = f"no credentials for Google Cloud ({{said}}); {_LOGIN}"
_EXPIRED = f"the credentials have expired or are not valid ({{said}}); {_LOGIN}"
_NO_BUCKET = b"bucket does not exist"
_OBJECT = "b/{}/o/{}"
_CONNECT_S: Seconds = 5.0
_SILENCE_S: Seconds = 15.0


class Gcs:
    extra = "gcs"
    parts_at_once = 1  # a resumable upload is a single stream
    remedies: Mapping[str, str] = {
        "NoBucket": "there is no bucket {bucket}; create it, or mend the name in checkpoint.dir",
        "501": IGNORES_CREATE,
        "507": "the store is full or its quota used up ({said}); free some space or raise it",
        "JWT clock": "this machine's clock is off, Google says ({said}); set it (`timedatectl set-ntp true`)",
    }
    denials: Mapping[str, str] = {
        "DefaultCredentialsError": _NONE,
        "GoogleAuthError": _NONE,
        "MalformedError": _NONE,  # a key without one of its fields
        "RefreshError": _EXPIRED,
        "401": _EXPIRED,
        "403": "access denied ({said}); the account needs Storage Object Admin on {bucket}",
    }
    unreached: tuple[str, ...] = ("ClientConnectorError", "ClientConnectorDNSError", "ConnectionTimeoutError")
    address = "the address, where STORAGE_EMULATOR_HOST sets one"

    def connect(self, bucket: str) -> Any:
        # Else gcsfs loads, and asks, much for zonal buckets: over a minute where the endpoint is not Google's.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            from gcsfs.core import GCSFileSystem
        except ImportError as error:
            raise StoreUnusable("gs:// needs another package; pip install 'spot-launch[gcs]'") from error
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints the trace of errors that it raises as well
        return GCSFileSystem(
            token="anon" if os.environ.get(_EMULATOR) else _key(),
            requests_timeout=15,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        await _upload(fs, place, data, {"metadata": {MARK: mark}}, ifGenerationMatch="0")

    async def replace(self, fs: Any, place: Place, data: bytes) -> None:
        await _upload(fs, place, data, {})

    async def read(self, fs: Any, place: Place, start: Bytes, end: Bytes) -> bytes:
        url = fs.url(f"{place.bucket}/{place.name}")
        async with _asked(fs, "GET", url, headers={"Range": f"bytes={start}-{end - 1}"}, name=place.name) as answer:
            return bytes(await answer.read())

    async def read_into(self, fs: Any, place: Place, start: Bytes, into: memoryview) -> Bytes:
        url = fs.url(f"{place.bucket}/{place.name}")
        wanted = {"Range": f"bytes={start}-{start + len(into) - 1}"}
        return (await _carried(fs, Request(method="GET", url=url, headers=wanted, into=into), name=place.name)).size

    async def begin(self, fs: Any, place: Place, mark: str) -> str:
        """The session's URL, which lets whoever knows it write this one object for a week; it is never told."""
        url = f"{fs._location}/upload/storage/v1/b/{quote(place.bucket, safe='')}/o"
        asked = {"uploadType": "resumable", "name": place.name, "ifGenerationMatch": "0"}
        told = {"name": place.name, "metadata": {MARK: mark}}
        async with _asked(fs, "POST", url, name=place.name, params=fs._get_params(asked), json=told) as answer:
            return str(answer.headers["Location"])

    async def send(self, fs: Any, place: Place, upload: str, part: Part) -> Receipt:
        """All but the last, whose arrival creates the object. What has arrived already is ignored (Google's docs)."""
        if part.total is not None:
            return {"last": part}
        end = part.start + part.size
        if await _sent(fs, place, upload, part, f"bytes {part.start}-{end - 1}/*") < end:
            raise OSError(f"{place.name}: a part of the upload arrived short")
        return {}

    async def finish(self, fs: Any, place: Place, upload: str, receipts: list[Receipt], mark: str) -> None:
        last: Part = receipts[-1]["last"]
        end = last.start + last.size
        if await _sent(fs, place, upload, last, f"bytes {last.start}-{end - 1}/{end}") < end:
            raise OSError(f"{place.name}: the end of the upload arrived short")

    async def abandon(self, fs: Any, place: Place, upload: str) -> None:
        async with _asked(fs, "DELETE", upload, name=place.name):
            pass

    async def abandoned(self, fs: Any, bucket: str, prefix: str) -> list[Abandoned]:
        return []  # sessions end after a week, and cost nothing

    async def stamp(self, fs: Any, place: Place) -> Stamp:
        found = json.loads(await _once(fs, "GET", _OBJECT, place.bucket, place.name))
        return Stamp(found.get("metadata", {}).get(MARK), datetime.fromisoformat(found["updated"]).timestamp())

    async def names(self, fs: Any, bucket: str, prefix: str) -> list[tuple[str, Bytes]]:
        found: list[tuple[str, Bytes]] = []
        more: dict[str, str] = {}
        while True:
            fields = "nextPageToken,items(name,size)"
            page = json.loads(await _once(fs, "GET", "b/{}/o", bucket, prefix=prefix, fields=fields, **more))
            found += [(item["name"], int(item["size"])) for item in page.get("items", ())]
            if "nextPageToken" not in page:
                return found
            more = {"pageToken": page["nextPageToken"]}

    async def delete(self, fs: Any, place: Place) -> None:
        await _once(fs, "DELETE", _OBJECT, place.bucket, place.name)

    async def lifecycle(self, fs: Any, bucket: str) -> list[LifecycleRule] | None:
        found = json.loads(await _once(fs, "GET", "b/{}", bucket, fields="lifecycle"))
        return [
            LifecycleRule(prefix=prefix, deletes=act == "Delete", aborts_uploads=act == "AbortIncompleteMultipartUpload")
            for rule in found.get("lifecycle", {}).get("rule", ())
            for act in [rule["action"]["type"]]
            for prefix in rule.get("condition", {}).get("matchesPrefix") or [""]
        ]

    def code(self, error: BaseException) -> str:
        name, text = type(error).__name__, str(error)
        if "iat and exp" in text:
            return "JWT clock"
        if "Anonymous caller" in text:  # gcsfs asks as nobody where it finds no credentials
            return "DefaultCredentialsError"
        if name == "HttpError":
            return str(getattr(error, "code", ""))
        return "403" if isinstance(error, OSError) and text.startswith("Forbidden") else name


def _key() -> dict[str, Any] | None:
    """None: Google's own chain tells who we are."""
    told = os.environ.get(_KEY)
    if not told:
        return None
    try:
        key = json.loads(told)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise StoreDenied(f"{_KEY} is no key; write the content of a service account's key file into it, or unset it")
    return key


class NoBucket(Exception):
    """What Google says of any request to a bucket that does not exist."""


@contextlib.asynccontextmanager
async def _asked(fs: Any, method: str, url: str, *, name: str, **kwargs: Any) -> AsyncIterator[Any]:
    """The answer to one request, its body not read yet. `name` stands in errors for the URL, which may be a secret."""
    import aiohttp

    await fs._set_session()
    kwargs["headers"] = fs._get_headers(kwargs.get("headers"))
    patience = aiohttp.ClientTimeout(sock_connect=_CONNECT_S, sock_read=_SILENCE_S)  # a part may take longer in all
    async with fs.session.request(method, url, timeout=patience, **kwargs) as answer:
        if answer.status >= 400:
            _check(answer.status, await answer.read(), name)
        yield answer


async def _carried(fs: Any, request: Request, *, name: str) -> Answer:
    """As `_asked`, of a request with a lot to carry."""
    await fs._set_session()
    answer = await wire.carried(replace(request, headers=fs._get_headers(request.headers)))
    _check(answer.status, answer.body, name)
    return answer


def _check(status: int, told: bytes, name: str) -> None:
    from gcsfs.retry import validate_response

    if status == 404 and _NO_BUCKET in told:
        raise NoBucket(name)
    validate_response(status, told, name)


async def _sent(fs: Any, place: Place, upload: str, part: Part, content_range: str) -> Bytes:
    """How much of the object has arrived once `part` was sent."""
    headers = {"Content-Range": content_range, "Content-Type": "application/octet-stream"}
    answer = await _carried(fs, Request(method="PUT", url=upload, headers=headers, body=part.data), name=place.name)
    if answer.status != 308:
        return part.start + part.size
    _, _, last = answer.headers.get("Range", "").rpartition("-")
    return int(last) + 1 if last else 0


async def _once(fs: Any, method: str, path: str, *args: str, **params: str) -> bytes:
    """The whole answer to one request; `args` fill the gaps of `path`."""
    url = fs._format_path(path, args)
    async with _asked(fs, method, url, name="/".join(args), params=fs._get_params(params)) as answer:
        return bytes(await answer.read())


async def _upload(fs: Any, place: Place, data: bytes, resource: dict[str, Any], **conditions: str) -> None:
    """Name, metadata and bytes in one request, of which a part is never stored."""
    boundary = uuid.uuid4().hex
    head = json.dumps({"name": place.name, **resource})
    body = b"".join(
        (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{head}\r\n".encode(),
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode(),
            data,
            f"\r\n--{boundary}--".encode(),
        )
    )
    url = f"{fs._location}/upload/storage/v1/b/{quote(place.bucket, safe='')}/o"
    params = fs._get_params({"uploadType": "multipart", **conditions})
    headers = {"Content-Type": f'multipart/related; boundary="{boundary}"'}
    async with _asked(fs, "POST", url, name=place.name, params=params, headers=headers, data=body) as answer:
        await answer.read()
