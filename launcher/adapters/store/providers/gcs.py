"""Google Cloud Storage: gcsfs. Credentials come from Google's own chain."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from launcher.adapters.store.providers.base import IGNORES_CREATE
from launcher.errors import StoreUnusable

_EMULATOR = "STORAGE_EMULATOR_HOST"
_LOGIN = "run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file"
_NONE = f"no credentials for Google Cloud ({{said}}); {_LOGIN}"
_EXPIRED = f"the credentials have expired or are not valid ({{said}}); {_LOGIN}"
_REMEDIES: Mapping[str, str] = {
    "DefaultCredentialsError": _NONE,
    "GoogleAuthError": _NONE,
    "RefreshError": _EXPIRED,
    "401": _EXPIRED,
    "403": "access denied ({said}); the account needs Storage Object Admin on {bucket}",
    "501": IGNORES_CREATE,
}


class Gcs:
    extra = "gcs"
    remedies = _REMEDIES

    def connect(self, bucket: str) -> Any:
        is_emulated = bool(os.environ.get(_EMULATOR))
        if is_emulated:  # else its first calls ask the real service whether the bucket is zonal, for over a minute
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            from gcsfs import GCSFileSystem
        except ImportError as error:
            raise StoreUnusable("gs:// needs another package; pip install 'spot-launch[gcs]'") from error
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints the trace of errors that it raises as well
        return GCSFileSystem(
            token="anon" if is_emulated else None, requests_timeout=15, use_listings_cache=False, skip_instance_cache=True
        )

    def code(self, error: BaseException) -> str:
        name = type(error).__name__
        return str(getattr(error, "code", "")) if name == "HttpError" else name
