"""Credentials belong to the provider's own chain: whatever is written or said is free of them."""

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher import log
from launcher.adapters.store.credentials import secrets_in
from launcher.adapters.store.providers.gcs import Gcs
from launcher.adapters.store.remote import RemoteStore
from launcher.errors import StoreDenied, StoreUnknown
from tests.cli.past import launch
from tests.conformance.provider import MemoryProvider, failing, times

SECRET = "hunter2+and/more=="
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={SECRET};EndpointSuffix=core.windows.net"


def test_the_secret_parts_of_an_environment_are_known() -> None:
    found = secrets_in(
        {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION, "AWS_SECRET_ACCESS_KEY": "k" * 40, "PATH": "/usr/bin:/bin"}
    )
    assert set(found.values()) == {CONNECTION, SECRET, "k" * 40}


def test_what_is_too_short_to_be_a_secret_is_not_hidden_everywhere() -> None:
    assert secrets_in({"AWS_SECRET_ACCESS_KEY": "test"}) == {}


def test_googles_key_travels_as_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(GCSFileSystem=lambda **how: how)
    monkeypatch.setitem(sys.modules, "gcsfs", SimpleNamespace(core=library))
    monkeypatch.setitem(sys.modules, "gcsfs.core", library)
    assert Gcs().connect("b")["token"] is None, "Google's own chain"
    monkeypatch.setenv("GOOGLE_CREDENTIALS", '{"type": "service_account", "private_key": "hunter2"}')
    assert Gcs().connect("b")["token"] == {"type": "service_account", "private_key": "hunter2"}
    monkeypatch.setenv("GOOGLE_CREDENTIALS", "keys/hunter2.json")
    with pytest.raises(StoreDenied, match="the content of a service account's key file") as told:
        Gcs().connect("b")
    assert "hunter2" not in str(told.value)


def test_a_secret_that_a_library_repeats_in_its_error_is_not_repeated_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", CONNECTION)
    monkeypatch.setattr(log, "_secrets", ())
    provider = MemoryProvider(before=times(9, "create", failing(RuntimeError, f"cannot sign with {SECRET}")))
    with pytest.raises(StoreUnknown) as told:
        RemoteStore("az://c/runs", provider, deadline=0.0).create("a", b"x")
    assert "cannot sign with ***" in str(told.value)
    assert SECRET not in str(told.value)


def test_of_a_secret_at_the_end_of_what_is_told_no_half_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(log, "_secrets", ())
    said = "." * 190 + SECRET
    provider = MemoryProvider(before=times(9, "create", failing(RuntimeError, said)))
    with pytest.raises(StoreUnknown) as told:
        RemoteStore("s3://b/runs", provider, deadline=0.0).create("a", b"x")
    assert SECRET[:4] not in str(told.value)


def test_what_a_library_logs_by_itself_is_free_of_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert logging.lastResort is not None
    said = io.StringIO()
    last = logging.StreamHandler(said)
    monkeypatch.setattr(logging, "lastResort", last)
    RemoteStore("s3://b/runs", MemoryProvider()).create("a", b"x")
    last.handle(logging.makeLogRecord({"msg": "retrying %s", "args": ("https://b/k?sig=hunter2",)}))
    assert said.getvalue() == "retrying https://b/k?sig=***\n"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAEXAMPLE:hunter2secret@bucket/runs",
        "s3://bucket/runs?X-Amz-Signature=hunter2secret",
        "az://c/runs?sv=2024&sig=hunter2secret",
        "abfs://c:hunter2secret@acct/runs",
        "https://user:hunter2secret@host/runs",
    ],
)
@pytest.mark.parametrize("command", ["plan", "train"])
def test_a_url_that_holds_a_secret_is_refused_and_not_repeated(
    url: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path))
    assert launch(command, "tiny", f"checkpoint.dir={url}", "-o", "json") == 2
    told = capsys.readouterr()
    assert "hunter2secret" not in told.out + told.err
    assert all(b"hunter2secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("words", [("doctor", "--store"), ("rm",), ("resume",), ("logs",)])
def test_nor_is_one_that_names_a_store_or_a_run(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path))
    assert launch(*words, "s3://AKIAEXAMPLE:hunter2secret@bucket/runs/x") == 2
    told = capsys.readouterr()
    assert "hunter2secret" not in told.out + told.err


def test_a_container_in_an_azure_url_is_no_user() -> None:
    assert log.redacted("see abfs://container@account/x") == "see abfs://container@account/x"
    assert log.redacted("see https://token@host/x") == "see https://***@host/x"
    assert log.redacted("see abfs://user:password@host/x") == "see abfs://***@host/x"
