"""Requests to S3 that carry a lot: botocore writes and signs them and reads what is wrong, their bytes go over a wire of our own.

Writing a request takes the library as long as encrypting some megabytes. So it writes the first one of an object or of an upload;
what differs only in its range or its number is that one once more, signed by the library's signer, as in its own retries. Where
such a request has no success, the library makes it anew, since it knows all that a refusal may mean.
"""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from launcher.adapters.store import wire
from launcher.adapters.store.wire import Answer, Request

_NUMBER = re.compile(r"(?<=[?&]partNumber=)\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a request carries; `headers` and `number` tell it from others of this operation and object. `file` is its body for
    the library."""

    operation: str
    of: tuple[str, ...]
    headers: Mapping[str, str]
    number: int | None = None
    file: Any = b""
    body: tuple[memoryview, ...] | None = None
    into: memoryview | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A request of the library's as it was before it was signed."""

    signer: Any
    method: str
    url: str
    headers: Mapping[str, str]
    auth_path: str | None
    context: Mapping[str, Any]


@dataclass(slots=True)
class _Passage:
    """Of a job through the library."""

    job: Job
    trusted: str
    written: _Written | None = None
    answer: Answer | None = None


_PASSAGE: ContextVar[_Passage | None] = ContextVar("passage", default=None)


class Bulk:
    """The requests of one store."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, tuple[str, ...], _Written]] = {}  # the last of each operation, and by which client

    async def carried(self, fs: Any, job: Job, ask: Callable[[], Awaitable[Any]]) -> Answer:
        """A success. `ask` is how the library makes this request."""
        s3 = await fs.set_session()
        _watch(s3)
        passage = _Passage(job, _trusted(fs))
        token = _PASSAGE.set(passage)
        try:
            if (written := self._written(s3, job)) is not None:
                answer = await _sent(await _again(written, job), passage)
                if answer.status < 300:
                    return answer
            await ask()
        finally:
            _PASSAGE.reset(token)
        if passage.written is None or passage.answer is None:
            raise RuntimeError("the library has not let us carry by ourselves")
        self._known[job.operation] = (s3, job.of, passage.written)
        return passage.answer

    def _written(self, s3: Any, job: Job) -> _Written | None:
        """A request like this one. None of a process that has forked this one, whose client was another."""
        by, of, written = self._known.get(job.operation, (None, (), None))
        return written if by is s3 and of == job.of else None


async def _again(written: _Written, job: Job) -> Any:
    from botocore.awsrequest import AWSRequest

    url = written.url if job.number is None else _NUMBER.sub(str(job.number), written.url)
    made = AWSRequest(written.method, url, {**written.headers, **job.headers}, job.file, auth_path=written.auth_path)
    made.context = dict(written.context)
    await written.signer.sign(job.operation, made)
    return made.prepare()


async def _sent(request: Any, passage: _Passage) -> Answer:
    """The library's 100-continue would take a round trip for each part."""
    headers = {name: _text(value) for name, value in request.headers.items() if name.lower() != "expect"}
    job = passage.job
    told = Request(method=request.method, url=request.url, headers=headers, body=job.body, into=job.into, trusted=passage.trusted)
    return await wire.carried(told)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# --- in the library -----------------------------------------------------------------------------------------------------------


def _watch(s3: Any) -> None:
    for event, act in (
        ("before-sign.s3.UploadPart", _signed_by_checksum),
        ("before-sign.s3.UploadPart", _noted),
        ("before-sign.s3.GetObject", _noted),
        ("before-send.s3.UploadPart", _carried),
        ("before-send.s3.GetObject", _carried),
    ):
        s3.meta.events.register(event, act, unique_id=f"launch {event} {act.__name__}")  # once


def _signed_by_checksum(request: Any, **_: Any) -> None:
    """Over TLS the signature covers a checksum in place of the body; botocore knows only of checksums that it took itself.

    Else it takes the SHA-256 of every part, on the thread that all requests share.
    """
    request.context["checksum"] = {"request_algorithm": {"in": "header", "name": "x-amz-checksum-crc32"}}


def _noted(request: Any, request_signer: Any, **_: Any) -> None:
    if (passage := _PASSAGE.get()) is not None:
        passage.written = _Written(
            signer=request_signer,
            method=request.method,
            url=request.url,
            headers={name: _text(value) for name, value in request.headers.items()},
            auth_path=request.auth_path,
            context=dict(request.context),
        )


async def _carried(request: Any, **_: Any) -> Any:
    """In place of the library's own connections."""
    if (passage := _PASSAGE.get()) is None:
        return None
    passage.answer = await _sent(request, passage)
    return _Answered(passage.answer)


class _Answered:
    """An answer as botocore wants it."""

    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self.raw = self
        self._body = answer.body

    @property
    async def content(self) -> bytes:
        return self._body


def _trusted(fs: Any) -> str:
    """Where botocore finds the certificates that it believes."""
    from botocore.httpsession import get_cert_path

    named = fs.session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(named or True))
