"""Google Cloud Storage: gcsfs. Credentials come from Google's own chain (`gcloud auth application-default login`)."""

import os
from typing import Any

from launcher.adapters.store.providers.base import first_line
from launcher.errors import StoreUnusable

_LOGIN = "run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file"
_EMULATOR = "STORAGE_EMULATOR_HOST"


class Gcs:
    extra = "gcs"

    def connect(self, bucket: str) -> Any:
        is_emulated = bool(os.environ.get(_EMULATOR))
        if is_emulated:  # else its first calls ask the real service whether the bucket is zonal, for over a minute
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            from gcsfs import GCSFileSystem
        except ImportError as error:
            raise StoreUnusable("gs:// needs another package; pip install 'spot-launch[gcs]'") from error
        return GCSFileSystem(
            token="anon" if is_emulated else None, requests_timeout=15, use_listings_cache=False, skip_instance_cache=True
        )

    def refusal(self, error: BaseException, bucket: str) -> str | None:
        name, code = type(error).__name__, str(getattr(error, "code", ""))
        if name in ("DefaultCredentialsError", "GoogleAuthError"):
            return f"no credentials for Google Cloud ({first_line(error)}); {_LOGIN}"
        if name == "RefreshError" or (name == "HttpError" and code == "401"):
            return f"the credentials have expired or are not valid ({first_line(error)}); {_LOGIN}"
        said = str(error)
        if isinstance(error, FileNotFoundError) and ("bucket does not exist" in said or said.endswith(f"b/{bucket}")):
            return f"there is no bucket {bucket!r}; create it, or mend the name in checkpoint.dir"
        if name == "HttpError" and code == "403":
            return f"access denied ({first_line(error)}); the account needs Storage Object Admin on {bucket!r}"
        return None

    def is_taken(self, error: BaseException) -> bool:
        return False
