"""`launch prices`, as a person and a program use it."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.market.index import open_index
from launcher.adapters.market.sources import Places
from launcher.app.cli import main
from launcher.app.pricing import ROWS_SHOWN, Row, Sort, age, answer_lines, ranked
from tests.market import lists
from tests.market.hosting import serving

ROWS = (
    ("p3.2xlarge", "V100", 1, 3.06, 0.306, "use1-az1"),  # at the floor
    ("p3.2xlarge", "V100", 1, 3.06, 0.5, "use1-az2"),
    ("p3.8xlarge", "V100", 4, 12.24, 1.6, "use1-az2"),
    ("p3.2xlarge", "V100", 1, 3.06, 3.06, "use1-az3"),  # no spot
    ("p5.48xlarge", "H100", 8, 55.04, 17.6, "use1-az6"),
)


@pytest.fixture(autouse=True)
def one_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS by our own rows, the others by the bundled list; a home without SkyPilot's cache."""
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", aws=lists.aws(*ROWS))))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LAUNCH_AZURE_PRICES_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def offers(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["prices", *words, "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return list(document["offers"])


def test_the_cheapest_comes_first_and_a_floor_is_no_offer(capsys: pytest.CaptureFixture[str]) -> None:
    found = offers(capsys, "V100", "--cloud", "aws")
    assert [offer["spot_usd_per_h"] for offer in found] == [0.5, 1.6, 0.306, None]
    assert [offer["doubts"] for offer in found] == [[], [], ["spot_floor"], ["no_spot"]]


def test_the_number_behind_the_colon_is_of_one_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert [offer["instance"] for offer in offers(capsys, "v100:4")] == ["p3.8xlarge"]


@pytest.mark.parametrize(("sort", "first"), [("spot", "p3.2xlarge"), ("gpu-hour", "p3.8xlarge")])
def test_sorting(capsys: pytest.CaptureFixture[str], sort: str, first: str) -> None:
    assert offers(capsys, "V100", "--cloud", "aws", "--sort", sort)[0]["instance"] == first


def test_sorting_by_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    prices = [offer["on_demand_usd_per_h"] for offer in offers(capsys, "V100", "--cloud", "aws", "--sort", "on-demand")]
    assert prices == [3.06, 3.06, 3.06, 12.24]
    floor = [offer["doubts"] for offer in offers(capsys, "V100", "--cloud", "aws", "--sort", "on-demand")]
    assert floor[0] == ["spot_floor"], "of equal prices by place, and a doubt about spot is none about on-demand"


def test_where_there_is_no_spot_the_cheapest_on_demand_comes_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = (("p5.48xlarge", "H100", 8, 98.32, "", "use1-az1"), ("p5.48xlarge", "H100", 8, 88.49, "", "use1-az2"))
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "no-spot", aws=lists.aws(*rows))))
    words = ("H100:8", "--cloud", "aws")
    assert [offer["on_demand_usd_per_h"] for offer in offers(capsys, *words)] == [88.49, 98.32]
    assert [offer["on_demand_usd_per_h"] for offer in offers(capsys, *words, "--group-by", "cloud")] == [88.49]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_write_is_written_otherwise(encoding: str) -> None:
    code = "import sys; from launcher.app.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "prices", "V100", "--cloud", "aws"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "  -  " in done.stdout.decode("ascii"), "a price that is not known"


def test_only_spot_leaves_out_what_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(offer["spot_usd_per_h"] for offer in offers(capsys, "V100", "--spot", "--cloud", "aws"))


def test_without_a_gpu_the_cheapest_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    found = offers(capsys)
    assert len({offer["accelerator"] for offer in found}) == len(found)
    assert {"V100", "H100", "A100"} <= {offer["accelerator"] for offer in found}
    (v100,) = [offer for offer in found if offer["accelerator"] == "V100"]
    assert v100["of"] >= len(ROWS) - 1


