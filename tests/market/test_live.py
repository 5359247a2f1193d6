"""Live prices as they are kept and laid over a list: their own row, their own age, the same guards, whole or absent."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.adapters.market import turns
from launcher.adapters.market.catalog import read_catalog
from launcher.adapters.market.index import PriceIndex, open_index
from launcher.adapters.market.live import KEPT, LiveBook, keep_live, key, read_live
from launcher.adapters.market.live_rows import overlaid
from launcher.adapters.market.sources import Places
from launcher.core.market.quote import Doubt, Quote
from tests.market import lists

TEXT = lists.aws(*[("p3.2xlarge", "V100", 1, 3.06, 0.5 + n / 10, f"use1-az{n}") for n in range(3)])
QUOTES = read_catalog("aws", TEXT, name="aws.csv").quotes
FIRST = QUOTES[0]
NOW = 1_800_000_000.0
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache/live.csv"


def at(spot: float, quote: Quote = FIRST) -> Quote:
    """The quote as it answers once `spot` was told for it live."""
    (found, _), *_ = overlaid([quote, *QUOTES[1:]], LiveBook(spots={key(quote): (spot, NOW)}))
    return found


# --- in a list -----------------------------------------------------------------------------------------------------------------


def test_a_live_price_is_of_its_own_row_only() -> None:
    found = list(overlaid(QUOTES, LiveBook(spots={key(QUOTES[1]): (0.42, NOW)})))
    assert [(quote.spot, when) for quote, when in found] == [(0.5, None), (0.42, NOW), (0.7, None)]
    assert found[0][0] is QUOTES[0]


@pytest.mark.parametrize(
    "change",
    [
        {"cloud": "gcp"},
        {"region": "us-east-2"},
        {"zone": "use1-az9"},
        {"zone": None},
        {"instance": "p3.8xlarge"},
        {"accelerator": "T4"},
        {"accelerators": 2.0},
    ],
    ids=str,
)
def test_a_row_that_differs_in_anything_is_another(change: Mapping[str, object]) -> None:
    other = replace(FIRST, **change)  # type: ignore[arg-type]
    assert [when for _, when in overlaid(QUOTES, LiveBook(spots={key(other): (0.42, NOW)}))] == [None] * 3


def test_the_guards_judge_a_live_price_as_a_listed_one() -> None:
    assert (at(3.06).spot, at(3.06).doubts) == (None, (Doubt.NO_SPOT,))
    assert (at(0.306).spot, at(0.306).doubts) == (0.306, (Doubt.SPOT_FLOOR,))
    full = replace(FIRST, spot=None, doubts=(Doubt.SHARE, Doubt.NO_SPOT))
    assert (at(0.42, full).spot, at(0.42, full).doubts) == (0.42, (Doubt.SHARE,)), "there is spot again"


@pytest.mark.parametrize("spot", [0.0, 0.00001, 0.03, 6.1, 700.0])
def test_what_can_be_no_price_leaves_the_listed_one(spot: float) -> None:
    """Nothing, less than a hundredth of on-demand, or ten times what is usual (median 0.6)."""
    assert at(spot) is FIRST


def test_where_nothing_was_listed_a_live_price_is_welcome() -> None:
    assert at(0.42, replace(FIRST, spot=None)).spot == 0.42
    assert at(0.42, replace(FIRST, on_demand=None)).spot == 0.42


# --- in the home ---------------------------------------------------------------------------------------------------------------


def test_each_price_is_kept_for_half_a_day_and_a_newer_one_takes_its_place(path: Path) -> None:
    assert read_live(path, NOW) == LiveBook()
    keep_live(path, {key(QUOTES[0]): 0.1 + 0.2, key(QUOTES[1]): 0.4}, NOW)
    keep_live(path, {key(QUOTES[1]): 0.45}, NOW + 100)
    book = read_live(path, NOW + 100)
    assert book.spots == {key(QUOTES[0]): (0.1 + 0.2, NOW), key(QUOTES[1]): (0.45, NOW + 100)}
    later = read_live(path, NOW + KEPT + 50)
    assert list(later.spots) == [key(QUOTES[1])]
    assert len({book.fingerprint, later.fingerprint, ""}) == 3
    assert read_live(path, NOW + 2 * KEPT) == LiveBook()


def test_what_another_refresh_was_told_since_stays(path: Path) -> None:
    keep_live(path, {key(QUOTES[0]): 0.45, key(QUOTES[1]): 0.6}, NOW + 100)
    keep_live(path, {key(QUOTES[0]): 0.4, key(QUOTES[2]): 0.7}, NOW, now=NOW + 101)  # asked first, answered last
    kept = read_live(path, NOW + 101).spots
    assert kept == {key(QUOTES[0]): (0.45, NOW + 100), key(QUOTES[1]): (0.6, NOW + 100), key(QUOTES[2]): (0.7, NOW)}


WRITER = """
import sys
from pathlib import Path
from launcher.adapters.market import turns
from launcher.adapters.market.live import keep_live
cloud, path = sys.argv[1], Path(sys.argv[2])
turns.BUSY_MOST_S = 100.0  # the other takes one turn after another, on a slow disk for longer than anybody does
for n in range(40):
    keep_live(path, {(cloud, "r", None, f"{n}", "A100", 1.0): 1.0}, 1_800_000_000.0)
