"""Amazon S3, and what speaks its language: s3fs. Addresses and credentials come from the AWS tools' own chain."""

from collections.abc import Mapping
from typing import Any

from launcher.adapters.store.providers.base import IGNORES_CREATE, first_line
from launcher.errors import StoreUnusable

_CONFIG = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 2, "mode": "standard"}}
_RETRIES = 2  # s3fs repeats on top of that; the rest is ours
_LOGIN = "log in (`aws sso login`), set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REMEDIES = {
    "NoSuchBucket": "there is no bucket {bucket!r}; create it, or mend the name in checkpoint.dir",
    "InvalidBucketName": "{bucket!r} cannot be the name of a bucket; mend it in checkpoint.dir",
    "PermanentRedirect": "the bucket {bucket!r} lies in another region; set AWS_REGION to its own",
    "AuthorizationHeaderMalformed": "the bucket {bucket!r} lies in another region; set AWS_REGION to its own",
    "IllegalLocationConstraintException": "the bucket {bucket!r} lies in another region; set AWS_REGION to its own",
    "ExpiredToken": f"the credentials have expired; {_LOGIN}",
    "ExpiredTokenException": f"the credentials have expired; {_LOGIN}",
    "TokenRefreshRequired": f"the credentials have expired; {_LOGIN}",
    "InvalidAccessKeyId": f"AWS does not know this access key; {_LOGIN}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_LOGIN}",
    "InvalidToken": f"the session token is not valid; {_LOGIN}",
    "AccessDenied": "access denied; the role needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on {bucket!r}",
    "AllAccessDisabled": "access to {bucket!r} is switched off by its owner",
    "AccountProblem": "the account of {bucket!r} has a problem; its owner must ask AWS",
    "QuotaExceeded": "the quota of the store is used up; free some space or raise it",
    "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes; set it (`timedatectl set-ntp true`)",
    "NotImplemented": IGNORES_CREATE,
}
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError")


class S3:
    extra = "s3"

    def connect(self, bucket: str) -> Any:
        try:
            from s3fs import S3FileSystem
        except ImportError as error:
            raise StoreUnusable("s3:// needs another package; pip install 'spot-launch[s3]'") from error
        made = S3FileSystem(config_kwargs=_CONFIG, use_listings_cache=False, skip_instance_cache=True)
        made.retries = _RETRIES
        return made

    def refusal(self, error: BaseException, bucket: str) -> str | None:
        if type(error).__name__ in _NO_CREDENTIALS:
            return f"no credentials for AWS ({first_line(error)}); {_LOGIN}"
        remedy = _REMEDIES.get(_code(error))
        return None if remedy is None else remedy.format(bucket=bucket)

    def is_taken(self, error: BaseException) -> bool:
        return _code(error) == "PreconditionFailed"  # ours is the only condition; s3fs knows it where the server names it


def _code(error: BaseException) -> str:
    """S3's name for what went wrong, "" where it gave none."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""
