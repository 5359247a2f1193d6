"""Stores that will not have us: one clear line each, at once, with an exit code that says whose fault it is."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launcher import codec
from launcher.adapters.store.base import Span
from launcher.adapters.store.open import open_store
from launcher.adapters.store.providers.s3 import S3
from launcher.adapters.store.remote import RemoteStore
from launcher.errors import NoSuchHost, StoreDenied, StoreError, StoreUnknown, StoreUnusable
from tests.conformance.test_skypilot_cloud import SPEC
from tests.e2e.conftest import PROVIDERS, Faulty, Remote

AT_ONCE_S = 30.0  # half the deadline: what is tried until then is not told at once; two busy cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    stores: tuple[str, ...]
    status: int
    code: str
    kind: type[StoreError]
    says: str
    message: str = "no"


AMAZON, GOOGLE, AZURE = ("s3", "moto"), ("gs",), ("az",)
REFUSALS = (
    Refusal(stores=AMAZON, status=403, code="AccessDenied", kind=StoreDenied, says="PutObject"),
    Refusal(stores=AMAZON, status=400, code="ExpiredToken", kind=StoreDenied, says="expired"),
    Refusal(stores=AMAZON, status=403, code="InvalidAccessKeyId", kind=StoreDenied, says="does not know this access key"),
    Refusal(stores=AMAZON, status=403, code="SignatureDoesNotMatch", kind=StoreDenied, says="secret key"),
    Refusal(stores=AMAZON, status=400, code="AuthorizationHeaderMalformed", kind=StoreUnusable, says="another region"),
    Refusal(stores=AMAZON, status=301, code="PermanentRedirect", kind=StoreUnusable, says="set AWS_DEFAULT_REGION"),
    Refusal(stores=AMAZON, status=400, code="IllegalLocationConstraintException", kind=StoreUnusable, says="another region"),
    Refusal(stores=AMAZON, status=507, code="XMinioStorageFull", kind=StoreUnusable, says="full"),
    Refusal(stores=AMAZON, status=409, code="QuotaExceeded", kind=StoreUnusable, says="quota"),
    Refusal(stores=GOOGLE, status=403, code="forbidden", kind=StoreDenied, says="Storage Object Admin"),
    Refusal(stores=GOOGLE, status=401, code="authError", kind=StoreDenied, says="expired or are not valid"),
    Refusal(
        stores=GOOGLE,
        status=401,
        code="required",
        kind=StoreDenied,
        says="no credentials for Google Cloud",
        message="Anonymous caller does not have storage.objects.create access",
    ),
    Refusal(stores=AZURE, status=403, code="AuthorizationPermissionMismatch", kind=StoreDenied, says="Contributor"),
    Refusal(stores=AZURE, status=401, code="InvalidAuthenticationInfo", kind=StoreDenied, says="expired or are not valid"),
    Refusal(stores=AZURE, status=403, code="AccountIsDisabled", kind=StoreUnusable, says="disabled"),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.code)
def test_a_refusal_is_told_at_once_with_its_remedy(refusal: Refusal, faulty: Faulty) -> None:
    if faulty.name not in refusal.stores:
        pytest.skip("another provider's")
    faulty.proxy.add(".", "status", status=refusal.status, body=body_of(refusal, faulty), count=None)
    store = open_store(faulty.url)
    for call in (lambda: store.create("a", b"x"), lambda: store.replace("a", b"x"), lambda: store.get("a", Span(0, 9))):
        begun = time.monotonic()
        with pytest.raises(refusal.kind, match=refusal.says) as told:
            call()
        assert time.monotonic() - begun < AT_ONCE_S
        assert told.value.exit_code == (5 if refusal.kind is StoreDenied else 6)
        assert faulty.url in str(told.value)


@pytest.mark.parametrize("faulty", ["moto"], indirect=True)
def test_a_machine_that_may_write_nothing_says_so_by_its_exit(faulty: Faulty, tmp_path: Path) -> None:
    refusal = REFUSALS[0]
    faulty.proxy.add("^PUT ", "status", status=refusal.status, body=body_of(refusal, faulty), count=None)
    (tmp_path / "spec").write_bytes(codec.dumps(replace(SPEC, store=faulty.url)))
    here = os.environ | {"LAUNCH_NOTICE_SOURCE": str(tmp_path / "notice")}
    command = [sys.executable, "-m", "launcher.node", str(tmp_path / "spec")]
    agent = subprocess.run(command, cwd=tmp_path, env=here, stderr=subprocess.PIPE, text=True)
    assert (agent.returncode, list(open_store(faulty.url).list(""))) == (StoreDenied.exit_code, [])
    assert refusal.says in agent.stderr


def body_of(refusal: Refusal, faulty: Faulty) -> bytes:
    if faulty.name == "gs":
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "errors": [{"reason": refusal.code}]}
        return json.dumps({"error": error}).encode()
    said = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
    return f'<?xml version="1.0" encoding="utf-8"?>{said}'.encode()


def test_a_bucket_that_is_not_there(remote: Remote) -> None:
    store = open_store(f"{remote.kind.scheme}://no-such-bucket/runs")
    for call in (
        lambda: store.create("a", b"x"),
        lambda: store.replace("a", b"x"),
        lambda: list(store.list("")),
        lambda: store.get("a"),
        lambda: store.get("a", Span(0, 9)),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreUnusable, match=r"there is no (bucket|container) 'no-such-bucket'"):
            call()


def test_no_credentials_at_all(remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    if remote.name == "gs":
        pytest.skip("its server asks for none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreDenied, match=r"aws sso login|az login"):
        open_store(remote.url).create("a", b"x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typo:
    """In what says where a store is, and with what right."""

    name: str
    value: str
    kind: type[StoreError]
    says: str


TYPOS = {
    "s3": (
        Typo(name="AWS_DEFAULT_REGION", value="us east", kind=StoreUnusable, says="AWS_DEFAULT_REGION names no region"),
        Typo(name="AWS_ENDPOINT_URL_S3", value="nonsense", kind=StoreUnusable, says="AWS_ENDPOINT_URL_S3 .* is no URL"),
        Typo(
            name="AWS_ENDPOINT_URL_S3",
            value="http://127.0.0.1:1",
            kind=StoreUnknown,
            says="check the network and the region and add",
        ),
        Typo(name="AWS_ENDPOINT_URL_S3", value="http://s3.invalid", kind=NoSuchHost, says="s3.invalid.*AWS_ENDPOINT_URL_S3"),
        Typo(name="AWS_PROFILE", value="nope", kind=StoreDenied, says="profile .nope. could not be found.*set AWS_PROFILE"),
    ),
    "gs": (
        Typo(name="STORAGE_EMULATOR_HOST", value="http://127.0.0.1:1", kind=StoreUnknown, says="check the network and the add"),
        Typo(name="STORAGE_EMULATOR_HOST", value="http://gs.invalid", kind=NoSuchHost, says="gs.invalid.*STORAGE_EMULATOR_HOST"),
    ),
    "az": (
        Typo(
            name="AZURE_STORAGE_CONNECTION_STRING",
            value="AccountName=a;AccountKey=aHVudGVyMg==;BlobEndpoint=http://a.invalid",
            kind=NoSuchHost,
            says="a.invalid.*check the network and the account's name",
        ),
        Typo(name="AZURE_STORAGE_CONNECTION_STRING", value="nonsense", kind=StoreDenied, says="cannot be read; copy it anew"),
        Typo(name="AZURE_STORAGE_CONNECTION_STRING", value="", kind=StoreDenied, says="which storage account"),
        Typo(
            name="AZURE_STORAGE_CONNECTION_STRING",
            value="AccountName=a;AccountKey=aHVudGVyMg==;BlobEndpoint=http://127.0.0.1:1/a",
            kind=StoreUnknown,
            says="check the network and the account's name",
        ),
    ),
}


@pytest.mark.parametrize(
    ("remote", "typo"), [(store, typo) for store, typos in TYPOS.items() for typo in typos], indirect=["remote"]
)
def test_a_typo_in_the_environment_is_told_with_its_variable(remote: Remote, typo: Typo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(typo.name, typo.value)
    store = RemoteStore(remote.url, PROVIDERS[remote.kind.scheme](), deadline=0.0)
    with pytest.raises(typo.kind, match=typo.says) as told:
        store.create("a", b"x")
    assert type(told.value) is typo.kind


def test_a_region_that_is_none_is_in_the_address_that_is_told(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    if remote.kind.scheme != "s3":
        pytest.skip("has no regions")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-esat-1")
    with pytest.raises(StoreUnknown, match=r"s3\.us-esat-1\.amazonaws\.com.*the region and address \(AWS_DEFAULT_REGION"):
        RemoteStore(remote.url, S3(), deadline=0.0).create("a", b"x")


def test_a_wrong_key_to_azure(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    if remote.name != "az":
        pytest.skip("the other servers take any key")
    name = "AZURE_STORAGE_CONNECTION_STRING"
    monkeypatch.setenv(name, os.environ[name].replace("AccountKey=Eby8", "AccountKey=Abc8"))
    with pytest.raises(StoreDenied, match=r"does not accept the credentials|access denied"):
        open_store(remote.url).create("a", b"x")
