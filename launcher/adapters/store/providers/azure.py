"""Azure Blob Storage: adlfs. The account and its credentials come from Azure's own variables and login."""

import os
from typing import Any

from launcher.adapters.store.providers.base import first_line
from launcher.errors import StoreUnusable

_CONNECTION, _ACCOUNT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"
_LOGIN = f"run `az login` and set {_ACCOUNT}, or set {_CONNECTION}"
_REMEDIES = {
    "ContainerNotFound": "there is no container {bucket!r}; create it, or mend the name in checkpoint.dir",
    "ContainerBeingDeleted": "the container {bucket!r} is being deleted; choose another",
    "ContainerDisabled": "the container {bucket!r} is disabled; its owner must enable it",
    "AccountIsDisabled": "the storage account is disabled; its owner must enable it",
    "AuthenticationFailed": f"Azure does not accept the credentials, or this machine's clock is off; {_LOGIN}",
    "InvalidAuthenticationInfo": f"the credentials have expired or are not valid; {_LOGIN}",
    "AuthorizationFailure": "access denied; the identity needs Storage Blob Data Contributor on {bucket!r}",
    "AuthorizationPermissionMismatch": "access denied; the identity needs Storage Blob Data Contributor on {bucket!r}",
    "InsufficientAccountPermissions": "access denied; the identity needs Storage Blob Data Contributor on {bucket!r}",
    "InvalidResourceName": "{bucket!r} cannot be the name of a container; mend it in checkpoint.dir",
}


class Azure:
    extra = "azure"

    def connect(self, bucket: str) -> Any:
        try:
            from adlfs import AzureBlobFileSystem
        except ImportError as error:
            raise StoreUnusable("az:// needs another package; pip install 'spot-launch[azure]'") from error
        if not os.environ.get(_CONNECTION) and not os.environ.get(_ACCOUNT):
            raise StoreUnusable(f"nothing says which storage account {bucket!r} is in; {_LOGIN}")
        how = {} if os.environ.get(_CONNECTION) else {"account_name": os.environ[_ACCOUNT], "anon": False}
        return AzureBlobFileSystem(
            **how, timeout=15, connection_timeout=5, read_timeout=15, use_listings_cache=False, skip_instance_cache=True
        )

    def refusal(self, error: BaseException, bucket: str) -> str | None:
        if type(error).__name__ in ("CredentialUnavailableError", "ClientAuthenticationError") and not _code(error):
            return f"no credentials for Azure ({first_line(error)}); {_LOGIN}"
        remedy = _REMEDIES.get(_code(error))
        return None if remedy is None else remedy.format(bucket=bucket)

    def is_taken(self, error: BaseException) -> bool:
        return False


def _code(error: BaseException) -> str:
    """Azure's name for what went wrong, "" where it gave none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")
