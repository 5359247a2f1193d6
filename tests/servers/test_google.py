"""The server that stands in for Google: conditions hold, a listing has pages, and nothing short is ever committed."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.google import Google

UPLOAD = "/upload/storage/v1/b/bkt/o?uploadType=media&name="
OBJECTS = "/storage/v1/b/bkt/o"
BOUNDARY = "==edge=="


@pytest.fixture
def port() -> Iterator[int]:
    google = Google(0, ["bkt"])
    thread = threading.Thread(target=google.serve_forever, args=[0.01])
    thread.start()
    yield google.server_port
    google.shutdown()
    google.server_close()
    thread.join()


def ask(port: int, method: str, path: str, body: bytes = b"", /, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    answer = response.status, response.read(), response.headers
    connection.close()
    return answer


def read(port: int, name: str, **headers: str) -> tuple[int, bytes]:
    status, data, _ = ask(port, "GET", f"{OBJECTS}/{name}?alt=media", b"", **headers)
    return status, data


def test_only_the_first_create_of_a_name_is_taken(port: int) -> None:
    assert ask(port, "POST", f"{UPLOAD}a&ifGenerationMatch=0", b"first")[0] == 200
    assert ask(port, "POST", f"{UPLOAD}a&ifGenerationMatch=0", b"second")[0] == 412
    assert read(port, "a") == (200, b"first")
    assert ask(port, "POST", f"{UPLOAD}a", b"third")[0] == 200
    assert read(port, "a") == (200, b"third")


def test_of_many_creates_at_once_one_wins(port: int) -> None:
    def race(number: int) -> list[int]:
        with ThreadPoolExecutor(8) as racers:
            path = f"{UPLOAD}r{number}&ifGenerationMatch=0"
            return sorted(racers.map(lambda me: ask(port, "POST", path, bytes([me]))[0], range(8)))

    assert [race(number) for number in range(20)] == [[200] + 7 * [412]] * 20


def test_a_resumable_upload_is_refused_at_its_end_where_another_came_first(port: int) -> None:
    path = "/upload/storage/v1/b/bkt/o?uploadType=resumable&name=a&ifGenerationMatch=0"
    status, _, headers = ask(port, "POST", path)
    assert status == 200
    session = headers["Location"].split(str(port), 1)[1]
    status, _, headers = ask(port, "PUT", session, b"0123", Content_Range="bytes 0-3/*")
    assert (status, headers["Range"]) == (308, "bytes=0-3")
    assert ask(port, "POST", f"{UPLOAD}a", b"another's")[0] == 200
    assert ask(port, "PUT", session, b"45", Content_Range="bytes 4-5/6")[0] == 412
    assert ask(port, "POST", path)[0] == 412
    assert read(port, "a") == (200, b"another's")


def test_the_last_chunk_may_be_repeated(port: int) -> None:
    _, _, headers = ask(port, "POST", "/upload/storage/v1/b/bkt/o?uploadType=resumable&name=a")
    session = headers["Location"].split(str(port), 1)[1]
    answers = [ask(port, "PUT", session, b"whole", Content_Range="bytes 0-4/5")[:2] for _ in range(2)]
    assert answers[0] == answers[1]
    assert read(port, "a") == (200, b"whole")


def test_a_multipart_upload_names_its_object_and_its_digest_counts(port: int) -> None:
    def upload(md5: str) -> int:
        told = json.dumps({"name": "a", "md5Hash": md5})
        heads = ("Content-Type: application/json", "Content-Type: x/y")
        parts = "".join(f"--{BOUNDARY}\n{head}\n\n{part}\n" for head, part in zip(heads, (told, "ab\n--\r\n"), strict=True))
        path = "/upload/storage/v1/b/bkt/o?uploadType=multipart"
        return ask(
            port, "POST", path, f"{parts}--{BOUNDARY}--".encode(), Content_Type=f'multipart/related; boundary="{BOUNDARY}"'
        )[0]

    assert upload("AAAA") == 400
    assert read(port, "a")[0] == 404
    assert upload("") == 200
    assert read(port, "a") == (200, b"ab\n--\r\n")


def test_a_body_cut_short_is_never_committed(port: int) -> None:
    for head in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"POST {UPLOAD}a HTTP/1.1\r\nHost: x\r\n".encode() + head)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    assert read(port, "a")[0] == 404


def test_a_range_is_cut_at_the_end_and_refused_behind_it(port: int) -> None:
    ask(port, "POST", f"{UPLOAD}a", b"0123456789")
    assert read(port, "a", Range="bytes=2-4") == (206, b"234")
    assert read(port, "a", Range="bytes=8-99") == (206, b"89")
    assert read(port, "a", Range="bytes=-3") == (206, b"789")
    assert read(port, "a", Range="bytes=10-12")[0] == 416


def test_a_listing_goes_on_where_its_page_ended(port: int) -> None:
    for name in ("b/1", "a/1", "a/2", "c", "a"):
        ask(port, "POST", f"{UPLOAD}{name.replace('/', '%2F')}", b"x")
    pages: list[tuple[list[str], list[str]]] = []
    token = ""
    while not pages or token:
        _, data, _ = ask(port, "GET", f"{OBJECTS}?delimiter=/&maxResults=2&pageToken={token}")
        page = json.loads(data)
        pages.append(([item["name"] for item in page["items"]], page["prefixes"]))
        token = page.get("nextPageToken", "")
    assert pages == [(["a"], ["a/"]), (["c"], ["b/"])]


def test_what_is_deleted_is_gone_and_a_bucket_that_is_not_there_is_not_made(port: int) -> None:
    ask(port, "POST", f"{UPLOAD}a", b"x")
    assert ask(port, "DELETE", f"{OBJECTS}/a")[0] == 204
    assert ask(port, "DELETE", f"{OBJECTS}/a")[0] == 404
    assert ask(port, "POST", UPLOAD.replace("bkt", "other") + "a", b"x")[0] == 404
