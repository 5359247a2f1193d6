"""AWS's interruption bands from both layouts, whole and not, and what the recorded markets say of lives."""

import csv
import itertools
import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.adapters.market.bands import ADVISOR, TABLE, known_bands, read_advisor, read_table
from launcher.adapters.market.download import refresh_bands
from launcher.adapters.market.recorded import read_recording as recording_of
from launcher.core.market.belief import gang_life
from launcher.core.market.lives import BAND_SHARES, DAMPING, SPOT_LIFE, Lives, band_life
from launcher.core.market.offer import Capacity, Placement
from launcher.core.market.trace import SHAPE_UP
from launcher.units import HOUR
from tests.market import lists
from tests.market.hosting import Server, serving

TRACES = os.environ.get("LAUNCH_TRACES", "")
IN_CI = os.environ.get("CI") == "true"  # absence fails there
ROWS = "Region,InstanceType,SavingsPercent,Band\nus-east-1,p3.2xlarge,70,4\nus-east-1,g5.xlarge,50,0\n"
ADVISED = {
    "global_rate": "<5%",
    "ranges": [],
    "spot_advisor": {
        "us-east-1": {"Linux": {"p3.2xlarge": {"s": 70, "r": 4}, "odd": {"s": 1}}, "Windows": {"g5.xlarge": {"s": 1, "r": 3}}},
        "us-gone-1": {},
    },
}


def test_a_table_by_its_columns_names() -> None:
    assert read_table(ROWS) == {("us-east-1", "p3.2xlarge"): 4, ("us-east-1", "g5.xlarge"): 0}
    moved = "New,Band,InstanceType,Region\nx,1,p5.48xlarge,eu-west-1\n"
    assert read_table(moved) == {("eu-west-1", "p5.48xlarge"): 1}


@pytest.mark.parametrize("band", ["5", "-1", "", "n/a", "1.5"])
def test_a_row_without_a_band_is_left_out(band: str) -> None:
    assert read_table(f"Region,InstanceType,Band\nus-east-1,a,{band}\nus-east-1,b,2\n") == {("us-east-1", "b"): 2}
    assert read_table("Region,InstanceType,Band\nus-east-1,a\n") == {}, "a row that is cut short"


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="no column Band"):
        read_table("Region,InstanceType\nus-east-1,a\n")


def test_the_advisors_own_file() -> None:
    assert read_advisor(json.dumps(ADVISED)) == {("us-east-1", "p3.2xlarge"): 4}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"spot_advisor": []}', '{"spot_advisor": {"x": {"Linux": {"y": 3}}}}', "[" * 9999]
)
def test_what_is_not_the_advisors_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="Spot Instance Advisor"):
        read_advisor(text)


def test_the_named_folder_counts_before_what_was_fetched(tmp_path: Path) -> None:
    named, downloads = tmp_path / "named", tmp_path / "downloads"
    assert known_bands(None, downloads) == known_bands(named, downloads) == ({}, "")
    (downloads / ADVISOR).parent.mkdir(parents=True)
    (downloads / ADVISOR).write_text(json.dumps(ADVISED))
    assert known_bands(named, downloads) == ({("us-east-1", "p3.2xlarge"): 4}, "")
    named.mkdir()
    (named / TABLE).write_text(ROWS)
    assert known_bands(named, downloads)[0] == read_table(ROWS)


@pytest.mark.parametrize("band", ["1e999", "-1e999", "NaN", "2.9", "2.0", "true", '"2"', "null", "[2]", "5", "-1"])
def test_what_is_no_band_of_the_advisors_is_left_out(tmp_path: Path, band: str) -> None:
    (tmp_path / "aws").mkdir()
    text = '{"spot_advisor": {"us-east-1": {"Linux": {"a": {"r": BAND}, "b": {"r": 2}}}}}'
    (tmp_path / ADVISOR).write_text(text.replace("BAND", band))
    assert known_bands(None, tmp_path) == ({("us-east-1", "b"): 2}, "")


@pytest.mark.parametrize(
    "content",
    [b"nothing\n", b"\xff\xfe\0", b"Region,InstanceType,Band\n" + b"x" * 200_000 + b",a,1\n"],
    ids=["no columns", "no text", "a cell too long"],
)
def test_a_file_that_is_none_is_said_and_the_next_counts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TABLE).write_bytes(content)
    (tmp_path / "aws").mkdir()
    (tmp_path / ADVISOR).write_text(json.dumps(ADVISED))
    bands, said = known_bands(tmp_path, tmp_path)
    assert bands == {("us-east-1", "p3.2xlarge"): 4}
    assert said.startswith(f"the interruption bands in {tmp_path / TABLE} cannot be used: ")


# --- the real ones -------------------------------------------------------------------------------------------------------------


@lists.real
def test_the_real_list_of_bands() -> None:
    text = _real_table()
    bands = read_table(text)
    assert len(bands) == 572
    assert sorted(Counter(bands.values()).items()) == [(0, 110), (1, 63), (2, 68), (3, 73), (4, 258)]
    assert {band for (_, instance), band in bands.items() if instance.startswith("p3")} == {4}, "what the scale is tied to"


@lists.real
def test_the_damping_makes_bands_differ_as_much_as_recorded_zones_do() -> None:
    """The hazards of the 572 rows spread by 0.92 in the logarithm. Multipliers that are Gamma-distributed with shape 6.1 do by
    √ψ'(6.1) ≈ √(1/6.1 + 1/(2 * 6.1²)) = 0.42. Half of 0.92 is 0.46."""
    bands = read_table(_real_table())
    spread = statistics.pstdev(math.log(-math.log(1 - BAND_SHARES[band])) for band in bands.values())
    zones = math.sqrt(1 / SHAPE_UP + 1 / (2 * SHAPE_UP**2))
    assert (round(spread, 2), round(zones, 2)) == (0.92, 0.42)
    assert zones / spread == pytest.approx(DAMPING, abs=0.05)


