"""`launch prices --refresh` with live prices, as a person and a program use it; servers of the clouds' shapes on loopback."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.market.live import Key, keep_live, read_live
from launcher.app.cli import main
from tests.market import hosting, lists, live_hosting
from tests.market.live_hosting import azure_pages, google_pages, meter, sku

SIZE = "Standard_NC6s_v3"
AZURE = "\n".join(
    (
        lists.AZURE,
        f"{SIZE},V100,1,6.0,112,V100,3.06,0.3978,eastus,V2",
        f"{SIZE},V100,1,6.0,112,V100,3.06,0.3534,westus2,V2",
        "Standard_NC12s_v3,V100,2,12.0,224,V100,6.12,0.8,eastus,V2",
        "",
    )
)
GCP = lists.gcp(lists.gcp_host("g2-standard-4", "a", 0.184, 0.07), lists.gcp_gpu("L4", 1, "a", 0.56, 0.22))
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody is there to fetch from, unless a test says so; the lists are our own rows."""
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", azure=AZURE, gcp=GCP)))
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("LAUNCH_CATALOG_URL", "LAUNCH_AZURE_PRICES_URL", "LAUNCH_GCP_PRICES_URL"):
        monkeypatch.setenv(name, NOBODY)
    return tmp_path / "home"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[live_hosting.Server]:
    with live_hosting.serving(azure_pages(meter(SIZE, "eastus", 0.45))) as server:
        monkeypatch.setenv("LAUNCH_AZURE_PRICES_URL", server.url)
        yield server


