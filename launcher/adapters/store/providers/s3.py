"""Amazon S3, and what speaks its language: s3fs. Addresses and credentials come from the AWS tools' own chain."""

from collections.abc import Mapping
from typing import Any

from launcher.adapters.store.providers.base import IGNORES_CREATE
from launcher.errors import StoreUnusable

_CONFIG = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2, "mode": "standard"}}
_RETRIES = 2  # by s3fs on top of that; the rest is ours
_LOGIN = "log in (`aws sso login`), set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_ELSEWHERE = "the bucket {bucket} lies in another region; set AWS_REGION to its own"
_EXPIRED = f"the credentials have expired; {_LOGIN}"
_NONE = f"no credentials for AWS ({{said}}); {_LOGIN}"
_REMEDIES: Mapping[str, str] = {
    "NoSuchBucket": "there is no bucket {bucket}; create it, or mend the name in checkpoint.dir",
    "InvalidBucketName": "{bucket} cannot be the name of a bucket; mend it in checkpoint.dir",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": f"the session token is not valid; {_LOGIN}",
    "InvalidAccessKeyId": f"AWS does not know this access key; {_LOGIN}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_LOGIN}",
    "AccessDenied": "access denied; the role needs s3:GetObject, PutObject, DeleteObject and ListBucket on {bucket}",
    "AllAccessDisabled": "access to {bucket} is switched off by its owner",
    "QuotaExceeded": "the quota of the store is used up; free some space or raise it",
    "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes; set it (`timedatectl set-ntp true`)",
    "NotImplemented": IGNORES_CREATE,
    # What botocore raises before it asks anybody:
    "NoCredentialsError": _NONE,
    "PartialCredentialsError": _NONE,
    "ProfileNotFound": _NONE,
    "TokenRetrievalError": _NONE,
    "SSOTokenLoadError": _NONE,
}


class S3:
    extra = "s3"
    remedies = _REMEDIES

    def connect(self, bucket: str) -> Any:
        try:
            from s3fs import S3FileSystem
        except ImportError as error:
            raise StoreUnusable("s3:// needs another package; pip install 'spot-launch[s3]'") from error
        made = S3FileSystem(config_kwargs=_CONFIG, use_listings_cache=False, skip_instance_cache=True)
        made.retries = _RETRIES
        return made

    def code(self, error: BaseException) -> str:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
        return type(error).__name__
