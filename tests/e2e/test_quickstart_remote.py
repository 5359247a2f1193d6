"""The quickstart on a real store: requests fail, the store goes away for 20 s, the supervisor dies and another home goes on.

What is proved at the end is what a rehearsal always proves: all losses and the final weights equal those of an uninterrupted run.
"""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launcher.units import Seconds
from scripts.drills.scene import LAUNCH, eventually
from tests.e2e.conftest import Faulty
from tests.servers.faults import seeded
from tests.servers.proxy import FaultProxy
from tests.servers.running import ROOT

SHARE_FAILING = 0.05
OUTAGE_S: Seconds = 20.0
WITHIN_S: Seconds = 800.0  # a busy machine; only a failure waits so long
# At least three machines are taken away: of a quick machine by the steps, of one that is busy with other tests by the speed.
STEPS = 1000
LONG = (f"trainer.steps={STEPS}", "local.speed=250")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("faulty", ["s3", "gs", "az"], indirect=True)
def test_a_run_ends_with_its_proof_whatever_its_store_does(faulty: Faulty, tmp_path: Path) -> None:
    faulty.proxy.extend(seeded(seed=len(faulty.name), share=SHARE_FAILING))
    words = ("train", "recipes/quickstart.yaml", f"checkpoint.dir={faulty.url}", "-n", "q", *LONG)
    with launched(tmp_path / "one", *words) as first:
        await_commit(faulty.proxy, first, attempt=1)
        faulty.proxy.outage(OUTAGE_S)
        await_commit(faulty.proxy, first, attempt=3)
        first.send_signal(signal.SIGKILL)

    with launched(tmp_path / "another", "resume", f"{faulty.url}/q") as second:
        told, _ = second.communicate(timeout=WITHIN_S)
    assert second.returncode == 0, (tmp_path / "another.log").read_text()[-3000:]
    result: dict[str, Any] = json.loads(told)
    assert (result["state"], result["step"]) == ("SUCCEEDED", STEPS)
    assert result["preemptions"] >= 3
    assert result["proof"]["losses_equal"]
    assert result["proof"]["weights_max_abs_delta"] == 0.0
    assert result["store"] == f"{faulty.url}/q"


def launched(home: Path, *words: str) -> subprocess.Popen[str]:
    """One `launch`, as a person with that home would type it. What it says goes to a log beside the home."""
    with home.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [*LAUNCH, *words, "-o", "json"],
            cwd=ROOT,
            env={**os.environ, "LAUNCH_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def await_commit(proxy: FaultProxy, supervisor: subprocess.Popen[str], *, attempt: int) -> None:
    """Return once somebody has read the attempt's first commit."""
    key = re.compile(rf"^GET .*attempts(/|%2F){attempt:04d}(/|%2F)commits(/|%2F)0001")

    def is_read() -> bool:
        assert supervisor.poll() is None, "it ended early"
        return any(entry.status in (200, 206) and key.search(entry.line) for entry in tuple(proxy.log))

    eventually(is_read, f"attempt {attempt} has committed", at_most=WITHIN_S)
