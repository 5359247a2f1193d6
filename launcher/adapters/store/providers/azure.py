"""Azure Blob Storage: adlfs. The account and its credentials come from Azure's own variables and login."""

import os
from collections.abc import Mapping
from typing import Any

from launcher.errors import StoreUnusable

_CONNECTION, _ACCOUNT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"
_LOGIN = f"run `az login` and set {_ACCOUNT}, or set {_CONNECTION}"
_DENIED = "access denied; the identity needs Storage Blob Data Contributor on {bucket}"
_NONE = f"no credentials for Azure ({{said}}); {_LOGIN}"
_REMEDIES: Mapping[str, str] = {
    "ContainerNotFound": "there is no container {bucket}; create it, or mend the name in checkpoint.dir",
    "ContainerBeingDeleted": "the container {bucket} is being deleted; choose another",
    "ContainerDisabled": "the container {bucket} is disabled; its owner must enable it",
    "InvalidResourceName": "{bucket} cannot be the name of a container; mend it in checkpoint.dir",
    "AccountIsDisabled": "the storage account is disabled; its owner must enable it",
    "AuthenticationFailed": f"Azure does not accept the credentials, or this machine's clock is off; {_LOGIN}",
    "InvalidAuthenticationInfo": f"the credentials have expired or are not valid; {_LOGIN}",
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "InsufficientAccountPermissions": _DENIED,
    "CredentialUnavailableError": _NONE,
    "ClientAuthenticationError": _NONE,
}


class Azure:
    extra = "azure"
    remedies = _REMEDIES

    def connect(self, bucket: str) -> Any:
        try:
            from adlfs import AzureBlobFileSystem
        except ImportError as error:
            raise StoreUnusable("az:// needs another package; pip install 'spot-launch[azure]'") from error
        named = bucket.partition("@")[2].partition(".")[0]
        connection, account = os.environ.get(_CONNECTION), named or os.environ.get(_ACCOUNT)
        if not connection and not account:
            raise StoreUnusable(f"nothing says which storage account {bucket!r} is in; {_LOGIN}")
        how: dict[str, Any] = {"connection_string": connection} if connection else {"account_name": account, "anon": False}
        return AzureBlobFileSystem(
            **how, timeout=15, connection_timeout=5, read_timeout=15, use_listings_cache=False, skip_instance_cache=True
        )

    def code(self, error: BaseException) -> str:
        code = getattr(error, "error_code", None)
        return str(getattr(code, "value", code) or type(error).__name__)