def test_globs_and_other_names_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert {offer["accelerator"] for offer in offers(capsys, "?100*")} == {"A100", "A100-80GB", "H100", "V100"}
    assert {offer["accelerator"] for offer in offers(capsys, "h100-sxm5")} == {"H100"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["H10"], "did you mean H100?"),
        (["V100:none"], "after the colon stands how many"),
        (["V100:"], "prices V100: after the colon stands how many"),
        (["--for", "my.yaml", "policy.budget=5"], "takes no policy.budget=5; `launch plan my.yaml policy.budget=5` does"),
        (["V100", "--cloud", "aws2"], "aws, gcp, azure, lambda"),
        (["V100", "--cloud", "k8s"], "no list prices it"),
        (["V100", "--region", "US-EAST-1"], "did you mean us-east-1?"),
        (["V100", "--region", "use1-az6"], "a zone of us-east-1; name the region"),
        (["V100", "--cloud", "azure", "--region", "us-east-1"], "no list of azure has such a region"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["prices", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_cloud_in_capitals_is_that_cloud_and_one_that_no_list_has_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert {offer["cloud"] for offer in offers(capsys, "V100", "--cloud", "AWS")} == {"aws"}
    assert main(["prices", "V100", "--cloud", "aws", "--cloud", "lambda"]) == 0
    assert "no list on this machine has lambda" in capsys.readouterr().err


def test_a_folder_without_any_list_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("LAUNCH_CATALOG", str(tmp_path / "bare"))
    assert main(["prices", "V100", "--cloud", "aws"]) == 0
    assert f"{tmp_path / 'bare'} holds no price list" in capsys.readouterr().out


def test_an_empty_list_is_called_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lists/azure.csv").write_text("")
    assert main(["prices", "V100", "--cloud", "azure"]) == 0
    assert "azure.csv is empty" in capsys.readouterr().out


def test_a_price_that_cannot_be_one_is_doubted_and_none_is_shown_as_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = (
        ("p5.48xlarge", "H100", 8, 55.04, 0.001, "use1-az1"),
        ("p5.48xlarge", "H100", 8, 0.02, "", "use1-az2"),
        ("p5.48xlarge", "H100", 8, 55.04, 17.6, "use1-az3"),
        ("p5.48xlarge", "H100", 8, 55.04, 16.6, "use1-az4"),
        ("tiny", "T4", 1, "", 0.004, "use1-az4"),
    )
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "garbage", aws=lists.aws(*rows))))
    found = offers(capsys, "H100", "--cloud", "aws")
    assert [offer["spot_usd_per_h"] for offer in found] == [16.6, 17.6, None]
    assert found[-1]["doubts"] == ["placeholder"]
    assert main(["prices", "T4", "--cloud", "aws"]) == 0
    assert "<0.01" in capsys.readouterr().out


def test_nothing_in_a_list_moves_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = ("p5.\x1b[31m48", "H100", 8, 55.04, 17.6, "use1\u202e-az1")
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "painted", aws=lists.aws(row))))
    assert main(["prices", "H100", "--cloud", "aws"]) == 0
    assert "use1?-az1  us-east-1  p5.?[31m48" in capsys.readouterr().out


def test_the_region_stands_beside_a_zone_that_does_not_tell_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "V100", "--cloud", "aws"]) == 0
    assert "use1-az2  us-east-1  p3.2xlarge" in capsys.readouterr().out


def test_a_slower_board_of_a_gpu_is_found_under_its_name_and_counts_at_its_own_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = (
        ("Standard_NC40ads_H100_v5", "H100", 1, 9.89, 8.35, "zone"),
        ("gpu_1x_h100_pcie", "H100", 1, 9.89, 7.56, "zone"),
        ("sxm", "H100", 1, 20, 9.89, "zone"),
    )
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "boards", aws=lists.aws(*rows))))
    found = {offer["instance"]: offer["accelerator"] for offer in offers(capsys, "H100", "--cloud", "aws")}
    assert found == {"Standard_NC40ads_H100_v5": "H100-NVL", "gpu_1x_h100_pcie": "H100-PCIe", "sxm": "H100"}
    (tmp_path / "r.yaml").write_text("resources: {accelerators: 'H100:1', infra: [aws], use_spot: true}\nrun: python train.py\n")
    assert main(["prices", "H100", "--for", str(tmp_path / "r.yaml"), "--cloud", "aws", "-o", "json"]) == 0
    hours = {total["accelerator"]: total["hours"] for total in json.loads(capsys.readouterr().out)["totals"]}
    assert set(hours) == {"H100", "H100-PCIe", "H100-NVL"}
    assert hours["H100"] < hours["H100-NVL"] < hours["H100-PCIe"]


def test_csv_holds_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "V100", "--cloud", "aws", "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["spot_usd_per_h"] for row in rows] == ["0.5", "1.6", "0.306", ""]
    assert rows[2]["doubts"] == "spot_floor"


