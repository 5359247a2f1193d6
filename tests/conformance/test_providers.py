"""What a person is told of the errors that the providers' libraries raise."""

from typing import Any

import pytest

from launcher.adapters.store.open import open_store
from launcher.adapters.store.providers.azure import Azure
from launcher.adapters.store.providers.base import Provider, sorted_error
from launcher.adapters.store.providers.gcs import Gcs
from launcher.adapters.store.providers.s3 import S3
from launcher.errors import KeyExists, KeyMissing, StoreDenied, StoreError, StoreUnknown, StoreUnusable


class Coded(Exception):
    """As botocore's ClientError and azure-core's HttpResponseError look from outside."""

    def __init__(self, code: str) -> None:
        super().__init__(f"({code}) refused")
        self.response: dict[str, dict[str, Any]] = {"Error": {"Code": code}}
        self.error_code = code


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def told(provider: Provider, error: Exception) -> StoreError:
    return sorted_error(provider, error, url="x://bkt/runs", bucket="bkt", key="a/b")


@pytest.mark.parametrize("provider", [S3(), Gcs(), Azure()], ids=lambda p: p.extra)
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileExistsError("there"), KeyExists),
        (FileNotFoundError("nothing"), KeyMissing),
        (PermissionError("no"), StoreDenied),
        (OSError(38, "not implemented"), StoreUnusable),
        (OSError(5, "a conflict that passes"), StoreUnknown),
        (TimeoutError("too late"), StoreUnknown),
        (ConnectionResetError("gone"), StoreUnknown),
        (RuntimeError("Session is closed"), StoreUnknown),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_provider_sorts_what_all_raise(provider: Provider, error: Exception, kind: type[StoreError]) -> None:
    found = told(provider, error)
    assert type(found) is kind
    assert "x://bkt/runs" in str(found) or "a/b" in str(found)


@pytest.mark.parametrize(
    ("provider", "code", "says"),
    [
        (S3(), "NoSuchBucket", "there is no bucket 'bkt'"),
        (S3(), "PermanentRedirect", "another region"),
        (S3(), "AuthorizationHeaderMalformed", "set AWS_DEFAULT_REGION to its own"),
        (S3(), "ExpiredToken", "expired"),
        (S3(), "AccessDenied", "PutObject"),
        (S3(), "RequestTimeTooSkewed", "clock is off"),
        (S3(), "NotImplemented", "create-if-absent"),
        (S3(), "QuotaExceeded", "free some space"),
        (Azure(), "ContainerNotFound", "no container 'bkt'"),
        (Azure(), "AuthorizationPermissionMismatch", "Storage Blob Data Contributor"),
        (Azure(), "AuthenticationFailed", "clock"),
    ],
)
def test_what_no_retry_mends_is_told_with_its_remedy(provider: Provider, code: str, says: str) -> None:
    for error in (raised(Coded(code)), raised(PermissionError("Forbidden"), Coded(code)), raised(OSError(22, "?"), Coded(code))):
        found = told(provider, error)
        assert isinstance(found, StoreUnusable)
        assert says in str(found)


def test_a_bucket_elsewhere_is_told_with_its_region_wherever_amazon_says_it() -> None:
    by_body, by_header = Coded("AuthorizationHeaderMalformed"), Coded("301")
    by_body.response["Error"]["Region"] = "eu-west-3"
    by_header.response["ResponseMetadata"] = {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-3"}}
    for error in (by_body, by_header):
        assert "set AWS_DEFAULT_REGION to eu-west-3" in str(told(S3(), raised(OSError(22, "?"), error)))


@pytest.mark.parametrize("provider", [S3(), Gcs(), Azure()], ids=lambda p: p.extra)
def test_a_silence_is_told_with_what_to_check(provider: Provider) -> None:
    remedy = f"check the network and {provider.address}"
    assert str(told(provider, TimeoutError())) == f"no answer for x://bkt/runs/a/b: TimeoutError; {remedy}"


def test_a_precondition_that_failed_means_that_the_key_is_taken() -> None:
    """Whether or not the server names the condition, on which s3fs insists."""
    assert isinstance(told(S3(), raised(OSError(22, "pre-conditions"), Coded("PreconditionFailed"))), KeyExists)


def test_a_bucket_that_is_not_there_is_no_missing_key() -> None:
    assert isinstance(told(S3(), raised(FileNotFoundError("bkt"), Coded("NoSuchBucket"))), StoreUnusable)
    assert isinstance(told(S3(), raised(FileNotFoundError("bkt/a"), Coded("NoSuchKey"))), KeyMissing)


@pytest.mark.parametrize("url", ["s3://bkt/runs/", "gs://bkt", "az://c/a/b", "abfs://c/a", "abfs://c@account/a"])
def test_opening_touches_nothing_and_needs_no_package(url: str) -> None:
    assert open_store(url).url == url.rstrip("/")