def offers(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    """By region and instance, as JSON."""
    assert main(["prices", *words, "--cloud", "azure", "-q", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["offers"]
    return {f"{offer['region']} {offer['instance']}": offer for offer in found}


def test_a_live_price_takes_the_listed_ones_place_with_its_source_and_age(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server
) -> None:
    assert offers(capsys, "V100")[f"eastus {SIZE}"]["spot_usd_per_h"] == 0.3978
    assert main(["prices", "V100", "--cloud", "azure", "--refresh"]) == 0
    heard = capsys.readouterr()
    assert "live spot prices: azure (1)" in heard.err
    assert re.search(r"^azure: live, [\d.]+ m?s old; on-demand prices: .*/lists$", heard.out, re.MULTILINE)
    found = offers(capsys, "V100")
    live = found.pop(f"eastus {SIZE}")
    assert (live["spot_usd_per_h"], live["source"], live["on_demand_usd_per_h"]) == (0.45, "live", 3.06)
    assert 0 <= live["age_s"] < 60
    assert {name: (offer["spot_usd_per_h"], offer["age_s"]) for name, offer in found.items()} == {
        f"westus2 {SIZE}": (0.3534, None),
        "eastus Standard_NC12s_v3": (0.8, None),
    }


def test_a_live_price_goes_into_the_history_without_its_list(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server
) -> None:
    for price, told in ((0.45, "1 price noted for the first time"), (0.45, "0 prices changed"), (0.55, "1 price changed")):
        azure.page = azure_pages(meter(SIZE, "eastus", price))
        assert main(["prices", "V100", "--refresh"]) == 0
        assert f"price history: {told}" in capsys.readouterr().err
    assert main(["prices", "V100", "--history", "-o", "json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["history"]
    assert (only["place"], only["lowest_usd_per_h"], only["spot_usd_per_h"], only["num_changes"]) == ("eastus", 0.45, 0.55, 1)


def test_a_live_price_goes_into_the_history_with_its_list(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosting.serving() as server:  # its list of Azure has 0.39 there
        monkeypatch.setenv("LAUNCH_CATALOG_URL", server.url)
        assert main(["prices", "V100", "--refresh", "-q"]) == 0
    capsys.readouterr()
    assert main(["prices", "V100", "--history", "--cloud", "azure", "-o", "json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["history"]
    assert (only["place"], only["spot_usd_per_h"], only["num_changes"]) == ("eastus", 0.45, 0)


def test_a_live_price_is_judged_by_the_whole_list_of_its_cloud_not_by_the_rows_asked_for(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$0.45 is more than ten times what is listed for that one region, and usual beside the others."""
    odd = AZURE.replace("3.06,0.3978,eastus", "3.06,0.0398,eastus") + f"{SIZE},V100,1,6.0,112,V100,3.06,0.36,westus3,V2\n"
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "odd", azure=odd)))
    assert main(["prices", "V100", "--region", "eastus", "--refresh"]) == 0
    heard = capsys.readouterr().err
    assert "live spot prices: azure (1)" in heard
    assert "price history: 1 price noted for the first time" in heard


def test_only_what_was_asked_for_is_asked_of_the_cloud(azure: live_hosting.Server) -> None:
    assert main(["prices", "V100:2", "--refresh", "-q"]) == 0
    (question,) = azure.questions
    assert "Standard_NC12s_v3" in question["$filter"]
    assert SIZE not in question["$filter"]
    for words in (["L4", "--refresh"], ["V100", "--refresh", "--cloud", "aws"], ["V100", "--refresh", "--dry-run"], ["V100"]):
        assert main(["prices", *words, "-q"]) == 0
    assert len(azure.questions) == 1


def test_without_a_network_or_credentials_each_cloud_has_one_word_and_the_lists_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["prices", "--refresh"]) == 0
    heard = capsys.readouterr()
    said = [line for line in heard.err.splitlines() if "live" in line]
    assert sorted(line.split(": ")[1] for line in said) == ["aws", "azure", "gcp"]
    assert "no live prices: gcp: LAUNCH_GCP_API_KEY is not set; the list answers for the rest" in said
    assert "V100:1" in heard.out
    assert "live" not in heard.out


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"refusals": [(429, "60")]}, "answers 429"),
        ({"cut": True}, "half of a page"),
        ({"page": azure_pages(meter(SIZE, "eastus", 0.0))}, "no live prices: azure: it tells none of these rows"),
        ({"page": azure_pages(meter(SIZE, "eastus", 700.0))}, "live spot prices: azure (0 to be believed, of 1)"),
        ({"page": azure_pages(meter(SIZE, "eastus", 0.0004))}, "live spot prices: azure (0 to be believed, of 1)"),
        ({"page": azure_pages(meter("Standard_NC24s_v3", "eastus", 0.5))}, "it tells none of these rows"),
        (
            {"page": lambda _: {"Items": [7, None, "x", {"armSkuName": SIZE}, []], "NextPageLink": 5}},
            "more pages than are worth asking for",
        ),
    ],
)
def test_whatever_the_server_says_the_listed_price_stays(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server, trouble: dict[str, Any], said: str
) -> None:
    for name, value in trouble.items():
        setattr(azure, name, value)
    assert main(["prices", "V100", "--cloud", "azure", "--refresh"]) == 0
    heard = capsys.readouterr()
    assert said in heard.err
    assert "Traceback" not in heard.err
    assert [offer["spot_usd_per_h"] for offer in offers(capsys, "V100").values()] == [0.3534, 0.3978, 0.8]


def test_spot_as_dear_as_on_demand_is_no_spot(capsys: pytest.CaptureFixture[str], azure: live_hosting.Server) -> None:
    azure.page = azure_pages(meter(SIZE, "eastus", 3.06))
    assert main(["prices", "V100", "--refresh", "-q"]) == 0
    capsys.readouterr()
    live = offers(capsys, "V100")[f"eastus {SIZE}"]
    assert (live["spot_usd_per_h"], live["doubts"], live["source"]) == (None, ["no_spot"], "live")


def test_silence_ends_with_the_deadline(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.is_silent.set()
    monkeypatch.setattr("launcher.adapters.market.live_ask.ask_all.__kwdefaults__", {"within_s": 0.3})
    assert main(["prices", "V100", "--cloud", "azure", "--refresh"]) == 0
    assert "no live prices: azure: no answer, or not the whole of it, within 0.3 s" in capsys.readouterr().err


def test_google_is_asked_with_the_key_and_the_key_is_not_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On demand 12 x 0.012 + 85 x 0.04/85 + 0.56 = 0.744, as listed; on spot 12 x 0.005 + 85 x 0.02/85 + 0.2 = 0.28."""
    here = "us-central1"
    parts = (
        sku("G2 Instance Core running in Americas", "OnDemand", 0.012, here),
        sku("G2 Instance Ram running in Americas", "OnDemand", 0.04 / 85, here, unit="GiBy.h"),
        sku("Nvidia L4 GPU running in Americas", "OnDemand", 0.56, here),
        sku("Spot Preemptible G2 Instance Core running in Americas", "Preemptible", 0.005, here),
        sku("Spot Preemptible G2 Instance Ram running in Americas", "Preemptible", 0.02 / 85, here, unit="GiBy.h"),
        sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.2, here),
    )
    monkeypatch.setenv("LAUNCH_GCP_API_KEY", "hunter2-hunter2")
    with live_hosting.serving(google_pages(*parts)) as server:
        monkeypatch.setenv("LAUNCH_GCP_PRICES_URL", server.url)
        assert main(["prices", "L4", "--cloud", "gcp", "--refresh", "-o", "json"]) == 0
        assert server.keys == ["hunter2-hunter2"]
        heard = capsys.readouterr()
        (offer,) = json.loads(heard.out)["offers"]
        assert (round(offer["spot_usd_per_h"], 4), offer["source"]) == (0.28, "live")
        server.refusals = [(403, "")]
        assert main(["prices", "L4", "--cloud", "gcp", "--refresh"]) == 0
        said = capsys.readouterr().err
    assert "answers 403" in said
    assert "hunter2" not in said + heard.err + heard.out


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCH_AZURE_PRICES_URL", "file:///etc/passwd")
    assert main(["prices", "V100", "--refresh"]) == 2
    assert "LAUNCH_AZURE_PRICES_URL is file:///etc/passwd" in capsys.readouterr().err


def test_a_home_that_cannot_keep_them_is_told_and_the_lists_answer(
    capsys: pytest.CaptureFixture[str], azure: live_hosting.Server, home: Path
) -> None:
    home.mkdir()
    (home / "cache").write_bytes(b"")  # a file in the way: root may write where others may not
    assert main(["prices", "V100", "--cloud", "azure", "--refresh"]) == 0
    heard = capsys.readouterr()
    assert f"live prices cannot be kept in {home}" in heard.err
    assert "0.40" in heard.out


def test_several_processes_refresh_at_once_and_each_answers(
    azure: live_hosting.Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists, live prices, index and history are written by all of them; each is whole, and each change noted once."""
    command = [sys.executable, "-c", "import sys; from launcher.app.cli import main; sys.exit(main(sys.argv[1:]))"]
    words = ["prices", "V100", "--cloud", "azure", "--refresh", "-o", "json"]
    with hosting.serving() as server:
        monkeypatch.setenv("LAUNCH_CATALOG_URL", server.url)
        running = [
            subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
        ]
        answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], answers
    assert "Traceback" not in "".join(said for _, said in answers)
    spots = [[offer["spot_usd_per_h"] for offer in json.loads(out)["offers"]] for out, _ in answers]
    assert spots == [[0.3534, 0.45, 0.8]] * 3
    assert main(["prices", "V100", "--history", "--cloud", "azure", "-o", "json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["history"]
    assert (only["place"], only["spot_usd_per_h"], only["num_changes"]) == ("eastus", 0.45, 0)


def test_two_refreshes_at_once_leave_a_whole_file_of_both(tmp_path: Path) -> None:
    def keep(num: int) -> None:
        rows: dict[Key, float] = {("aws", "r", f"z{n}", "i", "V100", 1.0): 0.4 for n in range(num, num + 300)}
        keep_live(tmp_path / "live.csv", rows, 100.0)

    threads = [threading.Thread(target=keep, args=(num,)) for num in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book = read_live(tmp_path / "live.csv", 100.0)
    assert book.said == ""
    assert len(book.spots) == 600
