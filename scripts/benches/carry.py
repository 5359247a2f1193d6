"""One client carries one large object up and down: `python -m scripts.benches.carry CLIENT BUCKET KEY SIZE`, a process each.

What it took, as JSON, a row for each way: seconds of wall time and of this process's CPU, and by how many bytes its memory rose
above what it held once it was connected.

ours    the store of `launch`: created only where absent; read with every piece's digest checked.
s3fs    its `put` and `get`, from and to a file in memory; nothing is checked.
raw     http.client on bare connections: the same parts and ranges, as many at once, with the one digest of each part that AWS
        asks for: a checksum over TLS, else the SHA-256 that is signed. The answers are not checked.
"""

import hashlib
import http.client
import itertools
import json
import os
import resource
import ssl
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from launcher.adapters.store import bulk
from launcher.adapters.store.open import open_store
from launcher.checkpoint import verify
from launcher.units import Bytes
from tests.e2e.carrier import Rise, carried, chunks

AT_ONCE = 5  # requests, as ours
Act = Callable[[], Any]


def ours(bucket: str, key: str, size: Bytes) -> Iterator[Act]:
    store = open_store(f"s3://{bucket}")
    store.create(f"{key}.warm", b"x")
    entry = None

    def up() -> None:
        nonlocal entry
        entry = carried(store, key, size)

    def down() -> None:
        assert entry is not None
        assert sum(len(piece) for _, piece in verify.verified(store, (entry,))) == size

    yield up
    yield down
    store.delete(key)


def s3fs(bucket: str, key: str, size: Bytes) -> Iterator[Act]:
    from s3fs import S3FileSystem

    fs = S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/{key}.warm", b"x")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        for chunk in chunks(size):
            file.write(chunk)
        file.flush()
        yield lambda: fs.put_file(file.name, f"{bucket}/{key}")
        yield lambda: fs.get_file(f"{bucket}/{key}", file.name)
    fs.rm_file(f"{bucket}/{key}")


def raw(bucket: str, key: str, size: Bytes) -> Iterator[Act]:
    at = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    trusted = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    path = f"/{bucket}/{key}"
    local = threading.local()

    def connection() -> http.client.HTTPConnection:
        if not hasattr(local, "made"):
            is_tls = at.scheme == "https"
            local.made = (
                http.client.HTTPSConnection(at.netloc, context=trusted) if is_tls else http.client.HTTPConnection(at.netloc)
            )
        made: http.client.HTTPConnection = local.made
        return made

    def ask(method: str, url: str, body: Any = b"", into: Any = None, **headers: Any) -> tuple[Any, bytes]:
        made = connection()
        made.request(method, url, body=body, headers=headers)
        answer = made.getresponse()
        assert answer.status < 300, (method, url, answer.status, answer.read(500))
        if into is None:
            return answer.headers, answer.read()
        view = memoryview(into)
        while len(view) and (got := answer.readinto(view)):
            view = view[got:]
        answer.read()
        return answer.headers, b""

    pattern = b"".join(itertools.islice(map(bytes, chunks(2 * bulk.SLOT_BYTES)), 99))[: bulk.SLOT_BYTES]
    starts = range(0, size, bulk.SLOT_BYTES)

    def up() -> None:
        _, begun = ask("POST", f"{path}?uploads")
        upload = begun.partition(b"<UploadId>")[2].partition(b"</")[0].decode()

        def send(start: Bytes) -> str:
            number = start // bulk.SLOT_BYTES + 1
            part = memoryview(pattern)[: size - start]
            digest = str(zlib.crc32(part)) if at.scheme == "https" else hashlib.sha256(part).hexdigest()
            answer, _ = ask("PUT", f"{path}?partNumber={number}&uploadId={upload}", part, Digest=digest)
            return str(answer["ETag"])

        tags = pool.map(send, starts)
        rows = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, start=1))
        told = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        connection().close()  # the server may have, while this thread was waiting
        ask("POST", f"{path}?uploadId={upload}", told, **{"If-None-Match": "*"})

    def down() -> None:
        def read(start: Bytes) -> None:
            if not hasattr(local, "slot"):
                local.slot = bytearray(bulk.SLOT_BYTES)
            end = min(start + bulk.SLOT_BYTES, size)
            ask("GET", path, into=local.slot, Range=f"bytes={start}-{end - 1}")

        list(pool.map(read, starts))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield up
        yield down
        ask("DELETE", path)


def measured(act: Callable[[], Any]) -> dict[str, float]:
    rise, began = Rise(), time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    act()
    after, wall_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s, "memory": rise.measured()}


CLIENTS = {"ours": ours, "s3fs": s3fs, "raw": raw}

if __name__ == "__main__":
    client, bucket, key, size = sys.argv[1:]
    print(json.dumps([measured(act) for act in CLIENTS[client](bucket, key, int(size))]))
