"""Azure Blob Storage: adlfs. The account and its credentials come from Azure's own variables and login.

Requests go through the client that adlfs made: its own calls ask more often than needed, and let no metadata through.
"""

import os
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from launcher.adapters.store import wire
from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.providers.base import MARK, Abandoned, Part, Place, Receipt, Stamp
from launcher.adapters.store.wire import Answer, Request
from launcher.errors import StoreDenied, StoreUnusable
from launcher.units import Bytes, Seconds

_CONNECTION, _ACCOUNT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"
_LOGIN = f"run `az login` and set {_ACCOUNT}, or set {_CONNECTION}"
_DENIED = "access denied; the identity needs Storage Blob Data Contributor on {bucket}"
_NONE = f"no credentials for Azure ({{said}}); {_LOGIN}"
_AUDIENCE = "https://storage.azure.com/.default"
_TOKEN_LEFT_S: Seconds = 300.0
_SIGNED_FOR = timedelta(hours=1)
_ONCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 15}  # repeating is ours


class Azure:
    extra = "az"
    parts_at_once = 5
    remedies: Mapping[str, str] = {
        "ContainerNotFound": "there is no container {bucket}; create it, or mend the name in checkpoint.dir",
        "ContainerBeingDeleted": "the container {bucket} is being deleted; choose another",
        "ContainerDisabled": "the container {bucket} is disabled; its owner must enable it",
        "InvalidResourceName": "{bucket} cannot be the name of a container; mend it in checkpoint.dir",
        "AccountIsDisabled": "the storage account is disabled; its owner must enable it",
        "AccountBeingCreated": "the storage account is still being created; wait for it",
    }
    denials: Mapping[str, str] = {
        "AuthenticationFailed": f"Azure does not accept the credentials, or this machine's clock is off; {_LOGIN}",
        "InvalidAuthenticationInfo": f"the credentials have expired or are not valid; {_LOGIN}",
        "NoAuthenticationInformation": _NONE,
        "PublicAccessNotPermitted": _NONE,
        "AuthorizationFailure": _DENIED,
        "AuthorizationPermissionMismatch": _DENIED,
        "InsufficientAccountPermissions": _DENIED,
        "AuthorizationSourceIPMismatch": "access denied from this address; the account's firewall must let it in",
        "CredentialUnavailableError": _NONE,
        "ClientAuthenticationError": _NONE,
        "BadConnectionString": f"{_CONNECTION} cannot be read; copy it anew from the account's access keys",
    }
    unreached: tuple[str, ...] = ("ServiceRequestError",)
    address = f"the account's name ({_ACCOUNT}, {_CONNECTION})"

    def __init__(self) -> None:
        self._granted: Any = None

    def connect(self, bucket: str) -> Any:
        try:
            from adlfs import AzureBlobFileSystem
        except ImportError as error:
            raise StoreUnusable("az:// needs another package; pip install 'spot-launch[az]'") from error
        named = bucket.partition("@")[2].partition(".")[0]
        connection, account = os.environ.get(_CONNECTION), named or os.environ.get(_ACCOUNT)
        if not connection and not account:
            raise StoreDenied(f"nothing says which storage account {bucket!r} is in; {_LOGIN}")
        how: dict[str, Any] = {"connection_string": connection} if connection else {"account_name": account, "anon": False}
        return AzureBlobFileSystem(**how, use_listings_cache=False, skip_instance_cache=True)

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        await _blob(fs, place).upload_blob(data, overwrite=False, metadata={MARK: mark}, **_ONCE)

    async def replace(self, fs: Any, place: Place, data: bytes) -> None:
        await _blob(fs, place).upload_blob(data, overwrite=True, **_ONCE)

    async def read(self, fs: Any, place: Place, start: Bytes, end: Bytes) -> bytes:
        stream = await _blob(fs, place).download_blob(offset=start, length=end - start, **_ONCE)
        return bytes(await stream.readall())

    async def read_into(self, fs: Any, place: Place, start: Bytes, into: memoryview) -> Bytes:
        wanted = {"Range": f"bytes={start}-{start + len(into) - 1}"}
        return (await self._carried(fs, place, Request(method="GET", headers=wanted, into=into))).size

    async def begin(self, fs: Any, place: Place, mark: str) -> str:
        return mark  # an upload is what its blocks are called, and nobody else's shall be called so

    async def send(self, fs: Any, place: Place, upload: str, part: Part) -> Receipt:
        block = f"{upload}-{part.number:06d}"  # all of the same length, as Azure wants it
        named = f"comp=block&blockid={quote(b64encode(block.encode()), safe='')}"
        await self._carried(fs, place, Request(method="PUT", body=part.data), query=named)
        return {"block": block}

    async def finish(self, fs: Any, place: Place, upload: str, receipts: list[Receipt], mark: str) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(receipt["block"]) for receipt in receipts]
        absent = MatchConditions.IfMissing
        await _blob(fs, place).commit_block_list(blocks, metadata={MARK: mark}, match_condition=absent, **_ONCE)

    async def abandon(self, fs: Any, place: Place, upload: str) -> None:
        pass  # Azure itself throws blocks away that nobody commits, after a week

    async def abandoned(self, fs: Any, bucket: str, prefix: str) -> list[Abandoned]:
        return []

    async def stamp(self, fs: Any, place: Place) -> Stamp:
        found = await _blob(fs, place).get_blob_properties(**_ONCE)
        return Stamp((found.metadata or {}).get(MARK), found.last_modified.timestamp())

    async def names(self, fs: Any, bucket: str, prefix: str) -> list[tuple[str, Bytes]]:
        container = fs.service_client.get_container_client(bucket)
        blobs = container.list_blobs(name_starts_with=prefix, include=["metadata"], **_ONCE)
        # Accounts with a hierarchical namespace list their folders too.
        return [(blob.name, blob.size) async for blob in blobs if (blob.metadata or {}).get("hdi_isfolder") != "true"]

    async def delete(self, fs: Any, place: Place) -> None:
        await _blob(fs, place).delete_blob(**_ONCE)

    async def lifecycle(self, fs: Any, bucket: str) -> list[LifecycleRule] | None:
        return None  # a matter of the account, told only to its administrators

    async def _carried(self, fs: Any, place: Place, request: Request, *, query: str = "") -> Answer:
        """A request with a lot to carry, which the library has no way to sign and not to send."""
        service = fs.service_client
        headers = {"x-ms-version": service.api_version, **request.headers}
        url = _blob(fs, place).url  # with the signature of a connection string, where that one holds no key
        if hasattr(service.credential, "account_key"):
            query = "&".join(filter(None, (query, _signature(service.credential, place))))
        elif hasattr(service.credential, "get_token"):
            headers["Authorization"] = f"Bearer {await self._token(service.credential)}"
        if query:
            url += f"{'&' if '?' in url else '?'}{query}"
        answer = await wire.carried(replace(request, url=url, headers=headers))
        if answer.status >= 300:
            raise Refused(answer)
        return answer

    async def _token(self, credential: Any) -> str:
        """Kept while it is valid: where a login is the source, each costs a process."""
        if self._granted is None or self._granted.expires_on - time.time() < _TOKEN_LEFT_S:
            self._granted = await credential.get_token(_AUDIENCE)
        return str(self._granted.token)

    def code(self, error: BaseException) -> str:
        if "Connection string" in str(error):
            return "BadConnectionString"
        if isinstance(error, Refused):
            return error.code
        code = getattr(error, "error_code", None)
        return str(getattr(code, "value", code) or type(error).__name__)


class Refused(Exception):
    """An answer of Azure's that is none of success."""

    def __init__(self, answer: Answer) -> None:
        self.code = answer.headers.get("x-ms-error-code") or str(answer.status)
        self.response = answer
        super().__init__(f"{answer.status} {self.code}")


def _signature(credential: Any, place: Place) -> str:
    """Of one object, for a short while: it stands in the URL."""
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    signed: str = generate_blob_sas(
        account_name=credential.account_name,
        account_key=credential.account_key,
        container_name=place.bucket,
        blob_name=place.name,
        permission=BlobSasPermissions(read=True, create=True, write=True),
        expiry=datetime.now(UTC) + _SIGNED_FOR,
    )
    return signed


def _blob(fs: Any, place: Place) -> Any:
    return fs.service_client.get_blob_client(container=place.bucket, blob=place.name)
