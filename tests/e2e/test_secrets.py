"""A server that says again what it was asked, signatures and tokens included: nothing of ours repeats it."""

import html
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher import log
from launcher.adapters.store.base import Span
from launcher.adapters.store.providers.base import Provider
from launcher.adapters.store.providers.gcs import Gcs
from launcher.adapters.store.remote import RemoteStore
from launcher.app.bug import write_bug_report
from launcher.errors import StoreError
from tests.e2e.conftest import PROVIDERS, Faulty
from tests.servers.kinds import Kind

TOKEN = "hunter2-a-token-of-nobody-0123456789"
KEY = "aHVudGVyMi1odW50ZXIyLWh1bnRlcjI="


class SignedGcs(Gcs):
    """As with a login: the emulators of others are asked as nobody."""

    def connect(self, bucket: str) -> Any:
        from gcsfs.core import GCSFileSystem
        from google.oauth2.credentials import Credentials

        super().connect(bucket)
        return GCSFileSystem(
            token=Credentials(TOKEN),  # type: ignore[no-untyped-call]
            endpoint_url=os.environ["STORAGE_EMULATOR_HOST"],
            skip_instance_cache=True,
        )


def as_xml(head: str) -> bytes:
    said = html.escape(head.replace("\r\n", " "))
    return f'<?xml version="1.0" encoding="utf-8"?><Error><Code>Odd</Code><Message>{said}</Message></Error>'.encode()


def as_json(head: str) -> bytes:
    return json.dumps({"error": {"code": 400, "message": head.replace("\r\n", " "), "errors": []}}).encode()


def provider_of(kind: Kind) -> Provider:
    return SignedGcs() if kind.scheme == "gs" else PROVIDERS[kind.scheme]()


def with_secrets(kind: Kind, monkeypatch: pytest.MonkeyPatch, *, is_sas: bool) -> None:
    """Credentials long enough to be recognized; `is_sas`: those that are sent in each URL."""
    if kind.scheme == "s3":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    elif kind.scheme == "az":
        connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
        parts = dict(part.split("=", 1) for part in connection.split(";") if part)
        signed = f"BlobEndpoint={parts['BlobEndpoint']};SharedAccessSignature=sv=2024-01-01&se=2030-01-01&sp=rw&sig={TOKEN}%3D"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", signed if is_sas else connection)


@pytest.mark.parametrize("is_sas", [False, True], ids=["signed", "sas"])
def test_what_a_server_repeats_of_a_request_is_repeated_by_nobody(
    is_sas: bool, faulty: Faulty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if is_sas and faulty.name != "az":
        pytest.skip("only Azure has such")
    with_secrets(faulty.kind, monkeypatch, is_sas=is_sas)
    monkeypatch.setattr(log, "_secrets", ())
    faulty.proxy.add(".", "status", status=400, body=as_json if faulty.name == "gs" else as_xml, count=None)
    store = RemoteStore(faulty.url, provider_of(faulty.kind), deadline=0.0)
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.create("a", b"x"),
        lambda: store.create("a", bytes(17 * 2**20)),
        lambda: store.replace("a", b"x"),
        lambda: store.get("a"),
        lambda: next(store.read_ahead([("a", Span(0, 9))])),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    )
    said = io.StringIO()
    log.configure(log.Sink(stream=said), log.Sink(stream=said, as_json=True))
    for call in calls:
        with pytest.raises(StoreError) as told:
            call()
        log.warning("world_unreachable", error=str(told.value), chain=[repr(e) for e in chain_of(told.value)])
        said.write(f"{told.value} {told.value!r}")
        said.write(Path(write_bug_report([], told.value, str(tmp_path))).read_text())
    log.configure(log.Sink())
    granting = secrets_in_requests(faulty)
    assert granting, "the requests were signed"
    assert [secret for secret in granting if secret in said.getvalue()] == []


def chain_of(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *chain_of(error.__cause__ or error.__context__)]


def secrets_in_requests(faulty: Faulty) -> set[str]:
    """Whatever in the requests would let a reader make them again."""
    found: set[str] = set()
    for entry in faulty.proxy.log:
        words = re.split("[ =:,]", entry.headers.get("authorization", ""))
        found |= {word for word in words if len(word) >= 30}
        found |= {part.removeprefix("sig=") for part in re.split("[?& ]", entry.line) if part.startswith("sig=")}
        found |= {TOKEN} & {entry.headers.get("x-amz-security-token")}
    return found
