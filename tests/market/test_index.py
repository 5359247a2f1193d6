"""The index answers from the best lists there are, and notices when they change; whatever is wrong costs a rebuild or a word."""

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.indexing import BUNDLED
from launcher.adapters.market.sources import Places, meta_path
from tests.market import lists

ONE = lists.aws(("p3.2xlarge", "V100", 1, 3.06, 0.5, "use1-az1"))
DEARER = lists.aws(("p3.2xlarge", "V100", 1, 3.06, 0.9, "use1-az1"))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(named=None, skypilot=tmp_path / "sky/v8", downloads=tmp_path / "cache/v8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache/prices.sqlite"


def cached(at: Path, text: str, *, digest: str | None = None, fetched_at: float = 1_000_000.0) -> None:
    """AWS's list in a cache, with the digest of its download beside it."""
    path = at / "aws/vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    meta = meta_path(path)
    meta.parent.mkdir(parents=True, exist_ok=True)
    meta.write_text(digest or hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
    os.utime(meta, (fetched_at, fetched_at))


def spot(index: PriceIndex) -> float | None:
    (found,) = [f for f in index.listings(["V100"]) if f.quote.cloud == "aws"]
    return found.quote.spot


def test_without_any_list_the_bundled_one_answers(path: Path, places: Places) -> None:
    index = open_index(path, places)
    assert {known.origin for known in index.lists} == {BUNDLED}
    assert [known.fetched_at for known in index.lists] == [None] * len(index.lists)
    assert "A100" in index.accelerators()


def test_a_named_folder_comes_first_and_then_the_newer_of_the_two_caches(path: Path, places: Places, tmp_path: Path) -> None:
    cached(places.downloads, lists.aws(("p3.2xlarge", "V100", 1, 3.06, 0.3, "use1-az1")), fetched_at=2_000_000.0)
    cached(places.skypilot, ONE, fetched_at=1_000_000.0)
    assert spot(open_index(path, places)) == 0.3, "a refresh must not be outdone by an old cache"
    cached(places.skypilot, ONE, fetched_at=3_000_000.0)
    assert spot(open_index(path, places)) == 0.5
    named = lists.folder(tmp_path / "named", aws=DEARER)
    assert spot(open_index(path, Places(named=named, skypilot=places.skypilot, downloads=places.downloads))) == 0.9


def test_a_touched_file_is_as_old_as_its_download(path: Path, places: Places) -> None:
    cached(places.skypilot, ONE, fetched_at=1_000_000.0)
    aws = next(known for known in open_index(path, places).lists if known.cloud == "aws")
    assert aws.fetched_at == 1_000_000.0


def test_a_list_changed_by_hand_is_of_unknown_age(path: Path, places: Places) -> None:
    cached(places.skypilot, ONE, digest="0" * 32)
    aws = next(known for known in open_index(path, places).lists if known.cloud == "aws")
    assert aws.fetched_at is None


def test_a_second_look_reads_no_list_and_a_changed_list_is_noticed(
    path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(places.skypilot, ONE)
    open_index(path, places)
    with monkeypatch.context() as patch:
        patch.setattr("launcher.adapters.market.indexing.read_catalog", lambda *a, **k: pytest.fail("a list was read"))
        assert spot(open_index(path, places)) == 0.5
    cached(places.skypilot, DEARER)
    assert spot(open_index(path, places)) == 0.9


def test_a_list_that_cannot_be_read_is_named_and_the_next_one_used(path: Path, places: Places) -> None:
    cached(places.skypilot, DEARER[:-20])
    cached(places.downloads, ONE)
    index = open_index(path, places)
    aws = next(known for known in index.lists if known.cloud == "aws")
    assert spot(index) == 0.5
    assert "cut short or damaged" in aws.said
    assert str(places.skypilot) in aws.said


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\x00" + bytes(200)])
def test_a_damaged_index_is_made_anew(path: Path, places: Places, damage: bytes) -> None:
    cached(places.skypilot, ONE)
    open_index(path, places)
    path.write_bytes(damage)
    assert spot(open_index(path, places)) == 0.5
    assert sqlite3.connect(path).execute("SELECT count(*) FROM quotes").fetchone()[0] > 0


def test_an_index_with_a_damaged_page_anywhere_is_made_anew(path: Path, places: Places) -> None:
    cached(places.skypilot, lists.aws(*[("p3.2xlarge", "V100", 1, 3.06, 0.5, f"use1-az{n}") for n in range(2000)]))
    open_index(path, places).close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 20_000)
    assert len(list(open_index(path, places).listings(["V100"]))) >= 2000


def test_a_new_bundled_list_is_noticed(path: Path, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_index(path, places)
    (tmp_path / "listed.csv").write_text("another")
    monkeypatch.setattr("launcher.adapters.market.index.BUNDLED_LIST", tmp_path / "listed.csv")
    monkeypatch.setattr("launcher.adapters.market.indexing.listed_rows", list)
    assert open_index(path, places).accelerators() == ()


def test_where_the_index_cannot_be_kept_the_answer_is_the_same(places: Places, tmp_path: Path) -> None:
    cached(places.skypilot, ONE)
    (tmp_path / "file").write_bytes(b"")
    index = open_index(tmp_path / "file/prices.sqlite", places)
    assert (spot(index), index.is_kept) == (0.5, False)
