"""Amazon S3, and what speaks its language: s3fs. Addresses and credentials come from the AWS tools' own chain."""

import base64
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.providers.base import IGNORES_CREATE, MARK, Abandoned, Part, Place, Receipt, Stamp
from launcher.adapters.store.providers.body import Body
from launcher.adapters.store.providers.s3_bulk import Bulk, Job
from launcher.adapters.store.waiting import by_caller
from launcher.errors import StoreUnusable
from launcher.units import Bytes

try:
    from isal.isal_zlib import crc32  # takes a tenth of the time, and zlib's is a quarter of all that an upload costs
except ImportError:  # on rare machines
    from zlib import crc32

_CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 15,
    "retries": {"total_max_attempts": 2, "mode": "standard"},
    # Damage is ours to see, in every store's bytes: a record that came damaged to the store must be read to be voided.
    "response_checksum_validation": "when_required",
}
_RETRIES = 2  # by s3fs on top of that; the rest is ours
_LOGIN = "log in (`aws sso login`), set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_ELSEWHERE = "the bucket {bucket} lies in another region; set AWS_DEFAULT_REGION to {region}"
_LED_AWAY = (
    "its server leads elsewhere, not saying where; set AWS_DEFAULT_REGION to the region of {bucket}, or mend AWS_ENDPOINT_URL_S3"
)
_EXPIRED = f"the credentials have expired; {_LOGIN}"
_NONE = f"no credentials for AWS ({{said}}); {_LOGIN}"
_SWITCHED_OFF = "access to {bucket} is switched off by its owner"
_FULL = "the store is full or its quota used up; free some space or raise it"