@lists.real
def test_the_real_bands_change_which_place_lives_longest() -> None:
    lives = Lives(bands=read_table(_real_table()))
    found = {region: lives.mean(_on_aws(region, "g4dn.12xlarge")) for region in ("af-south-1", "us-east-1")}
    assert found["af-south-1"] == band_life(0)
    assert found["us-east-1"] < found["af-south-1"]


@pytest.mark.skipif(not TRACES and not IN_CI, reason="LAUNCH_TRACES names no folder of recorded markets")
def test_the_prior_is_what_the_recorded_markets_come_to() -> None:
    """Hours with capacity for a machine at least, over all zones: 12,740. It went 5,022 times. 2.54 h."""
    up_h, ends = 0.0, 0
    for file in json.loads((Path(TRACES) / "index.json").read_text()).values():
        if file["file"].endswith("__price.csv"):
            continue
        with (Path(TRACES) / file["file"]).open() as stream:
            rows = list(csv.DictReader(stream))
        for zone in [name for name in rows[0] if name != "tick"]:
            is_up = [float(row[zone]) >= 1 for row in rows]
            up_h += sum(is_up) * file["gap_seconds"] / 3600
            ends += sum(now and not then for now, then in itertools.pairwise(is_up))
    assert (round(up_h, -1), ends) == (12_740, 5_022)
    assert up_h / ends * HOUR == pytest.approx(SPOT_LIFE, rel=1e-4)


@pytest.mark.skipif(not TRACES and not IN_CI, reason="LAUNCH_TRACES names no folder of recorded markets")
def test_gangs_live_as_much_shorter_as_in_the_recorded_markets_that_count_machines() -> None:
    """3,312 zone-hours with one at least. Losses of n for each hour with n, over those of one in the same recordings."""
    up_h, ends = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for path in Path(TRACES).glob("*.csv"):
        capacity = 1 if path.stem.endswith("__price") else recording_of(path).entry.capacity or 1
        for series in recording_of(path).capacity.values() if capacity > 1 else ():
            spans = [b - a for a, b in itertools.pairwise((*series.at, series.period))]
            for n in (n for n in (1, 2, 4, 8, 16) if n <= capacity):
                up_h[n, capacity] += sum(s for s, value in zip(spans, series.values, strict=True) if value >= n) / HOUR
                ends[n, capacity] += sum(a >= n > b for a, b in itertools.pairwise(series.values))

    def rate(n: int, least: int) -> float:
        return sum(ends[n, c] for c in (4, 16) if c >= least) / sum(up_h[n, c] for c in (4, 16) if c >= least)

    assert round(sum(up_h[1, c] for c in (4, 16))) == 3312
    assert [round(rate(n, n) / rate(1, n), 1) for n in (2, 4, 8, 16)] == [1.1, 1.3, 1.9, 2.5]
    assert gang_life(HOUR, 16) == pytest.approx(HOUR / 2.5, rel=0.1)
    assert gang_life(HOUR, 8) == pytest.approx(HOUR / 1.9, rel=0.1)


def _real_table() -> str:
    assert lists.FOLDER, f"{lists.VARIABLE} is not set"
    return (Path(lists.FOLDER) / TABLE).read_text()


def _on_aws(region: str, instance: str) -> Placement:
    return Placement(
        cloud="aws", region=region, zone=None, instance=instance, accelerator="T4", accelerators=4, capacity=Capacity.SPOT
    )


# --- fetched -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        made.bodies["/advised.json"] = json.dumps(ADVISED).encode()
        yield made


def test_the_advisors_file_is_fetched_and_used(server: Server, tmp_path: Path) -> None:
    assert refresh_bands(tmp_path, f"{server.url}/advised.json") == ""
    assert known_bands(None, tmp_path) == ({("us-east-1", "p3.2xlarge"): 4}, "")


@pytest.mark.parametrize(
    ("status", "cut", "body", "said"),
    [
        (503, 0, None, "answers 503"),
        (404, 0, None, "answers 404"),
        (200, 9, None, "broke off in the middle"),
        (200, 0, b"<html>log in first</html>", "cannot be used"),
        (200, 0, json.dumps(ADVISED).encode()[:-9], "cannot be used"),
        (200, 0, b'{"spot_advisor": {}}', "has no bands"),
        (200, 0, b"\xff\xfe\0", "is no text"),
    ],
)
def test_what_is_no_advice_replaces_none(
    server: Server, tmp_path: Path, status: int, cut: int, body: bytes | None, said: str
) -> None:
    assert refresh_bands(tmp_path, f"{server.url}/advised.json") == ""
    server.bodies["/advised.json"] = body or server.bodies["/advised.json"]
    server.status, server.cut = status, cut
    assert said in refresh_bands(tmp_path, f"{server.url}/advised.json")
    assert known_bands(None, tmp_path) == ({("us-east-1", "p3.2xlarge"): 4}, "")


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "cannot be reached" in refresh_bands(tmp_path, "http://127.0.0.1:9/advised.json")
    assert known_bands(None, tmp_path) == ({}, "")


def test_a_home_that_cannot_be_written_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "aws").write_text("a file in the way")
    assert "cannot be written" in refresh_bands(tmp_path, f"{server.url}/advised.json")