def rows_of(folder: Path, tmp_path: Path) -> list[Row]:
    nowhere = tmp_path / "nowhere"
    index = open_index(tmp_path / "x.sqlite", Places(named=folder, skypilot=nowhere, downloads=nowhere))
    return [Row(listing=found) for found in ranked(index.listings(["V100"]), Sort.SPOT)]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_row_is_wider_than_the_screen(tmp_path: Path, width: int) -> None:
    many = [("p3dn.24xlarge", "V100", 8, 31.2 + n, 9.1, f"use1-az{n}") for n in range(ROWS_SHOWN + 3)]
    rows = rows_of(lists.folder(tmp_path / "many", aws=lists.aws(*many)), tmp_path)
    lines = answer_lines(rows, 0.0, width=width)
    assert max(map(len, lines[: 1 + ROWS_SHOWN])) <= width
    assert lines[1 + ROWS_SHOWN].startswith("and ")
    assert {"SPOT $/h", "OD $/h"} <= {word for word in lines[0].split("  ") for word in [word.strip()]}


def test_a_column_in_which_nothing_is_known_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "A100-80GB", "--cloud", "azure"]) == 0  # of the bundled list, which tells no sizes
    head = capsys.readouterr().out.splitlines()[0]
    assert "vCPU" not in head
    assert "INSTANCE" in head


def test_a_damaged_list_is_told_and_the_bundled_one_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lists/aws.csv").write_text(lists.aws(*ROWS)[:-30])
    assert main(["prices", "A100", "--cloud", "aws"]) == 0
    said = capsys.readouterr().out
    assert "aws: bundled list, of unknown age" in said
    assert "cut short or damaged" in said


def test_a_named_folder_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAUNCH_CATALOG", str(tmp_path / "gone"))
    assert main(["prices", "V100"]) == 2
    assert f"LAUNCH_CATALOG is {tmp_path / 'gone'}, and that is no folder" in capsys.readouterr().err


def test_without_a_network_a_refresh_says_so_and_the_best_list_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCH_CATALOG_URL", "http://127.0.0.1:9/v8")
    assert main(["prices", "V100", "--refresh", "--cloud", "aws"]) == 0
    heard = capsys.readouterr()
    assert "not refreshed: aws, gcp, azure, lambda: 127.0.0.1 cannot be reached" in heard.err
    assert "use1-az2" in heard.out


@pytest.mark.parametrize(("fetched_at", "told"), [(None, "?"), (900.0, "60 s"), (2000.0, "?")])
def test_an_age_that_nobody_knows_is_not_told_and_neither_is_one_of_tomorrow(fetched_at: float | None, told: str) -> None:
    assert age(fetched_at, 960.0) == told


def test_neither_skypilot_nor_torch_nor_fsspec_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from launcher.app.cli import main; main(['prices', 'V100', '-o', 'json']);"
        "print([m for m in ('sky', 'torch', 'fsspec', 'pandas', 'omegaconf', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    for _ in range(2):  # cold, then warm
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"