class S3:
    extra = "s3"
    parts_at_once = 5
    remedies: Mapping[str, str] = {
        "NoSuchBucket": "there is no bucket {bucket}; create it, or mend the name in checkpoint.dir",
        "InvalidBucketName": "{bucket} cannot be the name of a bucket; mend it in checkpoint.dir",
        "ParamValidationError": "{bucket} cannot be the name of a bucket ({said}); mend it in checkpoint.dir",
        "PermanentRedirect": _ELSEWHERE,
        "301": _ELSEWHERE,
        "AuthorizationHeaderMalformed": _ELSEWHERE,
        "IllegalLocationConstraintException": _ELSEWHERE,
        "RecursionError": _LED_AWAY,  # botocore asks such a server where the bucket lies, and is led away again
        "InvalidRegionError": "AWS_DEFAULT_REGION names no region ({said}); mend it",
        "InvalidEndpoint": "AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL) is no URL ({said}); write https://HOST",
        "QuotaExceeded": _FULL,
        "XMinioStorageFull": _FULL,
        "InsufficientStorage": _FULL,
        "507": _FULL,
        "NotImplemented": IGNORES_CREATE,
    }
    denials: Mapping[str, str] = {
        "ExpiredToken": _EXPIRED,
        "ExpiredTokenException": _EXPIRED,
        "TokenRefreshRequired": _EXPIRED,
        "InvalidToken": f"the session token is not valid; {_LOGIN}",
        "InvalidAccessKeyId": f"AWS does not know this access key; {_LOGIN}",
        "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_LOGIN}",
        "AccessDenied": "access denied; the role needs s3:GetObject, PutObject, DeleteObject and ListBucket on {bucket}",
        "AllAccessDisabled": _SWITCHED_OFF,
        "AccountProblem": _SWITCHED_OFF,
        "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes; set it (`timedatectl set-ntp true`)",
        # What botocore raises before it asks anybody:
        "NoCredentialsError": _NONE,
        "PartialCredentialsError": _NONE,
        "CredentialRetrievalError": _NONE,
        "ProfileNotFound": _NONE,
        "TokenRetrievalError": _NONE,
        "SSOTokenLoadError": _NONE,
        "UnauthorizedSSOTokenError": _NONE,
    }
    unreached: tuple[str, ...] = ("EndpointConnectionError", "ConnectTimeoutError")
    address = "the region and address (AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3)"  # botocore reads no AWS_REGION

    def __init__(self) -> None:
        self._bulk = Bulk()

    def connect(self, bucket: str) -> Any:
        try:
            from s3fs import S3FileSystem
        except ImportError as error:
            raise StoreUnusable("s3:// needs another package; pip install 'spot-launch[s3]'") from error
        made = S3FileSystem(config_kwargs=_CONFIG, use_listings_cache=False, skip_instance_cache=True)
        made.retries = _RETRIES
        return made

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        await fs._pipe_file(_path(place), data, mode="create", Metadata={MARK: mark})

    async def replace(self, fs: Any, place: Place, data: bytes) -> None:
        await fs._pipe_file(_path(place), data)

    async def read(self, fs: Any, place: Place, start: Bytes, end: Bytes) -> bytes:
        return bytes(await fs._cat_file(_path(place), start=start, end=end))

    async def read_into(self, fs: Any, place: Place, start: Bytes, into: memoryview) -> Bytes:
        wanted = f"bytes={start}-{start + len(into) - 1}"
        where = {"Bucket": place.bucket, "Key": place.name}
        job = Job(operation="GetObject", of=tuple(where.values()), headers={"Range": wanted}, into=into)
        answer = await self._bulk.carried(fs, job, lambda: fs._call_s3("get_object", **where, Range=wanted))
        return answer.size

    async def begin(self, fs: Any, place: Place, mark: str) -> str:
        s3 = await fs.set_session()
        checked = {"ChecksumAlgorithm": "CRC32"} if _wants_checksums(s3) else {}
        begun = await fs._call_s3(
            "create_multipart_upload", Bucket=place.bucket, Key=place.name, Metadata={MARK: mark}, **checked
        )
        return str(begun["UploadId"])

    async def send(self, fs: Any, place: Place, upload: str, part: Part) -> Receipt:
        s3 = await fs.set_session()
        told: dict[str, Any] = {"PartNumber": part.number}
        headers: dict[str, str] = {}
        if _wants_checksums(s3):  # ours, since the library would take it on the thread that all requests share
            told["ChecksumCRC32"] = headers["x-amz-checksum-crc32"] = await by_caller(lambda _: _crc32(part.data))
        where = {"Bucket": place.bucket, "Key": place.name, "UploadId": upload}
        of = tuple(where.values())
        asked = fs._get_s3_method_kwargs(s3.upload_part, **where, **told)
        with Body(part.data) as file:
            job = Job(operation="UploadPart", of=of, headers=headers, number=part.number, file=file, body=part.data)
            answer = await self._bulk.carried(fs, job, lambda: s3.upload_part(Body=file, **asked))
        return {**told, "ETag": answer.headers["ETag"]}

    async def finish(self, fs: Any, place: Place, upload: str, receipts: list[Receipt], mark: str) -> None:
        parts = {"Parts": receipts}
        where = {"Bucket": place.bucket, "Key": place.name, "UploadId": upload}
        await fs._call_s3("complete_multipart_upload", **where, MultipartUpload=parts, IfNoneMatch="*")

    async def abandon(self, fs: Any, place: Place, upload: str) -> None:
        await fs._call_s3("abort_multipart_upload", Bucket=place.bucket, Key=place.name, UploadId=upload)

    async def abandoned(self, fs: Any, bucket: str, prefix: str) -> list[Abandoned]:
        found: list[Abandoned] = []
        more: dict[str, str] = {}
        while True:
            page = await fs._call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **more)
            found += [
                Abandoned(place=Place(bucket, one["Key"]), upload=one["UploadId"], began_at=one["Initiated"].timestamp())
                for one in page.get("Uploads", ())
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def stamp(self, fs: Any, place: Place) -> Stamp:
        head = await fs._call_s3("head_object", Bucket=place.bucket, Key=place.name)
        return Stamp(head.get("Metadata", {}).get(MARK), head["LastModified"].timestamp())

    async def names(self, fs: Any, bucket: str, prefix: str) -> list[tuple[str, Bytes]]:
        found: list[tuple[str, Bytes]] = []
        more: dict[str, str] = {}
        while True:
            page = await fs._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
            found += [(entry["Key"], entry["Size"]) for entry in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, fs: Any, place: Place) -> None:
        await fs._rm_file(_path(place))

    async def lifecycle(self, fs: Any, bucket: str) -> list[LifecycleRule] | None:
        try:
            found = await fs._call_s3("get_bucket_lifecycle_configuration", Bucket=bucket)
        except FileNotFoundError:  # how s3fs says that there are no rules
            return []
        return [
            LifecycleRule(
                prefix=_prefix(rule), deletes="Expiration" in rule, aborts_uploads="AbortIncompleteMultipartUpload" in rule
            )
            for rule in found.get("Rules", ())
            if rule.get("Status") == "Enabled" and not _wants_tags(rule.get("Filter", {}))
        ]

    def code(self, error: BaseException) -> str:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
        return "InvalidEndpoint" if "Invalid endpoint" in str(error) else type(error).__name__


def _wants_checksums(s3: Any) -> bool:
    """Unless switched off by AWS_REQUEST_CHECKSUM_CALCULATION, as for stores that know none."""
    return bool(s3.meta.config.request_checksum_calculation == "when_supported")


def _crc32(data: Iterable[memoryview]) -> str:
    found = functools.reduce(lambda so_far, view: crc32(view, so_far), data, 0)
    return base64.b64encode(found.to_bytes(4, "big")).decode()


def _wants_tags(where: Mapping[str, Any]) -> bool:
    """Our objects carry none, so such a rule is not about them."""
    return "Tag" in where or bool(where.get("And", {}).get("Tags"))


def _prefix(rule: Mapping[str, Any]) -> str:
    """Where a rule applies: older ones say it themselves, newer ones in a filter, alone or among other conditions."""
    where = rule.get("Filter", {})
    return str(where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _path(place: Place) -> str:
    return f"{place.bucket}/{place.name}"
