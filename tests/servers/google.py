"""Google Cloud Storage's JSON API on 127.0.0.1, as far as a store needs it, with every precondition enforced.

The packaged emulators do not enforce what a journal rests on: fake-gcs-server ignores ifGenerationMatch on resumable uploads,
gcp-storage-emulator everywhere (both measured). A resumable upload checks its condition when it starts and again when it
commits, as Google's own does. A body that arrives short is never committed.

    python -m tests.servers.google [PORT [BUCKET ...]]      prints its URL; port 0, the default, takes a free one
"""

import base64
import contextlib
import email.utils
import json
import re
import sys
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.servers.objects import Bucket, Object, Refused, Upload, md5_of

Json = dict[str, Any]
BINARY = "application/octet-stream"
API = re.compile(r"/(?:(upload|download|resumable/upload)/)?storage/v1/b(?:/([^/]+))?(?:(/o)(?:/(.*))?)?$")
RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)$")
BOUNDARY = re.compile(r"boundary=['\"]?([^'\";]+)")
BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Google(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, buckets: list[str]) -> None:
        super().__init__(("127.0.0.1", port), Api)
        self.buckets = {name: Bucket() for name in buckets}

    def bucket(self, name: str) -> Bucket:
        if name not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[name]


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 20
    query: Mapping[str, str]

    def answer(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.close_connection = True  # unless the whole request was read and answered
            body = self._body()
            self.close_connection = self.headers.get("Connection", "").lower() == "close"
            try:
                self._dispatch(body)
            except Refused as refusal:
                reason = {412: "conditionNotMet", 404: "notFound"}.get(refusal.status, "invalid")
                error = {"code": refusal.status, "message": refusal.message, "errors": [{"reason": reason, "domain": "global"}]}
                self._send_json({"error": error}, status=refusal.status)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass

    # --- which call it is ------------------------------------------------------------------------------------------------

    def _dispatch(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        call = API.match(parts.path)
        if parts.path == "/":
            self._send(b"ok")
        elif call is None:
            raise Refused(404, f"no such call: {self.command} {parts.path}")
        elif call[2] is None:
            self._send_json({"kind": "storage#buckets", "items": [bucket_resource(name) for name in self._google.buckets]})
        else:
            kind, bucket, objects, name = call.groups(default="")
            self._on_bucket(unquote(bucket), has_objects=bool(objects), name=unquote(name), kind=kind, body=body)

    def _on_bucket(self, name_of_bucket: str, *, has_objects: bool, name: str, kind: str, body: bytes) -> None:
        bucket = self._google.bucket(name_of_bucket)
        if not has_objects:
            self._send_json(bucket_resource(name_of_bucket))
        elif kind.endswith("upload"):
            self._upload(name_of_bucket, body)
        elif not name:
            self._list(name_of_bucket)
        elif self.command == "DELETE":
            bucket.delete(name, self._condition)
            self._send(b"", status=204)
        elif self.query.get("alt") == "media":
            self._send_object(bucket.get(name))
        elif self.command == "GET":
            self._send_json(resource(name_of_bucket, bucket.get(name)))
        else:
            raise Refused(405, f"{self.command} is not for objects")

    def _list(self, of: str) -> None:
        page = self._google.bucket(of).page(
            prefix=self.query.get("prefix", ""),
            delimiter=self.query.get("delimiter", ""),
            start=self.query.get("startOffset", ""),
            after=unquote(self.query.get("pageToken", "")),
            num_max=int(self.query.get("maxResults") or 1000),
        )
        told: Json = {"kind": "storage#objects", "items": [resource(of, item) for item in page.items], "prefixes": page.prefixes}
        if page.more_after is not None:
            told["nextPageToken"] = quote(page.more_after, safe="")
        self._send_json(told)

    # --- uploads ---------------------------------------------------------------------------------------------------------

    def _upload(self, of: str, body: bytes) -> None:
        bucket = self._google.bucket(of)
        if "upload_id" in self.query:
            self._go_on(of, self.query["upload_id"], body)
            return
        if self.query.get("uploadType") == "resumable":
            self._begin(bucket, body)
            return
        if self.query.get("uploadType") == "multipart":
            told, data = parts_of(self.headers.get("Content-Type", ""), body)
        else:
            told, data = {"contentType": self.headers.get("Content-Type")}, body
        made = bucket.put(
            told.get("name") or self.query["name"],
            data,
            condition=self._condition,
            content_type=told.get("contentType") or BINARY,
            metadata=told.get("metadata") or {},
        )
        self._send_json(resource(of, made))

    def _begin(self, bucket: Bucket, body: bytes) -> None:
        told = json.loads(body or b"{}")
        upload = Upload(
            name=self.query.get("name") or told["name"],
            condition=self._condition,
            content_type=told.get("contentType") or self.headers.get("X-Upload-Content-Type") or BINARY,
            metadata=told.get("metadata") or {},
        )
        with bucket.lock:
            bucket.check(upload.name, upload.condition)
            upload_id = uuid.uuid4().hex
            bucket.uploads[upload_id] = upload
        location = f"http://{self.headers['Host']}{self.path}&upload_id={upload_id}"  # a proxy in between stays in between
        self._send(b"", headers={"Location": location})

    def _go_on(self, of: str, upload_id: str, body: bytes) -> None:
        bucket = self._google.bucket(of)
        upload = bucket.uploads.get(upload_id)
        if upload is None:
            raise Refused(404, "no such upload")
        if self.command == "DELETE":
            del bucket.uploads[upload_id]
            self._send(b"", status=499)
            return
        with bucket.lock:
            if upload.done is None and not take(upload, self.headers.get("Content-Range", ""), body):
                arrived = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
                self._send(b"", status=308, headers=arrived)
                return
            done = upload.done or bucket.finish(upload)  # a repeated last chunk gets the same answer
        self._send_json(resource(of, done))

    # --- requests and answers ----------------------------------------------------------------------------------------------

    @property
    def _google(self) -> Google:
        return cast(Google, self.server)

    @property
    def _condition(self) -> str | None:
        return self.query.get("ifGenerationMatch") or self.headers.get("x-goog-if-generation-match")

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        return self._exactly(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> bytes:
        whole = bytearray()
        while size := int(self._line().split(b";")[0], 16):
            whole += self._exactly(size)
            self._line()
        self._line()
        return bytes(whole)

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionError("the body ended early")
        return line

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) != size:
            raise ConnectionError("the body ended early")
        return data

    def _send_object(self, found: Object) -> None:
        headers = {
            "Content-Type": found.content_type,
            "ETag": f'"{found.md5.hex()}"',
            "Last-Modified": email.utils.formatdate(found.at, usegmt=True),
            "x-goog-generation": str(found.generation),
        }
        wanted = RANGE.match(self.headers.get("Range", ""))
        if wanted is None or not (wanted[1] or wanted[2]):
            headers["x-goog-hash"] = "md5=" + base64.b64encode(found.md5).decode()
            self._send(found.data, headers=headers)
            return
        size = len(found.data)
        start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        end = min(int(wanted[2]) + 1, size) if wanted[1] and wanted[2] else size
        if start >= size:
            raise Refused(416, "the range begins behind the end")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._send(found.data[start:end], status=206, headers=headers)

    def _send_json(self, value: Json, *, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status=status, headers={"Content-Type": "application/json"})

    def _send(self, data: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def take(upload: Upload, content_range: str, body: bytes) -> bool:
    """Put a chunk where it says it belongs; True when all has arrived."""
    told = CONTENT_RANGE.match(content_range)
    if told is None:
        upload.data += body
        return True
    if told[1] is not None:
        upload.data[int(told[1]) :] = body
    return told[2] != "*" and len(upload.data) >= int(told[2])


def parts_of(content_type: str, body: bytes) -> tuple[Json, bytes]:
    """The two parts of a multipart upload: what it says of the object, and the object."""
    boundary = BOUNDARY.search(content_type)
    if boundary is None:
        raise Refused(400, "a multipart upload needs a boundary")
    mark = b"--" + boundary[1].encode()
    between = body.index(b"\n" + mark, body.index(mark) + len(mark))
    told = json.loads(BLANK_LINE.split(body[len(mark) : between], maxsplit=1)[1])
    second = body[between + 1 + len(mark) : body.rindex(mark + b"--")]
    data = BLANK_LINE.split(second, maxsplit=1)[1]
    data = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\r\n") else data.removesuffix(b"\n")
    wanted = told.get("md5Hash")
    if wanted and base64.b64decode(wanted) != md5_of(data):
        raise Refused(400, "the MD5 hash does not match")
    return told, data


def resource(bucket: str, found: Object) -> Json:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found.at)) + f".{int(found.at % 1 * 1000):03d}Z"
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{found.name}/{found.generation}",
        "bucket": bucket,
        "name": found.name,
        "size": str(len(found.data)),
        "generation": str(found.generation),
        "metageneration": "1",
        "contentType": found.content_type,
        "md5Hash": base64.b64encode(found.md5).decode(),
        "etag": found.md5.hex(),
        "timeCreated": when,
        "updated": when,
        "storageClass": "STANDARD",
        "metadata": found.metadata,
    }


def bucket_resource(name: str) -> Json:
    return {"kind": "storage#bucket", "name": name, "id": name, "location": "US"}


def main() -> None:
    google = Google(int(sys.argv[1]) if len(sys.argv) > 1 else 0, sys.argv[2:] or ["bkt"])
    print(f"http://127.0.0.1:{google.server_port}", flush=True)
    google.serve_forever()


if __name__ == "__main__":
    main()
