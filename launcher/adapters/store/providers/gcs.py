"""Google Cloud Storage: gcsfs. Credentials come from Google's own chain.

Requests go through gcsfs's session one at a time: its own retries wait up to half a minute, longer than a machine's last notice.
"""

import json
import logging
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.providers.base import IGNORES_CREATE, MARK, Place, Stamp
from launcher.errors import StoreUnusable
from launcher.units import Bytes

_EMULATOR = "STORAGE_EMULATOR_HOST"
_LOGIN = "run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file"
_NONE = f"no credentials for Google Cloud ({{said}}); {_LOGIN}"
_EXPIRED = f"the credentials have expired or are not valid ({{said}}); {_LOGIN}"
_OBJECT = "b/{}/o/{}"


class Gcs:
    extra = "gcs"
    remedies: Mapping[str, str] = {
        "501": IGNORES_CREATE,
        "507": "the store is full or its quota used up ({said}); free some space or raise it",
        "JWT clock": "this machine's clock is off, Google says ({said}); set it (`timedatectl set-ntp true`)",
    }
    denials: Mapping[str, str] = {
        "DefaultCredentialsError": _NONE,
        "GoogleAuthError": _NONE,
        "RefreshError": _EXPIRED,
        "401": _EXPIRED,
        "403": "access denied ({said}); the account needs Storage Object Admin on {bucket}",
    }

    def connect(self, bucket: str) -> Any:
        # Else gcsfs loads, and asks, much for zonal buckets: over a minute where the endpoint is not Google's.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            from gcsfs.core import GCSFileSystem
        except ImportError as error:
            raise StoreUnusable("gs:// needs another package; pip install 'spot-launch[gcs]'") from error
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints the trace of errors that it raises as well
        token = "anon" if os.environ.get(_EMULATOR) else None
        return GCSFileSystem(token=token, requests_timeout=15, use_listings_cache=False, skip_instance_cache=True)

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        await _upload(fs, place, data, {"metadata": {MARK: mark}}, ifGenerationMatch="0")

    async def replace(self, fs: Any, place: Place, data: bytes) -> None:
        await _upload(fs, place, data, {})

    async def read(self, fs: Any, place: Place, start: Bytes, end: Bytes) -> bytes:
        url = fs.url(f"{place.bucket}/{place.name}")
        return await _once(fs, "GET", url, headers={"Range": f"bytes={start}-{end - 1}"})

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


async def _once(fs: Any, method: str, path: str, *args: str, **kwargs: Any) -> bytes:
    """One request, below the decorator that repeats it."""
    request = type(fs)._request
    _, _, _, contents = await getattr(request, "__wrapped__", request)(fs, method, path, *args, **kwargs)
    return bytes(contents)


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
    await _once(
        fs,
        "POST",
        f"{fs._location}/upload/storage/v1/b/{{}}/o",
        place.bucket,
        uploadType="multipart",
        headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
        data=body,
        **conditions,
    )
