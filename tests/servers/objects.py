"""Buckets of objects in memory, as Google Cloud Storage keeps them: every change has a generation and may have a condition."""

import hashlib
import itertools
import threading
import time
from dataclasses import dataclass, field


class Refused(Exception):
    """An answer other than success, as an HTTP status and a few words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    name: str
    data: bytes
    generation: int
    content_type: str
    metadata: dict[str, str]
    at: float
    md5: bytes


@dataclass(slots=True, kw_only=True)
class Upload:
    """A resumable upload: what it will be called, what must hold, and what has arrived."""

    name: str
    condition: str | None
    content_type: str
    metadata: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    items: list[Object]
    prefixes: list[str]
    more_after: str | None  # the last name of this page where another follows


class Bucket:
    """Conditions are checked and the object is committed under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.uploads: dict[str, Upload] = {}
        self._objects: dict[str, Object] = {}
        self._generations = itertools.count(time.time_ns() // 1000)

    def get(self, name: str) -> Object:
        try:
            return self._objects[name]
        except KeyError:
            raise Refused(404, f"No such object: {name}") from None

    def put(self, name: str, data: bytes, *, condition: str | None, content_type: str, metadata: dict[str, str]) -> Object:
        digest = md5_of(data)
        with self.lock:
            self.check(name, condition)
            made = Object(
                name=name,
                data=data,
                generation=next(self._generations),
                content_type=content_type,
                metadata=metadata,
                at=time.time(),
                md5=digest,
            )
            self._objects[name] = made
            return made

    def finish(self, upload: Upload) -> Object:
        upload.done = self.put(
            upload.name,
            bytes(upload.data),
            condition=upload.condition,
            content_type=upload.content_type,
            metadata=upload.metadata,
        )
        upload.data = bytearray()
        return upload.done

    def delete(self, name: str, condition: str | None) -> None:
        with self.lock:
            self.get(name)
            self.check(name, condition)
            del self._objects[name]

    def check(self, name: str, condition: str | None) -> None:
        """Raises Refused where `ifGenerationMatch` does not hold; generation 0 stands for "there is none"."""
        present = self._objects.get(name)
        if condition is not None and int(condition) != (present.generation if present else 0):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")

    def page(self, *, prefix: str, delimiter: str, start: str, after: str, num_max: int) -> Page:
        items: list[Object] = []
        prefixes: list[str] = []
        last = ""
        for name in sorted(self._objects):
            if not name.startswith(prefix) or name < start:
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            shown = name if cut < 0 else name[: cut + len(delimiter)]
            if (after and shown <= after) or shown == last:
                continue
            if len(items) + len(prefixes) == num_max:
                return Page(items=items, prefixes=prefixes, more_after=last)
            last = shown
            if cut < 0:
                items.append(self._objects[name])
            else:
                prefixes.append(shown)
        return Page(items=items, prefixes=prefixes, more_after=None)


def md5_of(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