def test_history_tells_what_each_refresh_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["prices", "V100", "--history"]) == 0
    assert "no price was noted yet" in capsys.readouterr().out
    with serving() as server:
        monkeypatch.setenv("LAUNCH_CATALOG_URL", server.url)
        assert main(["prices", "V100", "--refresh"]) == 0
        said = capsys.readouterr().err
        assert "noted for the first time" in said
        assert f"names, {tmp_path / 'lists'}, goes before what was fetched: aws;" in said
        server.bodies["/aws/vms.csv"] = server.bodies["/aws/vms.csv"].replace(b",0.5,", b",0.7,")
        assert main(["prices", "V100", "--refresh"]) == 0
        assert "price history: 1 price changed" in capsys.readouterr().err
        server.status = 503
        assert main(["prices", "V100", "--refresh"]) == 0
        assert "price history" not in capsys.readouterr().err, "what was not fetched is no look at the market"
    assert main(["prices", "V100", "--history", "--cloud", "aws", "-o", "json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["history"]
    assert (only["place"], only["lowest_usd_per_h"], only["spot_usd_per_h"], only["num_changes"]) == ("use1-az1", 0.5, 0.7, 1)
    assert main(["prices", "V100:8", "--history"]) == 0
    assert "no price was noted yet" in capsys.readouterr().out
    assert main(["prices", "V100", "--history", "--sort", "spot"]) == 2
    assert main(["prices", "V100", "--history", "-o", "csv"]) == 2


@pytest.mark.parametrize("at", [0, 5000])
def test_a_damaged_history_is_named_and_hinders_no_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: int
) -> None:
    with serving() as server:
        monkeypatch.setenv("LAUNCH_CATALOG_URL", server.url)
        assert main(["prices", "V100", "--refresh", "-q"]) == 0
        kept = tmp_path / "home/history/prices.sqlite"
        with kept.open("r+b") as file:
            file.seek(at)
            file.write(b"\xff" * (kept.stat().st_size - at))
        capsys.readouterr()
        server.bodies["/aws/vms.csv"] = server.bodies["/aws/vms.csv"].replace(b",0.5,", b",0.7,")
        assert main(["prices", "V100", "--refresh"]) == 0
        assert "not remembered: the price history" in capsys.readouterr().err
    assert main(["prices", "V100", "--history"]) == 2
    assert "move it away" in capsys.readouterr().err


def test_a_mirror_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCH_CATALOG_URL", "file:///tmp/x")
    assert main(["prices", "--refresh"]) == 2
    assert "LAUNCH_CATALOG_URL is file:///tmp/x" in capsys.readouterr().err


def test_where_nothing_is_accepted_it_is_said_who_knows_more(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("resources: {accelerators: 'V100:1', max_hourly_cost: 0.1}\nrun: python train.py\n")
    assert main(["prices", "--for", str(tmp_path / "r.yaml"), "--cloud", "aws"]) == 3
    assert f"`launch plan {tmp_path / 'r.yaml'}` names the nearest miss" in capsys.readouterr().err


def test_a_number_of_gpus_that_no_machine_has_is_told_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "V100:3"]) == 0
    said = capsys.readouterr()
    assert said.out == "nothing is listed that fits\n"
    assert said.err == "machines are listed with 1, 4 of them\n"


def test_for_a_recipe_offers_are_ranked_by_what_it_costs_to_finish(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "name: r\nresources: {accelerators: ['V100:1', 'H100:1'], infra: [aws]}\nrun: python train.py\n"
    )
    words = ("prices", "--for", str(tmp_path / "r.yaml"), "--cloud", "aws")
    assert main([*words, "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    first = document["totals"][0]
    assert (first["instance"], first["capacity"], first["accelerators_used"]) == ("p3.2xlarge", "spot", 1)
    assert [total["total_usd"] for total in document["totals"]] == sorted(total["total_usd"] for total in document["totals"])
    assert "one hour of V100:1" in document["work"]
    assert main([*words]) == 0
    said = capsys.readouterr().out
    assert "EST. TOTAL" in said, "the plan's word for it"
    assert "8 GPUs for one" in said
    (best,) = [line for line in said.splitlines() if line.endswith("✔")]
    assert "p3.2xlarge" in best
    assert "machines only" in said
    assert f"aws: {tmp_path / 'lists'}, of unknown age" in said
    assert document["lists"][0]["cloud"] == "aws"
    assert main([*words, "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["total_usd"]) for row in rows] == [total["total_usd"] for total in document["totals"]]
    assert main([*words[:-1], "azure"]) == 3, "it accepts AWS alone"
    assert main([*words, "--sort", "spot"]) == 2
    assert main(["prices", "V100", "--sort", "total"]) == 2
    assert "--for RECIPE" in capsys.readouterr().err


def test_auto_takes_what_is_large_enough_and_names_the_rest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """1,211,224,064 parameters and 4 * 1024 tokens need 38 GB: V100 has 16, H100 80."""
    shape = "layers: 24, width: 2048, heads: 16, context: 1024, batch_size: 4"
    (tmp_path / "r.yaml").write_text(
        f"resources: {{accelerators: auto, infra: [aws]}}\ntrainer: {{kind: launcher.trainers.gpt, steps: 100, {shape}}}\n"
    )
    words = ["prices", "--for", str(tmp_path / "r.yaml"), "--cloud", "aws"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "training needs 38 GB of GPU memory" in said
    assert "V100 (16 GB)" in said.partition("too small for it: ")[2]
    assert main([*words, "-o", "json"]) == 0
    gpus = {total["accelerator"] for total in json.loads(capsys.readouterr().out)["totals"]}
    assert "H100" in gpus
    assert not gpus & {"V100", "L4", "T4"}