"""


def test_two_refreshes_at_once_keep_what_either_was_told(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, cloud, str(path)], cwd=_ROOT) for cloud in ("aws", "azure")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert len(read_live(path, NOW).spots) == 80


def test_who_hangs_with_the_lock_keeps_no_refresh_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_MOST_S", 0.05)
    with turns.turn(path), pytest.raises(turns.Busy, match="another process"):
        keep_live(path, {key(FIRST): 0.4}, NOW)
    keep_live(path, {key(FIRST): 0.4}, NOW)
    assert list(read_live(path, NOW).spots) == [key(FIRST)]


def test_a_place_without_zones_and_a_share_of_a_gpu_come_back_as_they_were(path: Path) -> None:
    share = replace(FIRST, cloud="azure", zone=None, accelerators=1 / 6)
    keep_live(path, {key(share): 0.4}, NOW)
    assert read_live(path, NOW).spots == {key(share): (0.4, NOW)}


def test_a_price_of_tomorrow_is_none(path: Path) -> None:
    keep_live(path, {key(FIRST): 0.4}, NOW)
    assert read_live(path, NOW - 1).spots == {}, "the clock was wrong, then or now"


@pytest.mark.parametrize("damage", ["cut", "flipped", "rubbish", "empty"])
def test_a_damaged_file_is_absent_with_a_word_and_the_next_refresh_mends_it(path: Path, damage: str) -> None:
    keep_live(path, {key(FIRST): 0.4}, NOW)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-9], "flipped": whole.replace(b"0.4", b"0.1"), "rubbish": b"\xff\xfe", "empty": b""}[damage])
    book = read_live(path, NOW)
    assert book.spots == {}
    assert str(path) in book.said
    keep_live(path, {key(FIRST): 0.4}, NOW)
    assert read_live(path, NOW).spots == {key(FIRST): (0.4, NOW)}


def test_a_file_of_a_newer_launch_is_not_guessed_at(path: Path) -> None:
    body = "another layout\n"
    path.parent.mkdir(parents=True)
    path.write_text(f"launch live prices 2 {hashlib.sha256(body.encode()).hexdigest()}\n{body}")
    assert "are of another version of launch" in read_live(path, NOW).said


# --- in the index --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, path: Path) -> Places:
    nowhere = tmp_path / "nowhere"
    return Places(named=lists.folder(tmp_path / "lists", aws=TEXT), skypilot=nowhere, downloads=nowhere, live=path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    monkeypatch.setattr("launcher.adapters.market.index.time.time", lambda: now[0])
    return now


def aws(index: PriceIndex) -> list[tuple[float | None, str, float | None]]:
    """Spot, source and instant of our three rows."""
    found = sorted((f for f in index.listings(["V100"]) if f.quote.cloud == "aws"), key=lambda f: str(f.quote.zone))
    return [(f.quote.spot, f.source.origin, f.source.fetched_at) for f in found]


def test_each_row_of_the_index_has_its_own_source_and_age(places: Places, path: Path, clock: list[float], tmp_path: Path) -> None:
    folder = str(tmp_path / "lists")
    assert aws(open_index(tmp_path / "x.sqlite", places)) == [(0.5, folder, None), (0.6, folder, None), (0.7, folder, None)]
    keep_live(path, {key(QUOTES[0]): 0.4}, NOW - 100)
    keep_live(path, {key(QUOTES[1]): 0.45}, NOW)
    index = open_index(tmp_path / "x.sqlite", places)
    assert aws(index) == [(0.4, "live", NOW - 100), (0.45, "live", NOW), (0.7, folder, None)]
    clock[0] += KEPT - 50
    assert aws(open_index(tmp_path / "x.sqlite", places)) == [(0.5, folder, None), (0.45, "live", NOW), (0.7, folder, None)]


def test_a_warm_index_answers_with_live_prices_too(
    places: Places, path: Path, clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_live(path, {key(QUOTES[0]): 0.4}, NOW)
    open_index(tmp_path / "x.sqlite", places).close()
    monkeypatch.setattr("launcher.adapters.market.indexing.read_catalog", lambda *_, **__: pytest.fail("a list was read"))
    assert aws(open_index(tmp_path / "x.sqlite", places))[0] == (0.4, "live", NOW)


def test_damage_is_told_with_the_lists_that_answer_instead(
    places: Places, path: Path, clock: list[float], tmp_path: Path
) -> None:
    keep_live(path, {key(QUOTES[0]): 0.4}, NOW)
    path.write_bytes(path.read_bytes()[:-3])
    index = open_index(tmp_path / "x.sqlite", places)
    assert aws(index)[0][0] == 0.5
    assert {known.cloud for known in index.lists if f"{path} are damaged" in known.said} == {"aws", "gcp", "azure"}
