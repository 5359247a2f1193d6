"""Lists fetched over HTTP from a server on loopback, through whatever goes wrong on the way; the cache is whole or absent."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.adapters.market import download
from launcher.adapters.market.download import refresh
from launcher.adapters.market.sources import CLOUDS, Places, fetched_at, meta_path
from tests.market.hosting import TEXTS, Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def ages(downloads: Path) -> list[bool]:
    """Of each cloud, whether its list is there and of known age."""
    paths = [downloads / cloud / "vms.csv" for cloud in CLOUDS]
    return [path.is_file() and fetched_at(path, path.read_bytes()) is not None for path in paths]


def test_lists_are_fetched_once_and_then_only_confirmed(server: Server, tmp_path: Path) -> None:
    first = refresh(tmp_path, base_url=server.url)
    assert [(found.cloud, found.is_new, found.trouble) for found in first] == [(cloud, True, "") for cloud in CLOUDS]
    assert all(found.quotes for found in first)
    assert ages(tmp_path) == [True] * 4
    assert [s.cloud for s in Places(named=None, skypilot=tmp_path / "no", downloads=tmp_path).candidates("aws")] == ["aws"]
    server.lines.clear()
    again = refresh(tmp_path, base_url=server.url)
    assert [(found.is_new, found.quotes) for found in again] == [(False, found.quotes) for found in first]
    assert {line.split()[0] for line in server.lines} == {"HEAD"}


def test_a_changed_list_is_fetched_again(server: Server, tmp_path: Path) -> None:
    refresh(tmp_path, base_url=server.url)
    server.bodies["/aws/vms.csv"] = TEXTS["aws"].replace("0.5", "0.7").encode()
    assert [found.is_new for found in refresh(tmp_path, base_url=server.url)] == [True, False, False, False]
    assert ",0.7," in (tmp_path / "aws/vms.csv").read_text()


def test_a_password_in_a_mirrors_address_is_not_told(tmp_path: Path) -> None:
    (found, *_) = refresh(tmp_path, base_url="http://user:hunter2@127.0.0.1:9/v8")
    assert found.trouble.startswith("127.0.0.1 cannot be reached")
    assert "hunter2" not in found.trouble


def test_a_damaged_copy_is_fetched_again_though_the_server_has_nothing_new(server: Server, tmp_path: Path) -> None:
    refresh(tmp_path, base_url=server.url)
    (tmp_path / "aws/vms.csv").write_text("rubbish")
    refresh(tmp_path, base_url=server.url)
    assert (tmp_path / "aws/vms.csv").read_text() == TEXTS["aws"]


@pytest.mark.parametrize(
    ("status", "cut", "body", "said"),
    [
        (429, 0, None, "answers 429"),
        (404, 0, None, "answers 404"),
        (200, 40, None, "broke off in the middle"),
        (200, 0, b"<html>log in first</html>\n", "has no column"),
        (200, 0, TEXTS["aws"][:-30].encode(), "cut short or damaged"),
        (200, 0, b"\xff\xfe\x00", "is no text"),
    ],
)
def test_what_is_no_whole_list_replaces_nothing(
    server: Server, tmp_path: Path, status: int, cut: int, body: bytes | None, said: str
) -> None:
    refresh(tmp_path, base_url=server.url)
    kept = tmp_path / "aws/vms.csv"
    before = kept.read_bytes()
    server.bodies = {path: body or known.replace(b"0.5", b"0.6") for path, known in server.bodies.items()}
    server.status, server.cut = status, cut
    aws = refresh(tmp_path, base_url=server.url)[0]
    assert said in aws.trouble
    assert kept.read_bytes() == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".tmp-")]


def test_where_nobody_answers_the_other_lists_are_not_tried(tmp_path: Path) -> None:
    found = refresh(tmp_path, base_url="http://127.0.0.1:9")
    assert [f.cloud for f in found] == [*CLOUDS]
    assert all(f.trouble.startswith("127.0.0.1 cannot be reached") for f in found)
    assert [*tmp_path.iterdir()] == []


def test_a_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = refresh(tmp_path / "file", base_url=server.url)
    assert all("cannot be written" in f.trouble for f in found)


def test_two_at_once_leave_a_whole_cache(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=refresh, args=(tmp_path,), kwargs={"base_url": server.url}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ages(tmp_path) == [True] * 4
    assert meta_path(tmp_path / "aws/vms.csv").is_file()


def test_what_has_no_end_is_no_list(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BYTES_MOST", 1000)
    monkeypatch.setattr(download, "CHUNK", 100)
    server.bodies["/azure/vms.csv"] += b"x" * 2000
    found = {one.cloud: one.trouble for one in refresh(tmp_path, base_url=server.url)}
    assert found["azure"].endswith("/azure/vms.csv has more than 1.0 kB, so it is no list")
    assert found["lambda"] == ""
    assert not (tmp_path / "azure/vms.csv").exists()
