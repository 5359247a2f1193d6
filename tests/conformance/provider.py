"""A provider in this process's memory, which misbehaves on demand: RemoteStore's own rules, without a network or a library."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsspec import asyn

from launcher.adapters.store.base import LifecycleRule
from launcher.adapters.store.providers.base import Abandoned, Part, Place, Receipt, Stamp


@dataclass
class Coded(Exception):
    said: str


@dataclass
class MemoryFileSystem:
    loop: Any = field(default_factory=asyn.get_loop)


@dataclass
class Upload:
    """One that is not finished."""

    place: Place
    began_at: float
    mark: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class MemoryProvider:
    """`before` and `after` are called with the name of each request and may raise what a library would, or return a coroutine
    function to wait for."""

    objects: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    before: Callable[[str], Any] = lambda _: None
    after: Callable[[str], Any] = lambda _: None
    requests: list[str] = field(default_factory=list)
    connecting: Callable[[], None] = lambda: None
    is_there: bool = True  # the bucket
    clock_is_behind: float = 0.0
    rules: list[LifecycleRule] | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    parts_at_once: int = 3

    extra: str = "memory"
    remedies: Mapping[str, str] = field(default_factory=lambda: {"NoSuchBucket": "there is no bucket {bucket}"})
    denials: Mapping[str, str] = field(default_factory=lambda: {"AccessDenied": "access denied ({said})"})
    unreached: tuple[str, ...] = ()
    address: str = "nothing"

    def connect(self, bucket: str) -> MemoryFileSystem:
        self.requests.append("connect")
        self.connecting()
        return MemoryFileSystem()

    async def create(self, fs: Any, place: Place, data: bytes, mark: str) -> None:
        await self._ask("create")
        if place.name in self.objects:
            raise FileExistsError(place.name)
        self.objects[place.name] = (data, mark)
        await self._answer("create")

    async def replace(self, fs: Any, place: Place, data: bytes) -> None:
        await self._ask("replace")
        self.objects[place.name] = (data, None)
        await self._answer("replace")

    async def read(self, fs: Any, place: Place, start: int, end: int) -> bytes:
        await self._ask("read")
        data, _ = self._found(place)
        if start >= len(data):
            raise Coded("416")
        await self._answer("read")
        return data[start:end]

    async def read_into(self, fs: Any, place: Place, start: int, into: memoryview) -> int:
        data = await self.read(fs, place, start, start + len(into))
        into[: len(data)] = data
        return len(data)

    async def begin(self, fs: Any, place: Place, mark: str) -> str:
        await self._ask("begin")
        upload = f"upload-{len(self.requests)}"
        self.uploads[upload] = Upload(place, time.time(), mark)
        await self._answer("begin")
        return upload

    async def send(self, fs: Any, place: Place, upload: str, part: Part) -> Receipt:
        await self._ask("send")
        self._upload(upload).parts[part.number] = b"".join(part.data)
        await self._answer("send")
        return {"number": part.number}

    async def finish(self, fs: Any, place: Place, upload: str, receipts: list[Receipt], mark: str) -> None:
        await self._ask("finish")
        parts = self._upload(upload).parts
        if place.name in self.objects:
            raise Coded("PreconditionFailed")
        self.objects[place.name] = (b"".join(parts[receipt["number"]] for receipt in receipts), mark)
        del self.uploads[upload]
        await self._answer("finish")

    async def abandon(self, fs: Any, place: Place, upload: str) -> None:
        await self._ask("abandon")
        self._upload(upload)
        del self.uploads[upload]

    async def abandoned(self, fs: Any, bucket: str, prefix: str) -> list[Abandoned]:
        await self._ask("abandoned")
        return [
            Abandoned(place=left.place, upload=name, began_at=left.began_at)
            for name, left in self.uploads.items()
            if left.place.name.startswith(prefix)
        ]

    async def stamp(self, fs: Any, place: Place) -> Stamp:
        await self._ask("stamp")
        return Stamp(self._found(place)[1], time.time() - self.clock_is_behind)

    async def names(self, fs: Any, bucket: str, prefix: str) -> list[tuple[str, int]]:
        await self._ask("names")
        return [(name, len(data)) for name, (data, _) in self.objects.items() if name.startswith(prefix)]

    async def delete(self, fs: Any, place: Place) -> None:
        await self._ask("delete")
        self._found(place)
        del self.objects[place.name]

    async def lifecycle(self, fs: Any, bucket: str) -> list[LifecycleRule] | None:
        await self._ask("lifecycle")
        return self.rules

    def code(self, error: BaseException) -> str:
        return error.said if isinstance(error, Coded) else type(error).__name__

    def _upload(self, name: str) -> Upload:
        if name not in self.uploads:
            raise Coded("NoSuchUpload")
        return self.uploads[name]

    def _found(self, place: Place) -> tuple[bytes, str | None]:
        if place.name not in self.objects:
            raise FileNotFoundError(place.name)
        return self.objects[place.name]

    async def _ask(self, request: str) -> None:
        self.requests.append(request)
        if not self.is_there:
            raise FileNotFoundError("bucket")
        if (waiting := self.before(request)) is not None:
            await waiting()

    async def _answer(self, request: str) -> None:
        if (waiting := self.after(request)) is not None:
            await waiting()


async def silence() -> None:
    """An answer that never comes."""
    await asyncio.Event().wait()


def times(count: int, request: str, act: Callable[[], Any]) -> Callable[[str], Any]:
    """Do `act` for the first `count` requests of that name."""
    left = [count]

    def acting(name: str) -> Any:
        if name != request or left[0] <= 0:
            return None
        left[0] -= 1
        return act()

    return acting


def failing(kind: type[Exception], *said: str) -> Callable[[], Any]:
    """Raises a new one each time."""

    def fail() -> Any:
        raise kind(*said)

    return fail
