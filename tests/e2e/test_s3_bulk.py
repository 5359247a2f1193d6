"""Parts and ranges that the library has written once: what follows is as it would have written it, and a refusal is its own."""

import datetime
import gc
from collections.abc import Callable, Coroutine
from functools import partial
from http.client import HTTPMessage
from typing import Any

import pytest

from launcher.adapters.store import wire
from launcher.adapters.store.providers.base import Part, Place
from launcher.adapters.store.providers.s3 import S3
from launcher.adapters.store.waiting import waited_for
from launcher.adapters.store.wire import Answer, Request, Wire
from tests.servers.kinds import BUCKET, KINDS

PLACE = Place(BUCKET, "a folder/öbject")
UPLOAD = "up=1&partNumber=7"
NOW = datetime.datetime(2026, 11, 29, 4, 30, tzinfo=datetime.UTC)
SECONDS = 20.0
DENIED = b"<Error><Code>AccessDenied</Code></Error>"
Work = Callable[["Client", int], Coroutine[Any, Any, Any]]


class Client:
    """An S3 store whose wire is this object, and what it sent there; `num_written` of it the library wrote."""

    def __init__(self) -> None:
        self.provider = S3()
        self.fs = self.provider.connect(BUCKET)
        self.sent: list[Request] = []
        self.num_written = 0
        self.num_refused = 0

    def do(self, *works: Coroutine[Any, Any, Any]) -> list[Any]:
        return [waited_for(self.fs.loop, partial(self._counted, work), Wire(), seconds=SECONDS) for work in works]

    async def _counted(self, work: Coroutine[Any, Any, Any]) -> Any:
        s3 = await self.fs.set_session()
        s3.meta.events.register("before-call.s3", self._written, unique_id="test")
        return await work

    def _written(self, **_: Any) -> None:
        self.num_written += 1

    async def carried(self, request: Request) -> Answer:
        self.sent.append(request)
        headers = HTTPMessage()
        headers["ETag"] = f'"{len(self.sent)}"'
        if self.num_refused:
            self.num_refused -= 1
            return Answer(status=403, headers=headers, body=DENIED, size=0)
        return Answer(status=200, headers=headers, body=b"", size=len(self.sent))


async def sent(client: Client, number: int, upload: str = UPLOAD) -> Any:
    data = memoryview(b"part" * number)
    return await client.provider.send(client.fs, PLACE, upload, Part(number=number, start=0, data=(data,), total=None))


async def read(client: Client, number: int) -> Any:
    return await client.provider.read_into(client.fs, PLACE, 10 * number, memoryview(bytearray(number)))


@pytest.fixture(params=["http", "https"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Client]:
    for name, value in KINDS["s3"].environment(1).items():
        monkeypatch.setenv(name, value.replace("http:", f"{request.param}:"))
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW)

    def made() -> Client:
        client = Client()
        monkeypatch.setattr(wire, "carried", client.carried)
        return client

    return made


def signed(request: Request) -> tuple[str, str, dict[str, str], bytes | None]:
    """All of it but by what the library tells itself and its tries apart, which is not signed."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    told = {name: value for name, value in headers.items() if not name.startswith(("amz-sdk-", "user-agent"))}
    return request.method, request.url, told, None if request.body is None else b"".join(request.body)


@pytest.mark.parametrize("work", [sent, read])
def test_what_follows_is_signed_as_if_the_library_had_written_it(work: Work, client: Callable[[], Client]) -> None:
    first = client()
    first.do(work(first, 1), work(first, 12), work(first, 3))
    assert first.num_written == 1
    for number, request in ((12, first.sent[1]), (3, first.sent[2])):
        anew = client()
        anew.do(work(anew, number))
        assert signed(request) == signed(anew.sent[0])


def test_each_part_has_its_own_receipt(client: Callable[[], Client]) -> None:
    first = client()
    receipts = first.do(sent(first, 1), sent(first, 2))
    assert [(one["PartNumber"], one["ETag"]) for one in receipts] == [(1, '"1"'), (2, '"2"')]
    assert receipts[0]["ChecksumCRC32"] != receipts[1]["ChecksumCRC32"]


@pytest.mark.parametrize("work", [sent, read])
def test_what_is_refused_the_library_asks_itself_and_says_why(work: Work, client: Callable[[], Client]) -> None:
    first = client()
    first.do(work(first, 1))
    first.num_refused = 1
    first.do(work(first, 2))
    assert (first.num_written, len(first.sent)) == (2, 3)
    first.num_refused = 2
    with pytest.raises(Exception, match="AccessDenied"):
        first.do(work(first, 3))


def test_another_upload_is_written_anew(client: Callable[[], Client]) -> None:
    first = client()
    first.do(sent(first, 1), sent(first, 2, "another"), sent(first, 3, "another"), sent(first, 4))
    assert first.num_written == 3
    assert ["another" in request.url for request in first.sent] == [False, True, True, False]


def test_credentials_that_changed_meanwhile_are_used(client: Callable[[], Client]) -> None:
    first = client()
    first.do(sent(first, 1))
    first.fs._s3._request_signer._credentials.access_key = "renewed"
    first.do(sent(first, 2))
    assert first.num_written == 1
    assert "Credential=renewed/" in first.sent[1].headers["Authorization"]


def test_nobody_holds_a_part_that_was_sent(client: Callable[[], Client]) -> None:
    first, data = client(), bytearray(b"part")
    parts = [Part(number=number, start=0, data=(memoryview(data),), total=None) for number in (1, 2)]
    first.do(*(first.provider.send(first.fs, PLACE, UPLOAD, part) for part in parts))
    parts.clear()
    first.sent.clear()
    gc.collect()
    data.clear()  # a BufferError where somebody does
